"""Results of a merging experiment: scores of candidates, angles, shares of a shift, maps and comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numembed.analysis.scores import ScoreKind
from numembed.core.significance import LEVEL
from numembed.core.wording import plural, small
from numembed.models.adapters.recipe import Reading
from numembed.models.spec import ModelSpec

FIELDS = {  # of Separation, by score; all other scores are in ``further``
    ScoreKind("silhouette", "families"): "silhouette",
    ScoreKind("davies_bouldin", "families"): "davies_bouldin",
    ScoreKind("silhouette", "kmeans"): "silhouette_kmeans",
    ScoreKind("davies_bouldin", "kmeans"): "davies_bouldin_kmeans",
    ScoreKind("ari", "kmeans"): "ari",
}


def field_of(kind: ScoreKind) -> str:
    """Return the name under which a row holds a score."""
    return FIELDS.get(kind, f"{kind.metric}_{kind.labels}")


@dataclass(frozen=True)
class Separation:
    """How well one candidate separates families on one split; NaN where undefined."""

    silhouette: float  # of the families
    davies_bouldin: float
    silhouette_kmeans: float
    davies_bouldin_kmeans: float
    ari: float
    accuracy: float  # of the nearest centroid, each window held out in turn
    p: float  # of the silhouette, families shuffled
    p_within: float  # shuffled inside each window only
    z: float
    chance: float  # mean silhouette of shuffled families
    low: float  # 95% jackknife interval of the silhouette
    high: float
    without: tuple[float, ...]  # (n,) the silhouette without each sequence in turn
    further: Mapping[str, float] = field(default_factory=dict)  # all other scores, by "metric labels"

    def value(self, kind: ScoreKind) -> float:
        """Return one score, NaN where it is undefined or was not known yet when the candidate was scored."""
        value: float = getattr(self, FIELDS[kind]) if kind in FIELDS else self.further.get(str(kind), math.nan)
        return value


LEAST_SPREAD = 1e-4  # of the base's cosines between reference texts; below it the base does not tell them apart
_NOT_APART = "this model does not tell these texts apart"


@dataclass(frozen=True)
class Reference:
    """The texts that retention is measured on. Spread: standard deviation of the base's cosines of all their pairs."""

    kind: str  # sentences, numbers, none (the base tells neither apart) or unmeasured (by an earlier version)
    sentences: float  # spread over the ordinary sentences; NaN where it was not measured
    numbers: float = math.nan  # over the number texts; NaN where the sentences serve
    texts: int = 0
    families: tuple[str, ...] = ()  # of the number texts

    @property
    def name(self) -> str:
        """What the texts are called."""
        return "ordinary sentences" if self.kind == "sentences" else "number texts"

    @property
    def note(self) -> str:
        """Why retention is not measured on ordinary sentences, or not at all; "" where it is."""
        spoken = f"Ordinary sentences: {_NOT_APART} (its cosines spread by {_spread(self.sentences)})"
        match self.kind:
            case "numbers":
                return (
                    f"{spoken}. Retention is measured on {plural(self.texts, 'number text')} of "
                    f"{plural(len(self.families), 'other family', 'other families')} instead, which are neither "
                    "trained nor scored."
                )
            case "none":
                numbers = f"Number texts: {_NOT_APART} either (spread {_spread(self.numbers)})"
                return f"{spoken}. {numbers}. No retention is shown, and nothing is compared at equal retention."
            case "unmeasured":
                return (
                    f"Ordinary sentences: as far as an earlier version measured, {_NOT_APART}, so its retention is "
                    "not shown. Run the experiment again: only retention is measured anew, on number texts."
                )
        return ""


def _spread(value: float) -> str:
    return "an unknown amount" if math.isnan(value) else f"{small(value)}; at least {LEAST_SPREAD:g} is needed"


@dataclass(frozen=True)
class Retention:
    """How similar a candidate's vectors of the reference texts are to the base's; NaN where undefined."""

    spearman: float  # of all similarities with the base's
    cka: float  # debiased linear CKA with the base's vectors
    margin: float  # mean similarity of paraphrases minus that of other sentences
    lm_loss: float | None = None  # nats a token, see ``text.loss_texts``; None where the model predicts no tokens
    low: float = math.nan  # 95% jackknife interval of ``spearman``, over the texts
    high: float = math.nan
    graded: float = math.nan  # Spearman correlation of the similarity of graded pairs with their grades


def undefined(spoken: Retention) -> Retention:
    """Return the retention of a candidate whose base tells no reference texts apart; its loss stays."""
    return Retention(math.nan, math.nan, math.nan, spoken.lm_loss)


_KEPT = {"low": "spearman low", "high": "spearman high"}  # in a row, which has other intervals too


@dataclass(frozen=True)
class Candidate:
    """One model of a merging experiment with all its measurements."""

    path: str  # id of its Path
    title: str
    at: float  # t or the scale
    model: ModelSpec = field(metadata={"stored": "spec"})  # resolved: to compare it, to save it, to adapt it further
    splits: Mapping[str, Separation]
    retention: Retention
    update: float  # norm of the change of the base's weights
    update_relative: float  # relative to the norm of the base's weights
    spoken: Retention | None = None  # the same of ordinary sentences, where the base does not tell these apart

    def as_row(self) -> dict[str, Any]:
        """Return all numbers in one flat row, None for NaN: what a table or a CSV file holds.

        "spearman" to "graded" are of the ordinary sentences even where the base does not tell these apart. "retention"
        is what counts.
        """
        row: dict[str, Any] = {"path": self.path, "arm": self.title, "at": self.at}
        kept = vars(self.spoken or self.retention)
        row |= {_KEPT.get(name, name): _or_none(kept[name]) for name in ("spearman", "low", "high", *kept)}
        row |= {"update": self.update, "update_relative": self.update_relative}
        for split, separation in self.splits.items():
            numbers = {name: value for name, value in vars(separation).items() if name not in ("without", "further")}
            numbers |= {field_of(ScoreKind.read(name)): value for name, value in separation.further.items()}
            row |= {f"{split} {name}": _or_none(value) for name, value in numbers.items()}
        counts = vars(self.retention)
        row |= {"retention": _or_none(counts["spearman"])}
        row |= {f"retention {name}": _or_none(counts[name]) for name in ("low", "high", "cka")}
        return row | {"tells sentences apart": self.spoken is None}


@dataclass(frozen=True)
class TrainedAdapter:
    """One saved adapter with the readings of its training."""

    seed: int
    step: int
    path: str  # its folder
    digest: str
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class TensorAngle:
    """The angle of one tensor between two models."""

    name: str
    size: int
    cosine: float  # NaN where one of the two is zero


@dataclass(frozen=True)
class Straight:
    """How parallel two models are, and how much SLERP between them differs from linear interpolation."""

    between: str  # "base and seed 0"
    space: str  # weights or task_vectors
    angles: tuple[TensorAngle, ...]  # of the tensors that the adapters change
    cosine: float  # of the models as wholes, over those tensors
    parallel: float  # share of these parameters in tensors above mergekit's 0.9995
    largest_weight: float  # largest difference of one weight between SLERP and the straight line, half-way
    of_step: float  # length of that difference as a share of the distance between the two models
    largest_vector: float  # largest distance between the vectors that the two give for one text; NaN where not scored


@dataclass(frozen=True)
class LayerUpdate:
    """How much training changed one layer."""

    name: str
    base: float  # length of its weights
    change: float  # length of the difference

    @property
    def relative(self) -> float:
        """The change as a share of the length before; NaN where that was 0."""
        return self.change / self.base if self.base else math.nan


@dataclass(frozen=True)
class ShiftShare:
    """Into how few directions a scaled adapter moves all vectors."""

    scale: float
    length: float  # mean distance that a number text's vector moves
    shares: tuple[float, ...]  # of the squared shift, in its first 1, 2, 3, 5 and 10 directions


@dataclass(frozen=True)
class Dominance:
    """How much one seed's adapter dominates: its update by layer, and the directions of its shift."""

    seed: int
    layers: tuple[LayerUpdate, ...]
    shifts: tuple[ShiftShare, ...]


@dataclass(frozen=True)
class Frame:
    """The two-dimensional map of one candidate's vectors of one split, aligned with the base's."""

    path: str
    at: float
    title: str
    split: str
    silhouette: float
    points: tuple[tuple[float, float], ...]  # row i is sequence i of the split


@dataclass(frozen=True)
class Comparison:
    """Two paths at equal retention: how much better the first separates."""

    a: str  # rows of KINDS
    b: str
    split: str
    retention: tuple[float, ...]  # the levels at which both were compared
    difference: float  # mean over these levels; NaN where the two never retain equally much
    low: float  # 95% interval
    high: float
    p: float
    p_holm: float  # adjusted for all comparisons on this split
    over: str  # "3 seeds and 24 sequences": what the interval is over
    sentence: str

    @property
    def distinguishable(self) -> bool:
        """True where the difference is significant: the interval excludes 0, also after the adjustment."""
        return self.p_holm <= LEVEL and not self.low <= 0 <= self.high


@dataclass(frozen=True)
class Redrawn:
    """The scores of the named point of a row of KINDS on redrawn windows: how much depends on their choice."""

    name: str  # the row
    at: float  # t or the scale
    split: str  # the evaluation whose families they are
    values: tuple[tuple[float, ...], ...]  # (paths, designs) silhouettes of the families
    low: float  # 95% prediction interval of the paths' mean on one more design; NaN for fewer than three
    high: float

    @property
    def designs(self) -> int:
        """How often the windows were redrawn."""
        return len(self.values[0]) if self.values else 0

    @property
    def means(self) -> tuple[float, ...]:
        """The mean of the paths on each design."""
        return tuple(sum(column) / len(column) for column in zip(*self.values, strict=True))

    @property
    def mean(self) -> float:
        """The mean over all designs."""
        return sum(self.means) / self.designs if self.designs else math.nan


def _or_none(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
