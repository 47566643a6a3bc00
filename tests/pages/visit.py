"""A visit to the app: the one way in which a test opens it without a browser."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest

_APP = Path(__file__).parents[2] / "app.py"
_components = cache(manifest_scanner.scan_component_manifests)  # reads what is installed: half a second a visit


class _KeptMode(PagesManager):
    """Takes AppTest's reset of the mode upon itself, so that the mode in which scripts are run stays as it is."""


class Visit(AppTest):
    """One visitor of app.py, not run yet; every run enters through app.py, as on a server.

    A server leaves the mode of a folder ``pages/``, whose files run alone, for good when app.py first names its pages.
    AppTest goes back to that mode before every run, and returns to the page of the last ``switch_page`` even after a
    click has led to another one. Neither happens here. The fields of Compare's choice are ``unfolded``.
    """

    unfolded = True

    def __init__(self) -> None:
        super().__init__(_APP, default_timeout=60)

    def _run(self, *arguments: Any, **named: Any) -> AppTest:
        self.session_state["more"] = self.unfolded
        with (
            patch("streamlit.testing.v1.app_test.PagesManager", _KeptMode),
            patch.object(manifest_scanner, "scan_component_manifests", _components),
        ):
            super()._run(*arguments, **named)
        self._page_hash = ""
        return self
