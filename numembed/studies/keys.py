"""The keys under which results are stored: everything that decides a result, and nothing else."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from numembed.analysis.scores import score_kinds
from numembed.core.registry import Entry
from numembed.core.serialization import as_plain, canonical_json
from numembed.models.baselines import BASELINES
from numembed.models.spec import BaselineWeights, ModelSpec, vector_versions
from numembed.sequences.kept import digest_of
from numembed.sequences.sets import SequenceSet
from numembed.studies.examination import EXAMINATIONS
from numembed.studies.study import Study


class Key(str):
    """A key that names the versions of the libraries; ``lasting`` names the same result whatever these are."""

    lasting: Callable[[], str]


def lasting_of(key: str) -> str:
    """Return the key under which a bundle holds a result."""
    return key.lasting() if isinstance(key, Key) else key


def explain_key(study: Study, spec: ModelSpec) -> str:
    """Return the key of what a resolved model's clusters were found to encode."""
    labels = study.sequences.labels.tolist()
    return _key("explanation 4", spec, study.sequences, labels=labels, distance=study.distance, seed=study.seed)


def examined_key(study: Study, spec: ModelSpec, name: str) -> str:
    """Return the key of what an examination found about a resolved model."""
    entries = study.as_dict()
    options = {option: entries[option] for option in EXAMINATIONS[name].options}
    decides = {"distance": study.distance, "seed": study.seed} | options | _matching(study)
    return examination_key(name, spec, study.sequences, **decides)


def design_key(study: Study, spec: ModelSpec, designs: int) -> str:
    """Return the key of a resolved model's scores on redrawn windows."""
    decides = {"distance": study.distance, "seed": study.seed, "designs": designs} | _matching(study)
    return _key("designs", spec, study.sequences, labels=study.sequences.labels.tolist(), **decides)


def _matching(study: Study) -> dict[str, Any]:
    """Return what decides other windows where the families were matched: one set may come from two plain ones."""
    plain = replace(study.windows, matched=())
    return {"matched": list(study.matched), "plain": digest_of(plain)} if study.matched else {}


def detail_key(study: Study, spec: ModelSpec) -> str:
    """Return the key of what stands behind a resolved model's silhouette."""
    labels = study.sequences.labels.tolist()
    return _key("silhouette detail", spec, study.sequences, labels=labels, distance=study.distance, seed=study.seed)


def distances_key(study: Study, spec: ModelSpec) -> str:
    """Return the key of the distances between all sequences in a resolved model."""
    return _key("distances", spec, study.sequences, distance=study.distance)


def reading_key(study: Study, spec: ModelSpec) -> str:
    """Return the key of how much of the texts a resolved model reads."""
    return _key("reading", spec, study.sequences)


def best_baseline_key(study: Study, baseline: str, designs: int) -> str:
    """Return the key of what a baseline scores without each sequence, or on ``designs`` redrawn sets of windows."""
    decides = {"distance": study.distance, "seed": study.seed, "designs": designs} | _matching(study)
    labels = study.sequences.labels.tolist()
    return _key("baseline series", _baseline(BASELINES[baseline]), study.sequences, labels=labels, **decides)


def pin_key(spec: ModelSpec) -> str:
    """Return the key under which it is kept how a model was pinned."""
    return "pinned:" + canonical_json(spec.as_dict())


def made_key(study: Study) -> str:
    """Return the key under which it is kept that the sequences of a large study were run, with whatever models."""
    return "made:" + _digest(as_plain(study.windows))


def result_key(study: Study, spec: ModelSpec) -> str:
    """Return the key of a resolved model's scores."""
    return scores_key(spec, study.sequences, distance=study.distance, seed=study.seed)


FORMULAS = "4"  # grows whenever numembed/analysis gives other numbers for the same vectors

_FIRST = (  # the scores that keys imply: they were there before keys named any
    *("silhouette families", "davies_bouldin families", "silhouette kmeans", "davies_bouldin kmeans"),
    *("ari kmeans", "ami kmeans"),
)


def added_scores() -> dict[str, list[str]]:
    """Return what a key must hold beside everything else where scores are stored without their kinds."""
    added = [str(kind) for kind in score_kinds() if str(kind) not in _FIRST]
    return {"scores": added} if added else {}


def scores_key(model: ModelSpec, sequences: SequenceSet, *, distance: str, seed: int) -> str:
    """Return the key of everything that decides a model's scores."""
    labels = sequences.labels.tolist()
    return _key("scores 2", model, sequences, labels=labels, distance=distance, seed=seed)


def plain_key(model: ModelSpec, sequences: SequenceSet, *, distance: str, seed: int) -> str:
    """Return the key of scores without evidence: those of a model with random weights."""
    labels = sequences.labels.tolist()
    return _key("plain", model, sequences, labels=labels, distance=distance, seed=seed)


def baselines_key(sequences: SequenceSet, *, distance: str, seed: int) -> str:
    """Return the key of the scores of all baselines together."""
    baselines = [_baseline(entry) for entry in BASELINES]
    decides = {"kind": "baselines", "texts": sequences.digest, "labels": sequences.labels.tolist()}
    decides |= {"distance": distance, "seed": seed}
    return _versioned(decides, lambda key: {"models": [key(one) for one in baselines]})


def examination_key(name: str, model: ModelSpec, sequences: SequenceSet, **choices: Any) -> str:
    """Return the key of what an examination found; ``choices`` are the rest of what decides it."""
    labels = sequences.labels.tolist()
    return _key("examination " + name, model, sequences, labels=labels, **choices)


def merge_experiment_key(experiment: Mapping[str, Any]) -> str:
    """Return the key of the results of a merging experiment, given as JSON values without redrawn windows."""
    version = "3"  # grows when other numbers come out of the same vectors
    return _digest({"kind": "ladder", "ladder": experiment, "formulas": FORMULAS, "version": version} | added_scores())


def projection_key(model: ModelSpec, sequences: SequenceSet, *, method: str, dims: int, seed: int) -> str:
    """Return the key of everything that decides a map."""
    return _key("projection 2", model, sequences, method=method, dims=dims, seed=seed)


def _key(kind: str, model: ModelSpec, sequences: SequenceSet, **choices: Any) -> str:
    decides = {"kind": kind, "texts": sequences.digest} | choices
    return _versioned(decides, lambda key: {"model": key(model)})


def check_key(model: ModelSpec) -> str:
    """Return the key of what the latest load of a resolved model found."""
    key = Key("check:" + model.stored.key)
    key.lasting = lambda: "check:" + model.stored.content_key
    return key


def _versioned(decides: dict[str, Any], models: Callable[[Callable[[ModelSpec], str]], dict[str, Any]]) -> Key:
    """Return the key of what ``decides`` and models, by their own keys, which ``models`` enters."""
    key = Key(_digest(decides | models(lambda spec: spec.key) | {"versions": _versions()}))
    lasting = decides | {"formulas": FORMULAS}
    key.lasting = lambda: _digest(lasting | models(lambda spec: spec.content_key))
    return key


def _digest(decides: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(decides).encode()).hexdigest()


def _baseline(entry: Entry[Any]) -> ModelSpec:
    return ModelSpec(entry.title, BaselineWeights(entry.name, entry.facts.get("version", 1)))


def library_versions() -> dict[str, str]:
    """Return the versions that decide results: of what computes them, and of what computes vectors."""
    return {name: one for name, one in (_versions() | vector_versions()).items() if name != "numembed"}


@functools.cache
def _versions() -> dict[str, str]:
    names = ("scikit-learn", "umap-learn", "openTSNE")
    return {"numembed": FORMULAS} | {name: ".".join(importlib.metadata.version(name).split(".")[:2]) for name in names}
