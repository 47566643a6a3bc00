"""The glossary: one list of words for the pages and the documents, whose names are in the code."""

from __future__ import annotations

import re

import pytest

from tests.docs.documents import ROOT, read
from tests.docs.glossary import table, written
from ui.shared.glossary import words

WORDS = words()


def test_the_document_shows_the_list() -> None:
    page = read("docs/glossary.md")
    assert table() in page and written(page) == page, "write it anew: python -m tests.docs.glossary"


@pytest.mark.parametrize("word", WORDS, ids=lambda word: word["plain"])
def test_every_word_has_a_term_a_meaning_and_a_place(word: dict[str, str]) -> None:
    assert set(word) == {"plain", "term", "identifier", "meaning"}
    assert word["meaning"].endswith(".") and word["term"] and "|" not in "".join(word.values())
    file, _, name = word["identifier"].partition(": ")
    code = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^(?:def |class )?{name}\b", code, re.MULTILINE), word["identifier"]


def test_no_word_stands_twice() -> None:
    plain = [word["plain"] for word in WORDS]
    assert len(set(plain)) == len(plain) >= 40
