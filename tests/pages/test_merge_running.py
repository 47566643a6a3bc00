"""The Merge page through app.py: a ladder is chosen, asked for with one click, and runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from numembed.jobs import JobTable, ModelProgress
from numembed.ladder.ladder import Ladder, LadderResult, ladder_key
from numembed.ladder.paths import KINDS
from numembed.ladder.run import ladder_rows
from numembed.models.adapters_saved import Reading
from numembed.models.catalogue import model
from numembed.models.scratch import usual_recipe
from numembed.models.spec import LocalWeights
from numembed.results import ResultStore
from numembed.settings import Settings
from tests.pages.elements import charts, opened, plain, protos, told, walk, work_off

PAGE = "pages/merge.py"
STEPS = Ladder().recipe.steps


def offered(monkeypatch: pytest.MonkeyPatch, base: object) -> str:
    """Let the list offer what a visitor types; AppTest can only choose from the list."""
    monkeypatch.setattr("ui.merge._BASES", ["all-MiniLM-L6-v2", str(base)])
    return str(base)


def jobs_of(settings: Settings) -> list[Ladder]:
    with JobTable(settings.app_db) as jobs:
        return [job.ladder for job in jobs.recent()]


def test_before_a_run_the_page_asks_tells_the_price_and_shows_nothing_else(app: AppTest) -> None:
    opened(app, PAGE)
    assert app.title[0].value == "Does merging give back what training takes away?"
    assert not app.error and not charts(app) and not app.subheader
    usual = Ladder()
    steps = usual.recipe.steps * len(usual.recipe.seeds)
    assert f"{steps} training steps · up to {usual.arms} models × 240 texts" in told(app)
    assert app.selectbox(key="merge_base").value == "all-MiniLM-L6-v2"
    assert "nomic-embed-text-v2-moe" not in app.selectbox(key="merge_base").options, "its code cannot be adapted here"


def test_what_is_judged_by_stands_beside_the_choice_with_what_it_shares_with_training(app: AppTest) -> None:
    shown = next(str(element.proto) for element in walk(opened(app, PAGE).main) if "overlaps" in str(element.proto))
    assert all(words in shown for words in ("New families", "Ordinary sentences", "541", "100%"))
    assert "is ever shown in its order" in told(app)


def test_a_click_asks_for_one_ladder_and_a_second_one_joins_it(app: AppTest, settings: Settings) -> None:
    opened(app, PAGE).button(key="climb").click().run()
    app.button(key="climb").click().run()
    assert not app.exception and not app.error
    assert jobs_of(settings) == [Ladder()], "the page's usual ladder is not the command line's"
    assert app.button(key="cancel").label == "Cancel"
    app.button(key="cancel").click().run()
    assert "This ladder was stopped" in app.info[0].value


def test_what_is_chosen_is_what_is_asked_for(
    app: AppTest, settings: Settings, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = offered(monkeypatch, tiny_model)
    opened(app, PAGE).selectbox(key="merge_base").set_value(base)
    app.segmented_control(key="merge_training").set_value("paper")
    for key, value in (("seeds", 2), ("steps", 5), ("stages", 1), ("rank", 4), ("points", 3)):
        app.number_input(key=f"merge_{key}").set_value(value)
    app.run()
    assert not app.error
    app.button(key="climb").click().run()
    (asked,) = jobs_of(settings)
    recipe = asked.recipe
    assert asked.base.weights == LocalWeights(str(tiny_model)) and asked.points == 3
    assert (recipe.seeds, recipe.steps, recipe.stages, recipe.rank, recipe.alpha) == ((0, 1), 5, 1, 4, 8.0)
    assert "primes" in recipe.split.training


@pytest.mark.slow
def test_a_base_of_our_own_brings_what_is_usual_for_it(app: AppTest, settings: Settings) -> None:
    opened(app, PAGE).selectbox(key="merge_base").set_value("number-lm").run()
    usual = usual_recipe(model("number-lm"))
    assert app.number_input(key="merge_rank").value == usual.rank != Ladder().recipe.rank
    app.button(key="climb").click().run()
    assert not app.exception and not app.error
    assert [one.recipe for one in jobs_of(settings)] == [usual]
    app.selectbox(key="merge_base").set_value("all-MiniLM-L6-v2").run()
    assert app.number_input(key="merge_rank").value == Ladder().recipe.rank


def test_too_many_stages_for_the_steps_are_told_in_a_sentence(app: AppTest) -> None:
    opened(app, PAGE)
    app.number_input(key="merge_steps").set_value(1)
    app.number_input(key="merge_stages").set_value(3).run()
    assert not app.exception and "The number of stages is a whole number" in app.error[0].value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ("/nowhere/at-all", "is not below a folder that models may be read from"),
        ("{tmp}/nothing", "There is no folder"),
        ("{tmp}", "is no SentenceTransformer model"),
        ("last_digits", "cannot be adapted"),
        ("no such model", "is no model's name"),
        ("all-MiniLM-L6-v2 weights=random", "cannot be adapted"),
    ],
)
def test_a_base_that_cannot_be_trained_is_told_in_a_sentence(
    app: AppTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, sentence: str
) -> None:
    named = offered(monkeypatch, base.format(tmp=tmp_path))
    opened(app, PAGE).selectbox(key="merge_base").set_value(named).run()
    assert not app.exception and len(app.error) == 1
    assert sentence in plain(app.error[0].value)
    assert "climb" not in [button.key for button in app.button]


def test_an_address_is_read_where_it_is_right_and_comes_back_after_another_page(app: AppTest) -> None:
    query = {"training": ["paper"], "seeds": ["2"], "steps": ["99999999"], "rank": ["<b>"], "points": ["3"]}
    app.session_state["wanted"] = (PAGE, query)
    app.run()
    chosen = {name: app.number_input(key=f"merge_{name}").value for name in ("seeds", "steps", "rank", "points")}
    assert chosen == {"seeds": 2, "steps": STEPS, "rank": Ladder().recipe.rank, "points": 3}
    assert app.segmented_control(key="merge_training").value == "paper"
    assert dict(app.query_params) == {"training": "paper", "seeds": "2", "points": "3"}
    app.switch_page("pages/runs.py").run()
    app.switch_page(PAGE).run()
    assert app.number_input(key="merge_seeds").value == 2 and not app.exception and not app.error


def test_while_training_runs_its_curves_are_there_and_one_bar(app: AppTest, settings: Settings) -> None:
    ladder = Ladder()
    readings = tuple(Reading(0, step, 3.0 - step / 10 if step else None, 0.1 if step == 0 else None)
                     for step in range(4))  # fmt: skip
    begun = LadderResult(ladder, ladder.base.as_dict(), training=readings)
    with ResultStore(settings.app_db) as results:
        results.put(ladder_key(ladder), begun.as_json())
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(ladder, asked_by="test")
        assert jobs.claim() is not None
        first, *rest = ladder_rows(ladder)
        jobs.show(job, (ModelProgress(first, "train", 30, 120, "", 42.0), *map(ModelProgress, rest)))
    opened(app, PAGE)
    assert not app.error and not app.subheader
    (bar,) = protos(app, "progress")
    assert bar.value == pytest.approx(10, abs=1) and "30 of 120" in bar.text and "about 42 s left" in bar.text
    (chart,) = charts(app)
    assert "step 3 of seed 0" in chart.alt


@pytest.mark.slow
def test_a_folder_that_fails_in_the_worker_is_told_on_the_page(
    app: AppTest, settings: Settings, nan_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = offered(monkeypatch, nan_model)
    opened(app, PAGE).selectbox(key="merge_base").set_value(base)
    for key, value in (("seeds", 1), ("steps", 2), ("stages", 1), ("points", 3)):
        app.number_input(key=f"merge_{key}").set_value(value)
    app.run()
    app.button(key="climb").click().run()
    assert work_off(settings) == ["failed"]
    app.run()
    assert not app.exception and len(app.error) == 1 and "not finite" in app.error[0].value


def test_every_row_of_paths_has_words_for_the_page() -> None:
    assert all(row.title and row.about.endswith(".") for row in KINDS.values())
