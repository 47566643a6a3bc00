"""The Merge page through app.py: the results of an experiment, all or a part, and which of its models is kept."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.merge_experiment.comparisons import comparisons_of
from numembed.merge_experiment.experiment import ExperimentResult, MergeExperiment, experiment_key
from numembed.merge_experiment.paths import KINDS
from numembed.merge_experiment.redrawn import named_places
from numembed.merge_experiment.results import Reference, undefined
from numembed.runs.jobs import JobTable
from numembed.studies.results import ResultStore
from tests.merge_experiment.bases import stored_on
from tests.merge_experiment.made import SENTENCE, made_result
from tests.merge_experiment.robustness.cases import with_robustness
from tests.merge_experiment.test_redrawn_windows import with_redrawn
from tests.pages.elements import charts, opened, plain, told, walk, work_off
from tests.pages.light import heavy_after

PAGE = "pages/merge.py"
STEPS = MergeExperiment().recipe.steps
QUESTIONS = [
    "What does separating numbers cost?",
    "Which separates better at equal retention?",
    "Which model holds up when the texts are changed?",
    "How does each score change along a path?",
    "How does the map change along a path?",
    "Was it really SLERP?",
    "Does the adapter take over?",
    "Which one do you want to keep?",
]


def keep(settings: Settings, found: ExperimentResult) -> None:
    with ResultStore(settings.app_db) as results:
        results.put(experiment_key(found.experiment), found.as_json())


@pytest.mark.slow
def test_a_finished_experiment_is_shown_from_the_verdict_to_the_model_to_keep(app: AppTest, settings: Settings) -> None:
    keep(settings, made_result(MergeExperiment()))
    opened(app, PAGE)
    assert not app.error
    assert [found.value for found in app.subheader] == ["What came out", *QUESTIONS]
    assert SENTENCE in told(app)
    candidates = len(made_result(MergeExperiment()).candidates)
    assert f"All {candidates} models of it are shown below." in told(app) and "For a first look" not in told(app)
    shown = charts(app)
    assert len(shown) == 9 + len(MergeExperiment().paths)
    assert all(chart.spec and chart.alt and "NaN" not in chart.spec for chart in shown)
    frames = [json.loads(chart.spec).get("frames") for chart in shown]
    assert [len(one) for one in frames if one] == [len(MergeExperiment().drawn[1].values)]
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
def test_windows_are_redrawn_by_a_click_whose_cost_is_shown(app: AppTest, settings: Settings) -> None:
    keep(settings, made_result(MergeExperiment()))
    opened(app, PAGE)
    models = len(named_places(MergeExperiment()))
    assert f"Paper’s 24, 10 other choices of windows: {models} models × 240 texts" in told(app)
    app.button(key="merge_redraw").click().run()
    assert not app.exception and not app.error and app.button(key="cancel").label == "Cancel"
    with JobTable(settings.app_db) as jobs:
        assert [job.request for job in jobs.recent()] == [MergeExperiment(designs=10)]
    found = with_redrawn(made_result(MergeExperiment()))
    keep(settings, found)
    app.run()
    assert "merge_redraw" not in [button.key for button in app.button]
    assert all(sentence in plain(told(app)) for sentence in found.redrawn_sentences)
    plane = next(chart for chart in charts(app) if "against retention" in chart.alt)
    assert "redrawn" not in plane.spec
    app.toggle(key="merge_sure").set_value(True).run()
    plane = next(chart for chart in charts(app) if "against retention" in chart.alt)
    assert "10 redrawn choices of windows" in plane.spec


@pytest.mark.slow
def test_an_unfinished_experiment_shows_its_results_and_no_verdict(app: AppTest, settings: Settings) -> None:
    for paths in (1, 3, 6):
        keep(settings, made_result(MergeExperiment(), complete=False, paths=paths))
        opened(app, PAGE)
        assert not app.error
        assert f"{paths} of {len(MergeExperiment().drawn)} paths scored" in app.info[0].value
        asked = [found.value for found in app.subheader]
        assert "What came out" not in asked and "Was it really SLERP?" not in asked
        assert QUESTIONS[0] in asked and all("NaN" not in chart.spec for chart in charts(app))
        assert SENTENCE not in told(app)
        app.switch_page("pages/runs.py").run()


@pytest.mark.slow
def test_a_result_that_grows_is_read_again(app: AppTest, settings: Settings) -> None:
    keep(settings, made_result(MergeExperiment(), complete=False, paths=2))
    opened(app, PAGE)
    keep(settings, made_result(MergeExperiment()))
    app.run()
    assert "What came out" in [found.value for found in app.subheader]


@pytest.mark.slow
def test_words_of_a_stored_result_never_become_markup(app: AppTest, settings: Settings) -> None:
    found = made_result(MergeExperiment())
    planted = "![x](http://a.example/b) <script>alert(1)</script> **bold**"
    keep(settings, replace(found, sentences=(planted,)))
    opened(app, PAGE)
    said = [one.value for one in app.markdown if "script" in one.value]
    assert said and all("![x](" not in one and "<script>" not in one and "**bold**" not in one for one in said)


@pytest.mark.slow
def test_an_adapter_goes_to_compare_and_every_model_has_its_command(app: AppTest, settings: Settings) -> None:
    found = made_result(MergeExperiment())
    keep(settings, found)
    opened(app, PAGE)
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
def test_where_this_page_is_the_visits_first_a_model_goes_to_compare_too(app: AppTest, settings: Settings) -> None:
    keep(settings, made_result(MergeExperiment()))
    app.session_state["wanted"] = (PAGE, {})
    app.run()
    app.button(key="keep_compare").click().run()
    assert not app.exception and not app.error
    assert app.title[0].value == "How do embedding models see numbers?"


@pytest.mark.slow
def test_every_place_of_every_path_can_be_saved_by_a_command_that_exists(home: Path) -> None:
    from numembed.cli import _parser
    from ui.merge.save_model import save_command

    whole = MergeExperiment(paths=tuple(KINDS))
    for candidate in made_result(whole).candidates:
        if command := save_command(candidate.model):
            asked = _parser().parse_args(shlex.split(command)[3:])
            assert (
                command.startswith("python -m numembed merge ")
                and asked.out == "my-model"
                and asked.base == "all-MiniLM-L6-v2"
            ), candidate.path
            assert all(Path(part).is_absolute() for part in asked.parts), candidate.path
        else:
            assert candidate.path == "base" or candidate.at == 0, candidate.path


@pytest.fixture
def real(settings: Settings, tiny_model: Path, tmp_path: Path) -> ExperimentResult:
    """A finished experiment on a tiny base whose adapters are there; its numbers are made up."""
    return stored_on(tiny_model, settings, tmp_path / "adapters")


def on_its_page(app: AppTest, found: ExperimentResult, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """Open the page with this experiment as the visitor's choice."""
    monkeypatch.setattr("ui.merge.choice.choose", lambda: found.experiment)
    return opened(app, PAGE)


def _name(app: AppTest) -> Any:
    return next(one for one in app.text_input if one.key.startswith("keep_name_"))


@pytest.mark.slow
def test_a_model_is_saved_by_a_click_then_compared_and_taken_as_a_base(
    app: AppTest, settings: Settings, real: ExperimentResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_its_page(app, real, monkeypatch).selectbox(key="keep_path").set_value("slerp-0-1").run()
    assert _name(app).value == "tiny-slerp-0-1-t0.5"
    _name(app).set_value("my-model").run()
    app.button(key="keep_save").click().run()
    assert not app.exception and not app.error and app.button(key="keep_save").disabled
    assert app.button(key="keep_cancel").label == "Cancel"
    assert "keep_base" not in [button.key for button in app.button], "nothing is saved yet"
    assert work_off(settings) == ["done"]
    app.run()
    assert "my-model" in plain(app.success[0].value)
    folder = settings.home / "models" / "my-model"
    assert (folder / "README.md").is_file() and (folder / "model.safetensors").is_file()
    app.switch_page("pages/runs.py").run()
    rows = " ".join(str(element.proto) for element in walk(app.main))
    assert "Saving the model my-model, from the merging experiment on tiny" in rows
    app.switch_page(PAGE).run()
    assert not app.exception
    app.selectbox(key="keep_path").set_value("slerp-0-1").run()
    assert _name(app).value == "my-model", "the page forgets what was saved"
    app.button(key="keep_base").click().run()
    assert app.session_state["merge_base"] == str(folder)
    app.button(key="keep_compare_saved").click().run()
    assert not app.exception and app.title[0].value == "How do embedding models see numbers?"
    assert str(folder) in app.multiselect(key="models").value
    assert "Not looked at yet" not in told(app), "its folder is known since it was saved"


@pytest.mark.slow
def test_a_wrong_or_taken_name_is_reported_and_disables_the_button(
    app: AppTest, settings: Settings, real: ExperimentResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    (settings.home / "models" / "taken").mkdir(parents=True)
    on_its_page(app, real, monkeypatch)
    _name(app).set_value("../elsewhere").run()
    assert app.button(key="keep_save").disabled and "has up to 80 letters" in app.error[0].value
    _name(app).set_value("taken").run()
    assert app.button(key="keep_save").disabled
    assert not app.error and "is already saved. Choose another name" in plain(app.warning[0].value)
    _name(app).set_value("free").run()
    assert not app.button(key="keep_save").disabled and not app.error and not app.warning


@pytest.mark.slow
def test_a_failed_or_stopped_saving_is_reported_and_can_be_repeated(
    app: AppTest, settings: Settings, real: ExperimentResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_its_page(app, real, monkeypatch)
    app.button(key="keep_save").click().run()
    app.button(key="keep_cancel").click().run()
    assert "nothing of the model was kept" in app.info[0].value and not app.button(key="keep_save").disabled
    os.rename(real.adapters[1].path, real.adapters[1].path + "-gone")
    app.button(key="keep_save").click().run()
    assert work_off(settings) == ["failed"]
    app.run()
    assert "There is no folder" in app.error[0].value and not app.button(key="keep_save").disabled


ANSWERED = """
from numembed.merge_experiment.experiment import MergeExperiment, experiment_key
from numembed.studies.results import ResultStore
from numembed.core.settings import read_settings
from tests.merge_experiment.made import made_result
with ResultStore(read_settings().app_db) as results:
    results.put(experiment_key(MergeExperiment()), made_result(MergeExperiment()).as_json())
app.run()
app.switch_page("pages/merge.py").run()
assert not app.exception and not app.error and len(app.subheader) == 9
app.button(key="climb").click().run()
"""


@pytest.mark.slow
def test_the_answered_page_imports_nothing_heavy(home: Path) -> None:
    assert heavy_after(ANSWERED, more=("scipy", "peft")) == []


def _others(result: ExperimentResult) -> list[ExperimentResult]:
    """Return results of the same experiment that differ from ``result`` in one thing each."""
    far = replace(result.maps[1], points=tuple((40 * x, 40 * y) for x, y in result.maps[1].points))
    moved = replace(result.candidates[3], update_relative=0.5)
    readings = tuple(replace(one, loss=7.0) for one in result.adapters[-1].readings)
    return [
        replace(result, maps=(result.maps[0], far, *result.maps[2:])),
        replace(result, maps=tuple(replace(one, split="later") for one in result.maps if one.split == "paper")),
        replace(result, candidates=(*result.candidates[:3], moved, *result.candidates[4:])),
        replace(result, straight=result.straight[1:]),
        replace(result, dominance=result.dominance[1:]),
        replace(result, comparisons=result.comparisons[1:]),
        replace(result, families={name: families[::-1] for name, families in result.families.items()}),
        replace(result, adapters=(*result.adapters[:-1], replace(result.adapters[-1], readings=readings))),
        with_redrawn(result),
        with_robustness(result=result),
    ]


@pytest.mark.slow
def test_charts_that_share_a_cache_key_are_the_same_picture(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ui.merge.results import show_experiment

    made: dict[tuple[object, ...], str] = {}
    shown: set[str] = set()

    def drawn(draw: Any, key: str, alt: str, *, by: tuple[object, ...], **_: object) -> None:
        text = draw("light").to_json()
        assert made.setdefault((key, *by), text) == text, key
        shown.add(key.split()[0])

    monkeypatch.setattr("ui.merge.charts.figure", drawn)
    for name in ("charts", "results", "robustness"):  # a table needs a browser
        monkeypatch.setattr(f"ui.merge.{name}.table", lambda *_, **__: None)
    result = made_result(MergeExperiment(paths=("lora", "linear", "slerp"), points=3))
    for one in (result, result, *_others(result)):
        show_experiment(one)
    always = {"plane", "compared", "sweep", "morph", "small", "angles", "layers", "shift", "scale", "training"}
    assert shown == always | {"robustness"}
    assert len(made) == 11 * 13 + 1, "other results are other pictures"


@pytest.mark.slow
def test_without_texts_that_the_base_tells_apart_no_retention_is_shown(app: AppTest, settings: Settings) -> None:
    made = made_result(MergeExperiment())
    blind = tuple(replace(one, retention=undefined(one.retention), spoken=one.retention) for one in made.candidates)
    found = replace(made, candidates=blind, reference=Reference("none", 1e-7, 2e-6, 120), sentences=("The gain.",))
    keep(settings, replace(found, comparisons=comparisons_of(found)))
    opened(app, PAGE)
    assert not app.error and not app.exception
    assert "this model does not tell these texts apart" in told(app) and "Retention undefined." in told(app)
    assert [one.value for one in app.subheader] == ["What came out", *QUESTIONS[1:]]
    assert not any("against retention" in chart.alt for chart in charts(app))
    assert "cannot be compared at equal retention" in told(app)
