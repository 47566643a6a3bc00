"""The Merge page through app.py: the choice, one job a click, and what was found, all of it or a part."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
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
from tests.ladder.bases import stored_on
from tests.ladder.made import SENTENCE, made_result
from tests.pages.test_light import HEAVY

ROOT = Path(__file__).parents[2]
PAGE = "pages/merge.py"
STEPS = Ladder().recipe.steps
QUESTIONS = [
    "What does separating numbers cost?",
    "Which separates better where both keep equally much?",
    "How does each score change on the way?",
    "How does the map change on the way?",
    "Was it really SLERP?",
    "Does the adapter take over?",
    "Which one do you want to keep?",
]


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The app on an empty store."""
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    yield AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    st.cache_resource.clear()


def opened(app: AppTest) -> AppTest:
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


def offered(monkeypatch: pytest.MonkeyPatch, base: object) -> str:
    """Let the list offer what a visitor types; AppTest can only choose from the list."""
    monkeypatch.setattr("ui.merge._BASES", ["all-MiniLM-L6-v2", str(base)])
    return str(base)


def keep(settings: Settings, found: LadderResult) -> None:
    with ResultStore(settings.app_db) as results:
        results.put(ladder_key(found.ladder), found.as_json())


def jobs_of(settings: Settings) -> list[Ladder]:
    with JobTable(settings.app_db) as jobs:
        return [job.ladder for job in jobs.recent()]


def told(app: AppTest) -> str:
    """Return all words of the page as they are read, without escapes."""
    words = " ".join(element.value for kind in (app.markdown, app.caption, app.subheader) for element in kind)
    return words.replace("\\", "").replace("\u2060", "")


def charts(app: AppTest) -> list[Any]:
    return [element.proto for element in _walk(app.main) if element.type == "plotly_chart"]


def _walk(block: Any) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)


def test_before_a_run_the_page_asks_tells_the_price_and_shows_nothing_else(app: AppTest) -> None:
    opened(app)
    assert app.title[0].value == "Does merging give back what training takes away?"
    assert not app.error and not charts(app) and not app.subheader
    usual = Ladder()
    steps = usual.recipe.steps * len(usual.recipe.seeds)
    assert f"{steps} training steps · up to {usual.arms} models × 240 texts" in told(app)
    assert app.selectbox(key="merge_base").value == "all-MiniLM-L6-v2"
    assert "nomic-embed-text-v2-moe" not in app.selectbox(key="merge_base").options, "its code cannot be adapted here"


def test_a_click_asks_for_one_ladder_and_a_second_one_joins_it(app: AppTest, settings: Settings) -> None:
    opened(app).button(key="climb").click().run()
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
    opened(app).selectbox(key="merge_base").set_value(base)
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
    opened(app).selectbox(key="merge_base").set_value(named).run()
    assert not app.exception and len(app.error) == 1
    assert sentence in app.error[0].value.replace("\\", "")
    assert "climb" not in [button.key for button in app.button]


def test_an_address_is_read_where_it_is_right_and_comes_back_after_another_page(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    query = {"training": ["paper"], "seeds": ["2"], "steps": ["99999999"], "rank": ["<b>"], "points": ["3"]}
    app.session_state["wanted"] = (PAGE, query)
    app.run()
    chosen = {name: app.number_input(key=f"merge_{name}").value for name in ("seeds", "steps", "rank", "points")}
    assert chosen == {"seeds": 2, "steps": STEPS, "rank": Ladder().recipe.rank, "points": 3}
    assert app.segmented_control(key="merge_training").value == "paper"
    assert dict(app.query_params) == {"training": "paper", "seeds": "2", "points": "3"}
    app.switch_page("pages/runs.py").run()
    opened(app)
    assert app.number_input(key="merge_seeds").value == 2 and not app.error


@pytest.mark.slow
def test_a_base_of_our_own_brings_what_is_usual_for_it(app: AppTest, settings: Settings) -> None:
    opened(app).selectbox(key="merge_base").set_value("number-lm").run()
    usual = usual_recipe(model("number-lm"))
    assert app.number_input(key="merge_rank").value == usual.rank != Ladder().recipe.rank
    app.button(key="climb").click().run()
    assert not app.exception and not app.error
    assert [one.recipe for one in jobs_of(settings)] == [usual]
    app.selectbox(key="merge_base").set_value("all-MiniLM-L6-v2").run()
    assert app.number_input(key="merge_rank").value == Ladder().recipe.rank


def test_too_many_stages_for_the_steps_are_told_in_a_sentence(app: AppTest) -> None:
    opened(app)
    app.number_input(key="merge_steps").set_value(1)
    app.number_input(key="merge_stages").set_value(3).run()
    assert not app.exception and "The number of stages is a whole number" in app.error[0].value


def test_while_training_runs_its_curves_are_there_and_one_bar(app: AppTest, settings: Settings) -> None:
    ladder = Ladder()
    readings = tuple(Reading(0, step, 3.0 - step / 10 if step else None, 0.1 if step == 0 else None)
                     for step in range(4))  # fmt: skip
    keep(settings, LadderResult(ladder, ladder.base.as_dict(), training=readings))
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(ladder, asked_by="test")
        assert jobs.claim() is not None
        first, *rest = ladder_rows(ladder)
        jobs.show(job, (ModelProgress(first, "train", 30, 120, "", 42.0), *map(ModelProgress, rest)))
    opened(app)
    assert not app.error and not app.subheader
    (bar,) = (element.proto for element in _walk(app.main) if element.type == "progress")
    assert bar.value == pytest.approx(10, abs=1) and "30 of 120" in bar.text and "about 42 s left" in bar.text
    (chart,) = charts(app)
    assert "step 3 of seed 0" in chart.alt


@pytest.mark.slow
def test_a_finished_ladder_is_told_from_the_verdict_to_the_model_to_keep(app: AppTest, settings: Settings) -> None:
    keep(settings, made_result(Ladder()))
    opened(app)
    assert not app.error
    assert [found.value for found in app.subheader] == ["What came out", *QUESTIONS]
    assert SENTENCE in told(app)
    shown = charts(app)
    assert len(shown) == 9 + len(Ladder().paths)
    assert all(chart.spec and chart.alt and "NaN" not in chart.spec for chart in shown)
    frames = [json.loads(chart.spec).get("frames") for chart in shown]
    assert [len(one) for one in frames if one] == [len(Ladder().drawn[1].values)]
    for key, value in (("merge_paths", "all"), ("merge_sweeps", "t")):
        app.segmented_control(key=key).set_value(value).run()
        assert not app.exception
    app.toggle(key="merge_each").set_value(True).run()
    app.selectbox(key="merge_measure").set_value("cka").run()
    assert not app.exception and not app.error
    for split in ("later", "reserved", "new"):
        app.segmented_control(key="merge_split_paper-later-reserved-new").set_value(split).run()
        assert not app.exception and not app.error


@pytest.mark.slow
def test_a_ladder_that_is_half_climbed_shows_what_it_has_and_promises_no_verdict(
    app: AppTest, settings: Settings
) -> None:
    for paths in (1, 3, 6):
        keep(settings, made_result(Ladder(), complete=False, paths=paths))
        opened(app)
        assert not app.error
        assert f"{paths} of {len(Ladder().drawn)} paths scored" in app.info[0].value
        asked = [found.value for found in app.subheader]
        assert "What came out" not in asked and "Was it really SLERP?" not in asked
        assert QUESTIONS[0] in asked and all("NaN" not in chart.spec for chart in charts(app))
        assert SENTENCE not in told(app)
        app.switch_page("pages/runs.py").run()


@pytest.mark.slow
def test_a_result_that_grows_is_read_anew(app: AppTest, settings: Settings) -> None:
    keep(settings, made_result(Ladder(), complete=False, paths=2))
    opened(app)
    keep(settings, made_result(Ladder()))
    app.run()
    assert "What came out" in [found.value for found in app.subheader]


@pytest.mark.slow
def test_an_adapter_goes_to_compare_and_every_model_is_told_as_a_command(app: AppTest, settings: Settings) -> None:
    found = made_result(Ladder())
    keep(settings, found)
    opened(app)
    assert app.selectbox(key="keep_path").value == "lora-0"
    assert " ".join(_command(app)[2:6]) == f"fold --parts /adapters/seed-0/step-{STEPS:05d} --base"
    app.selectbox(key="keep_path").set_value("slerp_task-0-1").run()
    assert "keep_compare" not in [button.key for button in app.button]
    words = _command(app)
    assert words[2:6] == ["slerp", "--parts", *(f"/adapters/seed-{seed}/step-{STEPS:05d}" for seed in (0, 1))]
    assert " ".join(words[6:14]) == "--base all-MiniLM-L6-v2 --space task_vectors --fallback 1 --t 0.5"
    app.selectbox(key="keep_path").set_value("lora-1").run()
    app.button(key="keep_compare").click().run()
    assert not app.exception
    assert app.title[0].value == "How do embedding models see numbers?"
    assert any("adapter=/adapters/seed-1" in one for one in app.multiselect(key="models").value)


def _command(app: AppTest) -> list[str]:
    python, *words = shlex.split(app.code[0].value)
    assert [python, *words[:2]] == ["python", "-m", "numembed"]
    return words[1:]


@pytest.mark.slow
def test_every_place_of_every_path_can_be_saved_by_a_command_that_exists(home: Path) -> None:
    from numembed.cli import _parser
    from ui.merge_saving import save_command

    whole = Ladder(paths=tuple(KINDS))
    for arm in made_result(whole).arms:
        if command := save_command(arm.model):
            asked = _parser().parse_args(shlex.split(command)[3:])
            assert (
                command.startswith("python -m numembed merge ")
                and asked.out == "my-model"
                and asked.base == "all-MiniLM-L6-v2"
            ), arm.path
            assert all(Path(part).is_absolute() for part in asked.parts), arm.path
        else:
            assert arm.path == "base" or arm.at == 0, arm.path


@pytest.fixture
def real(settings: Settings, tiny_model: Path, tmp_path: Path) -> LadderResult:
    """A finished ladder on a tiny base whose adapters are there; its numbers are made up."""
    return stored_on(tiny_model, settings, tmp_path / "adapters")


def on_its_page(app: AppTest, found: LadderResult, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Open the page with this ladder as the visitor's choice."""
    monkeypatch.setattr("ui.merge.choose", lambda: found.ladder)
    return opened(app)


def work(settings: Settings) -> str:
    """Carry out the next job as the worker does; return its state."""
    from numembed.models.encoders import LoadedModel
    from numembed.worker import run_job

    with JobTable(settings.app_db) as jobs:
        job = jobs.claim()
        assert job is not None
        return run_job(job, jobs, settings=settings, loaded=LoadedModel(settings))


@pytest.mark.slow
def test_a_model_is_saved_by_a_click_then_compared_and_taken_as_a_base(
    app: AppTest, settings: Settings, real: LadderResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_its_page(app, real, monkeypatch).selectbox(key="keep_path").set_value("slerp-0-1").run()
    assert _name(app).value == "tiny-slerp-0-1-t0.5"
    _name(app).set_value("my-model").run()
    app.button(key="keep_save").click().run()
    assert not app.exception and not app.error and app.button(key="keep_save").disabled
    assert app.button(key="keep_cancel").label == "Cancel"
    assert "keep_base" not in [button.key for button in app.button], "nothing is saved yet"
    assert work(settings) == "done"
    app.run()
    assert "my-model" in app.success[0].value.replace("\\", "")
    folder = settings.home / "models" / "my-model"
    assert (folder / "README.md").is_file() and (folder / "model.safetensors").is_file()
    app.switch_page("pages/runs.py").run()
    rows = " ".join(str(element.proto) for element in _walk(app.main))
    assert "Saving the model my-model, from the merging ladder on tiny" in rows
    opened(app).selectbox(key="keep_path").set_value("slerp-0-1").run()
    assert _name(app).value == "my-model", "the page forgets what was saved"
    app.button(key="keep_base").click().run()
    assert app.session_state["merge_base"] == str(folder)
    app.button(key="keep_compare_saved").click().run()
    assert not app.exception and app.title[0].value == "How do embedding models see numbers?"
    assert str(folder) in app.multiselect(key="models").value


@pytest.mark.slow
def test_a_name_that_is_wrong_or_taken_is_told_and_cannot_be_pressed(
    app: AppTest, settings: Settings, real: LadderResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.home / "models" / "taken").mkdir(parents=True)
    on_its_page(app, real, monkeypatch)
    _name(app).set_value("../elsewhere").run()
    assert app.button(key="keep_save").disabled and "has up to 80 letters" in app.error[0].value
    _name(app).set_value("taken").run()
    assert app.button(key="keep_save").disabled
    assert not app.error and "is saved already. Choose another name" in app.warning[0].value.replace("\\", "")
    _name(app).set_value("free").run()
    assert not app.button(key="keep_save").disabled and not app.error and not app.warning


@pytest.mark.slow
def test_a_saving_that_fails_or_is_stopped_is_told_and_can_be_tried_again(
    app: AppTest, settings: Settings, real: LadderResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_its_page(app, real, monkeypatch)
    app.button(key="keep_save").click().run()
    app.button(key="keep_cancel").click().run()
    assert "nothing of the model was kept" in app.info[0].value and not app.button(key="keep_save").disabled
    os.rename(real.adapters[1].path, real.adapters[1].path + "-gone")
    app.button(key="keep_save").click().run()
    assert work(settings) == "failed"
    app.run()
    assert "There is no folder" in app.error[0].value and not app.button(key="keep_save").disabled


def test_what_is_judged_by_stands_beside_the_choice_with_what_it_shares_with_training(app: AppTest) -> None:
    shown = next(str(element.proto) for element in _walk(opened(app).main) if "overlaps" in str(element.proto))
    assert all(words in shown for words in ("New families", "Ordinary sentences", "541", "100%"))
    assert "is ever shown in its order" in told(app)


def _name(app: AppTest) -> Any:
    return next(one for one in app.text_input if one.key.startswith("keep_name_"))


@pytest.mark.slow
def test_where_this_page_is_the_visits_first_a_model_goes_to_compare_too(
    home: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    keep(settings, made_result(Ladder()))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    app.session_state["wanted"] = (PAGE, {})
    app.run()
    app.button(key="keep_compare").click().run()
    assert not app.exception and not app.error
    assert app.title[0].value == "How do embedding models see numbers?"


@pytest.mark.slow
def test_words_of_a_stored_result_never_become_markup(app: AppTest, settings: Settings) -> None:
    found = made_result(Ladder())
    planted = "![x](http://a.example/b) <script>alert(1)</script> **bold**"
    keep(settings, replace(found, sentences=(planted,)))
    opened(app)
    said = [one.value for one in app.markdown if "script" in one.value]
    assert said and all("![x](" not in one and "<script>" not in one and "**bold**" not in one for one in said)


@pytest.mark.slow
def test_a_folder_that_fails_in_the_worker_is_told_on_the_page(
    app: AppTest, settings: Settings, nan_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numembed.models.encoders import LoadedModel
    from numembed.worker import run_job

    base = offered(monkeypatch, nan_model)
    opened(app).selectbox(key="merge_base").set_value(base)
    for key, value in (("seeds", 1), ("steps", 2), ("stages", 1), ("points", 3)):
        app.number_input(key=f"merge_{key}").set_value(value)
    app.run()
    app.button(key="climb").click().run()
    with JobTable(settings.app_db) as jobs:
        job = jobs.claim()
        assert job is not None
        assert run_job(job, jobs, settings=settings, loaded=LoadedModel(settings)) == "failed"
    app.run()
    assert not app.exception and len(app.error) == 1 and "not finite" in app.error[0].value


SCRIPT = """
import json, sys
import numembed.worker
numembed.worker.start_supervisor = lambda settings: None
from numembed.ladder.ladder import Ladder, ladder_key
from numembed.results import ResultStore
from numembed.settings import read_settings
from tests.ladder.made import made_result
with ResultStore(read_settings().app_db) as results:
    results.put(ladder_key(Ladder()), made_result(Ladder()).as_json())
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("app.py", default_timeout=60)
app.run()
app.switch_page("pages/merge.py").run()
assert not app.exception and not app.error and len(app.subheader) == 8
app.button(key="climb").click().run()
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]))
"""


@pytest.mark.slow
def test_the_answered_page_imports_nothing_heavy(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ",".join((*HEAVY, "scipy", "peft"))],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_every_row_of_paths_has_words_for_the_page() -> None:
    assert all(row.title and row.about.endswith(".") for row in KINDS.values())
