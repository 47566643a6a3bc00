"""Ten thousand shuffles of many sequences at once: labels shifted along cycles, all steps of a cycle together.

The sequences lie on a cycle in random order and their labels are carried along it: each step is one shuffle. The summed
distances of a sequence to a family in all these shuffles are one circular correlation, by one FFT. Where families
change places only inside groups of the same make-up, the cycle is a torus: all groups one way, the places in a group
the other.

As the order is random, two steps of a cycle have no more in common than any two shuffles. Even where they had, the test
would be exact: the first cycle holds the observed labels and, a random number of steps away, a hub, through which all
further cycles run; seen from the hub, the observed labels might have been any other step of any cycle.
Besag and Clifford 1989 (their parallel method).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.inference.permuted_scores import part_of, worst_pairs
from numembed.analysis.preparation import ONE_CENTRE, counts_of
from numembed.core.progress import Progress, silent

Doubles = NDArray[np.float64]
Reals = NDArray[np.floating]
Spectrum = NDArray[np.complexfloating]
_STRETCH_NUMBERS = 1 << 16  # numbers of one group's means handled at once: stay in the processor's cache
_FAR = np.float32(1e30)  # farther than any mean of rescaled vectors
_SAME = 1e-7  # as a share of the mean distance: what is left between equal vectors
_ROUNDING = 1e-10  # as a share of the mean distance: what a transform does not tell from nothing
_A_FEW = 16  # rows, whose median stands for that of all
_OUTLYING = 100  # times the median: a number so large drowns the digits of the others in single precision


@dataclass(frozen=True)
class Cycle:
    """Sequences on a cycle (n,) or on a torus (places in a group, groups), and the labels that the hub gives them."""

    order: NDArray[np.intp]  # the sequence at each place
    labels: NDArray[np.integer]  # the hub's label at each place, from 0 to k − 1
    counted: NDArray[np.bool_]  # whether the labels carried so many places are a shuffle: neither hub nor observed


def same_make_up(own: NDArray[np.integer], strata: NDArray[np.integer]) -> bool:
    """Return whether all groups of ``strata`` (n,) hold as many sequences of each family of ``own`` (n,)."""
    counts = counts_of(strata, own)
    return bool((counts == counts[0]).all())


def cycles(own: NDArray[np.integer], strata: NDArray[np.integer], rounds: int, *, seed: int = 0) -> list[Cycle]:
    """Return cycles with at least ``rounds`` shuffles of the labels ``own`` (n,) inside each group of ``strata`` (n,).

    Labels and groups are counted from 0, and all groups have the :func:`same_make_up`.
    """
    groups = [np.flatnonzero(strata == group) for group in range(int(strata.max()) + 1)]
    drawn = np.random.default_rng(seed)
    made = [_first(own, _order(groups, drawn), drawn)]
    hub = np.empty_like(own)
    hub[made[0].order] = made[0].labels
    while sum(int(cycle.counted.sum()) for cycle in made) < rounds:
        order = _order(groups, drawn)
        counted = np.ones(order.shape, dtype=np.bool_)
        counted.flat[0] = False
        made.append(Cycle(order, hub[order], counted))
    return made


def _order(groups: list[NDArray[np.intp]], drawn: np.random.Generator) -> NDArray[np.intp]:
    mixed = np.stack([drawn.permutation(groups[at]) for at in drawn.permutation(len(groups))], axis=1)
    return mixed[:, 0] if len(groups) == 1 else mixed


def _first(own: NDArray[np.integer], order: NDArray[np.intp], drawn: np.random.Generator) -> Cycle:
    """Return the cycle through the observed labels; the hub lies a random number of steps away."""
    steps = [int(step) for step in np.unravel_index(drawn.integers(1, order.size), order.shape)]
    counted = np.ones(order.shape, dtype=np.bool_)
    counted.flat[0] = counted[tuple(-step for step in steps)] = False
    hub = np.roll(own[order], [-step for step in steps], axis=tuple(range(order.ndim)))
    return Cycle(order, hub, counted)


def cyclic_silhouettes(
    distances: NDArray[np.float32], items: Sequence[Cycle], *, by_group: bool = False, progress: Progress = silent
) -> Doubles:
    """Return the silhouettes (b,) of all shuffles of some cycles from the distances (n, n), 0 to themselves.

    ``by_group``: the mean silhouette of each of k groups instead, (b, k).
    """
    equal = distances <= _SAME * distances.mean()
    outlier = distances.max() > _OUTLYING * np.median(distances[:: len(distances) // _A_FEW + 1])
    smallest = np.bincount(items[0].labels.ravel()).min()
    single = not outlier and equal.sum(axis=1).max() < smallest  # no group may lie on one point
    table = distances if single else np.where(equal, 0, distances.astype(np.float64))
    parts = [part_of(progress, at, len(items)) for at in range(len(items))]
    pairs = zip(items, parts, strict=True)
    return np.concatenate([_silhouettes(table, cycle, part, by_group=by_group) for cycle, part in pairs])


def _silhouettes(table: Reals, cycle: Cycle, progress: Progress, *, by_group: bool) -> Doubles:
    sizes = np.bincount(cycle.labels.ravel())
    totals = np.zeros((len(sizes) if by_group else 1, *cycle.order.shape))
    least, shares = table.dtype.type(_ROUNDING * table.mean()), _shares(cycle, table.dtype)
    for _, rows, own in _stretches(table, cycle, progress):
        inside, nearest = np.zeros_like(rows), np.full_like(rows, _FAR)
        for group, means in enumerate(_means(rows, shares)):
            member = (own == group).astype(rows.dtype)
            mine = means * member
            mine *= float(sizes[group] / max(sizes[group] - 1, 1))  # itself does not count
            inside += mine
            member *= _FAR
            means += member
            np.minimum(nearest, means, out=nearest)
        widest = np.maximum(np.maximum(inside, nearest), least)
        nearest -= inside
        nearest /= widest
        if sizes.min() == 1:
            nearest[sizes[own] == 1] = 0
        for group, total in enumerate(totals):
            total += (nearest * (own == group) if by_group else nearest).sum(axis=0)
    if by_group:
        return np.asarray(totals[:, cycle.counted] / sizes[:, None]).T
    return np.asarray(totals[0][cycle.counted] / cycle.order.size)


def cyclic_davies_bouldin(rows: Doubles, items: Sequence[Cycle], *, progress: Progress = silent) -> Doubles:
    """Return the Davies–Bouldin indices of all shuffles of some cycles, of vectors (n, d) around their mean."""
    dots = rows @ rows.T
    parts = [part_of(progress, at, len(items)) for at in range(len(items))]
    return np.concatenate([_davies_bouldin(rows, dots, cycle, part) for cycle, part in zip(items, parts, strict=True)])


def _davies_bouldin(rows: Doubles, dots: Doubles, cycle: Cycle, progress: Progress) -> Doubles:
    sizes, lengths, shares = np.bincount(cycle.labels.ravel()), np.diagonal(dots), _shares(cycle, rows.dtype)
    squares, gaps = _centres(rows, cycle, shares)
    widths = [np.zeros(cycle.order.shape) for _ in sizes]
    for places, some, own in _stretches(dots, cycle, progress):
        apart = np.repeat(lengths[places], cycle.order.size).reshape(own.shape)
        for group, means in enumerate(_means(some, shares)):
            means *= -2
            means += squares[group]
            means *= own == group
            apart += means
        np.sqrt(np.maximum(apart, 0, out=apart), out=apart)
        for group, size in enumerate(sizes):
            widths[group] += np.einsum("i...,i...->...", apart, (own == group).astype(np.float64)) / size
    return worst_pairs(widths, gaps, ONE_CENTRE * float(np.abs(rows).max()))[cycle.counted]


def _centres(
    rows: Doubles, cycle: Cycle, shares: list[Spectrum]
) -> tuple[list[Doubles], dict[tuple[int, int], Doubles]]:
    """Return the squared lengths of the groups' centres and the gaps between each two, in all shuffles."""
    shape, step = cycle.order.shape, max(1, _STRETCH_NUMBERS // len(rows))
    squares, order = [np.zeros(shape) for _ in shares], cycle.order.ravel()
    gaps = {pair: np.zeros(shape) for pair in combinations(range(len(shares)), 2)}
    for start in range(0, rows.shape[1], step):
        coordinates = np.ascontiguousarray(rows[order, start : start + step].T).reshape(-1, *shape)
        centres = list(_means(coordinates, shares))
        for square, centre in zip(squares, centres, strict=True):
            square += np.einsum("i...,i...->...", centre, centre)
        for (one, other), gap in gaps.items():
            between = centres[one] - centres[other]
            gap += np.einsum("i...,i...->...", between, between)
    return squares, {pair: np.sqrt(gap) for pair, gap in gaps.items()}


def _stretches(
    table: Reals, cycle: Cycle, progress: Progress
) -> Iterator[tuple[NDArray[np.intp], Reals, NDArray[np.integer]]]:
    """Yield some sequences, their rows of the table in the cycle's order, and their labels in all shuffles."""
    n, shape, order = cycle.order.size, cycle.order.shape, cycle.order.ravel()
    narrow = cycle.labels.astype(np.min_scalar_type(int(cycle.labels.max())))
    steps = np.lib.stride_tricks.sliding_window_view(np.tile(narrow, (2,) * len(shape)), shape)
    step = max(1, _STRETCH_NUMBERS // n)
    for start in range(0, n, step):
        places = order[start : start + step]
        rows = table[places].take(order, axis=1).reshape(-1, *shape)  # row by row in memory, unlike [:, order]
        yield places, rows, steps[np.unravel_index(np.arange(start, start + len(places)), shape)]
        progress(start + len(places), n, "score")


def _shares(cycle: Cycle, precision: np.dtype[np.floating]) -> list[Spectrum]:
    """Return the transform of each group's part of itself that lies at each place."""
    from scipy.fft import rfftn

    members = [cycle.labels == group for group in range(int(cycle.labels.max()) + 1)]
    return [rfftn((member / member.sum()).astype(precision)) for member in members]


def _means(rows: Reals, shares: list[Spectrum]) -> Iterator[Reals]:
    """Yield for each group the means (s, *cycle) over its members of each of s rows, in all shuffles."""
    from scipy.fft import irfftn, rfftn

    axes = tuple(range(1, rows.ndim))
    turned = np.conj(rfftn(rows, axes=axes))
    for share in shares:
        yield irfftn(turned * share, s=rows.shape[1:], axes=axes, overwrite_x=True)
