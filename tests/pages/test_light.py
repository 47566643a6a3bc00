"""The web process stays light: what a page never imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "sentence_transformers", "umap", "sklearn", "pandas", "pyarrow", "openTSNE", "numba")
SCRIPT = """
import json, sys
import numembed.worker
numembed.worker.start_supervisor = lambda settings: None
from streamlit.testing.v1 import AppTest
app = AppTest.from_file("app.py", default_timeout=60)
app.query_params["models"] = ["all-MiniLM-L6-v2", "last_digits"]
app.run()
app.button(key="run").click().run()
for page in ("pages/sequences.py", "pages/runs.py", "pages/compare.py"):
    app.switch_page(page).run()
    assert not app.exception and not app.error
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]))
"""


def test_no_page_imports_what_is_heavy(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ",".join(HEAVY)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
