"""What is made once for all visitors who see the same: values by what decides them, bounded in number and in size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import streamlit as st

from numembed.studies.keys import result_key
from numembed.studies.reference_scores import ReferenceScores, stored_references
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.study import Study
from ui.shared.large import results_of

T = TypeVar("T")


@dataclass(frozen=True)
class Known:
    """What earlier runs left for each model of a study, None where there is nothing yet, and the references."""

    items: tuple[ModelResult | None, ...]
    references: ReferenceScores
    prepared: tuple[str, ...] = ()  # names of models whose scores were computed beforehand
    _made: dict[Hashable, Any] = field(default_factory=dict)

    @cached_property
    def results(self) -> tuple[ModelResult, ...]:
        """What there is."""
        return tuple(result for result in self.items if result is not None)

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` makes of the results for every visitor alike; no larger than they are."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]  # type: ignore[no-any-return]


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


def known_results(study: Study, store: ResultStore) -> Known:
    """Return what earlier runs left for each model of ``study``, None where there is nothing yet, and the references.

    It is read again whenever anybody has stored a result since.
    """

    def read() -> Known:
        items = results_of(study)
        models = [one.model for one in items if one is not None]
        references = stored_references(study, models, store) if models else ReferenceScores()
        return Known(items, references, tuple(one.name for one in models if store.is_prepared(result_key(study, one))))

    return _known().get((study.key, store.state), read)


@st.cache_resource(show_spinner=False)
def _known() -> Kept[Known]:
    return Kept(_size_of, entries=100, most=10_000_000)


def _size_of(known: Known) -> int:
    """Return about how many bytes results and what is made of them take: a number in a tuple takes 32."""
    numbers = [6 * len(one.clusters) + sum(map(len, one.designs.values())) for one in known.results]
    return 20_000 + sum(40_000 + 32 * count for count in numbers)
