"""The Maps page through app.py, with real runs of a real baseline."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.paper.protocol import paper_study
from numembed.studies.keys import examined_key
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_result, stored_warning
from tests.pages.elements import charts, opened, work_off

PAGE = "pages/maps.py"
STUDY = paper_study("last_digits")
pytestmark = pytest.mark.slow  # UMAP is loaded and compiles at its first use


@pytest.fixture
def chosen(app: AppTest) -> AppTest:
    """Compare with one baseline chosen."""
    app.query_params["models"] = ["last_digits"]
    return app.run()


def test_nothing_was_run_yet_and_the_page_says_where_to_begin(chosen: AppTest) -> None:
    opened(chosen, PAGE)
    assert not chosen.error
    assert "Press Run on the Compare page" in chosen.info[0].value


def test_from_the_question_to_the_answer_and_to_which_was_noise(chosen: AppTest, settings: Settings) -> None:
    chosen.button(key="run").click().run()
    work_off(settings)
    opened(chosen, PAGE)
    chosen.button(key="ask maps").click().run()
    work_off(settings)
    chosen.run()
    assert not chosen.exception and not chosen.error
    assert "No clear groups were found in the maps of Last digits" in chosen.subheader[0].value
    assert len(charts(chosen)) == 4 and all(chart.spec and "NaN" not in chart.spec for chart in charts(chosen))
    titles = [note["text"] for note in json.loads(charts(chosen)[3].spec)["layout"]["annotations"]]
    assert titles == ["Map A", "Map B"], "the page gives away which map is noise"
    chosen.toggle(key="noise_told").set_value(True).run()
    titles = [note["text"] for note in json.loads(charts(chosen)[3].spec)["layout"]["annotations"]]
    assert sorted(titles) == ["Last digits", "Pure noise"]
    for key in ("seeds_method", "noise_method"):
        chosen.segmented_control(key=key).set_value("umap").run()
        assert not chosen.exception
    _mark_as_lying(chosen, settings)


def _mark_as_lying(chosen: AppTest, settings: Settings) -> None:
    """Put a red sentence into what is stored, and see it on the page and where Compare asks for it."""
    sentence = "This map shows groups that the vectors do not: <b>planted</b>."
    with ResultStore(settings.app_db) as results:
        result = stored_result(STUDY, STUDY.models[0], results)
        assert result is not None
        assert stored_warning(STUDY, result.model, results, method="tsne", dims=2) == ""
        key = examined_key(STUDY, result.model, "maps")
        plain = results.get(key)
        assert plain is not None
        plain["maps"][0]["warning"] = sentence
        results.put(key, plain)
    chosen.run()
    assert not chosen.exception
    assert "the t-SNE map of Last digits shows groups" in chosen.subheader[0].value.replace("\\", "")
    assert [error.value.startswith("**t-SNE map.** This map shows groups") for error in chosen.error] == [True]
    assert "<b>" not in chosen.error[0].value, "words of the store became markup"
    with ResultStore(settings.app_db) as results:
        redrawn = replace(STUDY, designs=5)
        assert stored_warning(redrawn, result.model, results, method="tsne", dims=2) == sentence
        for method, dims in (("umap", 2), ("tsne", 3)):
            assert stored_warning(STUDY, result.model, results, method=method, dims=dims) == ""
    chosen.switch_page("pages/compare.py").run()
    said = [one.value for one in chosen.markdown if one.value.startswith(":red[")]
    assert len(said) == 1 and "planted" in said[0] and "<b>" not in said[0].replace("\\<", "")
