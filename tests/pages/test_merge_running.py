"""The Merge page through app.py: an experiment is chosen, started with one click, and runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, experiment_key
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.run import experiment_rows
from numembed.models.adapters.recipe import Reading
from numembed.models.builtin.models import usual_recipe
from numembed.models.catalogue.names import model
from numembed.models.spec import LocalWeights
from numembed.runs.job import ModelProgress
from numembed.runs.jobs import JobTable
from numembed.sequences.families.family import family
from numembed.sequences.splits import split_called
from numembed.studies.results import ResultStore
from tests.pages.elements import charts, opened, plain, protos, told, walk, work_off
from ui.merge.choice import FURTHER
from ui.merge.progress import parts_of, share_and_left
from ui.merge.splits import LONGEST_RUNS
from ui.shared.run_progress import waiting_text

PAGE = "pages/merge.py"
STEPS = MergeExperiment().recipe.steps


def offered(monkeypatch: pytest.MonkeyPatch, base: object) -> str:
    """Let the list offer what a visitor types; AppTest can only choose from the list."""
    monkeypatch.setattr("ui.merge.choice._BASES", ["all-MiniLM-L6-v2", str(base)])
    return str(base)


def jobs_of(settings: Settings) -> list[MergeExperiment]:
    with JobTable(settings.app_db) as jobs:
        return [job.request for job in jobs.recent()]


def test_before_a_run_the_page_shows_the_choice_and_its_cost_only(app: AppTest) -> None:
    opened(app, PAGE)
    assert app.title[0].value == "Does merging restore what training loses?"
    assert not app.error and not charts(app) and not app.subheader
    usual = MergeExperiment()
    steps = usual.recipe.steps * len(usual.recipe.seeds)
    assert f"{steps} training steps · up to {usual.candidates} models × 240 texts" in told(app)
    assert app.selectbox(key="merge_base").value == "all-MiniLM-L6-v2"
    assert "nomic-embed-text-v2-moe" not in app.selectbox(key="merge_base").options, "its code cannot be adapted here"


def test_evaluations_are_listed_with_what_they_share_with_training(app: AppTest) -> None:
    shown = next(str(element.proto) for element in walk(opened(app, PAGE).main) if "overlaps" in str(element.proto))
    assert all(words in shown for words in ("New families", "Ordinary sentences", "541", "100%"))
    assert "up to 6 of them in a row, where another family has the same terms" in told(app)
    assert "Training never contains a whole evaluation text" in told(app)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["others", "paper"])
def test_the_longest_runs_in_training_are_as_the_page_says(name: str) -> None:
    split, longest = split_called(name), 0
    for training in split.training:
        terms = family(training).terms(split.first, split.furthest + split.longest)
        shown = _joined([term for low, high in split.spans for term in (*terms[low:high], -1)])
        for item in (item for found in split.evaluations.values() for item in found.items):
            begin = 0
            while begin + longest < min(len(item.terms), begin + split.longest):
                if _joined(item.terms[begin : begin + longest + 1]) in shown:
                    longest += 1
                else:
                    begin += 1
    assert longest == LONGEST_RUNS[split.training]


def _joined(terms: Sequence[int]) -> str:
    return f",{','.join(map(str, terms))},"


@pytest.mark.slow
def test_a_click_starts_one_experiment_and_a_second_click_joins_it(app: AppTest, settings: Settings) -> None:
    opened(app, PAGE).button(key="climb").click().run()
    app.button(key="climb").click().run()
    assert not app.exception and not app.error
    assert jobs_of(settings) == [MergeExperiment()], "the page's usual experiment is not the command line's"
    assert app.button(key="cancel").label == "Cancel"
    app.button(key="cancel").click().run()
    assert "This merging experiment was stopped" in app.info[0].value


@pytest.mark.slow
def test_the_choice_is_what_is_submitted(
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
def test_further_paths_are_submitted_kept_in_the_address_and_refused_without_enough_seeds(
    app: AppTest, settings: Settings
) -> None:
    app.session_state["wanted"] = (PAGE, {"further": ["ties,nowhere,lora,dare"]})
    app.run()
    further = app.multiselect(key="merge_further")
    assert further.value == ["ties", "dare"] and set(further.options) == {KINDS[name].title for name in FURTHER}
    assert {"ties", "dare", "task_arithmetic", "slerp_flat", "multi_stage_task"} == set(FURTHER)
    assert dict(app.query_params) == {"further": "ties,dare"}
    app.button(key="climb").click().run()
    (asked,) = jobs_of(settings)
    assert (
        set(asked.paths) == {*MergeExperiment().paths, "ties", "dare"}
        and asked.candidates > MergeExperiment().candidates
    )
    app.switch_page("pages/runs.py").run()
    app.switch_page(PAGE).run()
    assert app.multiselect(key="merge_further").value == ["ties", "dare"] and not app.exception
    app.number_input(key="merge_seeds").set_value(1).run()
    assert not app.exception and "needs more seeds or stages" in app.error[0].value
    app.number_input(key="merge_seeds").set_value(3).run()
    app.multiselect(key="merge_further").set_value([]).run()
    assert not app.error and "further" not in app.query_params
    with JobTable(settings.app_db) as jobs:
        assert jobs.latest(MergeExperiment()) is None
    app.button(key="climb").click().run()
    assert MergeExperiment() in jobs_of(settings), "none beside the usual ones is the usual experiment"


@pytest.mark.slow
def test_a_base_of_our_own_brings_what_is_usual_for_it(app: AppTest, settings: Settings) -> None:
    opened(app, PAGE).selectbox(key="merge_base").set_value("number-lm").run()
    usual = usual_recipe(model("number-lm"))
    assert app.number_input(key="merge_rank").value == usual.rank != MergeExperiment().recipe.rank
    app.button(key="climb").click().run()
    assert not app.exception and not app.error
    assert [one.recipe for one in jobs_of(settings)] == [usual]
    app.selectbox(key="merge_base").set_value("all-MiniLM-L6-v2").run()
    assert app.number_input(key="merge_rank").value == MergeExperiment().recipe.rank


@pytest.mark.slow
def test_too_many_stages_for_the_steps_are_refused_with_a_sentence(app: AppTest) -> None:
    opened(app, PAGE)
    app.number_input(key="merge_steps").set_value(1)
    app.number_input(key="merge_stages").set_value(3).run()
    assert not app.exception and "The number of stages is a whole number" in app.error[0].value


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ("last_digits", "cannot be adapted"),
        ("no such model", "is not a model name"),
        ("all-MiniLM-L6-v2 weights=random", "cannot be adapted"),
    ],
)
def test_a_base_that_cannot_be_trained_is_refused_with_a_sentence(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, base: str, sentence: str
) -> None:
    named = offered(monkeypatch, base)
    opened(app, PAGE).selectbox(key="merge_base").set_value(named).run()
    assert not app.exception and len(app.error) == 1
    assert sentence in plain(app.error[0].value)
    assert "climb" not in [button.key for button in app.button]


def test_an_address_is_read_where_it_is_right_and_comes_back_after_another_page(app: AppTest) -> None:
    query = {"training": ["paper"], "seeds": ["2"], "steps": ["99999999"], "rank": ["<b>"], "points": ["3"]}
    app.session_state["wanted"] = (PAGE, query)
    app.run()
    chosen = {name: app.number_input(key=f"merge_{name}").value for name in ("seeds", "steps", "rank", "points")}
    assert chosen == {"seeds": 2, "steps": STEPS, "rank": MergeExperiment().recipe.rank, "points": 3}
    assert app.segmented_control(key="merge_training").value == "paper"
    assert dict(app.query_params) == {"training": "paper", "seeds": "2", "points": "3"}
    app.switch_page("pages/runs.py").run()
    app.switch_page(PAGE).run()
    assert app.number_input(key="merge_seeds").value == 2 and not app.exception and not app.error


@pytest.mark.slow
def test_while_training_runs_its_curves_are_there_and_one_bar(app: AppTest, settings: Settings) -> None:
    experiment = MergeExperiment()
    readings = tuple(
        Reading(0, step, 3.0 - step / 10 if step else None, 0.1 if step == 0 else None) for step in range(4)
    )
    begun = ExperimentResult(experiment, experiment.base, training=readings)
    with ResultStore(settings.app_db) as results:
        results.put(experiment_key(experiment), begun.as_json())
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(experiment, asked_by="test")
        assert jobs.claim() is not None
        first, *rest = experiment_rows(experiment)
        jobs.show(job, (ModelProgress(first, "train", 30, 120, "", 42.0), *map(ModelProgress, rest)))
    opened(app, PAGE)
    assert not app.error and not app.subheader
    (bar,) = protos(app, "progress")
    parts = parts_of(experiment)
    assert bar.value == pytest.approx(25 * parts[0] / sum(parts), abs=1) and "30 of 120" in bar.text
    assert "left in all" in bar.text and "of this part" not in bar.text
    (chart,) = charts(app)
    assert "step 3 of seed 0" in chart.alt


def test_one_bar_and_one_time_are_over_all_parts_of_an_experiment() -> None:
    rows = ("Training", "Base", "LoRA", "Angles and maps")
    parts = (300, 100, 500, 100)

    def at(*stages: tuple[str, int, int, float | None]) -> list[ModelProgress]:
        return [
            ModelProgress(row, stage, done, total, "", left)
            for row, (stage, done, total, left) in zip(rows, stages, strict=True)
        ]

    waiting = ("waiting", 0, 0, None)
    assert share_and_left(at(("train", 1, 2, 15.0), *[waiting] * 3), parts) == (pytest.approx(0.15), pytest.approx(85))
    done = ("done", 1, 1, None)
    assert share_and_left(at(done, done, ("encode", 4, 5, 3.0), waiting), parts) == (
        pytest.approx(0.8),
        pytest.approx(6),
    )
    assert share_and_left(at(*[done] * 4), parts) == (1, None)
    assert share_and_left([], parts) == (0, None)
    redrawn = [*at(*[done] * 4), ModelProgress("Redrawn windows", "redraw", 3, 12, "", 9.0)]
    assert share_and_left(redrawn, (*parts, 60)) == (pytest.approx(0.25), pytest.approx(9))
    usual = MergeExperiment(designs=10)
    assert len(parts_of(usual)) == len(experiment_rows(usual)) and all(part > 0 for part in parts_of(usual))


@pytest.mark.slow
def test_a_waiting_experiment_shows_what_runs_before_it(app: AppTest, settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        jobs.submit(MergeExperiment(points=3), asked_by="test")
        assert jobs.claim() is not None
        jobs.submit(MergeExperiment(points=5), asked_by="another")
    opened(app, PAGE).button(key="climb").click().run()
    (bar,) = protos(app, "progress")
    before = "Before it: “Merging experiment on all-MiniLM-L6-v2” and 1 more run."
    assert plain(bar.text) == f"Place 2 in the queue. {before}"
    with JobTable(settings.app_db) as jobs:
        mine, other, running = jobs.recent()
        assert waiting_text(running) == "" and waiting_text(mine) == bar.text
        assert waiting_text(other) == "Place 1 in the queue. Before it: “Merging experiment on all-MiniLM-L6-v2”."
        jobs.finish(running.id, state="done", seconds=1, progress=None)
        assert waiting_text(other) == "", "nothing runs before it"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "sentence"),
    [
        ("/nowhere/at-all", "is not below a folder that models may be read from"),
        ("{tmp}/nothing", "There is no folder"),
        ("{tmp}", "is not a SentenceTransformer model"),
    ],
)
def test_a_folder_that_is_no_model_is_told_by_the_run(
    app: AppTest, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, sentence: str
) -> None:
    named = offered(monkeypatch, base.format(tmp=tmp_path))
    opened(app, PAGE).selectbox(key="merge_base").set_value(named).run()
    assert not app.exception and not app.error
    assert "unknown until its folder is looked at, which a run does first" in told(app)
    app.button(key="climb").click().run()
    assert work_off(settings) == ["failed"]
    app.run()
    assert not app.exception and len(app.error) == 1 and sentence in plain(app.error[0].value)


@pytest.mark.slow
def test_a_folder_that_fails_in_the_worker_is_reported_on_the_page(
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
    assert not app.exception and len(app.error) == 1 and "became NaN or infinite" in app.error[0].value


def test_every_row_of_paths_has_words_for_the_page() -> None:
    assert all(row.title and row.about.endswith(".") for row in KINDS.values())
