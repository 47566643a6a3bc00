"""Frozen dataclasses as JSON values and back: NaN is None there, tuples are lists."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

_Reader = Callable[[Any], Any]


def as_plain(value: Any) -> Any:
    """Return a value as JSON knows it; what has an ``as_dict`` of its own is described by that.

    >>> as_plain((1.5, math.nan))
    [1.5, None]
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        if set(map(type, value)) == {float}:  # long lists of numbers are converted in one go
            return [one if math.isfinite(one) else None for one in value]
        return [as_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): as_plain(part) for name, part in value.items()}
    if hasattr(value, "as_dict"):
        return value.as_dict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {stored_name(field): as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def stored_name(field: dataclasses.Field[Any]) -> str:
    """Return the name under which a field is stored: its own, or the older one of ``metadata={"stored": ...}``."""
    return str(field.metadata.get("stored", field.name))


def from_plain(kind: type[T], plain: Any) -> T:
    """Return the value of type ``kind`` that :func:`as_plain` described; fields that are absent take their default.

    None is NaN where a plain number belongs, and None where the type allows it.

    >>> from_plain(tuple[float, ...], [1.5, None])
    (1.5, nan)
    """
    read: Callable[[Any], T] = _reader(cast(Any, kind))
    return read(plain)


@functools.cache
def _reader(kind: Any) -> _Reader:
    """Return the function that reads values of a type."""
    of, parts = get_origin(kind), get_args(kind)
    if kind is float:
        return _number
    if hasattr(kind, "from_dict"):
        return kind.from_dict  # type: ignore[no-any-return]
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return functools.partial(_read_fields, kind)
    if of in (Union, types.UnionType):
        chosen = _reader(next(part for part in parts if part is not types.NoneType))
        return lambda plain: None if plain is None else chosen(plain)
    if of is tuple:
        return _tuple_reader(parts)
    if isinstance(of, type) and issubclass(of, Mapping):
        part = _reader(parts[1])
        return lambda plain: {name: part(value) for name, value in plain.items()}
    return _as_it_is


def _tuple_reader(parts: tuple[Any, ...]) -> _Reader:
    if parts == (float, Ellipsis):
        return _numbers
    readers = [_reader(part) for part in parts if part is not Ellipsis]
    if Ellipsis in parts:
        return tuple if readers == [_as_it_is] else lambda plain: tuple(map(readers[0], plain))
    return lambda plain: tuple([read(value) for read, value in zip(readers, plain, strict=True)])


def _read_fields(kind: Any, plain: Mapping[str, Any]) -> Any:
    readers = _field_readers(kind)
    return kind(**{readers[name][0]: readers[name][1](value) for name, value in plain.items() if name in readers})


@functools.cache
def _field_readers(kind: Any) -> dict[str, tuple[str, _Reader]]:
    """Return for each stored name the field and what reads it."""
    hints = get_type_hints(kind)
    return {stored_name(field): (field.name, _reader(hints[field.name])) for field in dataclasses.fields(kind)}


def _number(plain: float | None) -> float:
    return math.nan if plain is None else float(plain)


def _numbers(plain: list[float | None]) -> tuple[float, ...]:
    return tuple([math.nan if value is None else value for value in plain])


def _as_it_is(plain: Any) -> Any:
    return plain


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
