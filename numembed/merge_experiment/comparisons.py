"""Paths of a merging experiment compared at equal retention: how much better one separates families than another.

Two paths are compared at the same retention and never at the same t. At each of a few levels that both reach, the
silhouette is interpolated along either path; where a path reaches a level more than once, the mean counts, because
the better value would favour paths that turn back.

The interval combines two errors: of the seeds, and of the sequences, each left out in turn. Its half-width is the
square root of the sum of the squares of both half-widths. This is conservative everywhere, unlike one error with
degrees of freedom after Welch and Satterthwaite when the seeds vary most. It is widened by what linear interpolation
between candidates may add. Where all seeds are compared with one model, their spread is no error of the difference: the
interval is then over the sequences only, for these adapters. Retention counts as exact, because both paths are judged
by the same texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.similarity import ROUNDING
from numembed.core.significance import LEVEL, holm
from numembed.core.wording import decimal, listed, span
from numembed.merge_experiment.experiment import ExperimentResult
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.results import Candidate, Comparison

Doubles = NDArray[np.float64]
Candidates = Sequence[Candidate]  # of one path
SPLITS = {
    "reserved": "windows of the training families that training never saw",
    "paper": "the paper's 24 sequences",
    "later": "later windows of the paper's families",
    "new": "families that training never saw",
}
MORE = (  # compared in addition to each path and its control
    ("slerp_task", "linear"),
    ("slerp", "norm_matched_weights"),
    ("slerp_base", "norm_matched_base"),
    ("karcher", "soup_norm_weights"),
    ("karcher_task", "soup_norm"),
)
FEWEST_SEEDS = 3  # with fewer, an interval is not over seeds
_ALIKE = 1e-3  # within which the retention of two single models counts as equal
_SMALL = 1 / 3  # of the paths' ranges of retention: a smaller overlap is mentioned
_LEVELS = 5  # of retention
_HALVINGS = 40  # of the range in which a p value lies
_PAIRS_SHARE = 2.0  # pairs of seeds share seeds: by how much that may widen the error of their mean


@dataclass(frozen=True, eq=False)
class _Point:
    """A path at one retention."""

    separability: float
    without: Doubles  # (n,) the same without each sequence
    bend: float  # about how far the curve leaves the straight line between the two nearest candidates


@dataclass(frozen=True, eq=False)
class _Curve:
    """One path: m candidates with their retention, separability, and the latter without each of n sequences."""

    retention: Doubles  # (m,)
    separability: Doubles  # (m,)
    without: Doubles  # (m, n)

    def at(self, level: float) -> _Point:
        """Return the path at this retention; where it comes by more than once, the mean of all times."""
        points, last = [], len(self.retention) - 1
        if not last:
            return _Point(float(self.separability[0]), self.without[0], 0.0)
        for i in range(last):
            j = i + 1
            low, high = sorted((self.retention[i], self.retention[j]))
            if low <= level <= high and (level != self.retention[j] or j == last or low == high):  # each candidate once
                share = (level - self.retention[i]) / (self.retention[j] - self.retention[i]) if high > low else 0.0
                mixed = (1 - share) * self.separability[i] + share * self.separability[j]
                without = (1 - share) * self.without[i] + share * self.without[j]
                points.append(_Point(float(mixed), without, self._bend(i, share) if high > low else 0.0))
        return _Point(
            float(np.mean([one.separability for one in points])),
            np.mean([one.without for one in points], axis=0),
            float(np.mean([one.bend for one in points])),
        )

    def _bend(self, i: int, share: float) -> float:
        """Return about how far the curve leaves the straight line between candidates i and i + 1 there."""
        places = [place for place in (i, i + 1) if 0 < place < len(self.retention) - 1]
        if not places:
            return 0.0
        rows = (self.retention, self.separability)
        bent = [np.mean([row[k - 1] - 2 * row[k] + row[k + 1] for k in places]) for row in rows]
        steps = [row[i + 1] - row[i] for row in rows]
        off = float(bent[1] - steps[1] / steps[0] * bent[0]) * share * (1 - share) / 2
        most = max(abs(float(steps[1])), abs(float(bent[1])))  # where retention hardly changes the slope says nothing
        return min(most, max(-most, -off))


def compare_at_equal_retention(
    a: Sequence[Candidates],
    b: Sequence[Candidates],
    *,
    split: str,
    names: tuple[str, str] = ("the first", "the second"),
) -> Comparison:
    """Return how much better paths ``a`` separate a split than paths ``b`` at equal retention.

    Each holds one path for every seed or pair of seeds: as many and in the same order, or one of them only one, and
    then the interval is not over seeds. NaN with a sentence where their retentions never meet.
    """
    comparison, curves = _compared(a, b, split, names)
    return replace(comparison, sentence=_sentence(comparison, curves))


def comparisons_of(result: ExperimentResult) -> tuple[Comparison, ...]:
    """Return every path against its control on every split, p values adjusted for their number on that split."""
    controls = [(row.name, row.control) for row in KINDS.values() if row.control]
    sides_of = {(a, b): sides for a, b in (*controls, *MORE) if all(sides := _sides(result, a, b))}
    comparisons: list[Comparison] = []
    for split in result.experiment.splits:
        plain = [_compared(*sides, split, names) for names, sides in sides_of.items()]
        adjusted = holm([None if math.isnan(one.p) else one.p for one, _ in plain])
        for (one, curves), p in zip(plain, adjusted, strict=True):
            one = replace(one, p_holm=math.nan if p is None else p)
            comparisons.append(replace(one, sentence=_sentence(one, curves)))
    return tuple(comparisons)


def _compared(
    a: Sequence[Candidates], b: Sequence[Candidates], split: str, names: tuple[str, str]
) -> tuple[Comparison, list[list[_Curve]]]:
    """Return a comparison without its sentence and adjustment, and the curves of both sides."""
    curves = [[_curve(candidates, split) for candidates in paths] for paths in (a, b)]
    gaps, without, bends, levels = [], [], [], []
    for one, other in _paired(*curves):
        if not (shared := _levels(one, other)):
            continue
        points = [(one.at(level), other.at(level)) for level in shared]
        gaps.append(float(np.mean([mine.separability - theirs.separability for mine, theirs in points])))
        without.append(np.mean([mine.without - theirs.without for mine, theirs in points], axis=0))
        bends.append(float(np.mean([mine.bend - theirs.bend for mine, theirs in points])))
        levels += shared
    count = 1 if min(len(a), len(b)) == 1 else len(gaps)
    of_pair = names[0] in KINDS and KINDS[names[0]].of == "pair"
    of_seeds = f"{count} {'pairs of seeds' if of_pair else 'seeds'} and " if count >= FEWEST_SEEDS else ""
    share_seeds = any(name in KINDS and KINDS[name].of == "pair" for name in names)
    bend = float(np.mean(bends)) if bends else 0.0
    mean, low, high, p = estimated(gaps, without, bend=bend, pairs=share_seeds, seeds=bool(of_seeds))
    reached = (min(levels), max(levels)) if levels else ()
    over = f"{of_seeds}{len(without[0])} sequences" if gaps else ""
    return Comparison(*names, split, reached, mean, low, high, p, p, over, ""), curves


def estimated(
    gaps: Sequence[float], without: Sequence[Doubles], *, bend: float = 0.0, pairs: bool = False, seeds: bool = True
) -> tuple[float, float, float, float]:
    """Return a mean difference, its 95% interval and p, from one difference a seed and each without every sequence.

    Two errors make the interval: that of the mean over three or more ``seeds`` (unless they share a partner), and the
    jackknife over sequences, both left out of either model at once. Of ``pairs`` each seed is in two, so that their
    spread shows too little: it counts twice. ``bend`` is what interpolation may have added.
    """
    if not gaps:
        return math.nan, math.nan, math.nan, math.nan
    mean, left_out = float(np.mean(gaps)), np.mean(without, axis=0)
    errors = []
    if (n := len(left_out)) >= 3 and np.isfinite(left_out).all():
        errors.append(((n - 1) * float(left_out.std(ddof=1)) / math.sqrt(n), n - 1))
    if seeds and (k := len(gaps)) >= FEWEST_SEEDS:
        widened = _PAIRS_SHARE if pairs else 1.0
        errors.append((widened * float(np.std(gaps, ddof=1)) / math.sqrt(k), k - 1))
    if not errors or not math.isfinite(mean):
        return mean, math.nan, math.nan, math.nan
    if abs(mean) < ROUNDING and max(error for error, _ in errors) < ROUNDING:
        return 0.0, 0.0, 0.0, 1.0
    wide = _half_width(errors, LEVEL) + abs(bend)
    return mean, mean - wide, mean + wide, _p_value(errors, max(0.0, abs(mean) - abs(bend)))


def _half_width(errors: Sequence[tuple[float, int]], p: float) -> float:
    """Return half the interval of level 1 − p that combines several errors, each with its degrees of freedom."""
    from scipy.special import stdtrit

    return math.hypot(*(float(stdtrit(freedom, 1 - p / 2)) * error for error, freedom in errors))


def _p_value(errors: Sequence[tuple[float, int]], distance: float) -> float:
    """Return the p at which an interval as wide as ``distance`` on either side would end."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _half_width(errors, middle) >= distance else (low, middle)
    return high


def _sides(result: ExperimentResult, a: str, b: str) -> tuple[tuple[Candidates, ...], tuple[Candidates, ...]]:
    """Return the paths of two rows; of rows drawn for the same seeds only those scored in both, in the same order."""
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


def _curve(candidates: Candidates, split: str) -> _Curve:
    scored = [
        (candidate.retention.spearman, candidate.splits[split])
        for candidate in candidates
        if math.isfinite(candidate.retention.spearman)
        and split in candidate.splits
        and math.isfinite(candidate.splits[split].silhouette)
    ]
    width = len(scored[0][1].without) if scored else 0
    return _Curve(
        np.array([retention for retention, _ in scored], dtype=np.float64),
        np.array([own.silhouette for _, own in scored], dtype=np.float64),
        np.array([own.without for _, own in scored], dtype=np.float64).reshape(len(scored), width),
    )


def _paired(a: Sequence[_Curve], b: Sequence[_Curve]) -> list[tuple[_Curve, _Curve]]:
    if len(a) == 1 or len(b) == 1:
        return [(one, other) for one in a for other in b]
    return list(zip(a, b, strict=False))


def _levels(one: _Curve, other: _Curve) -> list[float]:
    """Return the retentions at which both are compared; none where they never meet.

    Two single models are compared where their retentions differ by less than 0.001.
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


def _sentence(one: Comparison, curves: Sequence[Sequence[_Curve]]) -> str:
    """Return what a comparison shows, and a remark where it concerns only a small part of the paths."""
    items, where = [_title(name) for name in (one.a, one.b)], SPLITS.get(one.split, one.split)
    both = f"{items[0]} and {items[1]}"
    if not all(any(len(curve.retention) for curve in side) for side in curves):
        return f"{both} cannot be compared at equal retention: it is undefined for one of them."
    if math.isnan(one.difference):
        ranges = listed(list(map(_range, curves)))
        return f"{both} never have the same retention ({ranges}), so they cannot be compared."
    at, gap = f"On {where}, at equal retention,", decimal(abs(one.difference), 3)
    if math.isnan(one.low):
        return f"{at} {both} differ by {gap}; its uncertainty is unknown.{_small_overlap(one, curves)}"
    nothing = max(abs(one.difference), (one.high - one.low) / 2) < 5e-4  # 0.000 ± 0.000 would read like an error
    margin = "less than 0.001" if nothing else f"{gap} ± {half(one.low, one.high)}"
    seeds = "" if "seeds" in one.over else " for these adapters; other seeds may differ"
    better, other = items if one.difference > 0 else items[::-1]
    if one.distinguishable:
        shown = f"{better} separates better than {other} by {margin}{seeds}."
    elif one.low <= 0 <= one.high:
        shown = f"{both} differ by {margin}: no significant difference{seeds}."
    else:
        shown = f"{both} differ by {margin}; not significant after adjusting for all comparisons."
    return f"{at} {shown}{_small_overlap(one, curves)}"


def _small_overlap(one: Comparison, curves: Sequence[Sequence[_Curve]]) -> str:
    """Return a sentence where the paths' ranges of retention have little in common; "" elsewhere."""
    swept = [pair for pair in _paired(*curves) if all(len(curve.retention) > 1 for curve in pair)]
    if not swept:
        return ""
    shares = [_common(*pair) for pair in swept]
    if float(np.mean([share for share, _, _ in shares])) >= _SMALL:
        return ""
    low, high = (float(np.mean([part[place] for part in shares if part[0] > 0] or [math.nan])) for place in (1, 2))
    where = "" if math.isnan(low) else f", on average from {span(low, high, 3)}"
    rows = [KINDS.get(name) for name in (one.a, one.b)]
    ends = all(row is not None and row.of in ("pair", "stages") and row.sweeps == "t" for row in rows)
    shared = " Both paths start and end at the same two models, and they overlap near these." if ends else ""
    ranges = listed(list(map(_range, curves)))
    return f" Their ranges of retention ({ranges}) overlap little{where}: the comparison says little.{shared}"


def _common(one: _Curve, other: _Curve) -> tuple[float, float, float]:
    """Return which part of all retentions that two paths reach they have in common: its share, lowest and highest."""
    both = (one.retention, other.retention)
    low, high = max(float(each.min()) for each in both), min(float(each.max()) for each in both)
    reach = max(float(each.max()) for each in both) - min(float(each.min()) for each in both)
    return (max(0.0, high - low) / reach if reach > ROUNDING else 1.0), low, high


def _range(curves: Sequence[_Curve]) -> str:
    known = np.concatenate([curve.retention for curve in curves]) if curves else np.zeros(0)
    return span(known.min(), known.max()) if len(known) else "unknown"


def _title(name: str) -> str:
    return KINDS[name].title if name in KINDS else name


def half(low: float, high: float) -> str:
    """Return half the width of an interval in words."""
    return decimal((high - low) / 2, 3)
