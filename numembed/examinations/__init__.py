"""Further questions about a model; importing this registers all of them."""

from numembed.examinations.bench import EXAMINATIONS, Bench

__all__ = ["EXAMINATIONS", "Bench"]
