"""How long verbs report, and how they are stopped: one callable for both."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""``progress(done, total, note)``; may raise :class:`numembed.errors.Cancelled`."""


def silent(done: int, total: int, note: str) -> None:
    """Report nothing."""
