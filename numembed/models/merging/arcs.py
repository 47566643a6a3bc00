"""Arcs and mean directions between tensors, from their inner products alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_SMALLEST_SINE = 1e-6  # below it an angle is 0 or π, as far as float32 weights can tell


def arc(gram: Gram, t: float, fallback: float) -> Shares:
    """Return the shares of two tensors at ``t`` of the arc between them, of the straight line where they are parallel.

    ``gram`` (2, 2) holds their inner products; above the absolute cosine ``fallback`` they count as parallel.
    """
    length = float(np.sqrt(gram[0, 0] * gram[1, 1]))
    cosine = float(np.clip(gram[0, 1] / length, -1, 1)) if length > 0 else 1.0
    angle = np.arccos(cosine)
    if abs(cosine) > fallback or np.sin(angle) < _SMALLEST_SINE:
        return np.array([1 - t, t])
    shares: Shares = np.sin(np.array([1 - t, t]) * angle) / np.sin(angle)
    return shares


def stretched(gram: Gram, shares: Shares) -> Shares:
    """Return ``shares`` (k,) scaled so that the mixture has the weighted mean length of its parts."""
    wanted, length = float(shares @ np.sqrt(np.diag(gram))), _length(shares, gram)
    return shares * (wanted / length) if length > _SMALLEST_SINE * wanted else shares


def _length(shares: Shares, gram: Gram) -> float:
    return math.sqrt(max(0.0, float(shares @ gram @ shares)))


def mean_direction(cosines: Gram, weights: Shares) -> Shares | None:
    """Return the Karcher mean of unit vectors as shares of them, of length 1; None where they cancel."""
    mean = weights
    for _ in range(100):
        if _length(mean, cosines) < _SMALLEST_SINE:
            return None
        mean = mean / _length(mean, cosines)
        dots = np.clip(cosines @ mean, -1, 1)
        angles = np.arccos(dots)
        sines = np.sin(angles)
        if ((sines < _SMALLEST_SINE) & (dots < 0)).any():
            return None
        pulls = weights * np.divide(angles, sines, out=np.ones_like(sines), where=sines > _SMALLEST_SINE)
        tangent = pulls - (pulls @ dots) * mean
        step = _length(tangent, cosines)
        if step < 1e-7:  # as fine as an angle between float32 vectors is known
            break
        mean = np.cos(step) * mean + np.sin(step) / step * tangent
    return mean


Gram = NDArray[np.float64]  # (k, k) inner products
Shares = NDArray[np.float64]  # (k,)
