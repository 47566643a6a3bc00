"""The stress tests of one model, beside encoding their distinct texts in one plain call."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, cpu_seconds, interleaved
from numembed.core.arrays import Matrix
from numembed.core.settings import Settings, read_settings
from numembed.examinations.registry import ExaminationContext
from numembed.examinations.stress.compute import stress as stress_tests
from numembed.models.embedding import embed
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.spec import ModelSpec
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import run
from numembed.sequences.perturbations.trials import trials
from numembed.sequences.sets import SequenceSet
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.study import Study


def stress() -> list[Figure]:
    """All stress tests of the bundled model, cold and from the store, beside one encode() of their distinct texts."""
    settings, study = read_settings(), paper_study("all-MiniLM-L6-v2")
    loaded = LoadedModel(settings)
    encoder: Any = loaded.get(study.models[0])
    texts = _distinct(study)
    with tempfile.TemporaryDirectory() as name:
        home = replace(settings, home=Path(name))
        with VectorStore(home.cache_db) as vectors, ResultStore(home.app_db) as results:
            outcome = run(study, vectors=vectors, results=results, loaded=loaded, settings=home)
            bench = _bench(study, outcome.results[0], vectors, results, loaded, home)
            encoder.model.encode(texts[:32])
            theirs = cpu_seconds(lambda: encoder.model.encode(texts))
            cold = cpu_seconds(lambda: stress_tests(bench))
            theirs = (theirs + cpu_seconds(lambda: encoder.model.encode(texts))) / 2
            (warm,) = interleaved(lambda: stress_tests(bench), rounds=5)
    print(f"{len(texts)} texts: encode() {theirs:.1f} s; stress tests {cold:.1f} s, again {warm:.2f} s of CPU")
    return [
        Figure("stress cold", cold / theirs, 1.3, at_most=True),
        Figure("stress from the store", theirs / warm, 20),
    ]


def _distinct(study: Study) -> list[str]:
    """Return what the model reads in the stress tests, prompts included."""
    texts = dict.fromkeys(study.plain_sequences.texts)
    for trial in trials(study.plain_sequences, seed=study.seed):
        prompt = trial.change.value if trial.change is not None and trial.change.field == "prompt" else ""
        texts |= dict.fromkeys(prompt + text for text in trial.sequences.texts)
    return list(texts)


def _bench(
    study: Study,
    result: ModelResult,
    vectors: VectorStore,
    results: ResultStore,
    loaded: LoadedModel,
    settings: Settings,
) -> ExaminationContext:
    def read(sequences: SequenceSet, spec: ModelSpec) -> Matrix:
        return embed(spec, sequences, store=vectors, loaded=loaded).matrix

    return ExaminationContext(study, result.model, result, results, settings, read, lambda done, total: None)
