"""Every run of every page, not only the first, is inside app.py: its frame and its one place for errors."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

from numembed.core.errors import BadChoice, NumembedError, StoreFull
from tests.pages.elements import PAGES, ROOT, opened, plain
from tests.pages.visit import Visit
from ui.shared.frame import download

BUG = "numembed has an internal error on this page. See the server's log for details."


@pytest.fixture
def framed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What grows by one entry whenever app.py has run to its end."""
    ends: list[str] = []
    monkeypatch.setattr("ui.shared.frame.supervise", lambda _: ends.append("supervised"))
    return ends


@pytest.mark.parametrize("page", PAGES)
def test_every_run_of_a_page_is_framed(app: Visit, framed: list[str], page: str) -> None:
    opened(app, page)
    title = app.title[0].value
    for _ in range(2):
        before = len(framed)
        app.run()
        assert len(framed) == before + 1
        assert [one.value for one in app.title] == [title]


@pytest.mark.parametrize("page", PAGES)
def test_a_link_to_a_page_opens_it_within_the_frame_and_stays_there(app: Visit, framed: list[str], page: str) -> None:
    app.switch_page(page).run()
    assert len(framed) == 1
    title = app.title[0].value
    other = Visit()  # by now the server knows its pages
    assert other.switch_page(page).run().title[0].value == title
    for visit in (app, other):
        assert visit.run().title[0].value == title
    assert len(framed) == 4


def test_a_click_that_leads_to_another_page_leads_there_for_good(app: Visit) -> None:
    opened(app, "pages/sequences.py")
    app.button(key="compare").click().run()
    title = app.title[0].value
    assert title == "How do embedding models see numbers?"
    app.number_input(key="per_family").set_value(3).run()
    assert app.title[0].value == title and app.number_input(key="per_family").value == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("planted"), BUG),
        (NumembedError("There is no *planted* thing."), "There is no *planted* thing."),
        (BadChoice("Choose [1](http://a.b) to 3."), "Choose [1](http://a.b) to 3."),
    ],
)
@pytest.mark.parametrize(
    ("page", "button", "part"),
    [
        ("pages/compare.py", "run", "ui.shared.run_progress.watch"),
        ("pages/merge.py", "climb", "ui.merge.progress.watch_experiment"),
        ("pages/models.py", "clear", "ui.models.own_model.own_model"),
    ],
)
def test_an_error_after_a_click_is_one_sentence(
    app: Visit, caplog: pytest.LogCaptureFixture, page: str, button: str, part: str, error: Exception, sentence: str
) -> None:
    def broken(*_: object) -> None:
        raise error

    opened(app, page)
    if button == "clear":  # it is there where there is something to clear
        app.text_input(key="find_text").set_value("qwen3").run()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(part, broken)
        app.button(key=button).click().run()
    assert not app.exception
    assert [plain(one.value) for one in app.error] == [sentence]
    assert ("ValueError: planted" in caplog.text) == isinstance(error, ValueError)
    assert "ValueError" not in str(app.main)
    app.run()
    assert app.title and not app.error and not app.exception


SECRET = "hf_" + 20 * "s"


@pytest.mark.slow
@pytest.mark.parametrize(("page", "button"), [("pages/compare.py", "run"), ("pages/merge.py", "climb")])
def test_a_bug_in_a_callback_is_one_sentence_and_a_log_without_secrets(
    app: Visit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, page: str, button: str
) -> None:
    monkeypatch.setattr("ui.shared.run_progress.visitor", lambda: int(SECRET))
    opened(app, page)
    app.button(key=button).click().run()
    assert not app.exception and app.title, "the page is drawn below the sentence"
    assert [plain(one.value) for one in app.error] == [BUG]
    assert "ValueError" in caplog.text and "[secret]" in caplog.text and SECRET not in caplog.text
    app.run()
    assert not app.error and not app.exception


def test_a_bug_in_a_fragment_is_one_sentence_and_a_log_without_secrets(
    app: Visit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(app, "pages/compare.py")
    monkeypatch.setattr("ui.shared.run_progress.waiting_text", lambda job: str(int(SECRET)))
    app.button(key="run").click().run()
    assert not app.exception and [plain(one.value) for one in app.error] == [BUG]
    assert "[secret]" in caplog.text and SECRET not in caplog.text


def test_what_a_person_can_cause_in_a_callback_is_said_in_its_own_words(
    app: Visit, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> str:
        raise StoreFull("The disk is *full*.")

    opened(app, "pages/compare.py")
    monkeypatch.setattr("ui.shared.run_progress.visitor", full)
    app.button(key="run").click().run()
    assert not app.exception and [plain(one.value) for one in app.error] == ["The disk is *full*."]
    assert not [record for record in caplog.records if record.name == "numembed"]


def test_a_bug_in_a_download_is_one_sentence_and_a_log_without_secrets(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr("streamlit.download_button", lambda *arguments, **named: given.append(arguments))
    download("Table", lambda: str(int(SECRET)), "a.csv")
    download("Table", lambda: "1,2", "a.csv")
    with pytest.raises(RuntimeError, match=re.escape(BUG)) as raised:
        given[0][1]()
    assert raised.value.__suppress_context__, "Streamlit's log then has no traceback with the secret"
    assert "ValueError" in caplog.text and "[secret]" in caplog.text and SECRET not in caplog.text
    assert given[1][1]() == "1,2" and given[1][3] == "text/csv"


def test_every_callback_and_fragment_of_the_pages_is_inside_an_error_boundary() -> None:
    trees = {file: ast.parse(file.read_text()) for name in ("pages", "ui") for file in (ROOT / name).rglob("*.py")}
    nodes = [(file, node) for file, tree in trees.items() for node in ast.walk(tree)]
    guarded = {
        node.name
        for _, node in nodes
        if isinstance(node, ast.FunctionDef) and "callback" in map(ast.unparse, node.decorator_list)
    }
    passed = [
        (file.name, node.lineno, ast.unparse(word.value))
        for file, node in nodes
        if isinstance(node, ast.Call) and ast.unparse(node.func) not in ("table", "figure")  # which guard what they get
        for word in node.keywords
        if (word.arg or "").startswith("on_")
    ]
    assert len(passed) > 20
    assert not [one for one in passed if one[2] not in ("'ignore'", "'rerun'", *guarded) and "callback(" not in one[2]]
    fragments = {file.name for file, node in nodes if isinstance(node, ast.Attribute) and node.attr == "fragment"}
    assert fragments == {"frame.py"}
    downloads = {
        file.name for file, node in nodes if isinstance(node, ast.Attribute) and node.attr == "download_button"
    }
    assert downloads == {"frame.py"}


def test_no_test_opens_the_app_in_another_way() -> None:
    makes = re.compile(r"AppTest[.(]|AppTest\s+as\b|\(AppTest\)")
    files = [file for file in (ROOT / "tests").rglob("*.py") if makes.search(file.read_text())]
    assert files == [ROOT / "tests" / "pages" / "visit.py"]
