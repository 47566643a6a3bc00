"""The web process stays light: what a page never imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages.light import heavy_after

STEPS = """
app.query_params["models"] = ["all-MiniLM-L6-v2", "last_digits"]
app.run()
app.button(key="run").click().run()
for page in ("pages/sequences.py", "pages/runs.py", "pages/compare.py"):
    app.switch_page(page).run()
    assert not app.exception and not app.error
"""


@pytest.mark.slow
def test_no_page_imports_what_is_heavy(home: Path) -> None:
    assert heavy_after(STEPS) == []
