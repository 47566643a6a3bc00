"""The Paper page through app.py: complete on an empty store, and beside what was run."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from numembed.analysis.scores import SILHOUETTE
from numembed.core.settings import read_settings
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.paper.claims import CLAIMS, judged
from numembed.paper.comparison import facts_of_line, figure_number, own_line, own_results
from numembed.paper.protocol import paper_study
from numembed.paper.published import TABLE_2, PublishedScore
from numembed.studies.keys import design_key
from numembed.studies.results import ResultStore
from numembed.studies.study import USUAL_DESIGNS
from tests.pages.elements import charts, opened, plain, protos, told
from tests.pages.light import heavy_after
from tests.paper.test_comparison import store_as_run

PINNED = [line for line in TABLE_2 if (row := facts_of_line(line)) is not None and model(row.name).resolved]
MINILM = PublishedScore("all-MiniLM-L6-v2", -0.0922, 3.1046, 0.2299, 1.1919)


@pytest.fixture
def page(app: AppTest) -> AppTest:
    """The Paper page on an empty store."""
    return opened(app, "pages/paper.py")


def tables(app: AppTest) -> dict[str, list[list[dict[str, Any]]]]:
    """Return the cells of every table by its label."""
    found = [json.loads(proto.json) for proto in protos(app, "bidi_component")]
    return {data["label"]: json.loads(data["rows"]) for data in found}


def test_the_page_is_complete_on_an_empty_store(page: AppTest) -> None:
    assert not page.exception and not page.error and not page.warning
    assert [heading.value for heading in page.subheader] == [
        "What did the paper find?",
        "Do our runs agree?",
        "Do its claims hold?",
        "Where are its maps?",
    ]
    words = told(page)
    for claim, verdict in zip(CLAIMS, judged(TABLE_2), strict=True):
        assert claim.question in words and claim.quotation in words and verdict.sentence in words
        assert claim.computed in words and verdict.spread in words
    assert "None of the paper's 14 models has been run here on its sequences so far." in words
    assert "6 hold, 2 do not, and 13 cannot be determined" in words
    assert all(line.model in words.split("Not run yet:")[1] for line in TABLE_2)
    assert not page.button


def test_every_chart_and_table_has_words_for_those_who_do_not_see_it(page: AppTest) -> None:
    assert len(charts(page)) == 3
    assert all(line.model in chart.alt for chart in charts(page) for line in TABLE_2)
    assert set(tables(page)) == {"Table 2 of the paper", "Table 1 of the paper", "Words and standard terms"}


def test_table_2_is_there_number_by_number_and_can_be_sorted(page: AppTest) -> None:
    rows = tables(page)["Table 2 of the paper"]
    assert [row[0]["text"] for row in rows] == [line.model for line in TABLE_2]
    assert [row[3]["sort"] for row in rows] == [line.silhouette_families for line in TABLE_2]
    assert len(tables(page)["Table 1 of the paper"]) == 12


def test_the_bundled_model_is_compared_with_the_papers(page: AppTest) -> None:
    store_as_run(read_settings(), MINILM)
    page.run()
    assert not page.exception and not page.error
    words = told(page)
    assert "all-MiniLM-L6-v2, which was run, scores −0.09, below 12 of them" in words
    assert "On the runs here" not in words.replace("On the runs here: not enough", "")
    (row,) = tables(page)["Our scores and the paper's"]
    assert [cell["text"] for cell in row][:5] == ["all-MiniLM-L6-v2", "−0.092", "–", "–", "no interval yet"]
    assert len(charts(page)) == 4


def test_our_value_the_papers_and_the_difference_stand_side_by_side(page: AppTest) -> None:
    ours = replace(PINNED[0], silhouette_families=PINNED[0].silhouette_families + 0.05)
    store_as_run(read_settings(), ours, *PINNED[1:])
    page.run()
    assert not page.exception and not page.error
    words, rows = told(page), tables(page)["Our scores and the paper's"]
    assert [row[0]["text"] for row in rows] == [line.model for line in PINNED]
    assert rows[0][3]["text"] == "+0.050" and rows[1][3]["text"] == "+0.000"
    assert f"the largest difference is +0.05, of {ours.model}" in words
    assert "cannot be determined before they are redrawn" in words and "No windows have been redrawn yet" in words
    assert "transformers" in words
    with ResultStore(read_settings().app_db) as results:
        own = judged([own_line(result) for result in own_results(results)])
    assert all(verdict.sentence in words for verdict in own)


def test_a_button_shows_the_map_of_a_model_that_was_run(page: AppTest) -> None:
    line = PINNED[0]
    store_as_run(read_settings(), line)
    page.run()
    (button,) = page.button
    assert plain(button.label) == f"Figure {figure_number(line)}: {line.model}"
    button.click().run()
    assert not page.exception and not page.error
    name = next(row.name for row in CATALOGUE.values() if row.paper_name == line.model)
    assert list(page.multiselect(key="models").value) == [name]
    assert list(page.multiselect(key="families").value) == list(paper_study().families)


def test_a_rerun_is_quick(page: AppTest) -> None:
    page.run()
    began = time.process_time()
    for _ in range(5):
        page.run()
    assert (time.process_time() - began) / 5 < 0.6, "0.03 s was measured; the library's own t-SNE alone takes longer"


STEPS = """
app.run().switch_page("pages/paper.py").run()
assert not app.exception and not app.error
"""


@pytest.mark.slow
def test_the_page_imports_nothing_heavy(home: Path) -> None:
    assert heavy_after(STEPS) == []


@pytest.mark.parametrize(("shift", "where"), [(0.0, "inside"), (0.5, "outside")])
def test_redrawn_windows_say_whether_the_papers_value_is_within(page: AppTest, shift: float, where: str) -> None:
    line = PINNED[0]
    store_as_run(read_settings(), line)
    (row,) = (row for row in CATALOGUE.values() if row.paper_name == line.model)
    near = [line.silhouette_families + shift + step / 100 for step in range(-3, 4)]
    with ResultStore(read_settings().app_db) as results:
        key = design_key(paper_study(), model(row.name), USUAL_DESIGNS)
        results.put_designs(key, {SILHOUETTE: near})
    page.run()
    words, more = told(page), {"inside": "no more", "outside": "more"}[where]
    assert f"That is {more} than redrawing the windows explains." in words
    for unknown in ("before they are redrawn", "No windows have been redrawn", "not computed yet"):
        assert unknown not in words
    (shown,) = tables(page)["Our scores and the paper's"]
    assert shown[4]["text"].endswith(f", the paper's is {where}") and " to " in shown[4]["text"]
