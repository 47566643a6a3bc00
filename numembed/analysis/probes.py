"""Can a class be read off vectors it was not learnt from? Classifiers, held-out groups, shuffles and intervals.

To add a classifier, write one registered function: (training vectors (m, d), test vectors (t, d)) → a sorter, which
takes any number of labellings of the training vectors and names the class of each test vector under each. All that
depends on the vectors alone is done once, so that thousands of shuffled labellings cost little more than one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from numembed.analysis.clusters.attributes import ATTRIBUTES, traits
from numembed.core.arrays import Labels, Matrix
from numembed.core.registry import Registry
from numembed.sequences.families.family import family
from numembed.sequences.sets import SequenceSet

Doubles = NDArray[np.float64]
Truths = NDArray[np.bool_]
Fold = tuple[NDArray[np.intp], NDArray[np.intp]]  # training rows, test rows
Sorter = Callable[[Labels, int], Labels]  # labellings (b, m) and the number of classes → classes (b, t)
CLASSIFIERS: Registry[Callable[[Matrix, Matrix], Sorter]] = Registry("classifier")

_SHARES = {"parity": "odd_share", "prime": "prime_share"}
_UNORDERED = ("last_digits", "growth")  # their classes are no levels
MOST_FOLDS = 12  # beyond, neighbouring groups are held out together: each fold costs an inversion
RIDGE = 0.01  # as a share of the mean variance; the same for every model and every question
_ALL_ORDERS = 720  # of 6 families; of more, a sample is drawn
_BLOCK_NUMBERS = 1 << 20
_WORK = 3e9  # multiplications that the shuffles of one test may cost
_EQUAL_DIGITS = 9  # scores that agree so far are ties, which go to the first
_SAME = 1e-6  # as a share of the largest number: what single precision does not tell from nothing


@dataclass(frozen=True)
class Accuracy:
    """How well held-out sequences were sorted; each class counts equally. NaN with a note: undefined, and why."""

    value: float  # mean over the classes of the share that was named correctly
    right: int
    total: int  # sequences that were counted
    low: float  # 95% interval of the value
    high: float
    chance: float  # mean of the shuffles
    null_low: float  # 95% of the shuffles lie from here
    null_high: float  # to here
    p: float  # share of shuffles, the true labels included, that do at least as well
    least_p: float  # the p of a classifier that is always right
    note: str = ""


def undefined(note: str) -> Accuracy:
    """Return the accuracy of what cannot be asked."""
    nan = math.nan
    return Accuracy(nan, 0, 0, nan, nan, nan, nan, nan, nan, nan, note)


@CLASSIFIERS.register("Nearest centroid")
def nearest_centroid(train: Matrix, test: Matrix) -> Sorter:
    """The class whose mean vector lies nearest; Euclidean distance."""
    centre = _doubles(train).mean(axis=0)
    learnt, held_out = _doubles(train) - centre, _doubles(test) - centre
    return _by_means(held_out @ learnt.T, learnt @ learnt.T)


@CLASSIFIERS.register("Nearest neighbour")
def nearest_neighbour(train: Matrix, test: Matrix) -> Sorter:
    """The class of the one nearest vector; Euclidean distance. Cover and Hart 1967."""
    centre = _doubles(train).mean(axis=0)
    learnt, held_out = _doubles(train) - centre, _doubles(test) - centre
    distances = (learnt**2).sum(axis=1) + (held_out**2).sum(axis=1)[:, None] - 2 * held_out @ learnt.T
    nearest = _ties_joined(distances).argmin(axis=1)
    return lambda labellings, classes: labellings[:, nearest]


@CLASSIFIERS.register("Linear probe")
def linear_probe(train: Matrix, test: Matrix) -> Sorter:
    """A regularised linear discriminant: standardised, whitened with the training covariance, nearest class mean.

    With two classes of equal size it is the ridge classifier, with unequal ones the ridge classifier whose border
    lies midway between the classes. The ridge is ``RIDGE`` times the mean eigenvalue of the training kernel, so that
    it means the same for 10 and for 4,096 dimensions. It is not tuned, and it matters: of the paper's 24 sequences
    all-MiniLM-L6-v2 has 8 right with 0.001, 0.01 and 0.3, 10 with 0.1, and 5 with 1 and 3.
    Friedman 1989; Hastie, Tibshirani and Friedman 2009, section 4.3.
    """
    rows = _doubles(train)
    spread = rows.std(axis=0)
    scale = np.where(spread > _SAME * np.abs(rows).max(initial=0), spread, np.inf)
    learnt, held_out = ((_doubles(part) - rows.mean(axis=0)) / scale for part in (train, test))
    kernel = learnt @ learnt.T
    ridge = RIDGE * np.trace(kernel) / len(kernel)
    if not ridge > 0:  # all training vectors are equal
        return _by_means(np.zeros((len(held_out), len(learnt))), kernel)
    inverse = np.linalg.inv(kernel + ridge * np.eye(len(kernel)))
    return _by_means(held_out @ learnt.T @ inverse, kernel @ inverse)


def _doubles(matrix: Matrix) -> Doubles:
    return np.asarray(matrix, dtype=np.float64)  # squares of single precision cannot leave its range


def _ties_joined(scores: Doubles) -> Doubles:
    largest = np.abs(scores).max(initial=0)
    rounded: Doubles = np.round(scores / largest, _EQUAL_DIGITS) if largest > 0 else scores
    return rounded


def _by_means(near: Doubles, own: Doubles) -> Sorter:
    """Return the sorter by nearest class mean from inner products: test with training (t, m), training (m, m).

    Means of few vectors lie farther out by chance alone, so that small classes would hardly ever be named in many
    dimensions; what the spread inside the classes adds to a mean's squared length is taken off (Huang, Tong and Zhao
    2010). With classes of equal size it changes nothing.
    """

    def sort(labellings: Labels, classes: int) -> Labels:
        step = max(1, _BLOCK_NUMBERS // (len(own) * classes))
        parts = [one_block(labellings[start : start + step], classes) for start in range(0, len(labellings), step)]
        return np.concatenate(parts)

    def one_block(labellings: Labels, classes: int) -> Labels:
        member = labellings.T[:, :, None] == np.arange(classes)  # (m, b, c)
        sizes = member.sum(axis=0)
        shares = (member / np.maximum(sizes, 1)).reshape(len(own), -1)
        squares = (shares * (own @ shares)).sum(axis=0).reshape(sizes.shape)
        noise = (np.trace(own) - (sizes * squares).sum(axis=1)) / np.maximum(len(own) - (sizes > 0).sum(axis=1), 1)
        lengths = (squares - noise[:, None] / np.maximum(sizes, 1)).ravel()
        scores = _ties_joined(near @ shares - lengths / 2).reshape(len(near), *sizes.shape)
        return np.asarray(np.where(sizes > 0, scores, -np.inf).argmax(axis=2).T, dtype=np.int64)

    return sort


def folds_of(groups: Labels) -> tuple[Fold, ...]:
    """Return training and test rows with each group (n,) held out once, all of its rows together."""
    places = np.unique(groups, return_inverse=True)[1]
    count = int(places.max(initial=-1)) + 1
    held = places if count <= MOST_FOLDS else places * MOST_FOLDS // count
    return tuple((np.flatnonzero(held != one), np.flatnonzero(held == one)) for one in np.unique(held))


def held_out_sorter(classifier: str, matrix: Matrix, folds: Sequence[Fold]) -> Sorter:
    """Return a sorter of all n sequences: labellings (b, n) → the class of each, learnt without its own group."""
    function = CLASSIFIERS[classifier].function
    sorters = [(train, test, function(matrix[train], matrix[test])) for train, test in folds]

    def sort(labellings: Labels, classes: int) -> Labels:
        named = np.empty_like(labellings)
        for train, test, one in sorters:
            named[:, test] = one(labellings[:, train], classes)
        return named

    return sort


def learnable(labellings: Labels, folds: Sequence[Fold], classes: int) -> Truths:
    """Return (b, n) whether the class of a held-out sequence occurs among those it is learnt from."""
    occurs = np.empty(labellings.shape, dtype=bool)
    for train, test in folds:
        known = np.stack([(labellings[:, train] == one).any(axis=1) for one in range(classes)], axis=1)
        occurs[:, test] = np.take_along_axis(known, labellings[:, test], axis=1)
    return occurs


def assessed(
    predicted: Labels, labellings: Labels, classes: int, *, groups: Labels, counted: Truths | None = None
) -> Accuracy:
    """Return the accuracy of the first labelling (b, n), held against all others.

    ``predicted`` is (b, n) or (1, n); ``counted`` (b, n) leaves sequences out; ``groups`` (n,) are right or wrong
    together, for :func:`grouped_interval`.
    """
    counted = np.ones(labellings.shape, dtype=bool) if counted is None else counted
    present = len(np.unique(labellings[0][counted[0]]))
    if present < 2:
        return undefined("fewer than 2 classes can be learnt from the rest")
    right = (predicted == labellings) & counted
    values = balanced(right, labellings, counted, classes)
    weights = _class_weights(labellings[0], counted[0])
    low, high = grouped_interval(right[0], weights, groups)
    shuffles = values[1:] if len(values) > 1 else values
    null_low, null_high = np.quantile(shuffles, (0.025, 0.975))
    return Accuracy(
        float(values[0]),
        int(right[0].sum()),
        int(counted[0].sum()),
        low,
        high,
        float(shuffles.mean()),
        float(null_low),
        float(null_high),
        float((values >= values[0] - 1e-9).mean()),
        float((labellings == labellings[0]).all(axis=1).mean()),
    )


def balanced(right: Truths, labellings: Labels, counted: Truths, classes: int) -> Doubles:
    """Return the balanced accuracy (b,): the mean over the classes of the share of their sequences that is right."""
    total, present = np.zeros(len(right)), np.zeros(len(right))
    for one in range(classes):
        members = (labellings == one) & counted
        sizes = members.sum(axis=1)
        total += (right & members).sum(axis=1) / np.maximum(sizes, 1)
        present += sizes > 0
    return total / np.maximum(present, 1)


def _class_weights(labels: Labels, counted: Truths) -> Doubles:
    sizes = np.bincount(labels[counted], minlength=int(labels.max()) + 1)
    weights: Doubles = np.where(counted, 1 / np.maximum(sizes[labels], 1), 0.0)
    return weights


def grouped_interval(right: Truths, weights: Doubles, groups: Labels, *, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a weighted share of right answers (n,) that come in groups (n,), such as families.

    Clopper and Pearson's interval for as many independent answers as these are worth: the variance between groups
    says how many, with Student's t for the few groups (Korn and Graubard 1998). Counting dependent sequences one by
    one, as Wilson's interval does, is too narrow: of synthetic sets of 6 families × 4 windows with 16 dimensions and
    family and window effects of many sizes, Wilson's held the accuracy that fresh windows have in 80 to 100%, and
    this one in 91 to 100%, mostly above 95%. NaN where there are fewer than two groups.
    """
    from scipy.special import betaincinv, stdtrit

    used = weights > 0
    shares = weights[used] / weights[used].sum()
    value = float(shares @ right[used])
    totals = np.bincount(np.unique(groups[used], return_inverse=True)[1], shares * (right[used] - value))
    if len(totals) < 2:
        return math.nan, math.nan
    most = 1 / float((shares**2).sum())
    variance = len(totals) / (len(totals) - 1) * float(((totals - totals.mean()) ** 2).sum())
    worth = min(most, value * (1 - value) / variance) if variance > 0 else most
    quantile = (1 + level) / 2
    worth *= min(1.0, float(stdtrit(max(most - 1, 1), quantile) / stdtrit(len(totals) - 1, quantile)) ** 2)
    ups, downs = worth * value, worth * (1 - value)
    low = float(betaincinv(ups, downs + 1, 1 - quantile)) if ups > 1e-9 else 0.0
    return low, float(betaincinv(ups + 1, downs, quantile)) if downs > 1e-9 else 1.0


def family_orders(count: int, rounds: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return orders (b, count) of whole families, the true one first: all of them up to 6 families, else a sample."""
    if math.factorial(count) <= _ALL_ORDERS:
        return np.array(list(permutations(range(count))), dtype=np.int64)
    drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(count), (rounds, 1)), axis=1)
    return np.concatenate([np.arange(count)[None], drawn])


def rounds_for(n: int, classes: int, folds: int) -> int:
    """Return how many shuffles a test of n sequences gets, so that it stays within seconds.

    >>> rounds_for(24, 6, 4), rounds_for(500, 60, 12)
    (1999, 99)
    """
    return int(min(1_999, max(99, _WORK / (n * n * classes * folds))))


def sequence_classes(name: str, sequences: SequenceSet) -> tuple[str, Labels]:
    """Return the class (n,) of each sequence, and the name of what tells it.

    parity: nine terms in ten odd, even, or neither; prime: nine in ten prime, or not. Where all sequences are alike in
    that, the share of such terms stands for it. Numbers are put into three classes of about as many sequences.
    """
    if name in _SHARES:
        result = np.unique(traits(sequences)[name], return_inverse=True)[1]
        if result.any():
            return name, np.asarray(result, dtype=np.int64)
        name = _SHARES[name]
    plain = ATTRIBUTES[name].function(sequences)
    plain = plain if name in _UNORDERED else levels(plain.tolist(), 3)
    return name, np.asarray(np.unique(plain, return_inverse=True)[1], dtype=np.int64)


def family_classes(name: str, sequences: SequenceSet) -> tuple[Labels, str]:
    """Return the class (k,) of each family by an attribute, and why it cannot be learnt from other families, or "".

    Numbers are put into three classes of about as many families, or two where three would leave a family alone.
    """
    labels = ATTRIBUTES[name].function(sequences)
    members = [labels[sequences.labels == one] for one in range(len(sequences.families))]
    if name in _UNORDERED:
        usual = [Counter(own.tolist()).most_common(1)[0][0] for own in members]
        kinds = [np.asarray(np.unique(usual, return_inverse=True)[1], dtype=np.int64)]
    else:
        kinds = [levels([float(own.mean()) for own in members], parts) for parts in (3, 2)]
    for classes in kinds:
        sizes = np.bincount(classes)
        if np.count_nonzero(sizes > 1) > 1 and (sizes.min() > 1 or name in _UNORDERED):
            return classes, ""
    if len(sizes) < 2:
        return classes, "all families have the same class, so there is nothing to predict"
    alone = [family(one).title for one, own in zip(sequences.families, classes, strict=True) if sizes[own] == 1]
    return (
        classes,
        f"no other family has the class of {' or of '.join(alone)}, so it cannot be learnt",
    )


def alike(one: Labels, other: Labels) -> bool:
    """Return whether two labellings part the same from the same."""
    return bool(((one[:, None] == one) == (other[:, None] == other)).all())


def levels(values: Sequence[float], parts: int) -> Labels:
    """Return the class (n,) of each value, lowest 0: ``parts`` classes of about as many values, equal ones together.

    >>> levels([5, 1, 1, 9], 2).tolist()
    [1, 0, 0, 1]
    """
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    bins = np.floor(middle[place] * parts / max(1, len(place)))
    return np.asarray(np.unique(bins, return_inverse=True)[1], dtype=np.int64)
