"""The pages before anything was run here, on a machine without the language model."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings, read_settings
from numembed.export import scores_csv
from numembed.merge_experiment.experiment import ExperimentResult, experiment_key
from numembed.models.baselines import BASELINES
from numembed.paper.protocol import paper_study
from numembed.prepared import PREPARED
from numembed.prepared.contents import usual_experiment
from numembed.storage.bundle import About, Bundle, write_bundle
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_results
from tests.pages.elements import PAGES, charts, opened, plain, told, work_off

pytestmark = pytest.mark.slow
BEFOREHAND = "Computed beforehand"
ABSENT = "SmolLM2 is not on this machine yet"


def test_the_first_visit_answers_without_a_click(app: AppTest) -> None:
    app.run()
    words = told(app)
    assert not app.exception and len(charts(app)) > 1
    assert "SmolLM2 scores highest: " in words and "all-MiniLM-L6-v2" in words and "last digit" in words
    assert BEFOREHAND in words and ABSENT in words and "numembed get smollm2" in words
    assert app.button(key="here compare").label == "Run it here"


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "SmolLM2"])
@pytest.mark.parametrize("page", ["explain", "generalise", "robustness", "maps"])
def test_every_page_about_one_model_answers(app: AppTest, page: str, name: str) -> None:
    opened(app, f"pages/{page}.py")
    app.selectbox(key="explained").select(name).run()
    assert not app.exception and BEFOREHAND in told(app)
    assert (ABSENT in told(app)) is (name == "SmolLM2" or page == "explain")  # which reads a text with all models
    buttons = {button.key for button in app.button}
    assert any(str(key).startswith("here ") for key in buttons) is (name != "SmolLM2")
    assert not [key for key in buttons if str(key).startswith("ask ")] or page == "robustness"


def test_merge_opens_on_the_language_model(app: AppTest) -> None:
    opened(app, "pages/merge.py")
    words = told(app)
    assert app.selectbox(key="merge_base").value == "SmolLM2" and BEFOREHAND in words
    assert app.button(key="get").label.startswith("Get it") and "here merge" not in {one.key for one in app.button}
    assert "run the experiment here first" in words and len(charts(app)) > 3
    assert {"keep_save", "merge_redraw", "merge_robust"}.isdisjoint({button.key for button in app.button})


@pytest.mark.parametrize("base", ["all-MiniLM-L6-v2", "number-lm"])
def test_merge_knows_the_other_bases(app: AppTest, base: str) -> None:
    opened(app, "pages/merge.py")
    app.selectbox(key="merge_base").select(base).run()
    assert not app.exception and BEFOREHAND in told(app) and "here merge" in {button.key for button in app.button}


def test_what_is_run_here_replaces_what_came_along(app: AppTest, settings: Settings) -> None:
    app.run()
    app.multiselect(key="models").set_value(["all-MiniLM-L6-v2", "number-lm", "last_digits"]).run()
    assert BEFOREHAND in told(app)
    app.multiselect(key="models").set_value(["number-lm", "last_digits"]).run()
    app.button(key="run").click().run()
    assert work_off(settings) == ["done"]
    app.run()
    assert BEFOREHAND not in told(app)
    app.multiselect(key="models").set_value(["all-MiniLM-L6-v2", "number-lm", "last_digits"]).run()
    (said,) = (plain(one.value) for one in app.caption if BEFOREHAND in one.value)
    assert said.endswith(": all-MiniLM-L6-v2.")


def test_another_choice_is_asked_for_as_ever(app: AppTest) -> None:
    app.run()
    app.multiselect(key="families").set_value(["primes", "even"]).run()
    assert not app.exception and BEFOREHAND not in told(app)


def test_without_it_the_first_visit_is_as_before(app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "damaged.zip").write_bytes(b"no zip")
    monkeypatch.setattr("numembed.prepared.PREPARED", tmp_path / "damaged.zip")
    app.run()
    assert not app.exception and BEFOREHAND not in told(app)
    assert app.multiselect(key="models").value == ["all-MiniLM-L6-v2", *BASELINES.names]


def test_other_library_versions_are_named(app: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = Bundle(PREPARED)
    about = About("2020-02-03", "0.0.9", {**whole.about.versions, "scikit-learn": "0.1"}, whole.about.requests)
    write_bundle(tmp_path / "older.zip", about, dict(whole.items()))
    monkeypatch.setattr("numembed.prepared.PREPARED", tmp_path / "older.zip")
    app.run()
    assert "3 February 2020, came with numembed 0.0.9" in told(app)
    assert "other versions than on this machine: scikit-learn 0.1." in told(app)


def test_a_link_leaves_out_what_a_first_visit_shows(app: AppTest) -> None:
    app.run()
    assert not app.query_params
    app.multiselect(key="models").set_value(list(paper_study().references)).run()
    assert app.query_params["models"] == list(paper_study().references)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens(app: AppTest, page: str) -> None:
    opened(app, page)
    assert not app.error


def test_nothing_is_called_run_here_that_was_not(app: AppTest) -> None:
    opened(app, "pages/paper.py")
    words = told(app)
    assert "None of the paper's 14 models has been run here" in words and "which was run" not in words
    with ResultStore(read_settings().app_db) as own:
        assert own.check(paper_study("smollm2").models[0]) is None


@pytest.mark.parametrize(("page", "name"), [("explain", "explain"), ("maps", "maps"), ("robustness", "stress")])
def test_what_is_run_here_shows_its_progress_above_what_came_along(app: AppTest, page: str, name: str) -> None:
    opened(app, f"pages/{page}.py")
    app.selectbox(key="explained").select("all-MiniLM-L6-v2").run()
    app.button(key=f"here {name}").click().run()
    assert not app.exception and "Cancel" in {button.label for button in app.button} and BEFOREHAND in told(app)


def test_an_experiment_that_was_begun_here_hides_nothing(app: AppTest, settings: Settings) -> None:
    experiment = usual_experiment("number-lm")
    with ResultStore(settings.app_db) as own:
        begun = ExperimentResult(experiment, experiment.base)
        own.put(experiment_key(experiment), begun.as_json())
    opened(app, "pages/merge.py")
    app.selectbox(key="merge_base").select("number-lm").run()
    assert BEFOREHAND in told(app) and "What came out" in told(app) and len(charts(app)) > 3


def test_a_table_that_is_saved_says_what_was_computed_beforehand(settings: Settings) -> None:
    study = paper_study("all-MiniLM-L6-v2", "last_digits")
    with ResultStore(settings.app_db, beside=Bundle(PREPARED)) as store:
        results = [one for one in stored_results(study, store) if one is not None]
    rows = list(csv.DictReader(io.StringIO(scores_csv(study, results, beforehand=["all-MiniLM-L6-v2"]))))
    assert {(row["model"], row["origin"]) for row in rows} == {
        ("all-MiniLM-L6-v2", "computed beforehand"),
        ("Last digits", ""),
    }
