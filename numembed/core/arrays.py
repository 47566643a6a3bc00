"""The arrays that pass between the parts: n sequences, d dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
"""Vectors, one row a text: (n, d)."""
Labels = NDArray[np.int64]
"""Which group each row belongs to, from 0: (n,)."""
Points = NDArray[np.float32]
"""Places on a map: (n, 2) or (n, 3)."""
Tensor = NDArray[Any]
"""Weights of a model, of any shape and floating type."""
