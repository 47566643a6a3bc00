"""The README of a saved model: what it was made of, under which licences, how, and how it scored."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from numembed.analysis.scores import score_kinds
from numembed.core.settings import Settings
from numembed.core.wording import decimal, percent, span
from numembed.merge_experiment.comparisons import SPLITS
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate, Separation
from numembed.models.catalogue.names import facts_of
from numembed.models.resolve import known_folder
from numembed.models.spec import HubWeights, LocalWeights, LoraWeights, MergedWeights, ModelSpec, Weights

UNKNOWN = "unknown"
_NAMED_LICENCES = ("apache-2.0", "mit", "cc-by-nc-4.0", "gemma")  # as the model hub writes them
_LICENCE = re.compile(r"^license(?:_name)?: *[\"']?([A-Za-z0-9 ._+-]{1,60}?)[\"']? *$", re.MULTILINE)


def card_of(name: str, result: ExperimentResult, candidate: Candidate, settings: Settings) -> str:
    """Return the model card of one candidate of an experiment in Markdown; the same candidate always has the same."""
    base = result.base
    licence = licence_of(base, settings)
    parts = (
        _front(base, licence),
        f"# {name}",
        f"{candidate.title} on {_code(base.name)}, made and scored by numembed. {_about(candidate)}",
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


def _about(candidate: Candidate) -> str:
    row = KINDS.get(candidate.path.partition("-")[0])
    return row.about if row is not None else ""


def _parents(base: ModelSpec, licence: str, result: ExperimentResult, candidate: Candidate) -> str:
    seen = {one.path: one for one in result.adapters}
    unsure = " Find it out before you share this model." if licence == UNKNOWN else ""
    lines = [f"- {_code(_identity(base.weights, base.name))}: licence {licence}.{unsure}"]
    for path, scale in _adapters(candidate.model.weights):
        known = seen.get(path)
        what = f"seed {known.seed}, step {known.step}, digest `{known.digest[:12]}`" if known else "made elsewhere"
        times = "" if scale == 1 else f", taken {scale:.6g} times"
        lines.append(
            f"- LoRA adapter, {what}{times}: trained here from that model on number sequences made by formula, so the "
            "model's licence decides."
            if known
            else f"- LoRA adapter {what}{times}: licence {UNKNOWN}."
        )
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
    before = next((one for one in result.candidates if one.path == "base"), None)
    first, *others = score_kinds()
    titles = [f"{kind.column} {kind.where}" for kind in (first, *others)]
    heads = ["Sequences", titles[0], "low", "high", "p", *titles[1:], "Nearest centroid", "Silhouette of the base"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for split, own in candidate.splits.items():
        base = before.splits.get(split) if before is not None else None
        values = [own.value(first), own.low, own.high, own.p, *map(own.value, others), own.accuracy, _silhouette(base)]
        lines.append(f"| {SPLITS.get(split, split)} | {' | '.join(decimal(value, 3) for value in values)} |")
    kept, loss = candidate.retention, candidate.retention.lm_loss
    spoken = [
        f"- Kept of the order of sentence similarities (Spearman with the base's): {decimal(kept.spearman, 3)}"
        f" ({span(kept.low, kept.high, 3)}).",
        f"- Debiased linear CKA with the base's vectors of the sentences: {decimal(kept.cka, 3)}.",
        f"- Paraphrases are more alike than other sentences by {decimal(kept.margin, 3)}.",
        f"- The likeness of graded pairs follows their grades (Spearman) at {decimal(kept.graded, 3)}.",
        *([] if loss is None else [f"- Language-model loss on numbers: {decimal(loss, 3)} nats a token."]),
        f"- Its weights differ from the base's by {percent(candidate.update_relative, 3)} of their length.",
    ]
    return "\n".join(lines) + "\n\nLow and high: 95% interval over the sequences.\n\n" + "\n".join(spoken)


def _silhouette(result: Separation | None) -> float:
    return math.nan if result is None else result.silhouette


def _recipe(base: ModelSpec, result: ExperimentResult, candidate: Candidate) -> dict[str, Any]:
    """Return everything that it takes to make the model again; no place on this machine is told."""
    plain = replace(candidate.model, name=candidate.title).as_dict()
    return {
        "model": _without_places(plain),
        "base": _without_places(base.as_dict()),
        "path": candidate.path,
        "at": candidate.at,
        "training": result.experiment.recipe.as_dict(),
        "adapters": [
            {"seed": one.seed, "step": one.step, "digest": one.digest}
            for one in result.adapters
            if any(path == one.path for path, _ in _adapters(candidate.model.weights))
        ],
    }


def _without_places(plain: Any) -> Any:
    match plain:
        case dict():
            return {name: _without_places(value) for name, value in plain.items() if name != "path"}
        case list():
            return [_without_places(value) for value in plain]
        case _:
            return plain


def _code(text: str) -> str:
    """Return a name as Markdown shows it as it stands."""
    return "`" + re.sub(r"[`\x00-\x1f\x7f]", "'", text)[:200] + "`"
