"""The Models page through app.py: its list of models, and what finds one among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.models.catalogue.entries import Row
from numembed.paper.published import published
from numembed.studies.results import ResultStore
from tests.pages.elements import opened, told
from tests.pages.light import heavy_after
from tests.pages.models_page import ROWS, RUN, show, tables

pytestmark = pytest.mark.slow  # together they take long


@pytest.fixture
def page(app: AppTest) -> AppTest:
    """The Models page on an empty store."""
    return opened(app, "pages/models.py")


def listed(page: AppTest) -> list[str]:
    """Return the names in the catalogue's table."""
    return [row[0] for row in tables(page).get("Models", [])]


def test_the_page_opens_on_an_empty_store_and_lists_every_model(page: AppTest) -> None:
    assert not page.exception and not page.error
    assert page.title[0].value == "Which model?"
    assert listed(page) == list(ROWS)
    assert f"{len(ROWS)} of {len(ROWS)} models" in told(page)
    assert all(cell for row in tables(page)["Models"] for cell in row), "a cell is blank"


def _below(row: Row, low: float, high: float) -> bool:
    return low <= row.parameters_millions < high


CHIPS: list[tuple[str, list[str], Callable[[Row], bool]]] = [
    *[
        ("find_kind", [kind], lambda row, kind=kind: row.family == kind)  # type: ignore[misc]
        for kind in ("encoder", "lora", "souping", "slerp", "llm", "static", "scratch")
    ],
    ("find_kind", ["static", "slerp"], lambda row: row.family in ("static", "slerp")),
    ("find_size", ["small"], lambda row: _below(row, 0, 100)),
    ("find_size", ["medium"], lambda row: _below(row, 100, 1000)),
    ("find_size", ["large"], lambda row: _below(row, 1000, 1e9)),
    ("find_licence", ["open"], lambda row: row.licence in ("Apache-2.0", "MIT")),
    ("find_licence", ["other"], lambda row: row.licence not in ("Apache-2.0", "MIT")),
    ("find_only", ["paper"], lambda row: published(row.paper_name) is not None),
    ("find_only", ["here"], lambda row: row.name in ("all-MiniLM-L6-v2", "number-lm")),
]


@pytest.mark.parametrize(("key", "chips", "keeps"), CHIPS, ids=lambda value: "" if callable(value) else str(value))
def test_a_chip_leaves_what_it_says(page: AppTest, key: str, chips: list[str], keeps: Callable[[Row], bool]) -> None:
    page.button_group(key=key).set_value(chips).run()
    expected = [name for name, row in ROWS.items() if keeps(row)]
    assert 0 < len(expected) < len(ROWS)
    assert listed(page) == expected
    assert f"{len(expected)} of {len(ROWS)} models" in told(page)


def test_only_what_fits_the_machine_is_left(page: AppTest, home: Path) -> None:
    with ResultStore(home / "app.db") as results:
        results.put("machine", {"device": "cpu", "name": "a small one", "memory_bytes": 4_000_000_000})
    st.cache_data.clear()
    page.button_group(key="find_only").set_value(["fits"]).run()
    assert "all-MiniLM-L6-v2" in listed(page) and "bge-multilingual-gemma2" not in listed(page)
    assert {row[6] for row in tables(page)["Models"]} == {"yes"}


def test_groups_of_chips_narrow_each_other(page: AppTest) -> None:
    page.button_group(key="find_kind").set_value(["encoder"])
    page.button_group(key="find_size").set_value(["medium"])
    page.button_group(key="find_only").set_value(["paper"]).run()
    assert listed(page) == [
        row.name for row in RUN if row.family == "encoder" and _below(row, 100, 1000) and published(row.paper_name)
    ]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("QWEN3 8b", ["Qwen3-Embedding-8B"]),
        ("intfloat/", ["multilingual-e5-large", "e5-mistral-7b-instruct", "multilingual-e5-small"]),
        ("static", [row.name for row in ROWS.values() if row.family == "static"]),
        ("alibaba-nlp-community", [row.name for row in ROWS.values() if row.mirror]),
        ("<b>.*", []),
    ],
)
def test_search_finds_names_owners_and_kinds(page: AppTest, words: str, names: list[str]) -> None:
    page.text_input(key="find_text").set_value(words).run()
    assert listed(page) == names


def test_nothing_found_is_a_sentence_and_one_click_brings_all_back(page: AppTest) -> None:
    page.text_input(key="find_text").set_value("no such model")
    page.button_group(key="find_kind").set_value(["lora"]).run()
    assert "No model matches" in told(page) and not listed(page)
    page.button(key="clear").click().run()
    assert listed(page) == list(ROWS)
    assert page.text_input(key="find_text").value == "" and not page.button_group(key="find_kind").value


def test_filters_stay_when_another_page_was_visited(page: AppTest) -> None:
    page.text_input(key="find_text").set_value("qwen3")
    page.button_group(key="find_size").set_value(["large"]).run()
    page.switch_page("pages/runs.py").run()
    page.switch_page("pages/models.py").run()
    assert listed(page) == ["Qwen3-Embedding-4B", "Qwen3-Embedding-8B"]


def test_a_card_goes_when_the_filters_hide_its_model(page: AppTest) -> None:
    show(page, "GritLM-7B")
    assert "Facts" in tables(page)
    page.button_group(key="find_kind").set_value(["static"]).run()
    assert "Facts" not in tables(page)


STEPS = """
app.run().switch_page("pages/models.py").run()
app.session_state["model_chosen"] = "Qwen3-Embedding-0.6B"
app.text_input(key="own_name").set_value(sys.argv[2]).run()
assert not app.exception and not app.error and app.button(key="add_own")
"""


def test_the_page_imports_nothing_heavy(home: Path, tiny_model: Path) -> None:
    assert heavy_after(STEPS, str(tiny_model)) == []
