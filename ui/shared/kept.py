"""What is made once for all visitors who see the same: values by what decides them, bounded in number and in size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import streamlit as st

from numembed.studies.reference_scores import ReferenceScores, stored_references
from numembed.studies.results import ModelResult
from numembed.studies.study import Study
from ui.shared.frame import result_store
from ui.shared.large import results_of

T = TypeVar("T")
Known = tuple[tuple[ModelResult | None, ...], ReferenceScores]


class Kept(Generic[T]):
    """Values by key; beyond ``entries`` or ``most`` bytes altogether, those nobody asked for longest are forgotten.

    ``size`` says how many bytes a value takes.
    """

    def __init__(self, size: Callable[[T], int], *, entries: int, most: int) -> None:
        self._size, self._entries, self._most = size, entries, most
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of ``key``, by ``make`` where it is not kept; one that is too large is never kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        made = make()
        size = self._size(made)
        with self._lock:
            if key not in self._values and size <= self._most:
                self._values[key] = made, size
                self.bytes += size
            while len(self._values) > self._entries or self.bytes > self._most:
                self.bytes -= self._values.popitem(last=False)[1][1]
        return made


def known_results(study: Study) -> Known:
    """Return what earlier runs left for each model of ``study``, None where there is nothing yet, and the references.

    It is read again whenever anybody has stored a result since.
    """
    with result_store() as store:

        def read() -> Known:
            items = results_of(study)
            models = [one.model for one in items if one is not None]
            return items, stored_references(study, models, store) if models else ReferenceScores()

        return _known().get((study.key, store.state), read)


@st.cache_resource(show_spinner=False)
def _known() -> Kept[Known]:
    return Kept(_size_of, entries=100, most=10_000_000)


def _size_of(known: Known) -> int:
    """Return about how many bytes results take: a number in a tuple takes 32, and each has some hundred."""
    found = [one for one in known[0] if one is not None]
    numbers = [3 * len(one.clusters) + sum(map(len, one.designs.values())) for one in found]
    return 20_000 + sum(20_000 + 32 * count for count in numbers)
