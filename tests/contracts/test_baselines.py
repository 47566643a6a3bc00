"""What every registered baseline promises; a new one is tested the moment it is registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from numembed.core.registry import Entry
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import model
from numembed.paper.protocol import paper_study
from numembed.sequences.families.family import FAMILIES, family

Baseline = Entry[Callable[[Sequence[str]], NDArray[np.float32]]]
ENTRIES = pytest.mark.parametrize("entry", BASELINES, ids=BASELINES.names)
FITTED = ("char_ngrams",)  # on the very texts that are compared
TEXTS = paper_study("last_digits").sequences.texts
ODD_TEXTS = {
    "one digit": ["7"],
    "negative": ["-5, -3, 0, 4", "1, -1"],
    "no digits": ["no number at all", "x"],
    "long numbers": ["9" * 4_000 + ", " + "1" * 4_000, "2"],
    "one term": ["1", "10", "100"],
    "other digits": ["٣, ٤, ٥", "１, ２"],
    "line breaks": ["1\n2\n3", "1\t2"],
}


@ENTRIES
@pytest.mark.parametrize("n", [1, 2, 7, 24])
def test_one_finite_row_a_text(entry: Baseline, n: int) -> None:
    matrix = entry.function(TEXTS[:n])
    assert matrix.shape == (n, matrix.shape[1])
    assert matrix.shape[1] >= 1
    assert matrix.dtype == np.float32
    assert np.isfinite(matrix).all()


@ENTRIES
def test_the_same_texts_give_the_same_rows(entry: Baseline) -> None:
    assert (entry.function(TEXTS) == entry.function(list(TEXTS))).all()


@ENTRIES
def test_rows_follow_their_texts(entry: Baseline) -> None:
    order = np.random.default_rng(0).permutation(len(TEXTS))
    assert entry.function([TEXTS[i] for i in order]) == pytest.approx(entry.function(TEXTS)[order], abs=1e-6)


@pytest.mark.parametrize("entry", [entry for entry in BASELINES if entry.name not in FITTED], ids=lambda e: e.name)
def test_a_row_does_not_depend_on_the_other_texts(entry: Baseline) -> None:
    alone = np.concatenate([entry.function([text]) for text in TEXTS])
    assert (alone == entry.function(TEXTS)).all()


@ENTRIES
def test_equal_texts_have_equal_rows(entry: Baseline) -> None:
    matrix = entry.function([TEXTS[3], TEXTS[5], TEXTS[3]])
    assert (matrix[0] == matrix[2]).all()


@ENTRIES
def test_the_papers_sequences_are_distinguished(entry: Baseline) -> None:
    assert len(np.unique(entry.function(TEXTS), axis=0)) > 1


@ENTRIES
@pytest.mark.parametrize("kind", ODD_TEXTS)
def test_odd_texts_have_finite_rows(entry: Baseline, kind: str) -> None:
    matrix = entry.function(ODD_TEXTS[kind])
    assert matrix.shape[0] == len(ODD_TEXTS[kind])
    assert np.isfinite(matrix).all()


@ENTRIES
def test_every_family_has_finite_rows(entry: Baseline) -> None:
    texts = [", ".join(map(str, family(name).terms(0, 50))) for name in FAMILIES.names]
    assert np.isfinite(entry.function(texts)).all()


@ENTRIES
def test_a_baseline_is_a_model_with_a_key_and_a_help_text(entry: Baseline) -> None:
    spec = model(entry.name)
    assert spec.is_baseline and spec.resolved
    assert spec.name == entry.title
    assert entry.summary.endswith(".")


def test_no_two_baselines_share_a_key() -> None:
    assert len({model(name).key for name in BASELINES.names}) == len(BASELINES)


def test_the_rows_are_what_their_help_says() -> None:
    text = "10, 11, 13, 7, 7, 100"
    by_name = {entry.name: entry.function([text])[0] for entry in BASELINES}
    last = np.array([2, 1, 0, 1, 0, 0, 0, 2, 0, 0])
    assert by_name["last_digits"] == pytest.approx(last / np.linalg.norm(last))
    steps = np.zeros(13)
    steps[[2, 3, 0, 1, 12]] = 1  # +1, +2, −6, 0, +93
    assert by_name["first_differences"] == pytest.approx(steps / np.linalg.norm(steps))
    assert by_name["digit_counts"] == pytest.approx(np.array([3, 5, 0, 1, 0, 0, 0, 2, 0, 0]) / 11)
    assert by_name["string_length"].tolist() == [len(text)]
    assert by_name["log_magnitude"][[0, -1]] == pytest.approx(np.log10([11, 101]))
    assert np.linalg.norm(by_name["random_vectors"]) == pytest.approx(1)
