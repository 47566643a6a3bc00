"""Paths of a merging experiment held against each other where they retain equally much of the base.

Two paths are read off at the same retention and never at the same t: at each of a few levels that both reach, the
separability is interpolated along either path (the mean, where a path comes by more than once: the better one would
favour whatever turns back). The interval holds two errors at once, of the seeds and of the sequences left out one by
one: the square root of the sum of the squares of their own two intervals, which nowhere holds less than it says, while
one error with degrees of freedom after Welch and Satterthwaite would where the seeds vary most. It is as much wider as
the straight lines between candidates may be off. Where all seeds are compared with one model, their spread says
nothing of it: the sequences' error alone is told, for these adapters. Retention itself is taken as it is, as both paths
are judged by the same sentences.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from numembed.analysis.similarity import ROUNDING
from numembed.core.significance import holm
from numembed.core.wording import decimal, listed, span
from numembed.merge_experiment.combined_estimate import FEWEST_SEEDS, Doubles, estimated
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate, Comparison

Arms = Sequence[Candidate]
SPLITS = {
    "reserved": "windows of the training families that training never saw",
    "paper": "the paper's 24 sequences",
    "later": "later windows of the paper's families",
    "new": "families that training never saw",
}
MORE = (  # beside each path and its control
    ("slerp_task", "linear"),
    ("slerp", "norm_matched_weights"),
    ("slerp_base", "norm_matched_base"),
    ("karcher", "soup_norm_weights"),
    ("karcher_task", "soup_norm"),
)
_ALIKE = 1e-3  # within which two single models retain equally much
_SMALL = 1 / 3  # of the paths' ranges of retention: where they have less in common, that is said
_LEVELS = 5  # of retention


@dataclass(frozen=True, eq=False)
class _Read:
    """What is read off a path at one retention."""

    separability: float
    without: Doubles  # (n,) the same without each sequence
    bend: float  # about how far the curve leaves the straight line between the two nearest candidates


@dataclass(frozen=True, eq=False)
class _Curve:
    """One path: m candidates with their retention, separability, and the latter without each of n sequences."""

    retention: Doubles  # (m,)
    separability: Doubles  # (m,)
    without: Doubles  # (m, n)

    def at(self, level: float) -> _Read:
        """Return what the path has at this retention; where it comes by more than once, the mean of all times."""
        readings, last = [], len(self.retention) - 1
        if not last:
            return _Read(float(self.separability[0]), self.without[0], 0.0)
        for i in range(max(1, last)):
            j = min(i + 1, last)
            low, high = sorted((self.retention[i], self.retention[j]))
            if low <= level <= high and (level != self.retention[j] or j == last or low == high):  # each candidate once
                share = (level - self.retention[i]) / (self.retention[j] - self.retention[i]) if high > low else 0.0
                mixed = (1 - share) * self.separability[i] + share * self.separability[j]
                without = (1 - share) * self.without[i] + share * self.without[j]
                readings.append(_Read(float(mixed), without, self._bend(i, share) if high > low else 0.0))
        return _Read(
            float(np.mean([one.separability for one in readings])),
            np.mean([one.without for one in readings], axis=0),
            float(np.mean([one.bend for one in readings])),
        )

    def _bend(self, i: int, share: float) -> float:
        """Return about how far the curve leaves the straight line between candidates i and i + 1 there."""
        places = [place for place in (i, i + 1) if 0 < place < len(self.retention) - 1]
        if not places:
            return 0.0
        bent = [np.mean([row[k - 1] - 2 * row[k] + row[k + 1] for k in places]) for row in self._rows]
        steps = [row[i + 1] - row[i] for row in self._rows]
        off = float(bent[1] - steps[1] / steps[0] * bent[0]) * share * (1 - share) / 2
        most = max(abs(float(steps[1])), abs(float(bent[1])))  # where retention hardly changes the slope says nothing
        return min(most, max(-most, -off))

    @property
    def _rows(self) -> tuple[Doubles, Doubles]:
        return self.retention, self.separability


def compare_at_equal_retention(
    a: Sequence[Arms], b: Sequence[Arms], *, split: str, names: tuple[str, str] = ("the first", "the second")
) -> Comparison:
    """Return how much better paths ``a`` separate a split than paths ``b`` where both retain equally much of the base.

    Each holds one path for every seed or pair of seeds: as many and in the same order, or one of them only one, and
    then nothing is said of other seeds.
    NaN with a sentence where their retentions never meet.
    """
    curves = [[_curve(candidates, split) for candidates in paths] for paths in (a, b)]
    pairs = _paired(*curves)
    texts = [_title(name) for name in names]
    gaps, without, bends, levels = [], [], [], []
    for one, other in pairs:
        shared = _levels(one, other)
        if not shared:
            continue
        read = [(one.at(level), other.at(level)) for level in shared]
        gaps.append(float(np.mean([mine.separability - theirs.separability for mine, theirs in read])))
        without.append(np.mean([mine.without - theirs.without for mine, theirs in read], axis=0))
        bends.append(float(np.mean([mine.bend - theirs.bend for mine, theirs in read])))
        levels += shared
    text_of = _text_of(names[0], 1 if min(len(a), len(b)) == 1 else len(gaps))
    mean, low, high, p = estimated(
        gaps, without, bend=float(np.mean(bends)) if bends else 0.0, pairs=_shares(names), seeds=bool(text_of)
    )
    reached = (min(levels), max(levels)) if levels else ()
    over = f"{text_of}{len(without[0])} sequences" if gaps else ""
    comparison = Comparison(*names, split, reached, mean, low, high, p, p, over, "")
    return replace(comparison, sentence=_sentence(comparison, texts, curves))


def comparisons_of(result: ExperimentResult) -> tuple[Comparison, ...]:
    """Return every path against its control on every split, p values adjusted for their number on that split."""
    wanted = [(row.name, row.control) for row in KINDS.values() if row.control]
    there = {(a, b): held for a, b in (*wanted, *MORE) if all(held := _held(result, a, b))}
    comparisons: list[Comparison] = []
    for split in result.experiment.splits:
        plain = [compare_at_equal_retention(*held, split=split, names=names) for names, held in there.items()]
        adjusted = holm([None if math.isnan(one.p) else one.p for one in plain])
        for ((a, b), held), one, p in zip(there.items(), plain, adjusted, strict=True):
            curves = [[_curve(candidates, split) for candidates in paths] for paths in held]
            one = replace(one, p_holm=math.nan if p is None else p)
            comparisons.append(replace(one, sentence=_sentence(one, [_title(a), _title(b)], curves)))
    return tuple(comparisons)


def _held(result: ExperimentResult, a: str, b: str) -> tuple[tuple[Arms, ...], tuple[Arms, ...]]:
    """Return the paths of two rows; of rows drawn for the same seeds those whose partner was scored, side by side."""
    if KINDS[a].of != KINDS[b].of:
        return result.of(a), result.of(b)
    one, other = (
        {
            path.id.removeprefix(name): candidates
            for path in result.experiment.drawn
            if path.name == name and (candidates := result.path(path.id))
        }
        for name in (a, b)
    )
    both = [seeds for seeds in one if seeds in other]
    return tuple(one[seeds] for seeds in both), tuple(other[seeds] for seeds in both)


def _curve(candidates: Arms, split: str) -> _Curve:
    scored = [
        candidate
        for candidate in candidates
        if math.isfinite(candidate.retention.spearman) and _defined(candidate, split)
    ]
    width = len(scored[0].splits[split].without) if scored else 0
    return _Curve(
        np.array([candidate.retention.spearman for candidate in scored], dtype=np.float64),
        np.array([candidate.splits[split].silhouette for candidate in scored], dtype=np.float64),
        np.array([candidate.splits[split].without for candidate in scored], dtype=np.float64).reshape(
            len(scored), width
        ),
    )


def _defined(candidate: Candidate, split: str) -> bool:
    return split in candidate.splits and math.isfinite(candidate.splits[split].silhouette)


def _paired(a: Sequence[_Curve], b: Sequence[_Curve]) -> list[tuple[_Curve, _Curve]]:
    if len(a) == 1 or len(b) == 1:
        return [(one, other) for one in a for other in b]
    return list(zip(a, b, strict=False))


def _levels(one: _Curve, other: _Curve) -> list[float]:
    """Return the retentions at which both can be read off; none where they never meet.

    Two single models are held against each other where they retain equally much but for 0.001.
    """
    if not len(one.retention) or not len(other.retention):
        return []
    if len(one.retention) == len(other.retention) == 1:
        middle = float(one.retention[0] + other.retention[0]) / 2
        return [middle] if abs(one.retention[0] - other.retention[0]) < _ALIKE else []
    low = float(max(one.retention.min(), other.retention.min()))
    high = float(min(one.retention.max(), other.retention.max()))
    if low > high:
        return []
    if high - low < ROUNDING:
        return [high]
    return [low + (high - low) * (step + 1) / (_LEVELS + 1) for step in range(_LEVELS)]


def _shares(names: tuple[str, str]) -> bool:
    return any(name in KINDS and KINDS[name].of == "pair" for name in names)


def _text_of(name: str, count: int) -> str:
    """Return the seeds for which a statement holds, as the beginning of what it is over; "" where only for these."""
    word = "pairs of seeds" if name in KINDS and KINDS[name].of == "pair" else "seeds"
    return f"{count} {word} and " if count >= FEWEST_SEEDS else ""


def _sentence(one: Comparison, items: Sequence[str], curves: Sequence[Sequence[_Curve]]) -> str:
    """Return what may be said of a comparison, and how little of the paths it is about where that is so."""
    return f"{_said(one, items, curves)}{_small_part(one, curves)}"


def _small_part(one: Comparison, curves: Sequence[Sequence[_Curve]]) -> str:
    """Return a sentence where the paths retain equally much on a small part of their ways alone; "" elsewhere."""
    swept = [pair for pair in _paired(*curves) if all(len(curve.retention) > 1 for curve in pair)]
    if math.isnan(one.difference) or not swept:
        return ""
    shares = [_common(*pair) for pair in swept]
    if float(np.mean([share for share, _, _ in shares])) >= _SMALL:
        return ""
    low, high = (float(np.mean([part[place] for part in shares if part[0] > 0] or [math.nan])) for place in (1, 2))
    where = "" if math.isnan(low) else f", on average from {span(low, high, 3)}"
    rows = [KINDS.get(name) for name in (one.a, one.b)]
    ends = all(row is not None and row.of in ("pair", "stages") and row.sweeps == "t" for row in rows)
    shared = " They start and end at the same two models, near which that is." if ends else ""
    ranges = listed(list(map(_range, curves)))
    return f" They retain equally much on a small part of their ways ({ranges}) only{where}: it says little.{shared}"


def _common(one: _Curve, other: _Curve) -> tuple[float, float, float]:
    """Return which part of all retentions that two paths reach they have in common: its share, lowest and highest."""
    both = (one.retention, other.retention)
    low, high = max(float(each.min()) for each in both), min(float(each.max()) for each in both)
    reach = max(float(each.max()) for each in both) - min(float(each.min()) for each in both)
    return (max(0.0, high - low) / reach if reach > ROUNDING else 1.0), low, high


def _said(one: Comparison, items: Sequence[str], curves: Sequence[Sequence[_Curve]]) -> str:
    where = SPLITS.get(one.split, one.split)
    if math.isnan(one.difference):
        ranges = listed(list(map(_range, curves)))
        return (
            f"{items[0]} and {items[1]} never retain equally much of the base on the way ({ranges}), so that they "
            "cannot be compared."
        )
    at = f"On {where}, at equal retention,"
    gap = decimal(abs(one.difference), 3)
    if math.isnan(one.low):
        return f"{at} {items[0]} and {items[1]} differ by {gap}; its uncertainty is unknown."
    nothing = max(abs(one.difference), (one.high - one.low) / 2) < 5e-4  # 0.000 ± 0.000 would read like an error
    margin = "less than 0.001" if nothing else f"{gap} ± {half(one.low, one.high)}"
    seeds = "" if "seeds" in one.over else " for these adapters; other seeds may differ"
    if not one.distinguishable and not one.low <= 0 <= one.high:
        return (
            f"{at} {items[0]} and {items[1]} differ by {margin}; not significant after adjusting for all comparisons."
        )
    if not one.distinguishable:
        return f"{at} {items[0]} and {items[1]} differ by {margin}: no difference seen{seeds}."
    better, other = items if one.difference > 0 else items[::-1]
    return f"{at} {better} separates better than {other} by {margin}{seeds}."


def _range(curves: Sequence[_Curve]) -> str:
    known = np.concatenate([curve.retention for curve in curves]) if curves else np.zeros(0)
    return span(known.min(), known.max()) if len(known) else "unknown"


def _title(name: str) -> str:
    return KINDS[name].title if name in KINDS else name


def half(low: float, high: float) -> str:
    """Return half the width of an interval in words."""
    return decimal((high - low) / 2, 3)
