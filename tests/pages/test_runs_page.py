"""The Runs page: further questions and ladders among the runs, and the vectors of models of one name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import MergeExperiment, recipe_for
from numembed.models.catalogue.names import model
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.runs.logs import note
from numembed.sequences.splits import split_called
from numembed.storage.vectors import VectorStore
from numembed.studies.examination import EXAMINATIONS
from tests.merge_experiment.bases import small_experiment
from tests.pages.elements import opened, walk, work_off

PAGE = "pages/runs.py"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("examine", "called", "title"),
    [
        ("grouping", "Other ways of grouping Last digits", "What do the clusters encode?"),
        ("landing", "Where a text is placed in Last digits", "What do the clusters encode?"),
        ("probes", "What Last digits generalises", "Does the model generalise, or know only these sequences?"),
        ("stress", "Stress tests of Last digits", "What changes the score?"),
        ("maps", "How faithful the maps of Last digits are", "Does the map show what is there?"),
    ],
)
def test_a_further_question_is_called_by_its_name_and_opens_on_its_page(
    app: AppTest, settings: Settings, examine: str, called: str, title: str
) -> None:
    assert {"grouping", "landing", "probes", "stress", "maps"} == set(EXAMINATIONS)
    study = replace(paper_study("string_length", "last_digits"), families=("even", "primes"))
    with JobTable(settings.app_db) as jobs:
        jobs.submit(study, asked_by="test")
        work_off(settings)
        asked = replace(study, models=(model("last_digits"),), examine=(examine,), query="1, 2, 3")
        job = jobs.submit(asked, asked_by="test")
    work_off(settings)
    opened(app, PAGE)
    shown = next(str(element.proto) for element in walk(app.main) if "Asked for" in str(element.proto))
    assert called in shown and "What went wrong" not in shown, "nothing went wrong"
    app.session_state["run_chosen"] = job
    app.run()
    app.button(key="open").click().run()
    assert not app.exception and not app.error and app.title[0].value == title
    assert app.selectbox(key="explained").value == "Last digits"
    assert "examine" not in app.session_state["chosen"] or not app.session_state["chosen"]["examine"]


def test_a_merging_experiment_is_among_the_runs(app: AppTest, settings: Settings, tiny_model: Path) -> None:
    asked = small_experiment(tiny_model)
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(asked, asked_by="test")
    opened(app, PAGE)
    assert not app.error
    assert any("Merging experiment on tiny" in str(element.proto) for element in walk(app.main))
    app.session_state["run_chosen"] = job
    app.run()
    assert not app.exception and not app.warning
    assert not [button for button in app.button if button.key == "again"], "it is no study"
    app.button(key="open").click().run()
    assert not app.exception and "choices that the Merge page does not have" in app.warning[0].value
    app.button(key="stop").click().run()
    app.session_state["run_chosen"] = job
    app.run()
    app.button(key="forget").click().run()
    with JobTable(settings.app_db) as jobs:
        assert jobs.recent() == ()


def test_what_is_asked_of_a_run_is_a_line_of_the_log_without_its_texts(app: AppTest, settings: Settings) -> None:
    with VectorStore(settings.cache_db) as vectors:
        vectors.add("k", "a model", ["1, 2"], np.ones((1, 2), dtype=np.float32))
    app.query_params["models"] = ["last_digits"]
    app.run()
    app.button(key="run").click().run()
    with JobTable(settings.app_db) as jobs:
        (job,) = jobs.recent()
    opened(app, PAGE)
    for button in ("stop", "forget"):
        app.session_state["run_chosen"] = job.id
        app.run()
        app.button(key=button).click().run()
    app.button(key="delete_now").click().run()
    assert not app.exception and not app.error
    lines = (settings.home / "worker.log").read_text().splitlines()
    assert [line.partition(" INFO numembed.pages ")[2] for line in lines] == [
        *(f"job {job.id} {what}" for what in ("is asked for: study", "is to stop", "is forgotten")),
        "1 vector deleted",
    ]


def test_a_log_that_cannot_be_written_stops_nothing_and_holds_no_secret(settings: Settings) -> None:
    secret = replace(settings, hub_token="hf_planted")
    note(secret, "hf_planted")
    log = settings.home / "worker.log"
    assert log.read_text().endswith("[secret]\n")
    log.unlink()
    log.mkdir()
    note(settings, "nobody hears this")


def test_a_merging_experiment_of_the_merge_page_opens_there_again(
    app: AppTest, settings: Settings, tiny_model: Path
) -> None:
    base = model(str(tiny_model))
    recipe = recipe_for(base, split_called("paper"), seeds=(0, 1), steps=5, stages=1, rank=4)
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(MergeExperiment(base, recipe, points=3), asked_by="test")
    opened(app, PAGE)
    app.session_state["run_chosen"] = job
    app.run()
    app.button(key="open").click().run()
    assert not app.exception and not app.error and not app.warning
    assert app.selectbox(key="merge_base").value == str(tiny_model)
    assert app.segmented_control(key="merge_training").value == "paper"
    chosen = {name: app.number_input(key=f"merge_{name}").value for name in ("seeds", "steps", "stages", "rank")}
    assert chosen == {"seeds": 2, "steps": 5, "stages": 1, "rank": 4}
    assert app.button(key="cancel").label == "Cancel", "its run goes on"


def test_a_merging_experiment_with_further_paths_and_redrawn_windows_opens_there_again(
    app: AppTest, settings: Settings, tiny_model: Path
) -> None:
    base = model(str(tiny_model))
    recipe = recipe_for(base, split_called("others"), seeds=(0, 1), steps=5, stages=2, rank=4)
    usual = MergeExperiment(base, recipe, points=3)
    asked = MergeExperiment(base, recipe, (*usual.paths, "ties", "slerp_flat"), points=3, designs=10)
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(asked, asked_by="test")
    opened(app, PAGE)
    app.session_state["run_chosen"] = job
    app.run()
    app.button(key="open").click().run()
    assert not app.exception and not app.error and not app.warning
    assert app.multiselect(key="merge_further").value == ["slerp_flat", "ties"]
    assert app.query_params["further"] == "slerp_flat,ties"
    assert app.button(key="cancel").label == "Cancel", "its windows are being redrawn"


def test_vectors_of_models_of_one_name_are_in_one_row_and_go_together(app: AppTest, settings: Settings) -> None:
    text, one = ["1, 2"], np.ones((1, 2), dtype=np.float32)
    with VectorStore(settings.cache_db) as vectors:
        for key, name in (("a", "base"), ("b", "base"), ("c", "other")):
            vectors.add(key, name, text, one)
    opened(app, PAGE)
    assert any("base, in 2 variants" in str(element.proto) for element in walk(app.main))
    app.selectbox(key="delete_which").set_value("base").run()
    app.button(key="delete_now").click().run()
    with VectorStore(settings.cache_db) as vectors:
        assert [model.name for model in vectors.models()] == ["other"]
