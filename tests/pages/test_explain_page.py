"""The Explain page through app.py, with real runs of real baselines."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.runs.jobs import JobTable
from numembed.studies.study import Study
from tests.pages.elements import charts, plain, protos, told, walk, work_off
from tests.pages.light import heavy_after

CHARTS = 4  # of the page as it opens


@pytest.fixture
def page(app: AppTest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page with the results of two baselines on a small study, and few seeds."""
    monkeypatch.setattr("numembed.analysis.clusters.clusterers.default_seeds", lambda n: 3)
    monkeypatch.setattr("numembed.examinations.clusters.grouping.default_seeds", lambda n: 3)
    app.query_params["models"] = ["last_digits", "string_length"]
    app.query_params["families"] = ["even", "odd", "primes"]
    app.query_params["length"] = "12"
    app.run()
    app.button(key="run").click().run()
    work_off(settings)
    app.switch_page("pages/explain.py").run()
    assert not app.exception and not app.error
    return app


def headings(page: AppTest) -> list[str]:
    return [plain(heading.value) for heading in page.subheader]


@pytest.mark.slow
def test_headings_are_answers_in_their_order(page: AppTest) -> None:
    parts = (
        "The groups that KMeans finds in Last digits follow",
        "explains more of the variance than chance",
        "of the sequences match",
        "of the nearest neighbours are of the same family",
        "lie closest together",
        "Do other clustering methods agree?",
        "Where is your own sequence placed?",
    )
    for part, heading in zip(parts, headings(page), strict=True):
        assert part in heading
    assert len(charts(page)) == CHARTS
    page.selectbox(key="explained").set_value("String length").run()
    assert not page.exception and "String length" in headings(page)[0]


@pytest.mark.slow
def test_neighbours_follow_the_chosen_sequence(page: AppTest) -> None:
    def nearest() -> str:
        return next(str(e.proto) for e in walk(page.main) if "Nearest sequences of" in str(getattr(e, "proto", "")))

    assert "Nearest sequences of Even numbers, window 1" in nearest()
    page.selectbox(key="neighbours_of").set_value(5).run()
    assert not page.exception and "Nearest sequences of Odd numbers, window 2" in nearest()


@pytest.mark.slow
def test_the_heat_map_and_the_astray_are_folded_away(page: AppTest) -> None:
    page.session_state["alike"] = True
    page.run()
    assert len(charts(page)) == CHARTS + 1 and not page.exception
    assert any("nearer to another family than to their own" in one.label for one in page.expander)


@pytest.mark.slow
def test_a_click_asks_for_other_ways_and_the_answer_stays(page: AppTest, settings: Settings) -> None:
    page.button(key="ask grouping").click().run()
    assert not page.exception and "cancel" in [button.key for button in page.button]
    page.text_input(key="own_text").set_value("1 3 5")
    page.button[[button.label for button in page.button].index("See the place")].click().run()
    assert not page.exception and "This follows the other ways of grouping" in told(page)
    work_off(settings)
    page.run()
    assert not page.exception and not page.error
    assert "Every way of grouping follows the family better than chance, and none the window" in headings(page)
    assert len(charts(page)) == CHARTS + 1 and "seeds of KMeans" in told(page)
    assert any("baselines put it with" in heading for heading in headings(page))


def land(page: AppTest, settings: Settings, text: str) -> AppTest:
    page.text_input(key="own_text").set_value(text)
    page.button[[button.label for button in page.button].index("See the place")].click().run()
    work_off(settings)
    page.run()
    assert not page.exception
    return page


@pytest.mark.slow
def test_your_own_sequence_is_placed_in_every_model(page: AppTest, settings: Settings) -> None:
    land(page, settings, "101 103 105 107 109 111 113 115 117 119 121 123")
    assert not page.error and "Read as 12 whole numbers" in told(page)
    found = next(str(e.proto) for e in walk(page.main) if "Where the text is placed" in str(getattr(e, "proto", "")))
    assert "Last digits" in found and "String length" in found and "Odd numbers" in found
    land(page, settings, "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23")
    assert "This text is among the sequences (Odd numbers, window 1)" in told(page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "There is nothing to place yet"),
        ("7" * 10_000, "at most 2,000 characters, got 10,000"),
        ("🐍 **x** <img src=x>", "This is not a list of whole numbers, so the models read it unchanged"),
        ("-3 -5 -7", "Read as 3 whole numbers"),
    ],
)
def test_any_text_is_answered_in_a_sentence(page: AppTest, settings: Settings, text: str, words: str) -> None:
    assert words in told(land(page, settings, text))


@pytest.mark.slow
def test_an_older_result_is_looked_at_on_a_click(
    page: AppTest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numembed.studies import keys

    true_key = keys._key
    monkeypatch.setattr(
        keys, "_key", lambda kind, *rest, **choices: true_key(kind + "x" * ("explan" in kind), *rest, **choices)
    )
    page.run()
    assert not page.exception and any("by an older version" in info.value for info in page.info)
    next(button for button in page.button if button.label == "Look at its clusters").click().run()
    work_off(settings)
    page.run()
    assert not page.exception and len(charts(page)) == CHARTS


STEPS = """
app.query_params["models"] = ["last_digits", "string_length"]
app.query_params["families"] = ["even", "odd", "primes"]
app.query_params["length"] = "12"
app.session_state["landed"] = "1 3 5"
app.session_state["alike"] = True
app.run()
app.switch_page("pages/explain.py").run()
assert not app.exception and not app.error and len(app.subheader) == 7, app.subheader
"""


@pytest.mark.slow
def test_the_page_imports_nothing_heavy(page: AppTest, settings: Settings) -> None:
    page.button(key="ask grouping").click().run()
    land(page, settings, "1 3 5")
    assert heavy_after(STEPS, more=("scipy",)) == []


@pytest.mark.slow
def test_a_text_is_placed_in_the_models_of_earlier_runs_too(page: AppTest, settings: Settings) -> None:
    """Where they have read the same sequences, and nowhere else."""
    earlier = {"digit_counts": 12, "log_magnitude": 13}
    with JobTable(settings.app_db) as jobs:
        for name, length in earlier.items():
            jobs.submit(Study(("even", "odd", "primes"), (model(name),), length=length), asked_by="another")
    work_off(settings)
    page.run()
    rows = [json.loads(one.json) for one in protos(land(page, settings, "1, 3, 5"), "bidi_component")]
    (landed,) = (one["rows"] for one in rows if one["label"].startswith("Where the text is placed"))
    assert all(name in landed for name in ("Last digits", "String length", "Digits")) and "Log magnitude" not in landed
