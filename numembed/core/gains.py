"""How much this process has stored that no later run computes again: vectors, results, adapters.

The worker asks for it: a run whose process is ended again and again counts as lost only where nothing was gained.
"""

from __future__ import annotations

_stored = 0


def gained(count: int = 1) -> None:
    """Count what was stored just now; what only replaces an earlier value is no gain."""
    global _stored
    _stored += count


def gains() -> int:
    """Return how many gains this process has had."""
    return _stored
