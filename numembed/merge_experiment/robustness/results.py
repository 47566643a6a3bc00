"""Robustness of the named models of an experiment: each model under each change, and the models compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numembed.analysis.inference.power import smallest_change
from numembed.core.significance import LEVEL

LINE = "straight_line"  # beside rows of KINDS: LoRA, scaled until it retains as much as SLERP to the base
ROWS: Mapping[str, str] = {  # the named models, in the order in which they are shown
    "base": "the base",
    "lora": "LoRA",
    "soup": "the soup",
    "slerp_base": "SLERP to the base",
    LINE: "the straight line",
}
CHANGES: Mapping[str, str] = {  # groups of perturbations that ask something of a model
    "text": "notation",
    "digits": "digits",
    "order": "order",
    "place": "place of the windows",
    "data": "length and errors",
    "model": "prompt and precision",
}


@dataclass(frozen=True)
class Variant:
    """One variant of a perturbation."""

    perturbation: str
    options: Mapping[str, Any]
    group: str  # of CHANGES
    note: str = ""  # why it is left out; "" where it counts


@dataclass(frozen=True)
class NamedModel:
    """One named model and its silhouette under every variant that counts."""

    row: str  # of ROWS
    title: str
    path: str  # id of its Path
    at: float  # t or the scale
    retention: float  # between two scored points interpolated
    before: float  # silhouette before anything is changed
    after: tuple[float, ...]  # of each variant that counts
    p: float = math.nan  # of ``before`` against shuffled families: the smaller one, free or within windows


@dataclass(frozen=True)
class Change:
    """How far one kind of change moves the silhouette of a row of models; NaN where undefined."""

    row: str
    group: str
    mean: float  # over the row's models, of the mean over the perturbations of the kind
    low: float  # 95% interval
    high: float


@dataclass(frozen=True)
class RobustnessDifference:
    """Two rows under one kind of change: how much less the silhouette of the first falls than that of the second."""

    a: str  # rows of ROWS
    b: str
    group: str
    difference: float  # change of the first minus change of the second
    low: float  # 95% interval
    high: float
    p: float
    p_holm: float  # adjusted for all pairs and kinds
    over: str  # "3 seeds and 24 sequences": what the interval is over
    sd: float  # standard deviation of the pseudo-values of the sequences
    sequences: int
    seed_sd: float  # standard deviation of the difference over the seeds; NaN where it counts for nothing
    seeds: int  # that the interval is over; 0: these adapters only

    @property
    def distinguishable(self) -> bool:
        """True where the interval excludes 0, also after the adjustment."""
        return self.p_holm <= LEVEL and not self.low <= 0 <= self.high

    @property
    def errors(self) -> tuple[tuple[float, int], ...]:
        """The standard errors that make the interval, each with its degrees of freedom: sequences, then seeds."""
        of_sequences = (self.sd / math.sqrt(self.sequences), self.sequences - 1) if self.sequences else (math.nan, 0)
        of_seeds = (self.seed_sd / math.sqrt(self.seeds), self.seeds - 1) if self.seeds else (math.nan, 0)
        return tuple(one for one in (of_sequences, of_seeds) if math.isfinite(one[0]))


@dataclass(frozen=True)
class Robustness:
    """What changes of the texts do to the named models of an experiment."""

    split: str  # the evaluation that was changed
    variants: tuple[Variant, ...]  # all; those with a note are left out
    models: tuple[NamedModel, ...]
    changes: tuple[Change, ...]
    differences: tuple[RobustnessDifference, ...]
    sentences: tuple[str, ...] = ()  # the answer, then a sentence for each pair

    def smallest_seen(self, one: RobustnessDifference) -> float | None:
        """Return the smallest true difference that a comparison finds in four cases of five, among all of them.

        From the width of its interval, as if that were of a normal error.
        """
        return smallest_change(one.low, one.high, comparisons=sum(math.isfinite(other.p) for other in self.differences))

    @property
    def counted(self) -> tuple[Variant, ...]:
        """The variants that count, in the order of ``after`` of each model."""
        return tuple(one for one in self.variants if not one.note)

    @property
    def groups(self) -> tuple[str, ...]:
        """The kinds of change of which a variant counts."""
        there = {one.group for one in self.counted}
        return tuple(group for group in CHANGES if group in there)

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows that have models, in the order of ROWS."""
        there = {one.row for one in self.models}
        return tuple(row for row in ROWS if row in there)

    def of(self, row: str) -> tuple[NamedModel, ...]:
        """Return the models of a row."""
        return tuple(one for one in self.models if one.row == row)
