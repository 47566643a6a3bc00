"""The Explain page through app.py, with real runs of real baselines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.jobs import JobTable
from numembed.models.encoders import LoadedModel
from numembed.settings import read_settings
from numembed.worker import run_job
from tests.offline import OFFLINE
from tests.pages.test_light import HEAVY

ROOT = Path(__file__).parents[2]
CHARTS = 4  # of the page as it opens


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The page with the results of two baselines on a small study, and few seeds."""
    monkeypatch.setenv("NUMEMBED_HOME", str(tmp_path))
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.setattr("numembed.analysis.clusterers.default_seeds", lambda n: 3)
    monkeypatch.setattr("numembed.examinations.grouping.default_seeds", lambda n: 3)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=30)
    page.query_params["models"] = ["last_digits", "string_length"]
    page.query_params["families"] = ["even", "odd", "primes"]
    page.query_params["length"] = "12"
    page.run()
    page.button(key="run").click().run()
    work_off()
    page.switch_page("pages/explain.py").run()
    assert not page.exception and not page.error
    yield page
    st.cache_resource.clear()


def work_off() -> None:
    """Do what the worker does, here."""
    settings = read_settings()
    with JobTable(settings.app_db) as jobs:
        while job := jobs.claim():
            run_job(job, jobs, settings=settings, loaded=LoadedModel(OFFLINE))


def kinds(app: AppTest) -> list[str]:
    return [element.type for element in _walk(app.main)]


def headings(app: AppTest) -> list[str]:
    return [heading.value.replace("\\", "").replace("\u2060", "") for heading in app.subheader]


def said(app: AppTest) -> str:
    told = [*app.markdown, *app.caption, *app.error, *app.subheader]
    return " ".join(element.value for element in told).replace("\\", "").replace("\u2060", "")


def _walk(block: object) -> Iterator[object]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)


def test_headings_are_answers_in_their_order(app: AppTest) -> None:
    parts = (
        "The groups that KMeans finds in Last digits follow", "makes more of the difference than chance",
        "lie in the group that stands for their family", "of the nearest neighbours are of the same family",
        "lie closest together", "Do other ways of grouping say the same?", "Where does a sequence of your own land?",
    )  # fmt: skip
    for part, heading in zip(parts, headings(app), strict=True):
        assert part in heading
    assert kinds(app).count("plotly_chart") == CHARTS
    app.selectbox(key="explained").set_value("String length").run()
    assert not app.exception and "String length" in headings(app)[0]


def test_neighbours_follow_the_chosen_sequence(app: AppTest) -> None:
    def told() -> str:
        return next(str(e.proto) for e in _walk(app.main) if "Nearest sequences of" in str(getattr(e, "proto", "")))

    assert "Nearest sequences of Even numbers, window 1" in told()
    app.selectbox(key="neighbours_of").set_value(5).run()
    assert not app.exception and "Nearest sequences of Odd numbers, window 2" in told()


def test_the_heat_map_and_the_astray_are_folded_away(app: AppTest) -> None:
    app.session_state["alike"] = True
    app.run()
    assert kinds(app).count("plotly_chart") == CHARTS + 1 and not app.exception
    assert any("nearer to another family than to their own" in one.label for one in app.expander)


@pytest.mark.slow
def test_a_click_asks_for_other_ways_and_the_answer_stays(app: AppTest) -> None:
    app.button(key="ask grouping").click().run()
    assert not app.exception and "cancel" in [button.key for button in app.button]
    app.text_input(key="own_text").set_value("1 3 5")
    app.button[[button.label for button in app.button].index("See where it lands")].click().run()
    assert not app.exception and "This comes after the other ways of grouping" in said(app)
    work_off()
    app.run()
    assert not app.exception and not app.error
    assert "Every way of grouping follows the family more than the window" in headings(app)
    assert kinds(app).count("plotly_chart") == CHARTS + 1 and "seeds of KMeans" in said(app)
    assert any("baselines put it with" in heading for heading in headings(app))


def land(app: AppTest, text: str) -> AppTest:
    app.text_input(key="own_text").set_value(text)
    app.button[[button.label for button in app.button].index("See where it lands")].click().run()
    work_off()
    app.run()
    assert not app.exception
    return app


def test_a_sequence_of_ones_own_lands_in_every_model(app: AppTest) -> None:
    land(app, "101 103 105 107 109 111 113 115 117 119 121 123")
    assert not app.error and "Read as 12 whole numbers" in said(app)
    found = next(str(e.proto) for e in _walk(app.main) if "Where the text lands" in str(getattr(e, "proto", "")))
    assert "Last digits" in found and "String length" in found and "Odd numbers" in found
    land(app, "1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23")
    assert "This very text is among the sequences (Odd numbers, window 1)" in said(app)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "There is nothing to place yet"),
        ("7" * 10_000, "at most 2,000 characters, got 10,000"),
        ("🐍 **x** <img src=x>", "This is no list of whole numbers, so the models read it as it stands"),
        ("-3 -5 -7", "Read as 3 whole numbers"),
    ],
)
def test_any_text_is_answered_in_a_sentence(app: AppTest, text: str, words: str) -> None:
    assert words in said(land(app, text))


def test_an_older_result_is_looked_at_on_a_click(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    from numembed import results

    true_key = results._key
    monkeypatch.setattr(
        results, "_key", lambda kind, *rest, **choices: true_key(kind + "x" * ("explan" in kind), *rest, **choices)
    )
    app.run()
    assert not app.exception and any("before its clusters" in info.value for info in app.info)
    next(button for button in app.button if button.label == "Look at its clusters").click().run()
    work_off()
    app.run()
    assert not app.exception and kinds(app).count("plotly_chart") == CHARTS


@pytest.mark.slow
def test_the_page_imports_nothing_heavy(app: AppTest) -> None:
    app.button(key="ask grouping").click().run()
    land(app, "1 3 5")
    script = """
import json, sys
import numembed.worker
numembed.worker.start_supervisor = lambda settings: None
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("app.py", default_timeout=60)
app.query_params["models"] = ["last_digits", "string_length"]
app.query_params["families"] = ["even", "odd", "primes"]
app.query_params["length"] = "12"
app.session_state["landed"] = "1 3 5"
app.session_state["alike"] = True
app.run()
app.switch_page("pages/explain.py").run()
assert not app.exception and not app.error and len(app.subheader) == 7, app.subheader
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, ",".join((*HEAVY, "scipy"))],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
