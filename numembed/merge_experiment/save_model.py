"""One candidate of an experiment saved as a model folder of this installation, with its model card (README.md)."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from numembed.analysis.scores import score_kinds
from numembed.core.errors import BadChoice, TooLarge
from numembed.core.progress import Progress, silent
from numembed.core.serialization import canonical_json
from numembed.core.settings import LIMITS, Settings
from numembed.core.wording import decimal, percent, span
from numembed.merge_experiment.comparisons import SPLITS
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, stored_experiment
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate, Reference, Retention
from numembed.merge_experiment.text import loss_texts
from numembed.models.catalogue.names import facts_of, reference_of
from numembed.models.resolve import known_folder
from numembed.models.spec import HubWeights, LocalWeights, LoraWeights, MergedWeights, ModelSpec, Weights, without_paths
from numembed.studies.results import ResultStore

MOST_NAME = 80  # characters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_ENTRIES = ("name", "ladder", "path", "at")
UNKNOWN = "unknown"
_NAMED_LICENCES = ("apache-2.0", "mit", "cc-by-nc-4.0", "gemma")  # as the model hub writes them
_LICENCE = re.compile(r"^license(?:_name)?: *[\"']?([A-Za-z0-9 ._+-]{1,60}?)[\"']? *$", re.MULTILINE)


@dataclass(frozen=True)
class Saving:
    """A request to save one point of a scored experiment under a name. Always valid once made."""

    kind: ClassVar[str] = "saving"  # of job
    name: str  # of the folder below the home's "models"; never a path
    experiment: MergeExperiment
    path: str  # id of its Path
    at: float  # t or the scale

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", model_name(self.name))
        object.__setattr__(self, "at", float(self.at))
        known = {path.id: path.values for path in self.experiment.drawn}
        if self.path not in known or self.at not in known[self.path]:
            raise BadChoice(f"This merging experiment has no point {self.at:g} on a path {str(self.path)[:60]!r}.")

    @property
    def key(self) -> str:
        """The sha256 of the request: equal requests share one job."""
        return hashlib.sha256(canonical_json({"saving": self.as_dict()}).encode()).hexdigest()

    @property
    def title(self) -> str:
        """What a list of runs calls it."""
        return f"Saving the model {self.name}"

    def folder(self, settings: Settings) -> Path:
        """Return the folder of the saved model."""
        return saved_models(settings) / self.name

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"name": self.name, "ladder": self.experiment.as_dict(), "path": self.path, "at": self.at}

    def to_json(self) -> str:
        """Return it as readable JSON: one object with the single entry "saving"."""
        return json.dumps({"saving": self.as_dict()}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Saving:
        """Return what :meth:`as_dict` described."""
        if unknown := sorted(set(plain) - set(_ENTRIES)):
            raise BadChoice(f"A request to save has no entry {str(unknown[0])[:40]!r}. Known: {', '.join(_ENTRIES)}.")
        try:
            return cls(plain["name"], MergeExperiment.from_dict(plain["ladder"]), plain["path"], plain["at"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BadChoice("This request cannot be read: one of its entries has the wrong type.") from None

    @classmethod
    def from_json(cls, text: str) -> Saving:
        """Return the request in ``text``; raises BadChoice or TooLarge where it is not valid."""
        if len(text) > LIMITS.study_chars + 1_000:
            raise TooLarge(f"A request has at most {LIMITS.study_chars + 1_000:,} characters, got {len(text):,}.")
        try:
            return cls.from_dict(json.loads(text)["saving"])
        except (ValueError, RecursionError, KeyError, TypeError):
            raise BadChoice('This is no request to save: it needs a JSON object with the entry "saving".') from None


def model_name(name: str) -> str:
    """Return the name of a model folder without spaces around it; raises BadChoice for a wrong one, such as a path.

    >>> model_name(" my-model ")
    'my-model'
    """
    stripped = str(name).strip()
    if not _NAME.fullmatch(stripped) or stripped.endswith("."):
        raise BadChoice(
            f"A model's name has up to {MOST_NAME} letters, digits and - _ . only, begins with a letter or digit and "
            f"does not end with a dot; got {stripped[:40]!r}."
        )
    return stripped


def saved_models(settings: Settings) -> Path:
    """Return the folder of saved models, which may always be read."""
    return settings.home / "models"


def proposed_name(experiment: MergeExperiment, candidate: Candidate) -> str:
    """Return a name for a candidate's folder: of the base, the path and the point."""
    row = next((path for path in experiment.drawn if path.id == candidate.path), None)
    at = f"-{'t' if row.sweeps == 't' else 'x'}{candidate.at:.3g}" if row is not None and row.sweeps else ""
    base = re.sub(r"[^A-Za-z0-9._-]+", "-", experiment.base.name).strip("-._") or "model"
    end = f"-{candidate.path}{at}".replace("_", "-")
    return base[: MOST_NAME - len(end) - 4] + end  # there is room for a number behind it


def saved_reference(saving: Saving, candidate: Candidate, settings: Settings) -> str:
    """Return the reference of the saved model for studies, links and bases, with the options of its base."""
    return reference_of(replace(candidate.model, weights=LocalWeights(str(saving.folder(settings)))))


def candidate_of(saving: Saving, result: ExperimentResult | None) -> Candidate:
    """Return the candidate that is to be saved; raises BadChoice where it was not scored."""
    candidates = result.path(saving.path) if result is not None else ()
    chosen = next((candidate for candidate in candidates if candidate.at == saving.at), None)
    if chosen is None:
        raise BadChoice("The results of this experiment are no longer stored. Run it again, then save its model.")
    return chosen


def save_candidate(saving: Saving, *, results: ResultStore, settings: Settings, progress: Progress = silent) -> Path:
    """Write the model with its card below the home's "models" and return its folder, which is never incomplete.

    A complete one that an interrupted run of the same request left is kept. Raises BadChoice where another model has
    the name, and what :func:`numembed.models.save.save_model` raises.
    """
    from numembed.models.files.folders import digest_of_folder
    from numembed.models.files.outlines import keep_outline
    from numembed.models.files.publish import is_whole
    from numembed.models.save import save_model

    result = stored_experiment(saving.experiment, results)
    candidate = candidate_of(saving, result)
    assert result is not None
    card, place = card_of(saving.name, result, candidate, settings), saving.folder(settings)
    if os.path.lexists(place):
        if not (_reads(place / "README.md", card) and is_whole(place)):
            raise BadChoice(f"A model {saving.name!r} is already saved. Choose another name.")
    else:
        save_model(candidate.model, place, settings=settings, card=card, progress=progress)
    keep_outline(place, digest_of_folder(place), settings)
    return place


def _reads(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def card_of(name: str, result: ExperimentResult, candidate: Candidate, settings: Settings) -> str:
    """Return the model card of one candidate of an experiment in Markdown; the same candidate always has the same."""
    base = result.base
    licence = licence_of(base, settings)
    row = KINDS.get(candidate.path.partition("-")[0])
    about = row.about if row is not None else ""
    parts = (
        _front(base, licence),
        f"# {name}",
        f"{candidate.title} on {_code(base.name)}, made and scored by numembed. {about}",
        "## Parents and their licences",
        _parents(base, licence, result, candidate),
        "## Scores",
        _scores(result, candidate),
        "## Recipe",
        f"```json\n{json.dumps(_recipe(base, result, candidate), indent=2, ensure_ascii=False)}\n```",
    )
    return "\n\n".join(parts) + "\n"


def licence_of(spec: ModelSpec, settings: Settings) -> str:
    """Return the licence of a model: the catalogue's fact, what the card in its folder says, else "unknown"."""
    facts = facts_of(spec)
    if facts is not None:
        return facts.licence or UNKNOWN
    folder = known_folder(spec.weights, settings)
    return (_licence_in(folder) if folder is not None else "") or UNKNOWN


def _licence_in(folder: Path) -> str:
    """Return the licence in the head of the card in ``folder``, or ""."""
    try:
        with (folder / "README.md").open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(20_000)
    except OSError:
        return ""
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    named = _LICENCE.findall(head[1]) if head else []
    return next((one for one in named if one not in ("other", UNKNOWN)), "")


def _front(base: ModelSpec, licence: str) -> str:
    plain = licence.lower()
    facts = [f"license: {plain}"] if plain in _NAMED_LICENCES else []
    if not facts and licence != UNKNOWN:
        facts = ["license: other", f"license_name: {json.dumps(licence)}"]
    if isinstance(base.weights, HubWeights):
        facts.append(f"base_model: {json.dumps(base.weights.repo)}")
    return "\n".join(["---", *facts, "library_name: sentence-transformers", "pipeline_tag: sentence-similarity", "---"])


def _parents(base: ModelSpec, licence: str, result: ExperimentResult, candidate: Candidate) -> str:
    seen = {one.path: one for one in result.adapters}
    unsure = " Check it before you share this model." if licence == UNKNOWN else ""
    lines = [f"- {_code(_identity(base.weights, base.name))}: licence {licence}.{unsure}"]
    ours = "trained here from this model on number sequences generated by formulas, so the model's licence applies"
    for path, scale in _adapters(candidate.model.weights):
        known, scaled = seen.get(path), "" if scale == 1 else f", scaled by {scale:.6g}"
        if known is None:
            lines.append(f"- LoRA adapter made elsewhere{scaled}: licence {UNKNOWN}.")
        else:
            what = f"seed {known.seed}, step {known.step}, digest `{known.digest[:12]}`{scaled}"
            lines.append(f"- LoRA adapter, {what}: {ours}.")
    return "\n".join(lines)


def _identity(weights: Weights, name: str) -> str:
    match weights:
        case HubWeights(repo, revision):
            return f"{repo}@{revision[:12]}"
        case LocalWeights(path, digest):
            return f"{Path(path).name} (files {digest[:12]})"
        case _:
            return name


def _adapters(weights: Weights) -> list[tuple[str, float]]:
    """Return the place and the scale of every adapter in ``weights``."""
    match weights:
        case LoraWeights(_, adapter, scale):
            return [(adapter.path if isinstance(adapter, LocalWeights) else adapter.repo, scale)]
        case MergedWeights(parts=parts):
            return [one for part in parts for one in _adapters(part)]
        case _:
            return []


def _scores(result: ExperimentResult, candidate: Candidate) -> str:
    before = result.base_candidate.splits if result.base_candidate is not None else {}
    first, *others = score_kinds()
    titles = [f"{kind.column} {kind.where}" for kind in (first, *others)]
    heads = ["Sequences", titles[0], "low", "high", "p", *titles[1:], "Nearest centroid", "Silhouette of the base"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for split, own in candidate.splits.items():
        base = before[split].silhouette if split in before else math.nan
        values = [own.value(first), own.low, own.high, own.p, *map(own.value, others), own.accuracy, base]
        lines.append(f"| {SPLITS.get(split, split)} | {' | '.join(decimal(value, 3) for value in values)} |")
    kept, loss, texts = candidate.retention, candidate.retention.lm_loss, loss_texts(result.experiment)
    spoken = [
        *_retention(result.measured_on, kept),
        *([] if loss is None else [f"- Language-model loss on {texts}: {decimal(loss, 3)} nats per token."]),
        f"- The change of the weights has {percent(candidate.update_relative, 3)} of the norm of the base's weights.",
    ]
    note = "Low, high: 95% jackknife interval over the sequences. Nearest centroid: its accuracy on held-out windows."
    return "\n".join([*lines, "", note, "", *spoken])


def _retention(texts: Reference, kept: Retention) -> list[str]:
    """Return what a candidate retains, and on which texts that was measured."""
    if math.isnan(kept.spearman):
        return [f"- Retention: undefined. {texts.note}".rstrip()]
    by_sentences = texts.kind == "sentences"
    what = "sentence similarities" if by_sentences else "the similarities of number texts"
    lines = [
        f"- Retention (Spearman correlation of {what} with the base's): {decimal(kept.spearman, 3)}"
        f" ({span(kept.low, kept.high, 3)}).",
        f"- Debiased linear CKA with the base's vectors of the {'sentences' if by_sentences else 'number texts'}: "
        f"{decimal(kept.cka, 3)}.",
    ]
    if not by_sentences:
        return [*lines, f"- {texts.note} Families: {', '.join(texts.families)}."]
    return [
        *lines,
        f"- Mean similarity of paraphrases minus that of other sentences: {decimal(kept.margin, 3)}.",
        f"- Spearman correlation of the similarities of graded pairs with their grades: {decimal(kept.graded, 3)}.",
    ]


def _recipe(base: ModelSpec, result: ExperimentResult, candidate: Candidate) -> dict[str, Any]:
    """Return everything that is needed to make the model again, without paths of this machine."""
    return {
        "model": without_paths(replace(candidate.model, name=candidate.title).as_dict()),
        "base": without_paths(base.as_dict()),
        "path": candidate.path,
        "at": candidate.at,
        "training": result.experiment.recipe.as_dict(),
        "adapters": [
            {"seed": one.seed, "step": one.step, "digest": one.digest}
            for one in result.adapters
            if any(path == one.path for path, _ in _adapters(candidate.model.weights))
        ],
    }


def _code(text: str) -> str:
    """Return a name as Markdown code, so that it is shown unchanged."""
    return "`" + re.sub(r"[`\x00-\x1f\x7f]", "'", text)[:200] + "`"
