"""Settings of tests that need no home of their own: no hub, any folder."""

import tempfile
from dataclasses import replace
from pathlib import Path

from numembed.core.settings import read_settings

OFFLINE = replace(
    read_settings({"NUMEMBED_HOME": str(Path(tempfile.gettempdir()) / "numembed-tests"), "HF_HUB_OFFLINE": "1"}),
    folders=(),
)
