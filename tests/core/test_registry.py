from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest

from numembed.core.errors import BadChoice, UnknownName
from numembed.core.registry import Option, Range, Registry, options_of


def _sample(
    matrix: list[float],
    *,
    required: int,
    neighbors: Annotated[int, Range(2, 200)] = 15,
    share: Annotated[float, Range(0, 1, 0.05)] = 0.5,
    metric: Literal["euclidean", "cosine"] = "cosine",
    whiten: bool = False,
) -> None:
    """One line that helps.

    More that does not stand beside a slider.
    """


def _options() -> dict[str, Option]:
    return {option.name: option for option in options_of(_sample)}


def _things() -> Registry[Any]:
    things: Registry[Any] = Registry("thing")

    @things.register("First thing", oeis="A000027")
    def first_thing() -> int:
        """What it gives."""
        return 1

    @things.register("Second")
    def second() -> int:
        return 2

    return things


def test_keyword_arguments_with_a_default_are_the_options() -> None:
    assert list(_options()) == ["neighbors", "share", "metric", "whiten"]
    assert _options()["neighbors"] == Option("neighbors", int, 15, Range(2, 200))
    assert _options()["share"].range == Range(0, 1, 0.05)
    assert _options()["metric"] == Option("metric", str, "cosine", None, ("euclidean", "cosine"))


@pytest.mark.parametrize(
    ("name", "given", "parsed"),
    [
        ("neighbors", "2", 2),
        ("neighbors", 200, 200),
        ("neighbors", 15.0, 15),
        ("share", "0.25", 0.25),
        ("share", 1, 1.0),
        ("metric", "euclidean", "euclidean"),
        ("whiten", True, True),
    ],
)
def test_an_option_takes_what_is_allowed(name: str, given: Any, parsed: Any) -> None:
    found = _options()[name].parse(given)
    assert found == parsed and type(found) is type(parsed)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("neighbors", 1),
        ("neighbors", 201),
        ("neighbors", 2.5),
        ("neighbors", "many"),
        ("neighbors", None),
        ("neighbors", True),
        ("neighbors", float("inf")),
        ("neighbors", float("nan")),
        ("neighbors", []),
        ("share", -0.01),
        ("share", float("nan")),
        ("metric", "manhattan"),
        ("whiten", "yes"),
        ("whiten", 1),
    ],
)
def test_an_option_refuses_the_rest_in_a_sentence(name: str, given: Any) -> None:
    with pytest.raises(BadChoice, match=f"^{name} takes .*, got .*\\.$"):
        _options()[name].parse(given)


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(BadChoice, match="a whole number from 2 to 200, got 201"):
        _options()["neighbors"].parse(201)
    with pytest.raises(BadChoice, match="one of euclidean, cosine, got manhattan"):
        _options()["metric"].parse("manhattan")


def test_entries_keep_their_order_and_facts() -> None:
    things = _things()
    assert things.names == ("first_thing", "second") and len(things) == 2
    assert [entry.title for entry in things] == ["First thing", "Second"]
    assert things["first_thing"].facts == {"oeis": "A000027"} and things["first_thing"].function() == 1
    assert "second" in things and "third" not in things


def test_the_summary_is_the_first_line_of_the_docstring() -> None:
    things: Registry[Any] = Registry("thing")
    things.register("Sample")(_sample)
    assert things["_sample"].summary == "One line that helps."
    assert _things()["second"].summary == ""


def test_a_second_function_of_one_name_is_a_bug() -> None:
    things = _things()
    with pytest.raises(ValueError, match="Two thing functions are called 'second'"):
        things.register("Again")(things["second"].function)


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    with pytest.raises(UnknownName) as caught:
        _things()["frist_thing"]
    assert str(caught.value) == (
        "No thing is called 'frist_thing'. Did you mean 'first_thing'? Known: first_thing, second."
    )
    with pytest.raises(UnknownName) as caught:
        _things()["x" * 10_000]
    assert len(str(caught.value)) < 200
