"""Frozen dataclasses as JSON values and back: NaN is None there, tuples are lists."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def as_plain(value: Any) -> Any:
    """Return a value as JSON knows it; what has an ``as_dict`` of its own is described by that.

    >>> as_plain((1.5, math.nan))
    [1.5, None]
    """
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def from_plain(kind: type[T], plain: Any) -> T:
    """Return the value of type ``kind`` that :func:`as_plain` described; fields that are absent take their default.

    None is NaN where a plain number belongs, and None where the type allows it.
    """
    found: T = _read(kind, plain)
    return found


def _read(kind: Any, plain: Any) -> Any:
    if kind is float:
        return math.nan if plain is None else float(plain)
    if hasattr(kind, "from_dict"):
        return kind.from_dict(plain)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = _hints(kind)
        return kind(**{name: _read(hints[name], part) for name, part in plain.items() if name in hints})
    of, parts = get_origin(kind), get_args(kind)
    if of in (Union, types.UnionType):
        chosen = next(part for part in parts if part is not type(None))
        return None if plain is None else _read(chosen, plain)
    if of is tuple:
        each = parts[:1] * len(plain) if len(parts) == 2 and parts[1] is Ellipsis else parts
        return tuple(_read(part, one) for part, one in zip(each, plain, strict=True))
    if isinstance(of, type) and issubclass(of, Mapping):
        return {name: _read(parts[1], part) for name, part in plain.items()}
    return plain


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def without_nan(value: Any) -> Any:
    """Return nested JSON values with None for NaN."""
    if isinstance(value, dict):
        return {name: without_nan(item) for name, item in value.items()}
    return (
        [without_nan(item) for item in value] if isinstance(value, tuple | list) else None if value != value else value
    )


def with_nan(value: Any) -> Any:
    """Return nested JSON values with NaN for None, and tuples for lists."""
    if isinstance(value, dict):
        return {name: with_nan(item) for name, item in value.items()}
    if not isinstance(value, list):
        return math.nan if value is None else value
    nested = bool(value) and isinstance(value[0], list | dict)  # long lists of numbers are taken at one go
    return tuple(map(with_nan, value)) if nested else tuple([math.nan if item is None else item for item in value])


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
