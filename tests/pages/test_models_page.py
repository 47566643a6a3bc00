"""The Models page through app.py: filters, cards, options and models of one's own."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.jobs import JobTable
from numembed.models.catalogue import model
from numembed.models.check import Finding, ModelCheck
from numembed.models.encoders import LoadedModel
from numembed.models.rows import Row, read_rows
from numembed.models.spec import ModelSpec
from numembed.paper import paper_study, published
from numembed.results import ResultStore
from numembed.settings import LIMITS, read_settings
from numembed.worker import run_job
from tests.offline import OFFLINE
from tests.pages.test_light import HEAVY
from tests.servers.hub import FakeHub, closed_port, serve_hub
from tests.tiny import write_model

pytestmark = pytest.mark.slow  # together they take long

ROOT = Path(__file__).parents[2]
ROWS = read_rows()
RUN = [row for row in ROWS.values() if not row.refused]
REFUSED = [row for row in ROWS.values() if row.refused]


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The Models page on an empty store."""
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    yield opened.switch_page("pages/models.py").run()
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A model hub on loopback; the page that is opened after it asks it."""
    from huggingface_hub import constants

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with serve_hub() as served:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


@pytest.fixture
def online(hub: FakeHub, app: AppTest) -> AppTest:
    """The Models page of an installation that may ask the hub."""
    st.cache_resource.clear()
    return app


def tables(app: AppTest) -> dict[str, list[list[str]]]:
    """Return the cells of every table by its label's first word."""
    found = {}
    for element in _walk(app.main):
        if element.type == "bidi_component":
            data = json.loads(element.proto.json)
            assert data["label"]
            cells = [[cell["text"] for cell in row] for row in json.loads(data["rows"])]
            found[data["label"].split()[0].strip(",")] = cells
    return found


def listed(app: AppTest) -> list[str]:
    """Return the names in the catalogue's table."""
    return [row[0] for row in tables(app).get("Models", [])]


def told(app: AppTest) -> str:
    """Return all words of the page as they are read, without escapes."""
    kinds = (app.markdown, app.caption, app.error, app.warning, app.info, app.subheader)
    words = " ".join(element.value for kind in kinds for element in kind)
    return words.replace("\\", "").replace("\u2060", "")


def show(app: AppTest, name: str) -> AppTest:
    app.session_state["model_chosen"] = name
    return app.run()


def reference(app: AppTest) -> str:
    return str(app.code[0].value)


def compared(app: AppTest) -> list[str]:
    """Return the models on the Compare page, where the app must be by now."""
    assert not app.exception and [error.value for error in app.error] == []
    return list(app.multiselect(key="models").value)


def _walk(block: object) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)


# finding


def test_the_page_opens_on_an_empty_store_and_lists_every_model(app: AppTest) -> None:
    assert not app.exception and not app.error
    assert app.title[0].value == "Which model?"
    assert listed(app) == list(ROWS)
    assert f"{len(ROWS)} of {len(ROWS)} models" in told(app)
    assert all(cell for row in tables(app)["Models"] for cell in row), "a cell is blank"


def _below(row: Row, low: float, high: float) -> bool:
    return low <= row.parameters_millions < high


CHIPS: list[tuple[str, list[str], Callable[[Row], bool]]] = [
    *[("find_kind", [kind], lambda row, kind=kind: row.family == kind)  # type: ignore[misc]
      for kind in ("encoder", "lora", "souping", "slerp", "llm", "static", "scratch")],
    ("find_kind", ["static", "slerp"], lambda row: row.family in ("static", "slerp")),
    ("find_size", ["small"], lambda row: _below(row, 0, 100)),
    ("find_size", ["medium"], lambda row: _below(row, 100, 1000)),
    ("find_size", ["large"], lambda row: _below(row, 1000, 1e9)),
    ("find_licence", ["open"], lambda row: row.licence in ("Apache-2.0", "MIT")),
    ("find_licence", ["other"], lambda row: row.licence not in ("Apache-2.0", "MIT")),
    ("find_only", ["paper"], lambda row: published(row.paper_name) is not None),
    ("find_only", ["here"], lambda row: row.name in ("all-MiniLM-L6-v2", "number-lm")),
]  # fmt: skip


@pytest.mark.parametrize(("key", "chips", "keeps"), CHIPS, ids=lambda value: "" if callable(value) else str(value))
def test_a_chip_leaves_what_it_says(app: AppTest, key: str, chips: list[str], keeps: Callable[[Row], bool]) -> None:
    app.button_group(key=key).set_value(chips).run()
    expected = [name for name, row in ROWS.items() if keeps(row)]
    assert 0 < len(expected) < len(ROWS)
    assert listed(app) == expected
    assert f"{len(expected)} of {len(ROWS)} models" in told(app)


def test_only_what_fits_the_machine_is_left(app: AppTest, home: Path) -> None:
    with ResultStore(home / "app.db") as results:
        results.put("machine", {"device": "cpu", "name": "a small one", "memory_bytes": 4_000_000_000})
    st.cache_data.clear()
    app.button_group(key="find_only").set_value(["fits"]).run()
    assert "all-MiniLM-L6-v2" in listed(app) and "bge-multilingual-gemma2" not in listed(app)
    assert {row[6] for row in tables(app)["Models"]} == {"yes"}


def test_groups_of_chips_narrow_each_other(app: AppTest) -> None:
    app.button_group(key="find_kind").set_value(["encoder"])
    app.button_group(key="find_size").set_value(["medium"])
    app.button_group(key="find_only").set_value(["paper"]).run()
    assert listed(app) == [
        row.name for row in RUN
        if row.family == "encoder" and _below(row, 100, 1000) and published(row.paper_name)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("QWEN3 8b", ["Qwen3-Embedding-8B"]),
        ("intfloat/", ["multilingual-e5-large", "e5-mistral-7b-instruct", "multilingual-e5-small"]),
        ("static", [row.name for row in ROWS.values() if row.family == "static"]),
        ("alibaba-nlp-community", [row.name for row in ROWS.values() if row.mirror]),
        ("<b>.*", []),
    ],
)
def test_search_finds_names_owners_and_kinds(app: AppTest, words: str, names: list[str]) -> None:
    app.text_input(key="find_text").set_value(words).run()
    assert listed(app) == names


def test_nothing_found_is_a_sentence_and_one_click_brings_all_back(app: AppTest) -> None:
    app.text_input(key="find_text").set_value("no such model")
    app.button_group(key="find_kind").set_value(["lora"]).run()
    assert "No model is like that" in told(app) and not listed(app)
    app.button(key="clear").click().run()
    assert listed(app) == list(ROWS)
    assert app.text_input(key="find_text").value == "" and not app.button_group(key="find_kind").value


def test_filters_stay_when_another_page_was_visited(app: AppTest) -> None:
    app.text_input(key="find_text").set_value("qwen3")
    app.button_group(key="find_size").set_value(["large"]).run()
    app.switch_page("pages/runs.py").run()
    app.switch_page("pages/models.py").run()
    assert listed(app) == ["Qwen3-Embedding-4B", "Qwen3-Embedding-8B"]


def test_a_card_goes_when_the_filters_hide_its_model(app: AppTest) -> None:
    show(app, "GritLM-7B")
    assert "Facts" in tables(app)
    app.button_group(key="find_kind").set_value(["static"]).run()
    assert "Facts" not in tables(app)


# the card


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_every_row_has_a_card_without_a_blank(app: AppTest, row: Row) -> None:
    show(app, row.name)
    assert not app.exception and not app.error
    facts = dict(tables(app)["Facts"])
    assert all(facts.values())
    unknown = {
        "Vector made from": row.pooling, "Each token sees": row.attention, "Architecture": row.architecture,
        "Text ends with a token": row.ends_with_eos, "Vectors of length 1": row.normalizes,
        "Files only by request": row.gated, "Commit": row.revision if row.repo else "none",
    }  # fmt: skip
    for title, value in unknown.items():
        assert facts[title].startswith("unknown") == (value in ("", None)), title
    marked = sum(value.endswith("· not verified") for value in facts.values())
    assert marked >= bool(set(row.unsure) - {"mirror"})
    words = told(app)
    assert row.repo.partition("/")[0] in words
    assert all(source[:60] in words for source in row.sources)
    assert row.merge_note in words and row.made_note in words


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gte-multilingual-base", "Loaded from the converted copy alibaba-nlp-community/gte-multilingual-base, with"),
        ("e5-mistral-7b-instruct", "forgets the begin-of-text and end-of-text tokens on today's libraries; they are"),
        ("F2LLM-v2-80M", "forgets the end-of-text token on today's libraries; it is put back."),
        ("llama-embed-nemotron-8b", "Attention is set to both directions after loading."),
        ("GritLM-7B", "The tokens of a prompt are left out of that mean."),
        ("nomic-embed-text-v2-moe", "Needs program code from nomic-ai/nomic-bert-2048; only where the operator has"),
        ("gte-Qwen2-1.5B-instruct", "Sources disagree on its attention"),
        ("all-MiniLM-L6-v2", "Loaded as its files say; nothing has to be mended."),
    ],
)
def test_the_card_tells_how_a_model_is_loaded(app: AppTest, name: str, sentence: str) -> None:
    show(app, name)
    assert sentence in told(app)


def test_the_card_shows_the_papers_numbers_and_that_nothing_was_run(app: AppTest) -> None:
    show(app, "Qwen3-Embedding-8B")
    assert tables(app)["Scores"] == [
        ["in the paper", "0.3103", "1.0893", "0.3103", "1.0893"], ["not run here yet", "–", "–", "–", "–"],
    ]  # fmt: skip
    assert "check: not checked yet" in told(app)
    show(app, "bge-small-en-v1.5")
    assert tables(app)["Scores"][0] == ["not in the paper", "–", "–", "–", "–"]


def test_a_failed_check_is_told_finding_by_finding(app: AppTest, home: Path) -> None:
    found = (Finding("a", True, "All weights were there."), Finding("b", False, "The last token is missing."),
             Finding("c", None, "Nothing is known of its length."))  # fmt: skip
    with ResultStore(home / "app.db") as results:
        results.put_check(model("Qwen3-Embedding-4B"), ModelCheck(found))
    st.cache_data.clear()
    show(app, "Qwen3-Embedding-4B")
    words = told(app)
    assert "check: ⚠ failed" in words
    assert all(f"- {mark} {one.sentence}" in words for mark, one in zip("✓✗–", found, strict=True))
    assert [row[8] for row in tables(app)["Models"] if row[0] == "Qwen3-Embedding-4B"] == ["⚠ failed"]


def test_what_was_run_here_stands_beside_the_paper(app: AppTest, home: Path) -> None:
    settings = read_settings()
    with JobTable(settings.app_db) as jobs:
        jobs.submit(paper_study("all-MiniLM-L6-v2"), asked_by="test")
        job = jobs.claim()
        assert job is not None
        run_job(job, jobs, settings=settings, loaded=LoadedModel(OFFLINE))
    st.cache_data.clear()
    show(app, "all-MiniLM-L6-v2")
    here = tables(app)["Scores"][1]
    assert here[0] == "here" and "–" not in here
    assert "check: ✓ passed" in told(app) and " s." in told(app).partition("chosen on Compare take")[2][:14]


# options, and Compare


@pytest.mark.parametrize("row", RUN, ids=[row.name for row in RUN])
def test_every_option_that_is_offered_can_be_asked_for(app: AppTest, row: Row) -> None:
    show(app, row.name)
    assert model(reference(app)) == model(row.name)
    for prompt, text in row.prompts.items():
        app.selectbox(key=f"prompt-{row.name}").set_value(prompt).run()
        assert not app.error and model(reference(app)).prompt == text
    for width in row.matryoshka:
        app.selectbox(key=f"dim-{row.name}").set_value(str(width)).run()
        assert not app.error and model(reference(app)).dimensions == width


def test_the_options_become_a_reference_that_lands_in_compare(app: AppTest) -> None:
    name = "EmbeddingGemma-300M"
    show(app, name)
    app.selectbox(key=f"prompt-{name}").set_value("query")
    app.selectbox(key=f"dim-{name}").set_value("256")
    app.selectbox(key=f"precision-{name}").set_value("int8").run()
    assert reference(app) == f"{name} prompt=query dim=256 precision=int8"
    app.button(key="add").click().run()
    assert compared(app) == [f"{name} prompt=query dim=256 precision=int8", *paper_study().as_dict()["models"]]


def test_a_text_of_ones_own_is_quoted_and_never_an_option(app: AppTest) -> None:
    name, text = "bge-small-en-v1.5", 'count: " dim=3 \\ <b>*x*</b> '
    show(app, name)
    app.selectbox(key=f"prompt-{name}").set_value(" own").run()
    app.text_input(key=f"own-{name}").set_value(text).run()
    made = model(reference(app))
    assert made.prompt == text and made.dimensions is None
    app.button(key="add").click().run()
    assert model(compared(app)[0]) == made


def test_the_other_reading_of_a_model_is_another_model(app: AppTest) -> None:
    name = "gte-Qwen2-1.5B-instruct"
    show(app, name)
    assert reference(app) == name
    app.selectbox(key=f"attention-{name}").set_value("causal").run()
    assert reference(app) == f"{name} attention=causal"
    assert model(reference(app)).loading == dataclasses.replace(model(name).loading, causal=True)


@pytest.mark.parametrize(("typed", "width"), [("300", 300), ("1,000", 1000), (" 7 ", 7), ("1024", None)])
def test_any_shorter_length_may_be_typed(app: AppTest, typed: str, width: int | None) -> None:
    app.session_state["dim-Qwen3-Embedding-0.6B"] = typed
    show(app, "Qwen3-Embedding-0.6B")
    assert not app.error and model(reference(app)).dimensions == width


@pytest.mark.parametrize("typed", ["0", "-3", "99999", "1e3", "dim=5", "٣", "<b>"])
def test_a_wrong_length_is_a_sentence(app: AppTest, typed: str) -> None:
    app.session_state["dim-bge-small-en-v1.5"] = typed
    show(app, "bge-small-en-v1.5")
    assert not app.exception
    assert ["can keep 1 to 384 numbers" in error.value for error in app.error] == [True]
    assert not [button for button in app.button if button.key == "add"]


def test_a_model_is_added_once_and_what_was_chosen_stays(app: AppTest) -> None:
    app.switch_page("pages/compare.py").run()
    app.multiselect(key="models").set_value(["last_digits", "no such model"]).run()
    app.multiselect(key="families").set_value(["primes", "even"]).run()
    for _ in range(2):
        app.switch_page("pages/models.py").run()
        show(app, "GritLM-7B")
        app.button(key="add").click().run()
        assert list(app.multiselect(key="models").value) == ["GritLM-7B", "last_digits", "no such model"]
    assert app.multiselect(key="families").value == ["primes", "even"]


def test_a_visit_leaves_the_choice_as_it_was(app: AppTest) -> None:
    app.switch_page("pages/compare.py").run()
    app.multiselect(key="families").set_value(["primes", "even"]).run()
    app.switch_page("pages/models.py").run()
    app.switch_page("pages/compare.py").run()
    assert app.multiselect(key="families").value == ["primes", "even"]
    assert compared(app) == paper_study().as_dict()["models"]


def test_more_models_than_a_study_takes_is_a_sentence(app: AppTest) -> None:
    names = [row.name for row in RUN]
    app.session_state["chosen"] = paper_study().as_dict() | {"models": names[: LIMITS.models]}
    show(app, names[-1])
    app.button(key="add").click().run()
    assert [f"at most {LIMITS.models} models" in error.value for error in app.error] == [True]
    assert app.session_state["chosen"]["models"] == names[: LIMITS.models]


@pytest.mark.parametrize("row", REFUSED, ids=[row.name for row in REFUSED])
def test_a_refused_row_says_why_and_cannot_be_added(app: AppTest, row: Row) -> None:
    show(app, row.name)
    assert f"{row.name} is not run here: {row.refused}." in told(app)
    assert not [button for button in app.button if button.key == "add"] and not app.code
    assert [cells[8] for cells in tables(app)["Models"] if cells[0] == row.name] == ["not run here"]


# a model of one's own


def own(app: AppTest, name: str) -> AppTest:
    return app.text_input(key="own_name").set_value(name).run()


def test_a_folder_is_shown_and_added(app: AppTest, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "my *model*")
    own(app, str(folder))
    assert not app.exception and not app.error
    facts = dict(tables(app)["Facts"])
    assert facts["Architecture"] == "BertModel" and facts["Numbers in a vector"] == "32"
    assert facts["Reads at most"] == "256 tokens" and facts["Files"].endswith("kB")
    assert facts["Prompts in its files"] == "none"
    app.button(key="add_own").click().run()
    assert compared(app)[0] == str(folder)


def test_the_options_of_a_folder_are_kept(app: AppTest, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    own(app, f"{folder} dim=16")
    app.button(key="add_own").click().run()
    assert compared(app)[0] == f"{folder} dim=16"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no model at all", "is no model's name"),
        ("a/../../etc/passwd", "is no model's name"),
        ("<script>alert(1)</script>", "is no model's name"),
        ("/etc", "is not below a folder that models may be read from"),
        ("{tmp}/nowhere", "There is no folder"),
        ("{tmp}/empty", "is no SentenceTransformer model"),
        ("{tmp}/adapter", "is a LoRA adapter"),
        ("{tmp}/pickled", "the safetensors format"),
        ("endpoint:", "endpoint"),
        ("x" * 500, "is no model's name"),
        ("google/embeddinggemma-2", "is not run here"),
    ],
)
def test_what_is_no_model_is_a_sentence(app: AppTest, tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    pickled = write_model(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    own(app, name.format(tmp=tmp_path))
    assert not app.exception
    assert words in told(app)
    assert "<script>" not in "".join(error.value for error in app.error)


def test_an_id_of_the_catalogue_leads_to_its_card(app: AppTest) -> None:
    app.button_group(key="find_kind").set_value(["static"])
    own(app, "Qwen/Qwen3-Embedding-0.6B")
    assert "This is Qwen3-Embedding-0.6B of the catalogue." in told(app)
    app.button(key="show_card").click().run()
    assert dict(tables(app)["Facts"])["Repository"] == "Qwen/Qwen3-Embedding-0.6B"


def test_a_baseline_needs_no_files(app: AppTest) -> None:
    own(app, "string_length")
    app.button(key="add_own").click().run()
    assert compared(app).count("string_length") == 1


def test_offline_an_id_is_a_sentence(app: AppTest) -> None:
    own(app, "somebody/something")
    assert not app.error
    app.button(key="look_up").click().run()
    assert not app.exception
    assert "somebody/something is not on this machine" in told(app)


def test_the_hub_is_asked_after_a_click_and_once(hub: FakeHub, online: AppTest, tiny_model: Path) -> None:
    commit = hub.add("owner/name", tiny_model, licence="mit", safetensors={"total": 12_345_678})
    own(online, "owner/name")
    assert hub.paths() == []
    online.button(key="look_up").click().run()
    assert not online.exception and not online.error
    facts = dict(tables(online)["Facts"])
    assert facts["Commit"] == commit[:12] and facts["Licence"] == "mit" and facts["Parameters"] == "12.3 M"
    assert facts["Architecture"] == "BertModel" and facts["Numbers in a vector"] == "32"
    asked = hub.paths()
    assert asked and not any("safetensors" in path for path in asked), "weights were asked for"
    online.run()
    assert hub.paths() == asked
    online.button(key="add_own").click().run()
    assert compared(online)[0] == "owner/name"


def _adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(("change", "words"), [(_adapter, "LoRA adapter"), (_pickle, "safetensors format")])
def test_a_hub_model_that_would_be_refused_says_so_before_it_is_fetched(
    hub: FakeHub, online: AppTest, tiny_model: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "served")
    change(folder)
    hub.add("owner/name", folder)
    own(online, "owner/name")
    online.button(key="look_up").click().run()
    assert "It would be refused" in told(online) and words in told(online)
    assert online.button(key="add_own").disabled


def test_program_code_and_gates_are_told(hub: FakeHub, online: AppTest, tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "served")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_x.X"}}))
    hub.add("owner/name", folder)
    own(online, "owner/name")
    online.button(key="look_up").click().run()
    assert "asks to run program code of its own" in told(online)
    hub.add("owner/gated", tiny_model, gated=True)
    own(online, "owner/gated")
    online.button(key="look_up").click().run()
    assert dict(tables(online)["Facts"])["Files only by request"] == "yes"
    assert "Its owner decides who may download it" in told(online)


def test_strange_words_of_the_hub_stay_words(hub: FakeHub, online: AppTest, tiny_model: Path) -> None:
    hub.add("owner/name", tiny_model, licence="[x](http://a.b) <b>", library_name="**loud**")
    own(online, "owner/name")
    online.button(key="look_up").click().run()
    assert not online.exception
    facts = dict(tables(online)["Facts"])
    assert facts["Licence"] == "[x](http://a.b) <b>" and facts["Made for"] == "**loud**"
    assert not any("[x](http" in element.value for element in online.markdown)


def test_a_hub_that_cannot_be_reached_is_a_sentence_and_may_be_asked_again(
    monkeypatch: pytest.MonkeyPatch, hub: FakeHub, online: AppTest, tiny_model: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", closed_port())
    own(online, "owner/name")
    online.button(key="look_up").click().run()
    assert not online.exception and len(online.error) == 1
    hub.add("owner/name", tiny_model)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    st.cache_resource.clear()
    online.button(key="look_up").click().run()
    assert not online.error and "Facts" in tables(online)


# what the page costs

_LIGHT = """
import json, sys
import numembed.worker
numembed.worker.start_supervisor = lambda settings: None
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("app.py", default_timeout=60).run().switch_page("pages/models.py").run()
app.session_state["model_chosen"] = "Qwen3-Embedding-0.6B"
app.text_input(key="own_name").set_value(sys.argv[2]).run()
assert not app.exception and not app.error and app.button(key="add_own")
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]))
"""


def test_the_page_imports_nothing_heavy(home: Path, tiny_model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT, ",".join(HEAVY), str(tiny_model)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_the_plain_model_of_a_row_is_what_the_card_starts_from() -> None:
    from ui.catalogue import spec_of

    assert all(spec_of(row) == model(row.name) for row in RUN)
    assert all(isinstance(spec_of(row), ModelSpec) for row in REFUSED)


def test_a_model_made_here_says_that_its_first_use_trains_it(app: AppTest) -> None:
    show(app, "number-encoder")
    words = told(app)
    assert "A small model of this program's own, trained from nothing, with 1.1 million parameters." in words
    assert "Nothing to download. It is trained here at first use: about 1 min 20 s." in words
    (line,) = (row for row in tables(app)["Models"] if row[0] == "number-encoder")
    assert "trained here" in line
    show(app, "number-lm")
    assert "trained here at first use" not in told(app)
