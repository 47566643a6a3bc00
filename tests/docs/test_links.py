"""Links, paths and names in all documents lead to something that is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import DOCUMENTS, ROOT, prose

EACH = pytest.mark.parametrize("document", DOCUMENTS)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FOLDERS = r"(?:pages|ui|numembed|docs|benchmarks|tests|\.streamlit|\.ci)/"
_PATH = re.compile(rf"`((?:{_FOLDERS}|app\.py|pyproject\.toml|requirements[\w-]*\.txt)[\w./-]*)`")
_NAMED = re.compile(r"`([\w/]+\.py)`: ((?:`\w+`(?:, )?)+)")


def anchors(text: str) -> set[str]:
    """Return the anchors of the headings, as GitHub makes them.

    >>> sorted(anchors("# One\\n\\n## Where do I find …\\n\\n## One study, from click to chart"))
    ['one', 'one-study-from-click-to-chart', 'where-do-i-find-']
    """
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@EACH
def test_every_link_leads_to_a_file_and_a_heading(document: str) -> None:
    for target in _LINK.findall(prose(document)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), target


@EACH
def test_every_path_is_there(document: str) -> None:
    missing = [path for path in _PATH.findall(prose(document)) if not (ROOT / path).exists()]
    assert missing == []


@EACH
def test_every_name_stands_in_its_file(document: str) -> None:
    for file, names in _NAMED.findall(prose(document)):
        code = (ROOT / file).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:def |class )?{name}\b", code, re.MULTILINE), f"{file}: {name}"


def test_documents_and_their_links_are_found() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/decisions/README.md"} <= set(DOCUMENTS)
    assert len(_NAMED.findall(prose("docs/architecture.md"))) >= 25
    linked = set(_LINK.findall(prose("README.md")))
    assert {page for page in DOCUMENTS if page.count("/") == 1} | {"CONTRIBUTING.md"} <= linked
