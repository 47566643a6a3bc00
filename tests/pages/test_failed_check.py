"""A model that runs although its check has failed: every page about it says so above everything it draws."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from tests import tiny
from tests.pages.elements import PAGES, told, work_off
from tests.pages.touches import watched

WORDS = "unsaid did not pass its check, so the results below may be wrong. Its folder does not say how"


@pytest.mark.slow
def test_every_page_about_one_model_warns_of_its_failed_check(app: AppTest, settings: Settings, tmp_path: Path) -> None:
    folder = tiny.write_model(tmp_path / "unsaid")
    (folder / "modules.json").unlink()
    app.query_params["models"] = [str(folder), "last_digits"]
    app.query_params["families"] = ["even", "odd"]
    app.query_params["length"] = "6"
    app.run()
    app.checkbox(key="despite_checks").check().run()
    app.button(key="run").click().run()
    assert work_off(settings) == ["done"]
    with watched(folder) as touches:
        for page in ("explain", "generalise", "robustness", "maps"):
            app.switch_page(f"pages/{page}.py").run()
            assert not app.exception
            app.selectbox(key="explained").set_value("unsaid").run()
            assert WORDS in told(app), page
            app.selectbox(key="explained").set_value("Last digits").run()
            assert "did not pass its check" not in told(app), page
        for page in PAGES:
            app.switch_page(page).run()
            assert not app.exception and "internal error" not in told(app), page
    assert touches == [], "a page with results has looked into the folder"
