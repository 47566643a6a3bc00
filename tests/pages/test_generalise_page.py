"""The Generalise page through app.py: on an empty store, from the question to the answer, and light."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from tests.pages.elements import charts, opened, protos, told, work_off
from tests.pages.light import heavy_after

PAGE = "pages/generalise.py"


@pytest.fixture
def chosen(app: AppTest) -> AppTest:
    """Compare with one baseline chosen."""
    app.query_params["models"] = ["log_magnitude"]
    return app.run()


def test_nothing_was_run_yet_and_the_page_says_where_to_begin(chosen: AppTest) -> None:
    opened(chosen, PAGE)
    assert not chosen.error
    assert chosen.title[0].value == "Does the model generalise, or know only these sequences?"
    assert "Press Run on the Compare page" in chosen.info[0].value


@pytest.mark.slow
def test_from_the_question_to_the_answer(chosen: AppTest, settings: Settings) -> None:
    chosen.button(key="run").click().run()
    work_off(settings)
    opened(chosen, PAGE)
    assert not charts(chosen)
    chosen.button(key="ask probes").click().run()
    work_off(settings)
    chosen.run()
    assert not chosen.exception and not chosen.error
    words = told(chosen).replace("\N{NO-BREAK SPACE}", " ")
    assert "There is no evidence that Log magnitude knows the families beyond the sequences it was shown." in words
    assert "guessing gets 17%: no better than chance" in words and "Counting last digits gets 83%." in words
    assert "Growth: cannot be tested here" in words
    assert len(charts(chosen)) == 4 and all(chart.spec and "NaN" not in chart.spec for chart in charts(chosen))
    assert len(protos(chosen, "bidi_component")) == 4
    assert [e.value for e in chosen.subheader][1:] == [
        "Does it name the family of a window that was held out?",
        "Does it recognise the families far away?",
        "Does what it learns apply to families it has never seen (unseen classes)?",
        "Which properties can be predicted from the vectors?",
    ]


STEPS = """
app.query_params["models"] = ["log_magnitude"]
app.run()
app.switch_page("pages/generalise.py").run()
assert not app.exception and not app.error and len(app.subheader) == 5
"""


@pytest.mark.slow
def test_the_answered_page_imports_nothing_heavy(settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        jobs.submit(replace(paper_study("log_magnitude"), examine=("probes",)), asked_by="test")
    assert work_off(settings) == ["done"]
    assert heavy_after(STEPS) == []
