"""Which vectors go where the store is to be smaller: those of the models that were least recently used."""

from __future__ import annotations

from collections.abc import Collection

from numembed.storage.vectors import StoredModel, VectorStore


def prune(store: VectorStore, most_bytes: int, keep: Collection[str] = ()) -> tuple[StoredModel, ...]:
    """Return the models whose vectors were deleted, least recently used first, until the file is at most so large.

    ``keep``: keys of models that a run needs; where they alone are larger, the file stays larger.
    """
    gone = []
    for model in store.least_used():
        if store.bytes_in_use() <= most_bytes:
            break
        if model.key not in keep:
            store.delete(model.key, shrinks=False)
            gone.append(model)
    if store.size_bytes() > most_bytes:
        store.shrink()
    return tuple(gone)
