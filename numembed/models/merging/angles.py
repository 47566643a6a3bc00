"""How far models lie apart in their weights: angles per tensor, what SLERP does beyond a line, lengths of updates."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from numembed.core.arrays import Tensor
from numembed.models.merging.arcs import Shares
from numembed.models.merging.methods import MERGEKIT_PARALLEL, MERGES
from numembed.models.merging.tensors import gram_of, ingredients

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")


@dataclass(frozen=True)
class Angle:
    """Two tensors, or two task vectors, as arrows: their lengths and inner product."""

    name: str
    size: int  # numbers in it
    inner: float
    length_a: float
    length_b: float

    @property
    def cosine(self) -> float:
        """From −1 to 1; NaN where one is zero and has no direction."""
        lengths = self.length_a * self.length_b
        return min(1.0, max(-1.0, self.inner / lengths)) if lengths else math.nan

    @property
    def degrees(self) -> float:
        """From 0 to 180; NaN where one is zero."""
        return math.degrees(math.acos(self.cosine)) if not math.isnan(self.cosine) else math.nan


@dataclass(frozen=True)
class Straightness:
    """What SLERP does beyond the straight line between two models, at one t."""

    fell_back: float  # share of the parameters in tensors where it took the straight line itself
    largest: float  # largest difference of one weight
    length: float  # length of the difference over all weights
    of_step: float  # the same as a share of the distance between the two models


@dataclass(frozen=True)
class Update:
    """What training or a merge changed in one tensor or layer."""

    name: str
    size: int
    base: float  # length before
    change: float  # length of the difference

    @property
    def relative(self) -> float:
        """The change as a share of the length before; NaN where that was 0."""
        return self.change / self.base if self.base else math.nan


def angles(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], base: Mapping[str, Tensor] | None = None
) -> tuple[Angle, ...]:
    """Return the angle of each tensor of two models; with ``base``, between what each of them changed of it."""
    given = ingredients([a, b], base)
    measured = []
    for name in given.mixed:
        each, origin = given.read(name)
        gram = gram_of(each, origin)
        measured.append(Angle(name, each[0].size, gram[0, 1], math.sqrt(gram[0, 0]), math.sqrt(gram[1, 1])))
    return tuple(measured)


def together(parts: Iterable[Angle], name: str = "all") -> Angle:
    """Return the angle between the models as wholes: all tensors as one long arrow."""
    listed = tuple(parts)
    lengths = (math.sqrt(sum(one.length_a**2 for one in listed)), math.sqrt(sum(one.length_b**2 for one in listed)))
    return Angle(name, sum(one.size for one in listed), sum(one.inner for one in listed), *lengths)


def straightness(
    a: Mapping[str, Tensor],
    b: Mapping[str, Tensor],
    base: Mapping[str, Tensor] | None = None,
    *,
    t: float = 0.5,
    fallback: float = MERGEKIT_PARALLEL,
) -> Straightness:
    """Return how far SLERP at ``t`` lies from the straight line between ``a`` and ``b``, tensor by tensor.

    With ``base`` the arc is that of the task vectors. fallback = 1 asks for the arc everywhere.
    """
    given = ingredients([a, b], base)
    straight: Shares = np.array([1 - t, t])
    sizes = {"all": 0, "fell back": 0}
    largest = squares = distance = 0.0
    for name in given.mixed:
        each, origin = given.read(name)
        gram = gram_of(each, origin)
        beyond = MERGES["slerp"].function(gram, t=t, fallback=fallback) - straight
        sizes["all"] += each[0].size
        distance += gram[0, 0] + gram[1, 1] - 2 * gram[0, 1]
        if not beyond.any():
            sizes["fell back"] += each[0].size
            continue
        squares += max(0.0, float(beyond @ gram @ beyond))
        largest = max(largest, _largest(each, origin, beyond))
    length, fell_back = math.sqrt(squares), sizes["fell back"] / sizes["all"]
    return Straightness(fell_back, largest, length, length / math.sqrt(distance) if distance > 0 else 0.0)


def updates(part: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> tuple[Update, ...]:
    """Return how much each tensor of ``part`` differs from ``base``."""
    given = ingredients([part], base)
    measured = []
    for name in given.mixed:
        (tensor,), origin = given.read(name)
        assert origin is not None
        change, before = gram_of([tensor], origin)[0, 0], gram_of([origin])[0, 0]
        measured.append(Update(name, tensor.size, math.sqrt(before), math.sqrt(change)))
    return tuple(measured)


def by_layer(changes: Iterable[Update]) -> tuple[Update, ...]:
    """Return the updates of whole layers, in order of first appearance; what belongs to no layer is called "other".

    >>> [one.name for one in by_layer([Update("encoder.layer.3.output.dense.bias", 1, 1.0, 1.0)])]
    ['layer 3']
    """
    layers: dict[str, list[Update]] = {}
    for one in changes:
        match = _LAYER.search(one.name)
        layers.setdefault(f"layer {match[1]}" if match else _part(one.name), []).append(one)
    return tuple(
        Update(
            name,
            sum(one.size for one in within),
            math.sqrt(sum(one.base**2 for one in within)),
            math.sqrt(sum(one.change**2 for one in within)),
        )
        for name, within in layers.items()
    )


def _part(name: str) -> str:
    parts = {"embed": "embedding", "pooler": "pooler", "lm_head": "lm_head"}
    return next((title for part, title in parts.items() if part in name), "other")


def _largest(each: list[Tensor], base: Tensor | None, beyond: Shares) -> float:
    terms = [share * tensor.astype(np.float64) for tensor, share in zip(each, beyond.tolist(), strict=True)]
    if base is not None:
        terms.append(-float(beyond.sum()) * base.astype(np.float64))
    return float(np.abs(sum(terms)).max(initial=0.0))
