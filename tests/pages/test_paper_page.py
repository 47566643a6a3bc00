"""The Paper page through app.py: complete on an empty store, and beside what was run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.claims import CLAIMS, judged
from numembed.models.catalogue import CATALOGUE, model
from numembed.paper import TABLE_2, PublishedScore, paper_study
from numembed.results import ResultStore
from numembed.settings import read_settings
from numembed.study import USUAL_DESIGNS, design_key
from numembed.tables import facts_of_line, figure_number
from tests.pages.test_light import HEAVY
from tests.test_claims import store_as_run

ROOT = Path(__file__).parents[2]
PINNED = [line for line in TABLE_2 if (row := facts_of_line(line)) is not None and model(row.name).resolved]
MINILM = PublishedScore("all-MiniLM-L6-v2", -0.0922, 3.1046, 0.2299, 1.1919)


@pytest.fixture
def app(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """The Paper page on an empty store."""
    monkeypatch.setattr("numembed.worker.start_supervisor", lambda settings: None)
    monkeypatch.chdir(ROOT)
    st.cache_resource.clear()
    st.cache_data.clear()
    opened = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    yield opened.switch_page("pages/paper.py").run()
    st.cache_resource.clear()
    st.cache_data.clear()


def told(app: AppTest) -> str:
    """Return all words of the page as they are read, without escapes."""
    words = " ".join(element.value for kind in (app.markdown, app.caption, app.subheader) for element in kind)
    return words.replace("\\", "").replace("\u2060", "")


def protos(app: AppTest, kind: str) -> list[Any]:
    return [element.proto for element in _walk(app.main) if element.type == kind]


def tables(app: AppTest) -> dict[str, list[list[dict[str, Any]]]]:
    """Return the cells of every table by its label."""
    found = [json.loads(proto.json) for proto in protos(app, "bidi_component")]
    return {data["label"]: json.loads(data["rows"]) for data in found}


def _walk(block: object) -> Iterator[Any]:
    for child in getattr(block, "children", {}).values():
        yield child
        yield from _walk(child)


def test_the_page_is_complete_on_an_empty_store(app: AppTest) -> None:
    assert not app.exception and not app.error and not app.warning
    assert [heading.value for heading in app.subheader] == [
        "What did the paper find?", "Do our runs agree?", "Do its claims hold?", "Where are its maps?",
    ]  # fmt: skip
    words = told(app)
    for claim, verdict in zip(CLAIMS, judged(TABLE_2), strict=True):
        assert claim.question in words and claim.quotation in words and verdict.sentence in words
        assert claim.computed in words
    assert "None of the paper's 14 models has been run here on its sequences so far." in words
    assert "4 hold, 2 do not, and 7 cannot be told" in words
    assert all(line.model in words.split("Still to be run:")[1] for line in TABLE_2)
    assert not app.button


def test_every_chart_and_table_has_words_for_those_who_do_not_see_it(app: AppTest) -> None:
    charts = protos(app, "plotly_chart")
    assert len(charts) == 3
    assert all(line.model in chart.alt for chart in charts for line in TABLE_2)
    assert set(tables(app)) == {"Table 2 of the paper", "Table 1 of the paper"}


def test_table_2_is_there_number_by_number_and_can_be_sorted(app: AppTest) -> None:
    rows = tables(app)["Table 2 of the paper"]
    assert [row[0]["text"] for row in rows] == [line.model for line in TABLE_2]
    assert [row[3]["sort"] for row in rows] == [line.silhouette_families for line in TABLE_2]
    assert len(tables(app)["Table 1 of the paper"]) == 12


def test_the_bundled_model_stands_beside_the_papers(app: AppTest) -> None:
    store_as_run(read_settings(), MINILM)
    app.run()
    assert not app.exception and not app.error
    words = told(app)
    assert "all-MiniLM-L6-v2, which was, scores −0.09, below 12 of them" in words
    assert "On the runs here" not in words.replace("On the runs here: not enough", "")
    (row,) = tables(app)["Our scores beside the paper's"]
    assert [cell["text"] for cell in row][:5] == ["all-MiniLM-L6-v2", "−0.092", "–", "–", "no interval yet"]
    assert len(protos(app, "plotly_chart")) == 4


def test_our_value_the_papers_and_the_difference_stand_side_by_side(app: AppTest) -> None:
    ours = replace(PINNED[0], silhouette_families=PINNED[0].silhouette_families + 0.05)
    store_as_run(read_settings(), ours, *PINNED[1:])
    app.run()
    assert not app.exception and not app.error
    words, rows = told(app), tables(app)["Our scores beside the paper's"]
    assert [row[0]["text"] for row in rows] == [line.model for line in PINNED]
    assert rows[0][3]["text"] == "+0.050" and rows[1][3]["text"] == "+0.000"
    assert f"the largest difference is +0.05, of {ours.model}" in words
    assert "transformers" in words
    own = judged([ours, *PINNED[1:]])
    assert all(verdict.sentence in words for verdict in own)


def test_a_button_shows_the_map_of_a_model_that_was_run(app: AppTest) -> None:
    line = PINNED[0]
    store_as_run(read_settings(), line)
    app.run()
    (button,) = app.button
    assert button.label.replace("\\", "").replace("\u2060", "") == f"Figure {figure_number(line)}: {line.model}"
    button.click().run()
    assert not app.exception and not app.error
    name = next(row.name for row in CATALOGUE.values() if row.paper_name == line.model)
    assert list(app.multiselect(key="models").value) == [name]
    assert list(app.multiselect(key="families").value) == list(paper_study().families)


def test_a_rerun_is_quick(app: AppTest) -> None:
    app.run()
    began = time.process_time()
    for _ in range(5):
        app.run()
    assert (time.process_time() - began) / 5 < 0.6, "0.03 s was measured; the library's own t-SNE alone takes longer"


SCRIPT = """
import json, sys
import numembed.worker
numembed.worker.start_supervisor = lambda settings: None
from streamlit.testing.v1 import AppTest
app = AppTest.from_file(sys.argv[2], default_timeout=60).run()
app.switch_page("pages/paper.py").run()
assert not app.exception and not app.error
print(json.dumps([name for name in sys.argv[1].split(",") if name in sys.modules]))
"""


def test_the_page_imports_nothing_heavy(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, ",".join(HEAVY), str(ROOT / "app.py")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize(("shift", "where"), [(0.0, "inside"), (0.5, "outside")])
def test_redrawn_windows_say_whether_the_papers_value_lies_within(app: AppTest, shift: float, where: str) -> None:
    line = PINNED[0]
    store_as_run(read_settings(), line)
    (row,) = (row for row in CATALOGUE.values() if row.paper_name == line.model)
    near = [line.silhouette_families + shift + step / 100 for step in range(-3, 4)]
    with ResultStore(read_settings().app_db) as results:
        key = design_key(paper_study(), model(row.name), USUAL_DESIGNS)
        results.put_designs(key, {"silhouette families": near})
    app.run()
    (shown,) = tables(app)["Our scores beside the paper's"]
    assert shown[4]["text"].endswith(f", the paper's is {where}") and " to " in shown[4]["text"]
