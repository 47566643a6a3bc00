"""The Models page through app.py: what the card of a model tells, and how its options come to Compare."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.core.settings import LIMITS, Settings
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import model
from numembed.models.encoders.interface import Finding, ModelCheck
from numembed.models.spec import ModelSpec
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.studies.results import ResultStore
from tests.pages.elements import opened, told, work_off
from tests.pages.models_page import REFUSED, ROWS, RUN, compared, show, tables

pytestmark = pytest.mark.slow  # together they take long


@pytest.fixture
def page(app: AppTest) -> AppTest:
    """The Models page on an empty store."""
    return opened(app, "pages/models.py")


def reference(page: AppTest) -> str:
    return str(page.code[0].value)


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_every_row_has_a_card_without_a_blank(page: AppTest, row: Row) -> None:
    show(page, row.name)
    assert not page.exception and not page.error
    facts = dict(tables(page)["Facts"])
    assert all(facts.values())
    unknown = {
        "Vector made from": row.pooling,
        "Each token sees": row.attention,
        "Architecture": row.architecture,
        "Text ends with a token": row.ends_with_eos,
        "Vectors of length 1": row.normalizes,
        "Files only by request": row.gated,
        "Commit": row.revision if row.repo else "none",
    }
    for title, value in unknown.items():
        assert facts[title].startswith("unknown") == (value in ("", None)), title
    marked = sum(value.endswith("· not verified") for value in facts.values())
    assert marked >= bool(row.unsure)
    assert ("Loaded from" in facts) == bool(row.mirror) and row.mirror in facts.get("Loaded from", "")
    words = told(page)
    assert row.repo.partition("/")[0] in words
    assert all(source[:60] in words for source in row.sources)
    assert row.merge_note in words and row.made_note in words


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gte-multilingual-base", "Loaded from the converted copy alibaba-nlp-community/gte-multilingual-base, with"),
        ("e5-mistral-7b-instruct", "The begin-of-text and end-of-text tokens are added by the recipe: today's"),
        ("F2LLM-v2-80M", "The end-of-text token is added by the recipe: today's libraries may leave it"),
        ("llama-embed-nemotron-8b", "Attention is set to both directions after loading."),
        ("GritLM-7B", "The tokens of a prompt are left out of that mean."),
        ("nomic-embed-text-v2-moe", "Needs program code from nomic-ai/nomic-bert-2048; only where the operator has"),
        ("gte-Qwen2-1.5B-instruct", "Sources disagree on its attention"),
        ("all-MiniLM-L6-v2", "Loaded as its files say; no corrections are needed."),
    ],
)
def test_the_card_tells_how_a_model_is_loaded(page: AppTest, name: str, sentence: str) -> None:
    show(page, name)
    assert sentence in told(page)


def test_the_card_shows_the_papers_numbers_and_that_nothing_was_run(page: AppTest) -> None:
    show(page, "Qwen3-Embedding-8B")
    assert tables(page)["Scores"] == [
        ["in the paper", "0.3103", "1.0893", "0.3103", "1.0893"],
        ["not run here yet", "–", "–", "–", "–"],
    ]
    assert "check: not checked yet" in told(page)
    show(page, "bge-small-en-v1.5")
    assert tables(page)["Scores"][0] == ["not in the paper", "–", "–", "–", "–"]


def test_a_failed_check_is_reported_finding_by_finding(page: AppTest, home: Path) -> None:
    found = (
        Finding("a", True, "All weights were there."),
        Finding("b", False, "The last token is missing."),
        Finding("c", None, "Nothing is known of its length."),
    )
    with ResultStore(home / "app.db") as results:
        results.put_check(model("Qwen3-Embedding-4B"), ModelCheck(found))
    st.cache_data.clear()
    show(page, "Qwen3-Embedding-4B")
    words = told(page)
    assert "check: ⚠ failed" in words
    assert all(f"- {mark} {one.sentence}" in words for mark, one in zip("✓✗–", found, strict=True))
    assert [row[8] for row in tables(page)["Models"] if row[0] == "Qwen3-Embedding-4B"] == ["⚠ failed"]


def test_what_was_run_here_is_next_to_the_paper(page: AppTest, settings: Settings) -> None:
    with JobTable(settings.app_db) as jobs:
        jobs.submit(paper_study("all-MiniLM-L6-v2"), asked_by="test")
    assert work_off(settings) == ["done"]
    st.cache_data.clear()
    show(page, "all-MiniLM-L6-v2")
    here = tables(page)["Scores"][1]
    assert here[0] == "here" and "–" not in here
    assert "check: ✓ passed" in told(page) and " s." in told(page).partition("chosen on Compare take")[2][:14]


def test_the_card_tells_whether_there_are_reference_vectors(page: AppTest) -> None:
    for name in ("all-MiniLM-L6-v2", "number-lm"):
        show(page, name)
        assert "**Reference.** Reference vectors were recorded on 20" in told(page), name
    for name, words in (("bge-small-en-v1.5", False), ("Qwen3-Embedding-8B", True), ("number-encoder", False)):
        show(page, name)
        assert "**Reference.** It has no reference vectors yet" in told(page)
        assert ("recorded at its first load" in told(page)) is not words  # a large one's are not without a request
        assert ("recorded and compared on request only: python -m numembed check MODEL" in told(page)) is words


def test_a_model_made_here_says_that_its_first_use_trains_it(page: AppTest) -> None:
    show(page, "number-encoder")
    words = told(page)
    assert "A small model of this program, trained from scratch, with 1.1 million parameters." in words
    assert "Nothing to download. It is trained here at first use: about 1 min." in words
    (line,) = (row for row in tables(page)["Models"] if row[0] == "number-encoder")
    assert "trained here" in line
    show(page, "number-lm")
    assert "trained here at first use" not in told(page)


# options, and Compare


@pytest.mark.parametrize("row", RUN, ids=[row.name for row in RUN])
def test_every_option_that_is_offered_can_be_requested(page: AppTest, row: Row) -> None:
    show(page, row.name)
    assert model(reference(page)) == model(row.name)
    for prompt, text in row.prompts.items():
        page.selectbox(key=f"prompt-{row.name}").set_value(prompt).run()
        assert not page.error and model(reference(page)).prompt == text
    for width in row.matryoshka:
        page.selectbox(key=f"dim-{row.name}").set_value(str(width)).run()
        assert not page.error and model(reference(page)).dimensions == width


def test_the_options_become_a_reference_that_works_in_compare(page: AppTest) -> None:
    name = "EmbeddingGemma-300M"
    show(page, name)
    page.selectbox(key=f"prompt-{name}").set_value("query")
    page.selectbox(key=f"dim-{name}").set_value("256")
    page.selectbox(key=f"precision-{name}").set_value("int8").run()
    assert reference(page) == f"{name} prompt=query dim=256 precision=int8"
    page.button(key="add").click().run()
    assert compared(page) == [f"{name} prompt=query dim=256 precision=int8", *paper_study().as_dict()["models"]]


def test_a_text_of_ones_own_is_quoted_and_never_an_option(page: AppTest) -> None:
    name, text = "bge-small-en-v1.5", 'count: " dim=3 \\ <b>*x*</b> '
    show(page, name)
    page.selectbox(key=f"prompt-{name}").set_value(" own").run()
    page.text_input(key=f"own-{name}").set_value(text).run()
    made = model(reference(page))
    assert made.prompt == text and made.dimensions is None
    page.button(key="add").click().run()
    assert model(compared(page)[0]) == made


def test_the_other_reading_of_a_model_is_another_model(page: AppTest) -> None:
    name = "gte-Qwen2-1.5B-instruct"
    show(page, name)
    assert reference(page) == name
    page.selectbox(key=f"attention-{name}").set_value("causal").run()
    assert reference(page) == f"{name} attention=causal"
    assert model(reference(page)).loading == dataclasses.replace(model(name).loading, causal=True)


@pytest.mark.parametrize(("typed", "width"), [("300", 300), ("1,000", 1000), (" 7 ", 7), ("1024", None)])
def test_any_shorter_length_may_be_typed(page: AppTest, typed: str, width: int | None) -> None:
    page.session_state["dim-Qwen3-Embedding-0.6B"] = typed
    show(page, "Qwen3-Embedding-0.6B")
    assert not page.error and model(reference(page)).dimensions == width


@pytest.mark.parametrize("typed", ["0", "-3", "99999", "1e3", "dim=5", "٣", "<b>"])
def test_a_wrong_length_is_a_sentence(page: AppTest, typed: str) -> None:
    page.session_state["dim-bge-small-en-v1.5"] = typed
    show(page, "bge-small-en-v1.5")
    assert not page.exception
    assert ["can keep 1 to 384 numbers" in error.value for error in page.error] == [True]
    assert not [button for button in page.button if button.key == "add"]


def test_a_model_is_added_once_and_what_was_chosen_stays(page: AppTest) -> None:
    page.switch_page("pages/compare.py").run()
    page.multiselect(key="models").set_value(["last_digits", "no such model"]).run()
    page.multiselect(key="families").set_value(["primes", "even"]).run()
    for _ in range(2):
        page.switch_page("pages/models.py").run()
        show(page, "GritLM-7B")
        page.button(key="add").click().run()
        assert list(page.multiselect(key="models").value) == ["GritLM-7B", "last_digits", "no such model"]
    assert page.multiselect(key="families").value == ["primes", "even"]


def test_a_visit_leaves_the_choice_as_it_was(page: AppTest) -> None:
    page.switch_page("pages/compare.py").run()
    page.multiselect(key="families").set_value(["primes", "even"]).run()
    page.switch_page("pages/models.py").run()
    page.switch_page("pages/compare.py").run()
    assert page.multiselect(key="families").value == ["primes", "even"]
    assert compared(page) == paper_study().as_dict()["models"]


def test_more_models_than_a_study_takes_is_a_sentence(page: AppTest) -> None:
    names = [row.name for row in RUN]
    page.session_state["chosen"] = paper_study().as_dict() | {"models": names[: LIMITS.models]}
    show(page, names[-1])
    page.button(key="add").click().run()
    assert [f"at most {LIMITS.models} models" in error.value for error in page.error] == [True]
    assert page.session_state["chosen"]["models"] == names[: LIMITS.models]


@pytest.mark.parametrize("row", REFUSED, ids=[row.name for row in REFUSED])
def test_a_refused_row_says_why_and_cannot_be_added(page: AppTest, row: Row) -> None:
    show(page, row.name)
    assert f"{row.name} is not run here: {row.refused}." in told(page)
    assert not [button for button in page.button if button.key == "add"] and not page.code
    assert [cells[8] for cells in tables(page)["Models"] if cells[0] == row.name] == ["not run here"]


def test_the_plain_model_of_a_row_is_what_the_card_starts_from() -> None:
    from ui.models.catalogue import spec_of

    assert all(spec_of(row) == model(row.name) for row in RUN)
    assert all(isinstance(spec_of(row), ModelSpec) for row in REFUSED)
