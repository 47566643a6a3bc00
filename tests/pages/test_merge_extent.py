"""The Merge page through app.py: the extent of an experiment, which is short for large models, and what they need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import MergeExperiment, experiment_key, recipe_for
from numembed.merge_experiment.paths import SHORT, usual_points
from numembed.models.catalogue.names import model
from numembed.runs.jobs import JobTable
from numembed.sequences.splits import split_called
from numembed.studies.results import ResultStore
from tests.merge_experiment.made import made_result
from tests.pages.elements import opened, plain, told, walk

PAGE = "pages/merge.py"
LARGE, SMALL = "SmolLM2", "all-MiniLM-L6-v2"


def usual(base: str, *, short: bool | None = None) -> MergeExperiment:
    """Return the usual experiment on a catalogue model, or its short or full form."""
    recipe = recipe_for(model(base), split_called("others"), brief=short)
    return MergeExperiment(model(base), recipe, points=usual_points(recipe))


def extent(app: AppTest) -> object:
    """Return the extent that the page shows."""
    return app.segmented_control(key="merge_extent").value


def asked(app: AppTest, settings: Settings) -> MergeExperiment:
    """Press the button that starts an experiment and return the one that was asked for last."""
    app.button(key="climb").click().run()
    assert not app.exception and not app.error
    with JobTable(settings.app_db) as jobs:
        return jobs.recent()[0].request  # type: ignore[no-any-return]


def evaluations(app: AppTest) -> str:
    """Return the table of what is evaluated, as it is sent to the browser."""
    return next(str(element.proto) for element in walk(app.main) if "overlaps" in str(element.proto))


@pytest.mark.slow
def test_a_large_base_takes_the_short_form_and_a_small_one_the_full(app: AppTest, settings: Settings) -> None:
    opened(app, PAGE)
    assert extent(app) == "full" and "Short form" not in told(app) and "New families" in evaluations(app)
    assert "Never trained on, and scored: Multiples of 7" in told(app)
    app.selectbox(key="merge_base").set_value(LARGE).run()
    assert extent(app) == "short" and dict(app.query_params) == {"base": LARGE}
    assert f"Short form: 48 training steps · up to {usual(LARGE).candidates} models × 192 texts" in told(app)
    assert "New families" not in evaluations(app) and "Never trained on, and scored" not in told(app)
    assert app.button(key="climb").disabled, "it has to be got first"
    app.selectbox(key="merge_base").set_value(SMALL).run()
    assert extent(app) == "full" and asked(app, settings) == MergeExperiment()


def test_another_extent_is_another_experiment_and_stays_in_the_address(app: AppTest, settings: Settings) -> None:
    opened(app, PAGE).segmented_control(key="merge_extent").set_value("short").run()
    assert dict(app.query_params) == {"extent": "short"} and "Usual above 100 million parameters" in told(app)
    short = asked(app, settings)
    assert short.recipe.split.brief and set(short.paths) == set(SHORT) and short.splits == ("reserved", "paper")
    assert short == replace(usual(SMALL, short=True), points=MergeExperiment().points)
    app.segmented_control(key="merge_extent").set_value("full").run()
    assert dict(app.query_params) == {} and asked(app, settings) == MergeExperiment()


@pytest.mark.parametrize(("base", "short"), [(LARGE, None), (LARGE, False), (SMALL, True)])
def test_an_experiment_of_the_list_opens_with_its_extent(
    app: AppTest, settings: Settings, base: str, short: bool | None
) -> None:
    experiment = usual(base, short=short)
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(experiment, asked_by="test")
    opened(app, "pages/runs.py")
    app.session_state["run_chosen"] = job
    app.run()
    app.button(key="open").click().run()
    assert not app.exception and not app.error and not app.warning
    assert app.selectbox(key="merge_base").value == base
    assert extent(app) == ("short" if experiment.recipe.split.brief else "full")
    assert app.button(key="cancel").label == "Cancel", "its run goes on, so the choice is that experiment"


@pytest.mark.slow
def test_a_stored_short_experiment_opens_by_its_address(app: AppTest, settings: Settings) -> None:
    found = made_result(usual(LARGE))
    with ResultStore(settings.app_db) as results:
        results.put(experiment_key(found.experiment), found.as_json())
    app.session_state["wanted"] = (PAGE, {"base": [LARGE]})
    app.run()
    assert not app.exception and not app.error and extent(app) == "short"
    assert f"All {len(found.candidates)} models of it are shown below." in told(app)
    assert "What came out" in [one.value for one in app.subheader]
    assert "LoRA of rank 8 on q_proj, k_proj, v_proj, o_proj, 24 steps of 16 sequences" in plain(told(app))
    app.segmented_control(key="merge_extent").set_value("full").run()
    assert not app.exception and "What came out" not in [one.value for one in app.subheader]


def test_an_unknown_extent_of_an_address_is_the_usual_one(app: AppTest) -> None:
    app.session_state["wanted"] = (PAGE, {"base": [LARGE], "extent": ["<b>everything"]})
    app.run()
    assert not app.exception and extent(app) == "short" and dict(app.query_params) == {"base": LARGE}


def test_a_large_base_without_its_weights_says_what_it_needs(app: AppTest) -> None:
    opened(app, PAGE)
    assert "up to 1.8 GB of memory" in told(app), "the included model is here"
    app.selectbox(key="merge_base").set_value(LARGE).run()
    assert not app.exception and not app.error
    assert "Not on this machine yet: 92.9 MB to download, 269.0 MB on the disk." in told(app)
    assert app.button(key="get").label == "Get it (93 MB)" and "of memory" not in told(app)
