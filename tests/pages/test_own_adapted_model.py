"""An adapted model in the field for one's own models: what it is made of is told, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.lora import write_adapter
from tests.pages.test_pages import app

__all__ = ["app"]
pytestmark = pytest.mark.slow


def test_an_adapted_model_is_told_with_its_files_and_goes_to_compare(
    app: AppTest, tmp_path: Path, tiny_model: Path
) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_model)
    _named(app, f"{tiny_model} adapter={adapter} scale=0.5")
    words = " ".join(one.value for one in (*app.markdown, *app.caption))
    assert not app.exception and not app.error and "needs no files" not in words
    assert "Two sets of files: a base, and a LoRA adapter" in words and "taken 0" in words
    app.button(key="add_own").click().run()
    assert not app.exception and any("adapter=" in one for one in app.multiselect(key="models").value)


def test_an_adapter_that_is_not_there_is_told_in_a_sentence(app: AppTest, tmp_path: Path, tiny_model: Path) -> None:
    _named(app, f"{tiny_model} adapter={tmp_path}/nothing")
    assert not app.exception and "There is no folder" in app.error[0].value
    assert "add_own" not in [button.key for button in app.button]


def _named(app: AppTest, name: str) -> None:
    app.run()
    app.switch_page("pages/models.py").run()
    app.text_input(key="own_name").set_value(name).run()
