"""The Merge page through app.py: robustness across merges is asked by a click whose cost is shown, and answered."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.merge_experiment.robustness.plan import encoded_texts, named_models
from numembed.merge_experiment.run import experiment_rows
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable
from tests.merge_experiment.made import made_result
from tests.merge_experiment.robustness.cases import with_robustness
from tests.pages.elements import charts, opened, plain, told
from tests.pages.test_merge_results import PAGE, keep
from ui.merge.progress import parts_of, share_and_left

pytestmark = pytest.mark.slow
QUESTION = "Which model holds up when the texts are changed?"


def test_a_click_whose_cost_is_shown_asks_for_it_and_the_answer_comes_first(app: AppTest, settings: Settings) -> None:
    found = made_result(MergeExperiment())
    keep(settings, found)
    opened(app, PAGE)
    models, (texts, _) = len(named_models(found)), encoded_texts(found.experiment)
    assert models == 11 and QUESTION in [one.value for one in app.subheader]
    assert f"Straight line 3: {models} models × {texts:,} texts at most" in told(app)
    button = app.button(key="merge_robust")
    assert button.label == "Test the robustness of these 11 models"
    button.click().run()
    assert not app.exception and not app.error and app.button(key="cancel").label == "Cancel"
    with JobTable(settings.app_db) as jobs:
        assert [job.request for job in jobs.recent()] == [replace(MergeExperiment(), robustness=True)]
    assert "merge_robust" not in [one.key for one in app.button]
    app.button(key="cancel").click().run()
    assert app.button(key="merge_robust").label.startswith("Test the robustness"), "it can be asked again"
    robust = with_robustness({("lora", "digits"): 0.2, ("lora", "order"): 0.2}, found)
    keep(settings, robust)
    app.run()
    assert not app.exception and "merge_robust" not in [one.key for one in app.button]
    assert robust.robustness is not None
    shown = plain(told(app))
    assert all(sentence in shown for sentence in robust.robustness.sentences)
    first, second, *_ = robust.robustness.sentences
    assert shown.index(first) < shown.index(second), "the answer comes before its parts"
    chart = next(one for one in charts(app) if "by kind of change" in one.alt)
    assert chart.spec and "NaN" not in chart.spec and "Prompt and" in chart.spec


def test_a_part_of_an_experiment_does_not_offer_it(app: AppTest, settings: Settings) -> None:
    keep(settings, made_result(MergeExperiment(), complete=False, paths=6))
    opened(app, PAGE)
    assert QUESTION not in [one.value for one in app.subheader]
    assert "merge_robust" not in [one.key for one in app.button]


def test_words_of_a_stored_result_never_become_markup(app: AppTest, settings: Settings) -> None:
    found = with_robustness()
    assert found.robustness is not None
    planted = "![x](http://a.example/b) <script>alert(1)</script> **bold**"
    sentences = (planted, *found.robustness.sentences[1:])
    keep(settings, replace(found, robustness=replace(found.robustness, sentences=sentences)))
    opened(app, PAGE)
    said = [one.value for one in app.markdown if "script" in one.value]
    assert said and all(not re.search(r"!\[x\]\(|<script>|\*\*bold\*\*", one) for one in said)


def test_its_bar_counts_only_what_is_still_done() -> None:
    asked = MergeExperiment(robustness=True)
    rows, parts = experiment_rows(asked), parts_of(asked)
    assert rows[-1] == "Robustness" and len(rows) == len(parts) and all(part > 0 for part in parts)
    done = [ModelProgress(row, "done", 1, 1, "", None) for row in rows[:-1]]
    running = [*done, ModelProgress("Robustness", "encode", 2, 8, "", 9.0)]
    assert share_and_left(running, parts) == (pytest.approx(0.25), pytest.approx(9))
    both = replace(asked, designs=10)
    waits = [*running, ModelProgress("Redrawn windows", "waiting", 0, 0, "", None)]
    share, left = share_and_left(waits, parts_of(both))
    assert 0 < share < 0.25 and left is not None and left > 9
