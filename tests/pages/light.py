"""Which heavy modules the web process holds, seen in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.pages.elements import ROOT

HEAVY = ("torch", "transformers", "sentence_transformers", "umap", "sklearn", "pandas", "pyarrow", "openTSNE", "numba")
_BEFORE = """
import json, sys
import numembed.runs.supervisor
numembed.runs.supervisor.start_supervisor = lambda settings: None
from tests.pages.visit import Visit
app = Visit()
"""
_AFTER = """
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]))
"""


def heavy_after(steps: str, *arguments: str, more: tuple[str, ...] = ()) -> list[str]:
    """Return the heavy modules, and those of ``more``, that were imported by a program that uses the app.

    ``steps`` finds the app, not run yet, under the name ``app``, and ``arguments`` in sys.argv[2:].
    """
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE + steps + _AFTER, ",".join((*HEAVY, *more)), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))
