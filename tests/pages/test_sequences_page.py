"""The Sequences page: what gives the families away, and what can be made equal, here, on Compare and in links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.jobs import JobTable
from numembed.models.encoders import LoadedModel
from numembed.sequences.matching import MATCHINGS
from numembed.settings import read_settings
from numembed.worker import run_job
from tests.offline import OFFLINE

ROOT = Path(__file__).parents[2]
FAIRER = "The sequences were made fairer before the models read them: no shared numbers, equal text length."


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    monkeypatch.setenv("NUMEMBED_HOME", str(tmp_path))
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    yield AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    st.cache_resource.clear()


def _walk(block: Any) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)


def _charts(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(one.proto.spec) for one in _walk(app.main) if one.type == "plotly_chart"]


def _said(app: AppTest) -> str:
    return (
        " ".join(one.value for one in [*app.markdown, *app.caption, *app.error]).replace("\\", "").replace("\u2060", "")
    )


def _sequences(app: AppTest) -> AppTest:
    app.run()
    return app.switch_page("pages/sequences.py").run()


def test_the_page_says_what_gives_the_papers_families_away(app: AppTest) -> None:
    _sequences(app)
    assert not app.exception and not app.error
    assert any(one.value == "Do the sequences give the families away?" for one in app.subheader)
    assert "23 pairs of sequences of different families share at least 20 of their numbers." in _said(app)
    assert "Text length alone names the family in" in _said(app) and "The number of tokens alone" in _said(app)
    assert [chart["data"][0]["type"] for chart in _charts(app)] == ["scatter", "heatmap"]


def test_the_strips_are_drawn_when_they_are_unfolded(app: AppTest) -> None:
    _sequences(app)
    app.session_state["clues"] = True
    app.run()
    assert not app.exception and len(_charts(app)) == 5


def test_the_control_changes_the_sequences_and_the_choice_goes_to_compare_and_into_the_link(app: AppTest) -> None:
    _sequences(app)
    app.button_group(key="matched").set_value(["length", "numbers"]).run()
    assert not app.exception and not app.error
    assert FAIRER in _said(app) and "No number stands in two families." in _said(app)
    assert len(_charts(app)) == 1, "no heat map where nothing is shared"
    app.switch_page("pages/compare.py").run()
    assert set(app.button_group(key="matched").value) == {"numbers", "length"}
    assert app.query_params["matched"] == ["numbers", "length"]


@pytest.mark.slow
def test_a_link_sets_the_control_and_results_say_so(app: AppTest, tmp_path: Path) -> None:
    app.query_params["matched"] = ["length", "numbers"]
    app.query_params["models"] = ["last_digits"]
    app.run()
    assert not app.exception and not app.error and not app.toast
    assert app.button_group(key="matched").value == ["numbers", "length"]
    assert FAIRER not in _said(app)
    app.button(key="run").click().run()
    with JobTable(read_settings().app_db) as jobs:
        while job := jobs.claim():
            run_job(job, jobs, settings=read_settings(), loaded=LoadedModel(OFFLINE))
    app.run()
    assert not app.exception and FAIRER in _said(app)
    app.button_group(key="matched").set_value([]).run()
    assert not app.exception and FAIRER not in _said(app) and "matched" not in app.query_params


@pytest.mark.parametrize("values", [["nonsense"], ["numbers", "<b>x</b>"], ["x" * 5_000]])
def test_a_wrong_link_is_a_toast_and_the_page_stands(app: AppTest, values: list[str]) -> None:
    app.query_params["matched"] = values
    app.run()
    assert not app.exception and not app.error
    assert "No matching is called" in app.toast[0].value
    assert app.button_group(key="matched").value == []


@pytest.mark.parametrize("page", ["pages/sequences.py", "pages/compare.py", "pages/explain.py"])
def test_what_cannot_be_matched_is_one_sentence_and_can_be_undone(app: AppTest, page: str) -> None:
    app.query_params["matched"] = ["magnitude"]
    app.query_params["families"] = ["primes", "digit_sums"]
    app.run()
    app.switch_page(page).run()
    assert not app.exception and len(app.error) == 1
    assert "Digit sums: within the first 100,000 terms it does not come to" in _said(app)
    if page != "pages/explain.py":
        app.button_group(key="matched").set_value([]).run()
        assert not app.error


def test_few_and_many_sequences_have_a_page(app: AppTest) -> None:
    _sequences(app)
    app.multiselect(key="families").set_value(["primes"]).run()
    assert not app.exception and "There is one family only." in _said(app)
    app.multiselect(key="families").set_value(["primes", "odd"]).run()
    app.number_input(key="per_family").set_value(300).run()
    assert not app.exception and any("Up to 500 sequences are compared" in one.value for one in app.info)


def test_every_matching_is_explained_where_it_is_chosen(app: AppTest) -> None:
    _sequences(app)
    assert app.button_group(key="matched").options == [entry.title for entry in MATCHINGS]
    assert all(entry.summary in app.button_group(key="matched").help for entry in MATCHINGS)
    assert all(entry.facts["meaning"] in _said(app) for entry in MATCHINGS)
