"""The Robustness page through app.py: ask, compute with a real baseline, show."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.sequences.perturbations.terms import PERTURBATIONS, variants
from tests.pages.elements import charts, opened, protos, told, work_off

PAGE = "pages/robustness.py"


def test_an_empty_store_offers_no_examination(app: AppTest) -> None:
    opened(app, PAGE)
    assert app.title[0].value == "What changes the score?"
    assert "The current choice has not been run yet" in app.info[0].value and not app.button


@pytest.mark.slow
def test_one_click_says_what_the_model_reads(app: AppTest, settings: Settings) -> None:
    app.query_params["models"] = ["last_digits"]
    app.run()
    app.button(key="run").click().run()
    work_off(settings)
    opened(app, PAGE)
    app.button(key="ask stress").click().run()
    work_off(settings)
    app.run()
    assert not app.exception and not app.error
    assert "ing the last digit destroys all of the score, at least" in app.subheader[0].value
    assert len(charts(app)) == 2
    assert "Found: Removing the last digit destroys all of the score" in told(app).replace("*", "")
    before, after = (block.value for block in app.code)
    assert before.startswith("151, 152") and after.startswith("15, 15")
    tables = [json.loads(proto.json) for proto in protos(app, "bidi_component")]
    (rows,) = (json.loads(data["rows"]) for data in tables if data["label"] == "All changes")
    assert len(rows) == sum(len(variants(name)) for name in PERTURBATIONS.names)

    for name in PERTURBATIONS.names:
        app.selectbox(key="perturbation").set_value(name).run()
        assert not app.exception, name
        assert "Found:" in told(app)
    app.selectbox(key="perturbation").set_value("base").run()
    app.selectbox(key="variant of base").set_value(0).run()
    assert app.code[1].value.startswith("10010111, 10011000")

    app.button(key="ask stress").click().run()  # of 5 redrawn designs
    work_off(settings)
    app.run()
    assert not app.exception and len(charts(app)) == 3
    assert "on 5 redrawn designs" in told(app)
    labels = [proto.label for proto in protos(app, "download_button")]
    assert labels.count("Table (CSV)") == 2 and labels.count("All numbers (JSON)") == 1
