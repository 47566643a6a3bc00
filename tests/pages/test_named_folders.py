"""A folder that a visitor names: the worker looks into it, and no page touches it, whatever it is."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.studies.model_requests import Look, look
from tests.lora import write_adapter
from tests.pages.elements import PAGES, opened, told
from tests.pages.models_page import tables
from tests.pages.touches import watched
from tests.tiny import write_model


@pytest.fixture
def trap(tmp_path: Path, tiny_model: Path) -> Path:
    """A model's folder whose settings are pipes."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "trap"))
    write_adapter(folder / "adapter", tiny_model)
    for name in ("config.json", "modules.json"):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
    return folder


def test_the_watch_sees_every_way_to_touch(trap: Path) -> None:
    for touch in (Path.stat, Path.is_file, Path.read_bytes, os.path.realpath, os.path.lexists, os.listdir, os.scandir):
        with watched(trap) as touches, contextlib.suppress(OSError):
            touch(trap)
        assert touches, touch


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("name", ["{trap}", "{tiny} adapter={trap}/adapter", "{trap} adapter={tiny} dim=8"])
def test_no_page_touches_a_folder_that_is_named(
    app: AppTest, trap: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, page: str, name: str
) -> None:
    named = name.format(trap=trap, tiny="all-MiniLM-L6-v2" if "adapter={trap" in name else tiny_model)
    monkeypatch.setattr("ui.merge.choice._BASES", ["all-MiniLM-L6-v2", named])  # AppTest chooses from the list only
    app.query_params["models"] = [named, "last_digits"]
    app.query_params["families"] = ["even"]
    app.session_state["own_name"] = app.session_state["merge_base"] = named
    app.session_state["cost"] = app.session_state["reading"] = True  # what is folded on Compare is open
    with watched(trap) as touches:
        opened(app, page)
        assert not app.exception and "internal error" not in told(app)
        for asked in ("run", "look", "climb"):
            if asked in {button.key for button in app.button}:
                app.button(key=asked).click().run()
    assert not app.exception and touches == []


def test_what_the_worker_found_is_shown_even_where_the_folder_does_not_answer(
    app: AppTest, settings: Settings, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "mine")
    look(Look(str(folder)), settings)
    shutil.rmtree(folder)
    folder.touch()  # whoever reads it now gets an error
    app.query_params["models"] = [str(folder)]
    app.session_state["own_name"] = str(folder)
    app.session_state["cost"] = app.session_state["reading"] = True
    opened(app, "pages/models.py")
    assert dict(tables(app)["Facts"])["Reads at most"] == "256 tokens"
    app.switch_page("pages/compare.py").run()
    assert not app.exception and "ot looked at yet" not in told(app)
    shown = tables(app)
    assert shown["What"][0][2] == "256" and shown["How"][0][1] not in ("–", "")
