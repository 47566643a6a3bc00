"""What robustness across merges computes: which models, which changes of which texts, and how much that is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment
from numembed.merge_experiment.paths import KINDS, Path
from numembed.merge_experiment.redrawn import leaking, named_places, redrawn_split
from numembed.merge_experiment.results import Candidate
from numembed.merge_experiment.robustness.results import CHANGES, LINE, ROWS, Variant
from numembed.sequences.families.family import family
from numembed.sequences.perturbations.terms import PERTURBATIONS
from numembed.sequences.perturbations.trials import Trial, encoded_sets, trials
from numembed.sequences.sets import SequenceSet
from numembed.sequences.splits import Split
from numembed.studies.trial_vectors import texts_by_prompt

_ALIKE = 1e-3  # within which the retention of a scored model counts as equal: nothing is interpolated
_MOVED = ("place", "data")  # kinds whose terms may be others than those that were kept from training
_SAME = "Nothing changes: the texts already have this form."
_REPEATED = "Texts become equal, and equal texts get equal vectors from any model."


@dataclass(frozen=True)
class NamedPlace:
    """Where a named model lies, and its retention; the straight line may lie between two scored points."""

    row: str  # of ROWS
    path: Path
    at: float
    retention: float  # NaN where it is not scored

    @property
    def seed(self) -> int | None:
        """The seed whose adapter it is made of; None for the base and for merges of all seeds."""
        return self.path.ingredients[0][0] if KINDS[self.path.name].of == "seed" else None


@dataclass(frozen=True)
class Plan:
    """The sequences of an experiment that are changed, and every variant of every change."""

    split: str
    plain: SequenceSet
    trials: tuple[Trial, ...]  # that count
    variants: tuple[Variant, ...]  # all, with why some are left out


def plan_of(experiment: MergeExperiment) -> Plan:
    """Return what is changed: the paper's sequences, or new families where training reads the paper's.

    A variant is left out where it changes nothing, makes texts equal, or moves a window to terms that training reads.
    """
    name = redrawn_split(experiment.recipe.split)
    plain, counted, variants = experiment.recipe.split.evaluations[name], [], []
    for trial in trials(plain, seed=experiment.seed):
        facts = PERTURBATIONS[trial.name].facts
        if facts["group"] not in CHANGES or facts.get("other_families"):
            continue
        note = trial.note or _left_out(trial, plain, experiment)
        variants.append(Variant(trial.name, trial.options, facts["group"], note))
        counted += [] if note else [trial]
    return Plan(name, plain, tuple(counted), tuple(variants))


def _left_out(trial: Trial, plain: SequenceSet, experiment: MergeExperiment) -> str:
    """Return why a variant says nothing of a model here; "" where it counts."""
    if trial.change is not None:
        return _SAME if trial.change.value == getattr(experiment.base, trial.change.field) else ""
    if trial.sequences.texts == plain.texts:
        return _SAME
    if len(set(trial.sequences.texts)) < len(set(plain.texts)):
        return _REPEATED
    moved = PERTURBATIONS[trial.name].facts["group"] in _MOVED
    return _leak(trial.sequences, experiment.recipe.split) if moved else ""


def _leak(sequences: SequenceSet, split: Split) -> str:
    leak = leaking([item for item in sequences.items if item.terms], split)
    if leak is None:
        return ""
    item, through = leak
    return f"Training reads these terms of {family(item.family).title} as terms of {family(through).title}."


def places_of(experiment: MergeExperiment) -> tuple[tuple[str, Path], ...]:
    """Return the row and path of each named model that an experiment has, as far as its retention allows."""
    drawn = [(path.name, path) for path in experiment.drawn if path.name in ROWS]
    both = {"lora", "slerp_base"} <= {name for name, _ in drawn}
    lines = [(LINE, path) for name, path in drawn if name == "lora"] if both else []
    return tuple(sorted((*drawn, *lines), key=lambda one: list(ROWS).index(one[0])))


def named_models(result: ExperimentResult) -> tuple[NamedPlace, ...]:
    """Return the named models of a scored experiment: base, LoRA, soup, SLERP to the base, and its straight line.

    Each is at its named point. The straight line is the LoRA model of the same seed, scaled until it retains as much
    as SLERP: a scored one within 0.001, else between the two scored ones around it, nearest to the base where there
    are several. It is missing where LoRA never retains as much.
    """
    experiment, named = result.experiment, dict[str, NamedPlace]()
    for path, at in named_places(experiment):
        if path.name in ROWS:
            kept = [one.retention.spearman for one in result.path(path.id) if one.at == at]
            named[path.id] = NamedPlace(path.name, path, at, kept[0] if kept else math.nan)
    found = []
    for row, path in places_of(experiment):
        if row != LINE:
            found.append(named[path.id])
            continue
        arcs = (one for one in named.values() if one.row == "slerp_base" and one.path.ingredients == path.ingredients)
        if scaled := _scale(result.path(path.id), next(arcs).retention):
            found.append(NamedPlace(LINE, path, *scaled))
    return tuple(found)


def _scale(candidates: Sequence[Candidate], wanted: float) -> tuple[float, float] | None:
    """Return the scale at which LoRA has this retention, and the retention there; None where it never has it."""
    known = [(one.at, one.retention.spearman) for one in candidates if math.isfinite(one.retention.spearman)]
    if not known or not math.isfinite(wanted):
        return None
    nearest = min(known, key=lambda one: abs(one[1] - wanted))
    if abs(nearest[1] - wanted) < _ALIKE:
        return nearest
    for (begin, first), (end, last) in itertools.pairwise(known):
        if min(first, last) <= wanted <= max(first, last):
            return round(begin + (end - begin) * (wanted - first) / (last - first), 6), wanted
    return None


def encoded_texts(experiment: MergeExperiment) -> tuple[int, int]:
    """Return how many texts each named model encodes at most, stored ones included, and their characters."""
    plan = plan_of(experiment)
    read = texts_by_prompt(experiment.base.prompt, [plan.plain], plan.trials)
    texts = [before + text for before, listed in read.items() for text in listed]
    return len(texts), sum(map(len, texts))


def most_texts(plain: SequenceSet) -> int:
    """Return how many texts a stress test of one model on these sequences encodes at most."""
    return (1 + encoded_sets()) * len(plain)
