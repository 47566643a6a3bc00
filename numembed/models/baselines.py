"""Baselines: trivial embeddings that show what a score is worth. No network, no weights.

Each takes the texts and answers with one row a text. They read the numbers back out of the text, so
they are diagnostics of the task, not rival text encoders. They cost less than a look into the store
and are therefore never stored. The fact ``does`` says in words what one does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from numembed.core.arrays import Matrix, unit_rows
from numembed.core.registry import Registry

BASELINES: Registry[Callable[[Sequence[str]], Matrix]] = Registry("baseline")

_NUMBER = re.compile(r"-?[0-9]+")


@BASELINES.register("Random vectors", chance=True)
def random_vectors(texts: Sequence[str]) -> Matrix:
    """384 random coordinates drawn from the text itself: what pure chance looks like."""
    seeds = (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts)
    return _unit([np.random.default_rng(seed).standard_normal(384) for seed in seeds])


@BASELINES.register("Character n-grams", does="counting runs of characters")
def char_ngrams(texts: Sequence[str]) -> Matrix:
    """TF-IDF of runs of one to three characters, fitted on the very texts that are compared."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    table = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), max_features=4096).fit_transform(texts)
    return np.asarray(table.toarray(), dtype=np.float32)


@BASELINES.register("Last digits", does="counting last digits")
def last_digits(texts: Sequence[str]) -> Matrix:
    """Ten counts: how often the numbers end in 0, 1, … 9."""
    return _unit([np.bincount([int(number[-1]) for number in _NUMBER.findall(t)], minlength=10) for t in texts])


@BASELINES.register("First differences", does="counting first differences")
def first_differences(texts: Sequence[str]) -> Matrix:
    """Thirteen counts: how often neighbours differ by −1 or less, 0, 1, … 10, 11 or more."""
    return _unit([np.bincount(_steps(_NUMBER.findall(t)), minlength=13) for t in texts])


@BASELINES.register("Digits", does="counting digits")
def digit_counts(texts: Sequence[str]) -> Matrix:
    """Ten shares: which part of all digits is a 0, a 1, … a 9."""
    counts = np.array([[text.count(digit) for digit in "0123456789"] for text in texts], dtype=np.float64)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), dtype=np.float32)


@BASELINES.register("Log magnitude", does="looking at the size of the numbers only")
def log_magnitude(texts: Sequence[str]) -> Matrix:
    """Sixteen sizes: the number of digits (log10) at even steps through the sequence."""
    rows = []
    for text in texts:
        sizes = [_log10(number) for number in _NUMBER.findall(text)] or [0.0]
        rows.append(np.interp(np.linspace(0, len(sizes) - 1, 16), np.arange(len(sizes)), sizes))
    return np.asarray(rows, dtype=np.float32).reshape(len(texts), 16)


@BASELINES.register("String length", does="looking at the length of the text only")
def string_length(texts: Sequence[str]) -> Matrix:
    """One number: how many characters the text has."""
    return np.array([[len(text)] for text in texts], dtype=np.float32).reshape(len(texts), 1)


def _unit(rows: Sequence[NDArray[np.generic]]) -> Matrix:
    return np.asarray(unit_rows(np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)), dtype=np.float32)


def _steps(numbers: Sequence[str]) -> list[int]:
    values = [int(number) for number in numbers]
    return [min(max(after - before, -1), 11) + 1 for before, after in pairwise(values)]


def _log10(number: str) -> float:
    digits = number.lstrip("-")
    return len(digits) - 1 + float(np.log10(1 + int(digits[:15]))) - len(digits[:15]) + 1
