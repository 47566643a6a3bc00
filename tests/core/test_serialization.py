"""Stored results as JSON values and back: NaN, tuples, nested dataclasses, and what older versions stored."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from numembed.core.serialization import as_plain, from_plain
from numembed.models.catalogue.names import model
from numembed.models.spec import ModelSpec

NAN = math.nan


@dataclass(frozen=True)
class Part:
    """A nested value."""

    name: str
    value: float
    p: float | None = None


@dataclass(frozen=True)
class Whole:
    """Every kind of field that results have."""

    parts: tuple[Part, ...]
    table: tuple[tuple[float, ...], ...]
    joins: tuple[tuple[int, int, float], ...]
    rows: tuple[int, ...]
    names: tuple[str, ...]
    by_name: Mapping[str, tuple[float, ...]]
    most: Part
    options: dict[str, Any] = field(default_factory=dict)
    spec: ModelSpec | None = None
    level: float = 0.05


WHOLE = Whole(
    (Part("a", NAN), Part("b", 1.5, 0.25)),
    ((1.0, NAN), (), (NAN, NAN)),
    ((0, 1, 0.5), (2, 3, NAN)),
    (3, 2),
    ("x", ""),
    {"m": (0.5, NAN)},
    Part("c", 2.0),
    {"to": 2, "kept": "as it is"},
    model("last_digits"),
    NAN,
)


def test_every_value_comes_back_from_strict_json() -> None:
    plain = json.loads(json.dumps(as_plain(WHOLE), allow_nan=False))
    assert plain["table"] == [[1.0, None], [], [None, None]] and plain["joins"] == [[0, 1, 0.5], [2, 3, None]]
    assert plain["parts"] == [{"name": "a", "value": None, "p": None}, {"name": "b", "value": 1.5, "p": 0.25}]
    again = from_plain(Whole, plain)
    assert repr(again) == repr(WHOLE), "values and types; NaN equals nothing"
    assert as_plain(again) == plain


def test_none_is_nan_only_where_a_number_belongs() -> None:
    found = from_plain(Part, {"name": "a", "value": None, "p": None})
    assert math.isnan(found.value) and found.p is None


def test_what_is_absent_takes_its_default_and_what_is_unknown_is_left_out() -> None:
    plain = {name: value for name, value in as_plain(WHOLE).items() if name not in ("level", "spec")}
    found = from_plain(Whole, plain | {"of a later version": 1})
    assert found.level == 0.05 and found.spec is None


def test_a_field_that_is_needed_and_absent_is_an_error() -> None:
    with pytest.raises(TypeError):
        from_plain(Part, {"name": "a"})


@pytest.mark.parametrize("value", [math.inf, -math.inf, NAN])
def test_what_is_not_finite_has_no_place_in_json(value: float) -> None:
    assert as_plain((value, 1.0)) == [None, 1.0] and as_plain({"one": value}) == {"one": None}


def test_whole_numbers_may_be_large() -> None:
    assert as_plain((1, 10**400)) == [1, 10**400] and from_plain(tuple[int, ...], [1, 10**400]) == (1, 10**400)
