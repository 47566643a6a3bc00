"""Pages of vectors that hold nothing: how often any of their sentences claims something."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.measure import Figure
from numembed.analysis.clusters.attributes import attributes
from numembed.analysis.labels import kmeans
from numembed.core.arrays import Matrix
from numembed.core.settings import read_settings
from numembed.core.significance import LEVEL
from numembed.examinations.clusters import text as explain_text
from numembed.examinations.clusters.compute import explain
from numembed.examinations.clusters.grouping import Grouping, ways_of
from numembed.examinations.generalisation import text as generalise_text
from numembed.examinations.generalisation.compute import generalisation
from numembed.examinations.registry import ExaminationContext
from numembed.examinations.stress import text as stress_text
from numembed.examinations.stress.compute import stress
from numembed.models.spec import HubWeights, ModelSpec
from numembed.paper.protocol import paper_study
from numembed.sequences.sets import SequenceSet
from numembed.studies.results import ModelResult

NOISE = ModelSpec("noise", HubWeights("somebody/noise", "0" * 40))
STUDY = replace(paper_study("last_digits"), models=(NOISE,), length=20)
_DIMENSIONS = 32
_DENIALS = ("no better than chance", "Not better than chance", "of these is predicted better than chance")


def drawn(seed: int) -> Callable[[SequenceSet, ModelSpec], Matrix]:
    """Return a model that reads nothing: its vectors are drawn from each text, the prompt and a seed."""

    def read(sequences: SequenceSet, spec: ModelSpec) -> Matrix:
        digests = [hashlib.sha256(f"{seed} {spec.prompt} {text}".encode()).digest() for text in sequences.texts]
        rows = [np.random.default_rng(list(digest[:16])).standard_normal(_DIMENSIONS) for digest in digests]
        return np.asarray(rows, dtype=np.float32)

    return read


def explain_claims(seed: int) -> list[str]:
    """Return the sentences of Explain that claim something of one set of noise."""
    matrix, sequences = drawn(seed)(STUDY.sequences, NOISE), STUDY.sequences
    found = explain(matrix, sequences, kmeans(matrix, sequences.labels, seed=seed), seed=seed)
    ways = Grouping(ways_of(matrix, attributes(sequences), replace(STUDY, seed=seed)), (), 6, 0, 0, float("nan"))
    quiet = {
        explain_text.sentence_of("m", found): r"(none of these attributes|too few)(?!.*better than chance too)",
        explain_text.shares_sentence(found): r"^(Neither|Whether)",
        explain_text.matched_sentence(found): r"not significantly more than by chance|too few",
        explain_text.nearest_sentence(found): r"(not significantly more|too few).*; (not significantly more|.*too few)",
        explain_text.tree_sentence(found, sequences): r"may be chance",
        explain_text.ways_sentence(ways, found): r"^None of",
    }
    return [sentence for sentence, denied in quiet.items() if not re.search(denied, sentence)]


def generalise_claims(seed: int) -> list[str]:
    """Return the sentences of Generalise that claim something of one set of noise."""
    found = generalisation(_context(seed))
    sentences = [generalise_text.near_sentence(found), *map(generalise_text.far_sentence, found.far)]
    sentences += [generalise_text.unseen_sentence(one) for one in found.unseen]
    sentences += [generalise_text.single_sentence(found.single), generalise_text.verdict("m", found)]
    return [one for one in sentences if re.search("better than chance|because the family is", _without(one))]


def robustness_claims(seed: int) -> list[str]:
    """Return the sentences of Robustness that claim something of one set of noise.

    Changes that make texts equal move the score of any model and are left aside.
    """
    found = stress(_context(seed))
    said = stress_text.headline(found)
    claims = [] if said.endswith(" raises it significantly.") else [said]
    kept = [one for one in found.tried if not one.repeated and one.perturbation != "kmeans_seed"]
    effects = [stress_text.effect_of(found, one) for one in kept if one.change != 0]
    claims += [
        one for one in effects if re.search("raises a score|lowers a score|destroys|costs|are distinguished", one)
    ]
    return [one for one in claims if "were not distinguished" not in one]


def noise() -> list[Figure]:
    """Pages that say anything false of noise: at most one in twenty, all sentences of a page taken together."""
    times = float(os.environ.get("NUMEMBED_NOISE", "1"))  # a fraction of the usual number of pages
    pages: dict[str, tuple[Callable[[int], list[str]], int]] = {
        "Explain": (explain_claims, 300),
        "Generalise": (generalise_claims, 300),
        "Robustness": (robustness_claims, 150),
    }
    return [_figure(name, claims, max(1, round(times * rounds))) for name, (claims, rounds) in pages.items()]


def share_and_interval(wrong: int, rounds: int) -> tuple[float, float, float]:
    """Return a share with its 95% interval. Clopper and Pearson 1934."""
    from scipy.special import betaincinv

    low = float(betaincinv(wrong, rounds - wrong + 1, 0.025)) if wrong else 0.0
    return wrong / rounds, low, float(betaincinv(wrong + 1, rounds - wrong, 0.975)) if wrong < rounds else 1.0


def counted(claims: Callable[[int], list[str]], seeds: Iterable[int]) -> int:
    """Return for how many sets of noise anything is claimed, and print what."""
    wrong = 0
    for seed in seeds:
        if said := claims(seed):
            wrong += 1
            print(f"seed {seed}: {' | '.join(said)}", flush=True)
    return wrong


def _figure(name: str, claims: Callable[[int], list[str]], rounds: int) -> Figure:
    wrong = counted(claims, range(rounds))
    share, low, high = share_and_interval(wrong, rounds)
    print(f"{name}: {wrong} of {rounds} pages ({share:.1%}, 95% interval {low:.1%} to {high:.1%})", flush=True)
    return Figure(f"{name}: share of {rounds} pages of noise that claim anything", share, LEVEL, at_most=True)


def _context(seed: int) -> ExaminationContext:
    read = drawn(seed)
    nothing: Any = None
    matrix, study = read(STUDY.sequences, NOISE), replace(STUDY, seed=seed)
    result = ModelResult(NOISE, matrix.shape[1], (), kmeans(matrix, STUDY.sequences.labels, seed=seed))
    return ExaminationContext(study, NOISE, result, nothing, read_settings(os.environ), read, lambda done, total: None)


def _without(sentence: str) -> str:
    for denied in _DENIALS:
        sentence = sentence.replace(denied, "")
    return sentence
