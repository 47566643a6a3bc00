"""Ways to make one model of several. A merge is described by shares: how much of each part is in the result.

Most methods look only at lengths and angles, so they get the parts' inner products (``gram``, (k, k)) and return shares
(k,). The gram matrix of one tensor gives one angle per tensor; the sum over all tensors gives one angle for the whole
model ("flat"); with a base, the parts are task vectors (part − base). TIES and DARE look at single values and get the
task vectors themselves. What was decided, for all methods:

- equal parts come out unchanged, and at the ends of a path stands the part itself, bit for bit;
- everything is added up in float64 and rounded once to the parts' type, so that no small update is lost on the way;
- where directions cancel (opposite vectors) or do not exist (zero vectors), the straight line is taken;
- whole numbers and truth values are not weights: they are kept from the first part.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from numembed.core.arrays import Tensor
from numembed.core.registry import Range, Registry
from numembed.models.merging.arcs import Gram, Shares, arc, mean_direction, stretched

Space = Literal["weights", "task_vectors"]
Scope = Literal["tensor", "flat"]
BOTH: tuple[Space, ...] = ("weights", "task_vectors")
SCOPES: tuple[Scope, ...] = ("tensor", "flat")
MERGEKIT_PARALLEL = 0.9995  # mergekit's SLERP takes the straight line above this |cosine|
MERGES: Registry[Callable[..., Any]] = Registry("merge")

T = Annotated[float, Range(0, 1, 0.05)]
Scale = Annotated[float, Range(0, 2, 0.05)]
Parallel = Annotated[float, Range(0, 1)]
Density = Annotated[float, Range(0.01, 1, 0.01)]
_TWO: dict[str, Any] = {"parts": (2, 2), "spaces": BOTH, "scopes": SCOPES}
_MANY: dict[str, Any] = {"parts": (2, None), "spaces": BOTH, "scopes": SCOPES}
_UPDATES: dict[str, Any] = {"parts": (1, None), "spaces": ("task_vectors",)}  # of one base
_SUM: dict[str, Any] = {**_UPDATES, "sees": "nothing"}
_VALUES: dict[str, Any] = {**_UPDATES, "weighted": True, "sees": "values", "neutral": lambda count: {"density": 1}}


# --- two models


@MERGES.register("Linear interpolation", parts=(2, 2), spaces=("weights",), sees="nothing", reference="Wortsman 2022")
def linear(gram: Gram, *, t: T = 0.5) -> Shares:
    """The straight line between two models: t = 0 is the first, t = 1 the second.

    >>> linear(np.eye(2), t=0.25)
    array([0.75, 0.25])
    """
    return np.array([1 - t, t])


@MERGES.register("SLERP", **_TWO, reference="Shoemake 1985")
def slerp(gram: Gram, *, t: T = 0.5, fallback: Parallel = MERGEKIT_PARALLEL) -> Shares:
    """The arc between two models: the direction turns evenly, the length stays between theirs.

    Above ``fallback`` (|cosine|) it is the straight line, as in mergekit; fallback = 1 keeps to the arc. Zero vectors
    have no direction and opposite ones no shortest arc: for both it is the straight line.

    >>> slerp(np.eye(2)).round(3)
    array([0.707, 0.707])
    """
    return arc(gram, t, fallback)


@MERGES.register("Linear, length kept", **_TWO, control_of="slerp", reference="a control")
def norm_matched(gram: Gram, *, t: T = 0.5) -> Shares:
    """The control for SLERP: the straight line, stretched to the length between the two models' lengths.

    What SLERP does beyond this is the arc; what both do beyond the straight line is length.

    >>> norm_matched(np.eye(2)).round(3)
    array([0.707, 0.707])
    """
    return stretched(gram, np.array([1 - t, t]))


# --- many models


@MERGES.register("Soup", parts=(2, None), spaces=("weights",), sees="nothing", weighted=True, reference="Wortsman 2022")
def soup(gram: Gram, *, weights: Shares) -> Shares:
    """The mean of the models' weights.

    >>> soup(np.eye(2), weights=np.array([0.5, 0.5]))
    array([0.5, 0.5])
    """
    return weights


@MERGES.register("Soup, length kept", **_MANY, weighted=True, control_of="karcher", reference="a control")
def norm_matched_soup(gram: Gram, *, weights: Shares) -> Shares:
    """The control for the Karcher mean: the soup, stretched to the mean of the models' lengths.

    >>> norm_matched_soup(np.eye(2), weights=np.array([0.5, 0.5])).round(3)
    array([0.707, 0.707])
    """
    return stretched(gram, weights)


@MERGES.register("Karcher mean", **_MANY, weighted=True, reference="Karcher 1977; arXiv 2603.04972")
def karcher(gram: Gram, *, weights: Shares) -> Shares:
    """SLERP of many: the mean direction on the sphere, with the mean of the lengths.

    A zero vector counts in the length alone. Where the directions cancel there is no mean direction: it is the soup.

    >>> karcher(np.eye(2), weights=np.array([0.5, 0.5])).round(3)
    array([0.707, 0.707])
    """
    norms = np.sqrt(np.diag(gram))
    there = norms > 0
    if not there.any():
        return weights
    cosines = gram[np.ix_(there, there)] / np.outer(norms[there], norms[there])
    direction = mean_direction(cosines, weights[there] / max(weights[there].sum(), np.finfo(float).tiny))
    if direction is None:
        return weights
    shares = np.zeros(len(norms))
    shares[there] = direction / norms[there] * (weights @ norms)
    return shares


@MERGES.register("SLERP across stages", **_MANY, reference="Zhang 2025 (Qwen3)")
def multi_stage(gram: Gram, *, t: T = 0.5, fallback: Parallel = MERGEKIT_PARALLEL) -> Shares:
    """SLERP through saved stages in their order: each next one is mixed into what came out so far, with share t.

    t = 0 is the first stage, t = 1 the last.

    >>> multi_stage(np.eye(3), t=1.0)
    array([0., 0., 1.])
    """
    stages: Shares = np.eye(len(gram))
    mixed: Shares = stages[0]
    for stage in stages[1:]:
        pair = np.stack([mixed, stage])
        mixed = np.asarray(arc(pair @ gram @ pair.T, t, fallback) @ pair)
    return mixed


# --- models and their base


@MERGES.register("WiSE-FT", parts=(1, 1), spaces=("task_vectors",), sees="nothing", reference="Wortsman 2022")
def wise_ft(gram: Gram, *, t: T = 0.5) -> Shares:
    """The straight line from the base (t = 0) to one model made from it (t = 1).

    >>> wise_ft(np.eye(1), t=0.25)
    array([0.25])
    """
    return np.array([t])


@MERGES.register(
    "Soup with base", **_SUM, weighted=True, reference="Wortsman 2022", neutral=lambda count: {"base_weight": 0}
)
def soup_with_base(gram: Gram, *, weights: Shares, base_weight: Annotated[float, Range(0, 10)] = 1.0) -> Shares:
    """The mean of the models and their base, which counts ``base_weight`` times as much as one model.

    >>> soup_with_base(np.eye(3), weights=np.ones(3) / 3)
    array([0.25, 0.25, 0.25])
    """
    return weights * len(weights) / (len(weights) + base_weight)


@MERGES.register("Task arithmetic", **_SUM, reference="Ilharco 2023", neutral=lambda count: {"scale": 1 / count})
def task_arithmetic(gram: Gram, *, scale: Scale = 0.4) -> Shares:
    """The base plus the sum of all updates, times ``scale``; with one model, its adapter's strength.

    >>> task_arithmetic(np.eye(2), scale=0.5)
    array([0.5, 0.5])
    """
    return np.full(len(gram), float(scale))


@MERGES.register("Model stock", parts=(2, None), spaces=("task_vectors",), scopes=SCOPES, reference="Jang 2024")
def model_stock(gram: Gram) -> Shares:
    """From the base towards the soup, as far as the updates agree: the smaller their angle, the further.

    With updates that point away from each other it stays at the base (mergekit goes on behind it).

    >>> model_stock(np.array([[1.0, 0.5], [0.5, 1.0]])).round(3)
    array([0.333, 0.333])
    """
    count, norms = len(gram), np.sqrt(np.diag(gram))
    lengths = np.outer(norms, norms)
    cosines = np.divide(gram, lengths, out=np.zeros_like(gram), where=lengths > 0)
    cosine = float(np.clip(cosines[np.triu_indices(count, 1)].mean(), 0, 1))
    return np.full(count, cosine / (1 + (count - 1) * cosine))


@MERGES.register("TIES", **_VALUES, reference="Yadav 2023")
def ties(deltas: Sequence[Tensor], *, weights: Shares, name: str, density: Density = 0.2, scale: Scale = 1.0) -> Tensor:
    """Keeps each update's largest values, lets them vote on the sign, and averages those that agree.

    ``density`` is the share of values kept, per tensor as in mergekit; of equally large ones all are.

    >>> ties([np.array([1.0, -2.0]), np.array([3.0, 2.5])], weights=np.ones(2) / 2, name="", density=1.0)
    array([2. , 2.5])
    """
    kept = [_largest(delta, density) * delta.dtype.type(weight) for delta, weight in zip(deltas, weights, strict=True)]
    signs = np.where(sum(kept) >= 0, 1, -1)
    total, voters = np.zeros_like(deltas[0]), np.zeros_like(deltas[0])
    for delta, weight in zip(kept, weights, strict=True):
        agrees = np.sign(delta) == signs
        total += delta * agrees
        voters += agrees * deltas[0].dtype.type(weight)
    np.divide(total, voters, out=total, where=voters > 0)
    total *= deltas[0].dtype.type(scale)
    return total


@MERGES.register("DARE", **_VALUES, reference="Yu 2024")
def dare(
    deltas: Sequence[Tensor],
    *,
    weights: Shares,
    name: str,
    density: Density = 0.5,
    scale: Scale = 1.0,
    seed: Annotated[int, Range(0, 2**31 - 1)] = 0,
) -> Tensor:
    """Drops each value of an update by chance, makes up for it by growing the rest, and averages.

    ``density`` is the share of values kept; they grow by 1 / density. Each tensor and part has its own draw, which
    depends on nothing but the seed.
    """
    total = np.zeros_like(deltas[0])
    for number, (delta, weight) in enumerate(zip(deltas, weights, strict=True)):
        random = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
        kept = random.random(delta.shape, dtype=np.float32) < density
        total += delta * kept * delta.dtype.type(weight / density)
    total *= deltas[0].dtype.type(scale)
    return total


def _largest(delta: Tensor, density: float) -> Tensor:
    """Return ``delta`` with all but its largest values set to 0."""
    dropped = delta.size - max(1, int(density * delta.size))
    if dropped <= 0:
        return delta
    sizes = np.abs(delta)
    kept: Tensor = delta * (sizes >= np.partition(sizes, dropped, axis=None)[dropped])  # equally large ones all stay
    return kept
