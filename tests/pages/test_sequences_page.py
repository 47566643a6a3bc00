"""The Sequences page: what gives the families away, and what can be made equal, here, on Compare and in links."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.sequences.matching import MATCHINGS
from tests.pages.elements import charts, opened, told, work_off

PAGE = "pages/sequences.py"
FAIRER = "The sequences were made fairer before the models read them: no shared numbers, equal text length."


def test_the_page_says_what_gives_the_papers_families_away(app: AppTest) -> None:
    opened(app, PAGE)
    assert not app.error
    assert any(one.value == "Can the families be identified without a model?" for one in app.subheader)
    assert "23 pairs of sequences of different families share at least 20 of their numbers." in told(app)
    assert "Text length alone names the family in" in told(app) and "The number of tokens alone" in told(app)
    assert [json.loads(chart.spec)["data"][0]["type"] for chart in charts(app)] == ["scatter", "heatmap"]


def test_the_strips_are_drawn_when_they_are_unfolded(app: AppTest) -> None:
    opened(app, PAGE)
    app.session_state["clues"] = True
    app.run()
    assert not app.exception and len(charts(app)) == 5


@pytest.mark.slow
def test_the_control_changes_the_sequences_and_the_choice_goes_to_compare_and_into_the_link(app: AppTest) -> None:
    opened(app, PAGE)
    app.button_group(key="matched").set_value(["length", "numbers"]).run()
    assert not app.exception and not app.error
    assert FAIRER in told(app) and "No number occurs in two families." in told(app)
    assert len(charts(app)) == 1, "no heat map where nothing is shared"
    app.switch_page("pages/compare.py").run()
    assert set(app.button_group(key="matched").value) == {"numbers", "length"}
    assert app.query_params["matched"] == ["numbers", "length"]


@pytest.mark.slow
def test_a_link_sets_the_control_and_results_say_so(app: AppTest, settings: Settings) -> None:
    app.query_params["matched"] = ["length", "numbers"]
    app.query_params["models"] = ["last_digits"]
    app.run()
    assert not app.exception and not app.error and not app.toast
    assert app.button_group(key="matched").value == ["numbers", "length"]
    assert FAIRER not in told(app)
    app.button(key="run").click().run()
    work_off(settings)
    app.run()
    assert not app.exception and FAIRER in told(app)
    app.button_group(key="matched").set_value([]).run()
    assert not app.exception and FAIRER not in told(app) and "matched" not in app.query_params


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
    assert "Digit sums: within the first 100,000 terms it does not reach" in told(app)
    if page != "pages/explain.py":
        app.button_group(key="matched").set_value([]).run()
        assert not app.error


@pytest.mark.slow
def test_few_and_many_sequences_have_a_page(app: AppTest) -> None:
    opened(app, PAGE)
    app.multiselect(key="families").set_value(["primes"]).run()
    assert not app.exception and "There is one family only." in told(app)
    app.multiselect(key="families").set_value(["primes", "odd"]).run()
    app.number_input(key="per_family").set_value(300).run()
    assert not app.exception and any("Up to 500 sequences are compared" in one.value for one in app.info)


def test_every_matching_is_explained_where_it_is_chosen(app: AppTest) -> None:
    opened(app, PAGE)
    assert app.button_group(key="matched").options == [entry.title for entry in MATCHINGS]
    assert all(entry.summary in app.button_group(key="matched").help for entry in MATCHINGS)
    assert all(entry.facts["meaning"] in told(app) for entry in MATCHINGS)
