"""Registered things: one class for families, baselines, metrics, labellings and projections.

A registered function carries the name of the thing. Its keyword-only arguments are its options:
:func:`options_of` turns them into sliders, command-line flags and records.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args, get_origin, get_type_hints

from numembed.core.errors import BadChoice, UnknownName

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Range:
    """Allowed values of a number, both ends included: ``Annotated[int, Range(2, 100)]``."""

    low: float
    high: float
    step: float | None = None


@dataclass(frozen=True)
class Option:
    """One keyword-only argument of a registered function."""

    name: str
    kind: type
    default: Any
    range: Range | None = None
    choices: tuple[Any, ...] = ()

    def parse(self, value: Any) -> Any:
        """Return ``value`` (text or number) as this option's type; raise BadChoice outside what is allowed."""
        try:
            parsed = self.kind(value)
            if isinstance(value, bool) is not (self.kind is bool) or (self.kind is int and float(value) != parsed):
                raise ValueError(value)
        except (TypeError, ValueError, OverflowError):
            raise BadChoice(f"{self.name} takes {self._allowed()}, got {str(value)[:40]!r}.") from None
        low_high = self.range
        outside = low_high is not None and not low_high.low <= parsed <= low_high.high
        if outside or (self.choices and parsed not in self.choices):
            raise BadChoice(f"{self.name} takes {self._allowed()}, got {str(value)[:40]}.")
        return parsed

    def _allowed(self) -> str:
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        noun = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}[self.kind]
        return f"{noun} from {self.range.low:,} to {self.range.high:,}" if self.range else noun


@functools.cache
def options_of(function: Callable[..., Any]) -> tuple[Option, ...]:
    """Return the keyword-only arguments of ``function`` that have a default, in order."""
    hints = get_type_hints(function, include_extras=True)
    options = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
            continue
        kind, limits = hints[parameter.name], None
        choices: tuple[Any, ...] = ()
        if get_origin(kind) is Annotated:
            kind, *extras = get_args(kind)
            limits = next((extra for extra in extras if isinstance(extra, Range)), None)
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            kind = type(choices[0])
        options.append(Option(parameter.name, kind, parameter.default, limits, choices))
    return tuple(options)


@dataclass(frozen=True)
class Entry(Generic[F]):
    """A registered function: its name, title and facts."""

    name: str
    title: str
    function: F
    facts: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    @property
    def options(self) -> tuple[Option, ...]:
        """The function's keyword-only arguments."""
        return options_of(self.function)

    def options_from(self, **choices: Any) -> dict[str, Any]:
        """Return those of the choices that are options of the function."""
        return {option.name: choices[option.name] for option in self.options if option.name in choices}


class Registry(Generic[F]):
    """Named functions of one kind, in the order in which they were registered."""

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, Entry[F]] = {}

    def register(self, title: str, **facts: Any) -> Callable[[F], F]:
        """Register the decorated function under its own name; a second one of that name is a bug."""

        def add(function: F) -> F:
            name = function.__name__
            if name in self._entries:
                raise ValueError(f"Two {self.noun} functions are called {name!r}.")
            self._entries[name] = Entry(name, title, function, facts)
            return function

        return add

    def __getitem__(self, name: str) -> Entry[F]:
        if name in self._entries:
            return self._entries[name]
        close = difflib.get_close_matches(name[:80], self._entries, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UnknownName(f"No {self.noun} is called {name[:80]!r}.{hint} Known: {', '.join(self._entries)}.")

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[F]]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order in which they were registered."""
        return tuple(self._entries)
