"""What the tests of the Models page share: its tables, and the models chosen on Compare."""

from __future__ import annotations

import json

from streamlit.testing.v1 import AppTest

from numembed.models.catalogue.entries import read_rows
from tests.pages.elements import protos

ROWS = read_rows()
RUN = [row for row in ROWS.values() if not row.refused]
REFUSED = [row for row in ROWS.values() if row.refused]


def tables(page: AppTest) -> dict[str, list[list[str]]]:
    """Return the cells of every table by its label's first word."""
    found = {}
    for proto in protos(page, "bidi_component"):
        data = json.loads(proto.json)
        assert data["label"]
        cells = [[cell["text"] for cell in row] for row in json.loads(data["rows"])]
        found[data["label"].split()[0].strip(",")] = cells
    return found


def show(page: AppTest, name: str) -> AppTest:
    """Open the card of a model, and return the page."""
    page.session_state["model_chosen"] = name
    return page.run()


def compared(app: AppTest) -> list[str]:
    """Return the models on the Compare page, where the app must be by now."""
    assert not app.exception and [error.value for error in app.error] == []
    return list(app.multiselect(key="models").value)
