"""The verb that starts the pages."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from numembed.core.errors import NumembedError
from numembed.core.settings import Settings

_PACKAGE = Path(__file__).parents[1]


def app(options: argparse.Namespace, settings: Settings) -> int:
    """Become Streamlit's server of the pages; ``options.rest`` are Streamlit's own options.

    Streamlit applies .streamlit/config.toml beside the script wherever it is started; options and STREAMLIT_*
    variables take precedence over that file. ``-P``: nothing is imported from the present folder. PYTHONPATH: Streamlit
    itself adds the script's folder to the import path only while some page is drawn.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise NumembedError("The app needs Streamlit, which is not installed: pip install streamlit")
    file = script()
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(file), *options.rest]
    path = os.pathsep.join(filter(None, [str(file.parent), os.environ.get("PYTHONPATH")]))
    os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path})


def script() -> Path:
    """Return the file that starts the pages: within an installed package, or at the root of a checkout."""
    installed = _PACKAGE / "_app" / "app.py"
    return installed if installed.exists() else _PACKAGE.parent / "app.py"
