"""Every page through app.py, with real runs of real baselines and no browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.studies.study import Study
from tests import tiny
from tests.pages.elements import PAGES, charts, opened, plain, protos, work_off
from tests.pages.visit import Visit


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_store(app: AppTest, page: str) -> None:
    opened(app, page)
    assert not app.error and app.title


def test_compare_opens_with_the_papers_preset(app: AppTest) -> None:
    app.run()
    assert app.multiselect(key="models").value == ["all-MiniLM-L6-v2", *paper_study().as_dict()["models"][1:]]
    assert app.multiselect(key="families").value == list(paper_study().families)
    assert not dict(app.query_params)


@pytest.mark.slow
def test_one_click_gives_scores_and_maps(app: AppTest, settings: Settings) -> None:
    app.query_params["models"] = ["last_digits", "string_length"]
    app.run()
    app.button(key="run").click().run()
    assert not app.exception
    work_off(settings)
    app.run()
    assert not app.exception
    told = [heading.value for heading in app.subheader]
    assert any("The best trivial baseline is counting last digits, with 0.64" in one for one in told)
    assert len(charts(app)) == 3  # one large map and two small ones
    assert protos(app, "bidi_component")


def test_the_address_holds_the_whole_choice(app: AppTest) -> None:
    app.run()
    app.multiselect(key="models").set_value(["last_digits"])
    app.multiselect(key="families").set_value(["primes", "multiples:k=7"])
    app.number_input(key="length").set_value(20)
    app.selectbox(key="distance").set_value("cosine")
    app.run()
    asked = {name: values if isinstance(values, list) else [values] for name, values in app.query_params.items()}
    assert asked == {
        "models": ["last_digits"],
        "families": ["primes", "multiples:k=7"],
        "length": ["20"],
        "distance": ["cosine"],
    }
    other = Visit()
    for name, values in asked.items():
        other.query_params[name] = values
    other.run()
    assert other.multiselect(key="families").value == ["primes", "multiples:k=7"]
    assert other.number_input(key="length").value == 20
    assert other.selectbox(key="distance").value == "cosine"


HOSTILE = [
    {"length": "-5"},
    {"length": "1e9"},
    {"length": "999999999999999999999999"},
    {"per_family": "1000000"},
    {"models": "a/../../etc/passwd"},
    {"models": "<script>alert(1)</script>"},
    {"families": "<img src=x onerror=alert(1)>"},
    {"families": "primes:k=1"},
    {"separator": "x" * 100_000},
    {"separator": "5"},
    {"distance": "euclid"},
    {"seed": "NaN"},
    {"study": '{"models": []}'},
    {"__class__": "x"},
    {"first_window": "٣"},
    {"max_chars": "0"},
    {"NUMEMBED_HOME": "/tmp"},
    {"trust_remote_code": "1"},
]


@pytest.mark.slow
@pytest.mark.parametrize("query", HOSTILE, ids=lambda query: str(query)[:40])
def test_hostile_links_are_left_out_and_start_nothing(
    app: AppTest, settings: Settings, query: dict[str, str | list[str]]
) -> None:
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    assert app.toast, "nothing was said about the part that was left out"
    assert app.multiselect(key="families").value == list(paper_study().families)
    with JobTable(settings.app_db) as jobs:
        assert jobs.recent() == ()


@pytest.mark.parametrize(
    ("widget", "value", "words"),
    [
        ("models", [], "at least one model"),
        ("models", ["no such model"], "is not a model name"),
        ("models", ["EmbeddingGemma-2"], "is not run here"),
        ("families", [], "at least one family"),
        ("families", ["primess"], "Did you mean 'primes'?"),
        ("families", ["residues:modulus=3,remainder=5"], "remainder"),
    ],
)
def test_a_wrong_choice_is_one_sentence_and_nothing_is_lost(
    app: AppTest, widget: str, value: list[str], words: str
) -> None:
    app.run()
    app.multiselect(key=widget).set_value(value).run()
    assert not app.exception
    assert [words in plain(error.value) for error in app.error] == [True]
    app.multiselect(key=widget).set_value(list(paper_study().as_dict()[widget])).run()
    assert not app.error


@pytest.mark.slow
def test_a_failed_model_is_one_sentence_and_the_others_answer(app: AppTest, settings: Settings, tmp_path: Path) -> None:
    (empty := tmp_path / "no model").mkdir()
    app.query_params["models"] = ["last_digits", str(empty), "nobody/nothing-here"]
    app.run()
    app.button(key="run").click().run()
    work_off(settings)
    app.run()
    said = plain(" ".join(warning.value for warning in app.warning))
    assert "Done, 2 of 3 could not run." in said and "is not a SentenceTransformer model" in said
    assert "nobody/nothing-here is not on this machine" in said
    assert "best trivial baseline is counting last digits" in app.subheader[0].value


def test_cancel_is_kept_and_said(app: AppTest, settings: Settings) -> None:
    app.query_params["models"] = ["last_digits"]
    app.run()
    app.button(key="run").click().run()
    app.button(key="cancel").click().run()
    assert not app.exception
    with JobTable(settings.app_db) as jobs:
        assert [job.state for job in jobs.recent()] == ["cancelled"]
    assert any("stopped" in info.value for info in app.info)


@pytest.mark.slow
def test_a_strange_study_gives_a_page(app: AppTest, settings: Settings) -> None:
    for per_family, families in ((1, ["primes"]), (1, ["primes", "even"]), (2, ["even"]), (1, ["random_uniform"])):
        study = Study.from_dict(
            {"models": ["last_digits", "string_length"], "families": families, "per_family": per_family, "length": 2}
        )
        with JobTable(settings.app_db) as jobs:
            jobs.submit(study, asked_by="test")
        work_off(settings)
        page = Visit()
        for name, value in study.as_dict().items():
            page.query_params[name] = value if isinstance(value, list) else str(value)
        page.run()
        assert not page.exception and not page.error
        assert "No score is defined here" in page.subheader[0].value


@pytest.mark.slow
def test_runs_lists_opens_and_forgets(app: AppTest, settings: Settings) -> None:
    study = Study.from_dict({"models": ["last_digits"], "families": ["primes", "even"]})
    with JobTable(settings.app_db) as jobs:
        job = jobs.submit(study, asked_by="test")
    work_off(settings)
    opened(app, "pages/runs.py")
    app.session_state["run_chosen"] = job
    app.run()
    app.button(key="again").click().run()
    work_off(settings)
    app.session_state["run_chosen"] = job
    app.run()
    app.button(key="forget").click().run()
    with JobTable(settings.app_db) as jobs:
        assert [one.state for one in jobs.recent()] == ["done"]
        left = jobs.recent()[0].id
    app.session_state["run_chosen"] = left
    app.run()
    app.button(key="open").click().run()
    assert not app.exception
    assert app.multiselect(key="families").value == ["primes", "even"]


@pytest.mark.slow
def test_every_chart_has_words_for_those_who_do_not_see_it(app: AppTest, settings: Settings) -> None:
    app.query_params["models"] = ["last_digits", "string_length"]
    app.run()
    app.button(key="run").click().run()
    work_off(settings)
    app.run()
    assert len(charts(app)) == 3
    assert all("map" in str(chart) for chart in charts(app))


def test_a_wrong_operator_file_is_one_sentence(app: AppTest, home: Path) -> None:
    (home / "operator.toml").write_text('[endpoints.cluster]\nurl = "ftp://x"\n')
    app.run()
    assert not app.exception
    assert any("endpoint 'cluster': url is an http" in plain(error.value) for error in app.error)


def test_endpoints_are_among_the_models_by_name_alone(app: AppTest, home: Path) -> None:
    (home / "operator.toml").write_text('[endpoints.cluster]\nurl = "http://10.1.2.3:8000/v1"\n')
    app.run()
    assert "endpoint:cluster" in app.multiselect(key="models").options
    app.multiselect(key="models").set_value(["endpoint:cluster"]).run()
    app.session_state["cost"] = app.session_state["reading"] = True  # both folded parts are looked at
    app.run()
    rows = [json.loads(proto.json)["rows"] for proto in protos(app, "bidi_component")]
    assert [table.count("on its server") for table in rows] == [4, 1]
    assert not app.exception and not app.error and "10.1.2.3" not in str(app.main)


@pytest.mark.slow
def test_a_failed_check_is_reported_and_can_be_overridden(app: AppTest, settings: Settings, tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "unlisted")
    (folder / "modules.json").unlink()
    app.run()
    app.multiselect(key="models").set_value([str(folder), "last_digits"]).run()
    app.button(key="run").click().run()
    work_off(settings)
    app.run()
    assert any("did not pass its check" in warning.value for warning in app.warning)
    app.button(key="anyway").click().run()
    assert app.checkbox(key="despite_checks").value is True
    work_off(settings)
    app.run()
    assert not app.exception and not app.error
    assert any("unlisted ran although its check failed" in warning.value for warning in app.warning)
    assert any("check failed" in text.value for text in app.markdown)
    assert "despite_checks" not in dict(app.query_params)


def test_a_link_cannot_override_a_check(app: AppTest) -> None:
    app.query_params["despite_checks"] = "true"
    app.run()
    assert app.checkbox(key="despite_checks").value is False


def test_the_tokens_of_every_text_can_be_seen(app: AppTest) -> None:
    app.run()
    app.session_state["reading"] = True
    app.run()
    app.selectbox(key="read_family").set_value("recaman").run()
    assert not app.exception
    split = next(table for table in map(str, protos(app, "bidi_component")) if "How each model splits" in table)
    assert "50 of 50" in split and "[CLS]" in split


def test_options_follow_a_model_in_the_address(app: AppTest) -> None:
    app.query_params["models"] = ["all-MiniLM-L6-v2 dim=64 precision=int8", "last_digits"]
    app.run()
    assert not app.exception and not app.error
    assert app.multiselect(key="models").value[0] == "all-MiniLM-L6-v2 dim=64 precision=int8"


def test_a_fault_is_logged_without_secrets(
    app: AppTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", "planted-secret-token")

    def broken(*_: object, **__: object) -> None:
        raise ValueError("planted-secret-token and hf_" + "A" * 30)

    monkeypatch.setattr("ui.compare.cost_preview.cost_of", broken)
    app.run()
    assert "numembed has an internal error on this page" in app.error[0].value
    assert "ValueError: [secret] and [secret]" in caplog.text and "planted" not in caplog.text + str(app.main)


@pytest.mark.parametrize("between", ["pages/runs.py", "pages/sequences.py", "pages/models.py"])
def test_the_choice_survives_a_look_at_another_page(app: AppTest, between: str) -> None:
    app.run()
    app.multiselect(key="models").set_value(["last_digits", "string_length"]).run()
    app.number_input(key="per_family").set_value(3).run()
    app.switch_page(between).run()
    app.switch_page("pages/compare.py").run()
    assert not app.error and not app.exception
    assert app.multiselect(key="models").value == ["last_digits", "string_length"]
    assert app.number_input(key="per_family").value == 3
    app.number_input(key="per_family").set_value(5).run()
    assert app.number_input(key="per_family").value == 5 and app.multiselect(key="families").value


def test_the_fields_that_are_folded_away_keep_their_values(app: Visit) -> None:
    def fold(folded: bool) -> None:
        app.unfolded = not folded
        app.run()
        assert not app.exception and len(app.number_input) == (0 if folded else 5)

    fold(True)
    for count, again in (("3", False), ("7", True)):
        fold(False)
        app.number_input(key="per_family").set_value(int(count))
        app.checkbox(key="despite_checks").set_value(not again)
        if again:
            app.run()  # else by the click that folds them away
        for folded in (True, True, False, True):
            fold(folded)
            assert app.query_params["per_family"] in (count, [count])
        fold(False)
        assert app.number_input(key="per_family").value == int(count)
        assert app.checkbox(key="despite_checks").value is not again
    app.number_input(key="length").set_value(0)  # refused
    fold(True)
    fold(False)
    assert app.number_input(key="per_family").value == 7


@pytest.mark.slow
def test_the_evidence_of_every_score_and_redrawn_windows(app: AppTest, settings: Settings) -> None:
    app.query_params["models"] = ["last_digits", "string_length"]
    app.query_params["families"] = ["even", "primes"]
    app.run()
    app.button(key="run").click().run()
    work_off(settings)
    app.session_state["evidence"] = True
    app.run()
    app.button(key="redraw").click().run()
    assert not app.exception and app.session_state["designs"] == 30
    work_off(settings)
    app.run()
    assert not app.exception and not app.error
    assert any("Windows were redrawn 30 times" in caption.value for caption in app.caption)
    found = next(table for table in map(str, protos(app, "bidi_component")) if "Evidence behind each" in table)
    assert " to " in found and app.query_params["designs"] in (["30"], "30")
    app.selectbox(key="evidence_score").set_value("ari kmeans").run()
    assert not app.exception and any("Already adjusted for chance" in caption.value for caption in app.caption)
