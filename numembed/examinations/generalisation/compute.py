"""Does a model know the families, or only these sequences? Classifiers on windows and families they have not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from numembed.analysis import probes as probing
from numembed.analysis.clusters.attributes import ATTRIBUTES
from numembed.analysis.inference.permutation_test import shuffled
from numembed.analysis.preparation import all_equal
from numembed.core.arrays import Labels, Matrix, unit_rows
from numembed.core.errors import BadChoice, NumembedError, TooLarge
from numembed.core.significance import holm
from numembed.examinations.clusters.compute import LARGEST
from numembed.examinations.generalisation.result import FAR_STARTS, FAR_WINDOWS, Far, Generalisation, Probe
from numembed.examinations.registry import ExaminationContext
from numembed.models.baselines import BASELINES
from numembed.models.spec import BaselineWeights, ModelSpec
from numembed.sequences.families.family import FAMILIES, SLOW, family
from numembed.sequences.matching import matched
from numembed.sequences.sets import IntegerSequence, SequenceSet
from numembed.studies.study import Study

SINGLE = ("parity", "last_digits", "magnitude", "prime", "growth")  # what is probed alone, see sequence_classes
UNSEEN = ("odd_share", "prime_share", "growth")  # attributes of whole families

Rivals = Mapping[str, Matrix]  # vectors of the baselines by their names


def generalisation(context: ExaminationContext) -> Generalisation:
    """Return what is found about a model; raise TooLarge above ``LARGEST`` sequences."""
    sequences, seed = context.study.sequences, context.study.seed
    if len(sequences) > LARGEST:
        raise TooLarge(f"Up to {LARGEST:,} sequences are probed, got {len(sequences):,}; take fewer per family.")
    matrix, rivals, result = _scaled(context.matrix, context.study.distance), rivals_of(context, sequences), []
    steps: tuple[Callable[[], Any], ...] = (
        lambda: near_windows(matrix, sequences, rivals, seed=seed),
        *(partial(far_windows, context, start) for start in FAR_STARTS),
        lambda: unseen_families(matrix, sequences, rivals, seed=seed),
        lambda: single_attributes(matrix, sequences, rivals, seed=seed),
    )
    for done, step in enumerate(steps):
        context.progress(done, len(steps))
        result.append(step())
    near, *far, unseen, single = result
    windows = int(sequences.windows.max(initial=-1)) + 1
    return Generalisation(len(sequences.families), windows, near, _adjusted_far(far), unseen, single)


def near_windows(matrix: Matrix, sequences: SequenceSet, rivals: Rivals, *, seed: int = 0) -> tuple[Probe, ...]:
    """Return how each classifier names the family of windows that were held out, each window once."""
    k, labels, windows = len(sequences.families), sequences.labels, sequences.windows
    folds = probing.folds_of(windows)
    note = "" if k > 1 else "needs at least 2 families"
    note = note or ("" if len(folds) > 1 else "needs at least 2 windows of each family") or _flat(matrix)
    if note:
        return tuple(_probe(name, k, probing.undefined(note)) for name in probing.CLASSIFIERS.names)
    shuffles = _shuffled(labels, windows, k, folds, seed)
    collected = []
    for name in probing.CLASSIFIERS.names:
        accuracy = probing.assessed(
            probing.held_out_sorter(name, matrix, folds)(shuffles, k), shuffles, k, groups=labels
        )
        others = {rival: probing.held_out_sorter(name, own, folds)(labels[None], k) for rival, own in rivals.items()}
        best = _best({rival: float((named[0] == labels).mean()) for rival, named in others.items()})
        collected.append(_probe(name, k, replace(accuracy, chance=1 / k), best))
    return _adjusted(collected)


def far_windows(context: ExaminationContext, start: int) -> Far:
    """Return how the classifiers, learnt from all windows of the study, name those that begin at term ``start``."""
    study = context.study
    kept, left_out, note = far_sequences(study, start)
    k = len(kept.families) if kept else 0
    if kept is None or k < 2:
        return Far(start, k, left_out, (), note or "fewer than 2 families reach so far")
    rows, joined = _with_own(study, kept)
    train, test = joined.labels[: len(rows)], joined.labels[len(rows) :]
    orders = probing.family_orders(k, probing.rounds_for(len(joined), k, 1), seed=study.seed)
    matrix, rivals = _scaled(context.vectors(joined, context.spec), study.distance), rivals_of(context, joined)
    if note := _flat(matrix):
        return Far(start, k, left_out, (), note)

    def named(name: str, own: Matrix) -> Labels:
        return probing.CLASSIFIERS[name].function(own[: len(rows)], own[len(rows) :])(train[None], k)

    probes = []
    for name in probing.CLASSIFIERS.names:
        accuracy = probing.assessed(named(name, matrix), orders[:, test], k, groups=test)
        best = _best({rival: float((named(name, own)[0] == test).mean()) for rival, own in rivals.items()})
        probes.append(_probe(name, k, replace(accuracy, chance=1 / k), best))
    return Far(start, k, left_out, tuple(probes))


def far_texts(context: ExaminationContext) -> Iterator[tuple[ModelSpec, SequenceSet]]:
    """Yield the windows that are far away, with the study's own."""
    for start in FAR_STARTS:
        kept = far_sequences(context.study, start)[0]
        if kept is not None and len(kept.families) > 1:
            yield context.spec, _with_own(context.study, kept)[1]


def _with_own(study: Study, kept: SequenceSet) -> tuple[list[int], SequenceSet]:
    """Return which rows of the study have these families, and those rows followed by ``kept``.

    They are together because some baselines and precisions look at all texts.
    """
    rows = [row for row, item in enumerate(study.sequences.items) if item.family in kept.families]
    items = (*(study.sequences.items[row] for row in rows), *kept.items)
    texts = (*(study.sequences.texts[row] for row in rows), *kept.texts)
    return rows, SequenceSet(items, study.text_format, texts)


def far_sequences(study: Study, start: int) -> tuple[SequenceSet | None, tuple[tuple[str, str], ...], str]:
    """Return the windows of each family from term ``start`` on, the families that cannot give them, and a note."""
    span, length = FAR_WINDOWS * study.length, study.length
    items: list[IntegerSequence] = []
    left_out: list[tuple[str, str]] = []
    for name in study.sequences.families:
        one = family(name)
        try:
            terms = one.terms(start, span)
            own = [IntegerSequence(name, start + at, terms[at : at + length]) for at in range(0, span, length)]
            _ = SequenceSet(tuple(own), study.text_format).texts
        except TooLarge:
            left_out.append((one.title, str(FAMILIES[one.name].facts.get("beyond", SLOW))))
        except BadChoice:
            left_out.append((one.title, "one of its terms is longer than a text may be"))
        else:
            items += own
    if not items:
        return None, tuple(left_out), ""
    try:
        result = matched(SequenceSet(tuple(items), study.text_format), study.matched)
    except NumembedError as error:  # a matching that these windows do not allow
        return None, tuple(left_out), str(error).rstrip(".")
    if any(_overlap(one, other) for one in result.items for other in study.sequences.items):
        return None, tuple(left_out), "they share terms with the study's own windows"
    return result, tuple(left_out), ""


def _overlap(one: IntegerSequence, other: IntegerSequence) -> bool:
    ends = one.offset + len(one.terms), other.offset + len(other.terms)
    return one.family == other.family and one.offset < ends[1] and other.offset < ends[0]


def unseen_families(matrix: Matrix, sequences: SequenceSet, rivals: Rivals, *, seed: int = 0) -> tuple[Probe, ...]:
    """Return how the linear probe names attributes of families of which it has seen no sequence."""
    k, labels = len(sequences.families), sequences.labels
    folds, probes = probing.folds_of(labels), []
    sorters, seen = _sorters(matrix, rivals, folds), dict[str, Labels]()
    for name in UNSEEN:
        own, note = probing.family_classes(name, sequences)
        if not note and (other := next((name for name, same in seen.items() if probing.alike(own, same)), "")):
            note = f"divides these families exactly as {ATTRIBUTES[other].title.lower()} does"
        if note := note or _flat(matrix):
            probes.append(_probe(name, 0, probing.undefined(note)))
            continue
        seen[name] = own
        orders = probing.family_orders(k, probing.rounds_for(len(labels), int(own.max()) + 1, len(folds)), seed=seed)
        probes.append(_attribute(name, sorters, own[orders][:, labels], folds, labels))
    return _adjusted(probes)


def single_attributes(matrix: Matrix, sequences: SequenceSet, rivals: Rivals, *, seed: int = 0) -> tuple[Probe, ...]:
    """Return how the linear probe names one attribute after the other in windows that were held out.

    Families stand on both sides, so that a model that knows no more than the family may name it too. ``p_families``
    tells that apart: whole families exchange the classes of all their windows.
    """
    windows, folds = sequences.windows, probing.folds_of(sequences.windows)
    sorters, probes = _sorters(matrix, rivals, folds), []
    for wanted in SINGLE:
        name, labels = probing.sequence_classes(wanted, sequences)
        classes = int(labels.max(initial=0)) + 1
        if note := _unlearnable(labels, windows) or _flat(matrix):
            probes.append(_probe(name, classes, probing.undefined(note)))
            continue
        own = _attribute(name, sorters, _shuffled(labels, windows, classes, folds, seed), folds, sequences.labels)
        exchanged = _swapped(labels, sequences, classes, folds, seed)
        exchange = _attribute(name, {"": sorters[""]}, exchanged, folds, sequences.labels)
        probes.append(replace(own, p_families=exchange.p, p_exchange=exchange.p))
    adjusted = holm([one.p_families for one in probes])
    return tuple(
        replace(one, p_families=math.nan if p is None else p)
        for one, p in zip(_adjusted(probes), adjusted, strict=True)
    )


def rivals_of(context: ExaminationContext, sequences: SequenceSet) -> Rivals:
    """Return the vectors of all baselines but pure chance and the model itself."""
    own = context.spec.weights.name if isinstance(context.spec.weights, BaselineWeights) else ""
    names = [entry for entry in BASELINES if not entry.facts.get("chance") and entry.name != own]
    return {entry.name: entry.function(sequences.texts) for entry in names}


def _attribute(
    name: str, sorters: Mapping[str, probing.Sorter], labellings: Labels, folds: Sequence[probing.Fold], groups: Labels
) -> Probe:
    """Return how the model's probe names the classes of the first labelling (b, n), held against the others."""
    classes = int(labellings.max()) + 1
    counted, true = probing.learnable(labellings, folds, classes), labellings[:1]
    accuracy = probing.assessed(sorters[""](labellings, classes), labellings, classes, groups=groups, counted=counted)
    rest = {rival: sorter(true, classes) == true for rival, sorter in sorters.items() if rival}
    values = {
        rival: float(probing.balanced(right & counted[:1], true, counted[:1], classes)[0])
        for rival, right in rest.items()
    }
    return _probe(name, classes, accuracy, _best(values), int(np.count_nonzero(~counted[0])))


def _sorters(matrix: Matrix, rivals: Rivals, folds: Sequence[probing.Fold]) -> dict[str, probing.Sorter]:
    """Return the held-out linear probe on the model's vectors, "", and on those of each baseline."""
    if len(folds) < 2:
        return {}
    return {
        name: probing.held_out_sorter("linear_probe", own, folds) for name, own in ({"": matrix} | dict(rivals)).items()
    }


def _shuffled(labels: Labels, windows: Labels, classes: int, folds: Sequence[probing.Fold], seed: int) -> Labels:
    rounds = probing.rounds_for(len(labels), classes, len(folds))
    return shuffled(labels.astype(np.int32), windows, rounds, seed=seed).astype(np.int64)


def _swapped(labels: Labels, sequences: SequenceSet, classes: int, folds: Sequence[probing.Fold], seed: int) -> Labels:
    """Return (b, n) the classes as they are, then with those of all windows exchanged between whole families."""
    k, windows = len(sequences.families), sequences.windows
    grid = np.zeros((k, int(windows.max()) + 1), dtype=np.int64)
    grid[sequences.labels, windows] = labels
    orders = probing.family_orders(k, probing.rounds_for(len(labels), classes, len(folds)), seed=seed)
    return np.asarray(grid[orders[:, sequences.labels], windows])


def _unlearnable(labels: Labels, windows: Labels) -> str:
    if not labels.any():
        return "is the same for all sequences"
    if len(np.unique(windows)) < 2:
        return "needs at least 2 windows of each family"
    mixed = any(len(np.unique(labels[windows == one])) > 1 for one in np.unique(windows))
    return "" if mixed else "is determined by the window"


def _flat(matrix: Matrix) -> str:
    return "all vectors are equal" if all_equal(matrix) else ""


def _scaled(matrix: Matrix, distance: str) -> Matrix:
    """Return the vectors so that Euclidean distances stand for the study's: of length 1 for the cosine."""
    return np.asarray(unit_rows(matrix), dtype=np.float32) if distance == "cosine" else matrix


def _best(values: Mapping[str, float]) -> tuple[str, float]:
    return max(values.items(), key=lambda one: one[1], default=("", math.nan))


def _probe(
    name: str, classes: int, result: probing.Accuracy, best: tuple[str, float] = ("", math.nan), left_out: int = 0
) -> Probe:
    numbers: dict[str, Any] = asdict(result)
    return Probe(name, classes, **numbers, p_holm=result.p, baseline=best[0], baseline_value=best[1], left_out=left_out)


def _adjusted(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    adjusted, tests = (
        holm([None if math.isnan(one.p) else one.p for one in probes]),
        sum(one.p == one.p for one in probes),
    )
    return tuple(
        replace(one, p_holm=math.nan if p is None else p, least_p=min(1.0, tests * one.least_p))
        for one, p in zip(probes, adjusted, strict=True)
    )


def _adjusted_far(fars: Sequence[Far]) -> tuple[Far, ...]:
    """Return them with the p values adjusted over all distances together: they answer one question."""
    left = iter(_adjusted([probe for one in fars for probe in one.probes]))
    return tuple(replace(one, probes=tuple(next(left) for _ in one.probes)) for one in fars)
