"""The merging experiment as one value: a base, adapters trained from it, the paths between them, and its results."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

from numembed.core.errors import BadChoice, TooLarge
from numembed.core.serialization import as_plain, canonical_json, from_plain
from numembed.core.settings import LIMITS
from numembed.merge_experiment.paths import FEWEST_POINTS, KINDS, USUAL_POINTS, Path, paths_of, possible, usual_paths
from numembed.merge_experiment.results import (
    LEAST_SPREAD,
    Candidate,
    Comparison,
    Dominance,
    Frame,
    Redrawn,
    Reference,
    Straight,
    TrainedAdapter,
    undefined,
)
from numembed.merge_experiment.robustness.results import Robustness
from numembed.models.adapters.recipe import Loss, Reading, Recipe
from numembed.models.builtin.models import usual_recipe
from numembed.models.catalogue.names import model, reference_of
from numembed.models.spec import FolderWeights, ModelSpec
from numembed.sequences.splits import Split, sentences
from numembed.studies.keys import merge_experiment_key
from numembed.studies.results import ResultStore
from numembed.studies.study import DISTANCES

USUAL_BASE = "all-MiniLM-L6-v2"
MOST_POINTS = 41
REDRAWING, ROBUSTNESS = "Redrawn windows", "Robustness"  # rows of progress
_ALPHA_PER_RANK = 2.0
_PLAIN = ("points", "seed", "distance", "designs")  # entries that are JSON values as they are
_ASKED = ("robustness",)  # entries that are there where they are asked: keys of before stay


@dataclass(frozen=True)
class MergeExperiment:
    """What to run: a base, how adapters are trained from it, and the paths to score. Always valid once made."""

    kind: ClassVar[str] = "ladder"  # of job
    base: ModelSpec = field(default_factory=lambda: model(USUAL_BASE))
    recipe: Recipe = field(default_factory=Recipe)
    paths: tuple[str, ...] = ()  # rows of KINDS; (): the usual ones for which the recipe has seeds and stages
    points: int = USUAL_POINTS  # the fewest values of a swept path
    seed: int = 0  # of KMeans and shuffled families; the seeds of training are in the recipe
    distance: str = "euclidean"
    designs: int = 0  # how often the windows are redrawn, for the named points of its paths
    robustness: bool = False  # whether its named models are scored on changed texts

    def __post_init__(self) -> None:
        plain = replace(self.base, dimensions=None, precision="float32")
        if not isinstance(plain.weights, FolderWeights) or plain.loading.random_seed is not None:
            raise BadChoice(f"{self.base.name[:80]} cannot be adapted. Choose a model of the catalogue or a folder.")
        object.__setattr__(self, "base", plain.stored)
        allowed = possible(self.recipe)
        for name in self.paths:
            if name not in KINDS:
                raise BadChoice(f"There is no path {str(name)[:40]!r}. Known: {', '.join(KINDS)}.")
            if name not in allowed:
                raise BadChoice(f"{KINDS[name].title} needs more seeds or stages than are trained. Train more of them.")
        chosen = {"base", *(self.paths or usual_paths(self.recipe))}
        object.__setattr__(self, "paths", tuple(name for name in allowed if name in chosen))
        if type(self.points) is not int or not FEWEST_POINTS <= self.points <= MOST_POINTS:
            raise BadChoice(f"A path has {FEWEST_POINTS} to {MOST_POINTS} points, got {str(self.points)[:40]}.")
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise BadChoice(f"The seed is a whole number from 0 to 2,147,483,647, got {str(self.seed)[:40]}.")
        if self.distance not in DISTANCES:
            raise BadChoice(f"The distance is one of {', '.join(DISTANCES)}, got {str(self.distance)[:40]!r}.")
        if type(self.designs) is not int or not 0 <= self.designs <= LIMITS.designs:
            raise BadChoice(f"Windows are redrawn 0 to {LIMITS.designs} times, got {str(self.designs)[:40]}.")
        if type(self.robustness) is not bool:
            raise BadChoice(f"Robustness is true or false, got {str(self.robustness)[:40]!r}.")

    @property
    def plain(self) -> MergeExperiment:
        """The experiment without what may be asked of it afterwards."""
        return replace(self, designs=0, robustness=False)

    @cached_property
    def drawn(self) -> tuple[Path, ...]:
        """The paths themselves, one for each seed or pair of seeds."""
        return paths_of(self.paths, self.recipe, self.points)

    @property
    def candidates(self) -> int:
        """How many models are scored; those at the ends of several paths count once for each."""
        return sum(len(path.values) for path in self.drawn)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of what every candidate is scored on."""
        return tuple(self.recipe.split.evaluations)

    @property
    def key(self) -> str:
        """The sha256 of the merging experiment's JSON: equal merging experiments share one job."""
        return hashlib.sha256(canonical_json(self.as_dict()).encode()).hexdigest()

    @property
    def title(self) -> str:
        """What a list of runs calls it."""
        more = (f", {self.designs} times redrawn" if self.designs else "", ", robustness" if self.robustness else "")
        return f"Merging experiment on {self.base.name}{''.join(more)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the experiment as JSON values."""
        return {
            "base": reference_of(self.base),
            "recipe": self.recipe.as_dict(),
            "paths": list(self.paths),
            **{name: getattr(self, name) for name in _PLAIN},
            **{name: True for name in _ASKED if getattr(self, name)},
        }

    def to_json(self) -> str:
        """Return the experiment as readable JSON: one object with the single entry "ladder"."""
        return json.dumps({"ladder": self.as_dict()}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> MergeExperiment:
        """Return the experiment that :meth:`as_dict` described; what is left out takes its default."""
        known = ("base", "recipe", "paths", *_PLAIN, *_ASKED)
        if unknown := sorted(set(plain) - set(known)):
            raise BadChoice(f"A merging experiment has no entry {str(unknown[0])[:40]!r}. Known: {', '.join(known)}.")
        given = {name: plain[name] for name in (*_PLAIN, *_ASKED) if name in plain}
        try:
            if "base" in plain:
                given["base"] = model(plain["base"])
            if "recipe" in plain:
                given["recipe"] = Recipe.from_dict(plain["recipe"])
            if "paths" in plain:
                given["paths"] = tuple(plain["paths"])
            return cls(**given)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadChoice("This experiment cannot be read: one of its entries has the wrong type.") from None

    @classmethod
    def from_json(cls, text: str) -> MergeExperiment:
        """Return the experiment in ``text``; raises BadChoice or TooLarge where it is not valid."""
        if len(text) > LIMITS.study_chars:
            raise TooLarge(f"A merging experiment has at most {LIMITS.study_chars:,} characters, got {len(text):,}.")
        if not is_experiment(text):
            raise BadChoice('This is no merging experiment: it needs a JSON object with the entry "ladder".')
        return cls.from_dict(json.loads(text)["ladder"])


def is_experiment(text: str) -> bool:
    """Return True where ``text`` is JSON that describes a merging experiment, not a study."""
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(plain, dict) and isinstance(plain.get("ladder"), dict)


@dataclass(frozen=True)
class ExperimentResult:
    """The results so far; ``complete`` once every path is scored. Redrawn windows and robustness may be added."""

    experiment: MergeExperiment = field(metadata={"stored": "ladder"})
    base: ModelSpec  # resolved
    adapters: tuple[TrainedAdapter, ...] = ()
    candidates: tuple[Candidate, ...] = field(default=(), metadata={"stored": "arms"})
    straight: tuple[Straight, ...] = ()
    dominance: tuple[Dominance, ...] = ()
    maps: tuple[Frame, ...] = ()
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of each split's sequences, in order
    comparisons: tuple[Comparison, ...] = ()
    sentences: tuple[str, ...] = ()  # the verdict
    training: tuple[Reading, ...] = ()  # of a training that runs: its readings so far
    complete: bool = False
    redrawn: tuple[Redrawn, ...] = ()  # a row of KINDS each
    redrawn_sentences: tuple[str, ...] = ()
    robustness: Robustness | None = None  # None until it is asked
    gaps: tuple[str, ...] = ()  # sentences about what could not be computed; the next run tries it again
    reference: Reference | None = None  # what retention is measured on; None before the base is scored
    seen: tuple[str, ...] = ()  # which effects of adapting would have been seen, where none was

    @cached_property
    def digest(self) -> str:
        """The sha256 of all of it: results with equal digests give equal pictures."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    @property
    def measured_on(self) -> Reference:
        """What retention is measured on; the ordinary sentences where an earlier version did not say."""
        return self.reference or Reference("sentences", math.nan, texts=len(sentences().texts))

    @property
    def base_candidate(self) -> Candidate | None:
        """The base as it was scored; None before that."""
        return next((candidate for candidate in self.candidates if candidate.path == "base"), None)

    def path(self, path_id: str) -> tuple[Candidate, ...]:
        """Return the candidates of one path in the order of t or scale."""
        own = (candidate for candidate in self.candidates if candidate.path == path_id)
        return tuple(sorted(own, key=lambda candidate: candidate.at))

    def of(self, name: str) -> tuple[tuple[Candidate, ...], ...]:
        """Return the candidates of every path of a row of KINDS, one tuple for each seed or pair scored."""
        paths = (self.path(path.id) for path in self.experiment.drawn if path.name == name)
        return tuple(candidates for candidates in paths if candidates)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values: None for NaN."""
        plain: dict[str, Any] = as_plain(self)
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> ExperimentResult:
        """Return what :meth:`as_json` described."""
        return _marked(from_plain(cls, plain))


def _marked(result: ExperimentResult) -> ExperimentResult:
    """Return a stored result as it may be shown: without the retention that an earlier version measured on sentences
    which the base may not tell apart, and without what followed from it."""
    base = result.base_candidate
    if result.reference is not None or base is None or _surely_apart(base.retention.margin):
        return result
    compared = {one.sentence for one in result.comparisons}
    said = tuple(one for one in result.sentences if one not in compared and "Spearman" not in one)
    return replace(
        result,
        candidates=tuple(
            replace(one, retention=undefined(one.retention), spoken=one.retention) for one in result.candidates
        ),
        comparisons=(),
        sentences=said,
        redrawn_sentences=tuple(one.split(" Their retention is ")[0] for one in result.redrawn_sentences),
        reference=Reference("unmeasured", math.nan),
    )


def _surely_apart(margin: float) -> bool:
    """Return True where the base's cosines of the sentences spread enough, as far as a stored margin proves it.

    The mean of the share s of pairs that are paraphrases differs from that of the others by the margin m, so the
    standard deviation of all pairs is at least m · √(s (1 − s)).
    """
    share = len(sentences().paraphrases) / math.comb(len(sentences().texts), 2)
    return abs(margin) * math.sqrt(share * (1 - share)) >= LEAST_SPREAD


def recipe_for(
    base: ModelSpec,
    split: Split,
    *,
    brief: bool | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    stages: int | None = None,
    rank: int | None = None,
    alpha: float | None = None,
    targets: Sequence[str] | None = None,
    loss: Loss | None = None,
    learning_rate: float | None = None,
) -> Recipe:
    """Return the usual recipe of ``base`` on ``split`` with the given values, and the rest adjusted to these.

    Training sequences are as long as is usual for the base; ``brief`` makes it the short form of the experiment. Raises
    BadChoice as Recipe does.
    """
    usual = usual_recipe(base)
    steps = usual.steps if steps is None else steps
    rank = usual.rank if rank is None else rank
    brief = usual.split.brief if brief is None else brief
    return replace(
        usual,
        split=replace(split, shortest=usual.split.shortest, longest=usual.split.longest, brief=brief),
        steps=steps,
        rank=rank,
        alpha=_ALPHA_PER_RANK * rank if alpha is None else alpha,
        targets=usual.targets if targets is None else tuple(targets),
        loss=usual.loss if loss is None else loss,
        learning_rate=usual.learning_rate if learning_rate is None else learning_rate,
        seeds=usual.seeds if seeds is None else tuple(seeds),
        stages=max(1, min(usual.stages, steps)) if stages is None else stages,
        looks=max(1, min(usual.looks, steps)),
        warmup=min(usual.warmup, max(0, steps // 10)),
    )


def experiment_key(experiment: MergeExperiment) -> str:
    """Return the key under which the results of a merging experiment are stored, whatever is asked afterwards."""
    return merge_experiment_key(experiment.plain.as_dict())


def stored_experiment(experiment: MergeExperiment, results: ResultStore) -> ExperimentResult | None:
    """Return the results of ``experiment`` so far, or None; they grow while it runs."""
    plain = results.get(experiment_key(experiment))
    return ExperimentResult.from_json(plain) if plain else None
