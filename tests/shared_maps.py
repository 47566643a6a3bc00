"""t-SNE and UMAP for tests that run studies: what was drawn once in this process is not drawn again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

_DRAWN: dict[tuple[Any, ...], tuple[np.ndarray, dict[str, Any]]] = {}
Drawing = Callable[..., tuple[np.ndarray, dict[str, Any]]]


@functools.cache
def drawn_once(function: Drawing) -> Drawing:
    """Return ``function``, a registered map, with its answers kept: equal vectors, options and seed, equal points."""

    @functools.wraps(function)
    def drawn(matrix: np.ndarray, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        key = (function.__name__, matrix.shape, matrix.dtype.str, matrix.tobytes(), *sorted(options.items()))
        if key not in _DRAWN:
            _DRAWN[key] = function(matrix, **options)
        points, used = _DRAWN[key]
        return points.copy(), dict(used)

    return drawn
