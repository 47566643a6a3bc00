"""How far each kind of change moves the score of the named models, and which models it moves less.

A kind counts each of its perturbations once, whatever its number of variants. Two models are compared on the same
changed sequences, each left out of both at once, and seed by seed where both have seeds (see decision 026).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from numembed.core.significance import holm
from numembed.merge_experiment.comparisons import FEWEST_SEEDS, estimated
from numembed.merge_experiment.robustness.results import CHANGES, LINE, ROWS, Change, RobustnessDifference, Variant

Doubles = NDArray[np.float64]
PAIRS = (
    ("slerp_base", LINE),
    ("slerp_base", "lora"),
    ("slerp_base", "soup"),
    ("slerp_base", "base"),
    ("soup", "lora"),
    ("soup", "base"),
    ("lora", "base"),
)
_OF_ALL_SEEDS = "soup"  # held against it, seeds say nothing about other seeds


@dataclass(frozen=True, eq=False)
class Measured:
    """The silhouette of one named model before and after each variant that counts."""

    row: str
    seed: int | None
    before: float
    without_before: Doubles  # (n,) without each sequence in turn
    after: Doubles  # (m,)
    without_after: Doubles  # (m, n)

    @property
    def whole(self) -> Doubles:
        """The change under each variant, (m, 1 + n): of all sequences, then without each in turn."""
        before = np.concatenate([[self.before], self.without_before])
        changes: Doubles = np.column_stack([self.after, self.without_after]) - before
        return changes


def changes_of(measured: Sequence[Measured], variants: Sequence[Variant]) -> tuple[Change, ...]:
    """Return how far each kind of change moves each row of models, with 95% intervals."""
    found = []
    for row in ROWS:
        own = [one for one in measured if one.row == row]
        for group, weights in _weights(variants).items() if own else ():
            moved = [weights @ one.whole for one in own]
            mean, low, high, _ = estimated([float(one[0]) for one in moved], [one[1:] for one in moved])
            found.append(Change(row, group, mean, low, high))
    return tuple(found)


def differences_of(measured: Sequence[Measured], variants: Sequence[Variant]) -> tuple[RobustnessDifference, ...]:
    """Return each pair of rows under each kind of change, p values adjusted for all of them together."""
    by_row = {row: {one.seed: one for one in measured if one.row == row} for row in ROWS}
    found = [
        _difference(a, b, group, [weights @ (one.whole - other.whole) for one, other in pairs])
        for a, b in PAIRS
        if (pairs := _pairs(by_row[a], by_row[b]))
        for group, weights in _weights(variants).items()
    ]
    adjusted = holm([None if math.isnan(one.p) else one.p for one in found])
    return tuple(replace(one, p_holm=math.nan if p is None else p) for one, p in zip(found, adjusted, strict=True))


def _pairs(a: Mapping[int | None, Measured], b: Mapping[int | None, Measured]) -> list[tuple[Measured, Measured]]:
    """Return the models of two rows that are compared: of the same seed, or each with the only one."""
    if None in a or None in b:
        return [(one, other) for one in a.values() for other in b.values()]
    return [(a[seed], b[seed]) for seed in a if seed in b]


def _difference(a: str, b: str, group: str, gaps: Sequence[Doubles]) -> RobustnessDifference:
    count = 0 if _OF_ALL_SEEDS in (a, b) or len(gaps) < FEWEST_SEEDS else len(gaps)
    whole, without = [float(one[0]) for one in gaps], [one[1:] for one in gaps]
    mean, low, high, p = estimated(whole, without, seeds=bool(count))
    n, left_out = len(without[0]), np.mean(without, axis=0)
    over = f"{count} seeds and {n} sequences" if count else f"{n} sequences"
    spread = (n - 1) * float(left_out.std(ddof=1)) if n > 1 else math.nan
    of_seeds = float(np.std(whole, ddof=1)) if count else math.nan
    return RobustnessDifference(a, b, group, mean, low, high, p, p, over, spread, n, of_seeds, count)


def _weights(variants: Sequence[Variant]) -> dict[str, Doubles]:
    """Return the share (m,) of each variant in the mean of each kind: perturbations alike, then their variants."""
    names = [one.perturbation for one in variants]
    shares = {}
    for group in CHANGES:
        own = [one.perturbation for one in variants if one.group == group]
        if own:
            each = 1 / len(set(own))
            row = [each / names.count(one.perturbation) if one.group == group else 0.0 for one in variants]
            shares[group] = np.array(row)
    return shares
