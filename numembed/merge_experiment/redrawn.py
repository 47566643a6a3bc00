"""How much of an experiment's scores depends on the windows: its named places scored on redrawn ones."""

from __future__ import annotations

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
PAIRS = (("lora", "base"), ("slerp", "linear"), ("slerp_task", "norm_matched"))  # what is said of them
_SHORT = {"lora": "the adapters", "base": "the base", "linear": "the soup of two seeds"}


def redrawn_split(split: Split) -> str:
    """Return the evaluation whose windows are redrawn: the paper's, or new families where training reads the paper's.

    Redrawn windows begin anywhere up to term 1,000, where training reads its own families.
    """
    return "new" if set(split.training) & set(PAPER) else "paper"


def named_places(experiment: MergeExperiment) -> tuple[tuple[Path, float], ...]:
    """Return each path with the place by which it is named: half-way, or the adapters taken once."""
    return tuple((path, 0.5 if path.sweeps == "t" else 1.0) for path in experiment.drawn)


def redrawn_texts(experiment: MergeExperiment) -> SequenceSet:
    """Return the sequences of all redrawn designs, one design behind the other; raises BadChoice where one leaks."""
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
    """Return what was found on the first ``count`` designs alone."""
    return tuple(summed_up(one.name, one.at, one.split, [row[:count] for row in one.values]) for one in redrawns)


def redrawn_text(result: ExperimentResult) -> tuple[str, ...]:
    """Return what may be said of two models on the same redrawn windows, in one sentence for each pair."""
    by_name = {one.name: one for one in result.redrawn}
    pairs = [(by_name[a], by_name[b]) for a, b in PAIRS if a in by_name and b in by_name]
    return tuple(_sentence(a, b, result, first=not at) for at, (a, b) in enumerate(pairs))


def _sentence(a: Redrawn, b: Redrawn, result: ExperimentResult, *, first: bool) -> str:
    names = [_named(one) for one in (a, b)]
    where = (
        f"Over {a.designs} redrawn choices of windows ({SPLITS[a.split]}, elsewhere)" if first else "On the same ones"
    )
    if a.designs < FEWEST:
        means = listed([decimal(one.mean, 3) for one in (a, b)])
        return f"{where}, {listed(names)} score {means}; too few to say more."
    gap = paired_difference(a.means, b.means)
    kept = [_kept(result, one) for one in (a, b)]
    keeping = f" They keep {listed(list(map(decimal, kept)))} of the base." if all(map(math.isfinite, kept)) else ""
    margin = f"{decimal(abs(gap.mean), 3)} ± {half(gap.low, gap.high)}"
    if max(abs(gap.mean), (gap.high - gap.low) / 2) < 5e-4:  # 0.000 ± 0.000 would read like an error
        said = f"{names[0]} and {names[1]} differ by less than 0.001"
    elif not gap.distinguishable:
        said = f"{names[0]} and {names[1]} differ by {margin}: no difference seen"
    else:
        better, other = names if gap.mean > 0 else names[::-1]
        said = f"{better} separate better than {other} by {margin} on average"
        said = said if better == _SHORT["lora"] else said.replace(" separate better", " separates better")
    return f"{where}, {said}, for these adapters.{keeping}"


def _named(one: Redrawn) -> str:
    if one.name in _SHORT:
        return _SHORT[one.name]
    return f"{KINDS[one.name].title} half-way" if KINDS[one.name].sweeps == "t" else KINDS[one.name].title


def _kept(result: ExperimentResult, one: Redrawn) -> float:
    kept = [
        candidate.retention.spearman
        for candidates in result.of(one.name)
        for candidate in candidates
        if candidate.at == one.at
    ]
    return float(np.mean(kept)) if kept else math.nan


def _refuse_leaking(items: Sequence[IntegerSequence], split: Split) -> None:
    """Raise BadChoice where training may read a redrawn text, as another family's terms."""
    reach = split.furthest + split.longest - split.first
    shown: Mapping[str, str] = {name: _joined(family(name).terms(split.first, reach)) for name in split.training}
    for item in items:
        text = _joined(item.terms)
        if through := next((name for name, terms in shown.items() if text in terms), ""):
            raise BadChoice(
                f"Windows cannot be redrawn here: training reads the terms of {family(item.family).title} from "
                f"{item.offset:,} on as {family(through).title}. Train on other families."
            )


def _joined(terms: Sequence[int]) -> str:
    return f",{','.join(map(str, terms))},"
