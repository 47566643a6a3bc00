"""Further questions about a model; importing this registers all of them."""

from numembed.examinations import grouping as _grouping  # noqa: F401  registers itself
from numembed.examinations import placement as _landing  # noqa: F401  registers itself
from numembed.examinations.generalisation import compute as _probes  # noqa: F401  registers itself
from numembed.examinations.maps import compute as _maps  # noqa: F401  registers itself
from numembed.examinations.registry import EXAMINATIONS, Bench
from numembed.examinations.stress import compute as _stress  # noqa: F401  registers itself

__all__ = ["EXAMINATIONS", "Bench"]
