"""How much the scores of an experiment depend on the choice of windows: its named points on redrawn windows."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from numembed.analysis.inference.intervals import FEWEST, paired_difference, redrawing_interval
from numembed.core.errors import BadChoice
from numembed.core.wording import decimal, listed
from numembed.merge_experiment.comparisons import SPLITS, half
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.paths import KINDS, Path
from numembed.merge_experiment.results import Redrawn
from numembed.sequences.families.family import family
from numembed.sequences.sets import IntegerSequence, SequenceSet, redrawn
from numembed.sequences.splits import PAPER, Split

USUAL_DESIGNS = 10
PAIRS = (("lora", "base"), ("slerp", "linear"), ("slerp_task", "norm_matched"))  # compared in a sentence
_SHORT = {"lora": "the adapters", "base": "the base", "linear": "the soup of two seeds"}


def redrawn_split(split: Split) -> str:
    """Return the evaluation whose windows are redrawn: the paper's, or new families where training reads the paper's.

    Redrawn windows begin anywhere up to term 1,000, where training reads its own families.
    """
    return "new" if set(split.training) & set(PAPER) else "paper"


def named_places(experiment: MergeExperiment) -> tuple[tuple[Path, float], ...]:
    """Return each path with its named point: the midpoint, or scale 1."""
    return tuple((path, 0.5 if path.sweeps == "t" else 1.0) for path in experiment.drawn)


def redrawn_texts(experiment: MergeExperiment) -> SequenceSet:
    """Return the sequences of all redrawn designs, one design after the other; raises BadChoice where one leaks."""
    split = experiment.recipe.split
    plain = split.evaluations[redrawn_split(split)]
    items = [item for one in redrawn(plain, experiment.designs, seed=experiment.seed) for item in one.items]
    _refuse_leaking(items, split)
    return SequenceSet(tuple(items), plain.text_format)


def summed_up(name: str, at: float, split: str, values: Sequence[Sequence[float]]) -> Redrawn:
    """Return the scores (paths, designs) of a row of KINDS with the interval of one more design, of the paths' mean."""
    span = redrawing_interval(np.mean(values, axis=0).tolist())
    return Redrawn(name, at, split, tuple(map(tuple, values)), span.low, span.high)


def first_designs(redrawns: Sequence[Redrawn], count: int) -> tuple[Redrawn, ...]:
    """Return the scores on only the first ``count`` designs."""
    return tuple(summed_up(one.name, one.at, one.split, [row[:count] for row in one.values]) for one in redrawns)


def redrawn_text(result: ExperimentResult) -> tuple[str, ...]:
    """Return one sentence for each pair of models on the same redrawn windows."""
    by_name = {one.name: one for one in result.redrawn}
    pairs = [(by_name[a], by_name[b]) for a, b in PAIRS if a in by_name and b in by_name]
    return tuple(_sentence(a, b, result, first=not at) for at, (a, b) in enumerate(pairs))


def _sentence(a: Redrawn, b: Redrawn, result: ExperimentResult, *, first: bool) -> str:
    names = [_named(one) for one in (a, b)]
    where = (
        f"Over {a.designs} redrawn choices of windows (instead of {SPLITS[a.split]})"
        if first
        else "On the same windows"
    )
    if a.designs < FEWEST:
        means = listed([decimal(one.mean, 3) for one in (a, b)])
        return f"{where}, {listed(names)} score {means}; an interval needs more choices."
    gap = paired_difference(a.means, b.means)
    kept = [_kept(result, one) for one in (a, b)]
    keeping = f" Their retention is {listed(list(map(decimal, kept)))}." if all(map(math.isfinite, kept)) else ""
    margin = f"{decimal(abs(gap.mean), 3)} ± {half(gap.low, gap.high)}"
    if max(abs(gap.mean), (gap.high - gap.low) / 2) < 5e-4:  # 0.000 ± 0.000 would read like an error
        shown = f"{names[0]} and {names[1]} differ by less than 0.001"
    elif not gap.distinguishable:
        shown = f"{names[0]} and {names[1]} differ by {margin}: no significant difference"
    else:
        better, other = names if gap.mean > 0 else names[::-1]
        verb = "separate" if better == _SHORT["lora"] else "separates"
        shown = f"{better} {verb} better than {other} by {margin} on average"
    return f"{where}, {shown}, for these adapters.{keeping}"


def _named(one: Redrawn) -> str:
    row = KINDS[one.name]
    return _SHORT.get(one.name) or (f"{row.title} at t = 0.5" if row.sweeps == "t" else row.title)


def _kept(result: ExperimentResult, one: Redrawn) -> float:
    drawn = (candidate for candidates in result.of(one.name) for candidate in candidates)
    kept = [candidate.retention.spearman for candidate in drawn if candidate.at == one.at]
    return float(np.mean(kept)) if kept else math.nan


def _refuse_leaking(items: Sequence[IntegerSequence], split: Split) -> None:
    """Raise BadChoice where training may read a redrawn text, as another family's terms."""
    if leak := leaking(items, split):
        item, through = leak
        raise BadChoice(
            f"Windows cannot be redrawn here: training reads the terms of {family(item.family).title} from term "
            f"{item.offset:,} on, because {family(through).title} contains them. Train on other families."
        )


def leaking(items: Sequence[IntegerSequence], split: Split) -> tuple[IntegerSequence, str] | None:
    """Return the first sequence that training may read, and the family that contains it; None where there is none."""
    shown = _shown(split)
    for item in items:
        text = _joined(item.terms)
        if through := next((name for name, terms in shown.items() if text in terms), ""):
            return item, through
    return None


@functools.lru_cache(maxsize=4)
def _shown(split: Split) -> Mapping[str, str]:
    """Return the terms that training may read, by family."""
    reach = split.furthest + split.longest - split.first
    return {name: _joined(family(name).terms(split.first, reach)) for name in split.training}


def _joined(terms: Sequence[int]) -> str:
    return f",{','.join(map(str, terms))},"
