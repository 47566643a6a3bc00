"""The table of words on the Paper page."""

from __future__ import annotations

import json

from streamlit.testing.v1 import AppTest

from tests.pages.elements import opened, protos
from ui.shared.glossary import words


def test_every_word_is_next_to_its_term_and_meaning(app: AppTest) -> None:
    tables = [json.loads(proto.json) for proto in protos(opened(app, "pages/paper.py"), "bidi_component")]
    shown = next(data for data in tables if data["label"] == "Words and standard terms")
    rows = [[cell["text"] for cell in row] for row in json.loads(shown["rows"])]
    assert rows == [[word["plain"], word["term"], word["meaning"]] for word in words()]
    assert [column["title"] for column in json.loads(shown["columns"])] == ["Word", "Standard term", "Meaning"]
