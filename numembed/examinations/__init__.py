"""Further questions about a model; importing this registers all of them."""

from numembed.examinations import grouping as _grouping  # noqa: F401  registers itself
from numembed.examinations import landing as _landing  # noqa: F401  registers itself
from numembed.examinations import maps as _maps  # noqa: F401  registers itself
from numembed.examinations import probes as _probes  # noqa: F401  registers itself
from numembed.examinations import stress as _stress  # noqa: F401  registers itself
from numembed.examinations.bench import EXAMINATIONS, Bench

__all__ = ["EXAMINATIONS", "Bench"]
