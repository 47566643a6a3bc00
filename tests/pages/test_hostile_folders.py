"""A link that names a folder which is a trap: the page comes, and the run says what is wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from tests.pages.elements import opened, told, work_off

TRAPS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe": (lambda folder: (folder / "config.json").unlink() or os.mkfifo(folder / "config.json"), "is no file but"),
    "deep settings": (lambda folder: (folder / "modules.json").write_text("[" * 100_000), "could not be loaded"),
    "a kernel": (
        lambda folder: (folder / "config.json").write_text('{"_attn_implementation": "owner/kernel"}'),
        "owner/kernel",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("make", "sentence"), TRAPS.values(), ids=list(TRAPS))
def test_the_page_comes_and_the_run_says_it(
    app: AppTest, settings: Settings, tiny_model: Path, tmp_path: Path, make: Callable[[Path], Any], sentence: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "trap"))
    make(folder)
    app.query_params["models"] = [str(folder)]
    app.query_params["families"] = ["even"]
    app.run()
    assert not app.exception and "internal error" not in told(app)
    app.button(key="run").click().run()
    assert work_off(settings) == ["failed"]
    app.run()
    assert not app.exception and sentence in told(app)
    opened(app, "pages/models.py")
    app.text_input(key="own_name").set_value(str(folder)).run()
    assert not app.exception and "internal error" not in told(app)
