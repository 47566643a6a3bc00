"""How long verbs report, and how they are stopped: one callable for both."""

from collections.abc import Callable

# of one model in a run
STAGES = ("download", "train", "load", "encode", "score", "project", "redraw", "examine", "twin", "done")

Progress = Callable[[int, int, str], None]
"""``progress(done, total, note)``; may raise :class:`numembed.core.errors.Cancelled`."""


def silent(done: int, total: int, note: str) -> None:
    """Report nothing."""
