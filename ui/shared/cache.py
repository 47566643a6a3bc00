"""Caches that find their entries by value: a study by its key, a model by all that describes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import streamlit as st

from numembed.core.serialization import canonical_json
from numembed.models.spec import ModelSpec
from numembed.studies.study import Study

P = ParamSpec("P")
R = TypeVar("R")
_BY_VALUE: dict[str | type[Any], Callable[[Any], Any]] = {
    Study: lambda study: study.key,
    ModelSpec: lambda spec: canonical_json(spec.as_dict()),
}


def cached(*, entries: int, seconds: float | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that keeps up to ``entries`` answers of a function, each for ``seconds`` at most."""
    return st.cache_data(show_spinner=False, max_entries=entries, ttl=seconds, hash_funcs=_BY_VALUE)
