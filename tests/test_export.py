"""Files for others: no cell is a formula, no page asks the network, numbers keep their digits."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numembed.analysis.scores import Score
from numembed.core.errors import BadChoice
from numembed.export import csv_cell, figure_html, maps_html, scores_csv, table_csv, write_folder
from numembed.figures.maps import groups_of, map_figure
from numembed.models.catalogue.names import model
from numembed.runs.study_run import Outcome
from numembed.studies.keys import projection_key
from numembed.studies.results import ModelResult, Projection, ResultStore
from numembed.studies.study import Study

# what a browser would fetch by itself: sources, style sheets, imports
_LOADS = re.compile(
    r"""(?:src|srcset|poster|data|action)\s*=\s*["']?\s*(?:https?:)?//|<link\b|<base\b|<iframe\b|<meta[^>]+refresh""",
    re.I,
)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+2", "'=1+2"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("|calc", "'|calc"),
        ("%0A", "'%0A"),
        ("  =1+2", "'  =1+2"),
        ("＝1+2", "'＝1+2"),
        ("－1", "'－1"),
        ("primes", "primes"),
        ("a=b", "a=b"),
        ("", ""),
        (-5, -5),
        (-0.0922, -0.0922),
        (None, None),
    ],
)
def test_no_cell_is_a_formula_and_numbers_stay_numbers(value: Any, cell: Any) -> None:
    assert csv_cell(value) == cell
    assert type(csv_cell(value)) is type(value)


def test_scores_keep_every_digit_and_names_are_no_formulas() -> None:
    scores = [
        Score("=HYPERLINK(0)", "silhouette", "families", -0.09217342734336853, p=0.1908),
        Score('a,b\n"c"', "ari", "kmeans", float("nan"), note="needs at least 2 families"),
    ]
    study = Study(("even", "odd"), (model("last_digits"),))
    results = [ModelResult(replace(study.models[0], name=one.model), 3, (one,), np.arange(6) % 2) for one in scores]
    rows = list(csv.DictReader(io.StringIO(scores_csv(study, results))))
    assert float(rows[0]["value"]) == -0.09217342734336853
    assert rows[0]["model"] == "'=HYPERLINK(0)"
    assert rows[0]["note"] == ""
    assert rows[1]["model"] == 'a,b\n"c"'
    assert (rows[1]["value"], rows[1]["note"]) == ("", "needs at least 2 families")


def test_headers_are_cells_too() -> None:
    assert table_csv(["=x", "y"], [[1, None]]) == "'=x,y\n1,\n"


@pytest.fixture
def run_with_maps(tmp_path: Path) -> Iterator[tuple[Study, Outcome, ResultStore]]:
    """A study of two baselines whose scores and maps are in the store."""
    study = Study(("even", "odd"), (model("last_digits"), model("string_length")), per_family=3, length=5)
    with ResultStore(tmp_path / "app.db") as store:
        results = []
        for spec in study.models:
            result = ModelResult(spec, 10, (Score(spec.name, "ari", "kmeans", 0.5),), np.arange(6) % 2)
            results.append(result)
            for method in ("tsne", "pca"):
                key = projection_key(spec, study.sequences, method=method, dims=2, seed=study.seed)
                points = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
                store.put_projection(key, Projection(points, method, {}))
        yield study, Outcome(tuple(results), {}), store


def test_the_page_of_maps_asks_no_other_host(run_with_maps: tuple[Study, Outcome, ResultStore]) -> None:
    study, outcome, store = run_with_maps
    page = maps_html(study, outcome.results, store)
    script, rest = (
        re.search(r"<script>(.*?)</script>", page, re.S),
        re.sub(r"<script>.*?</script>", "", page, flags=re.S),
    )
    assert script is not None and "plotly.js v" in script[1][:2_000]
    own = page.replace(script[1], "")
    assert not _LOADS.search(own)
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", own)
    assert "https://" not in rest and "http://" not in rest
    assert "mathjax" not in rest.lower().replace("mathjaxconfig", "")
    assert "cdn" not in rest.lower()


def test_the_page_of_maps_has_a_part_for_each_method_that_was_run(
    run_with_maps: tuple[Study, Outcome, ResultStore],
) -> None:
    study, outcome, store = run_with_maps
    page = maps_html(study, outcome.results, store)
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["t-SNE", "PCA"]
    assert page.count("Plotly.newPlot(") == 2
    for name in ("Last digits", "String length"):
        assert name in page


def test_a_single_figure_needs_no_network(run_with_maps: tuple[Study, Outcome, ResultStore]) -> None:
    sequences = run_with_maps[0].sequences
    groups = groups_of(sequences, np.zeros(6, dtype=np.int64), "family")
    figure = map_figure(Projection(np.zeros((6, 2), dtype=np.float32), "pca", {}), sequences, groups)
    page = figure_html(figure)
    assert re.findall(r"<script[^>]*\bsrc=", page) == []
    assert not re.search(r"<script[^>]*mathjax", page, re.I)
    assert "plotly.js v" in page
    assert "plotly.js v" not in figure_html(figure, whole=False)


def test_a_folder_holds_the_study_the_scores_and_the_maps(
    run_with_maps: tuple[Study, Outcome, ResultStore], tmp_path: Path
) -> None:
    study, outcome, store = run_with_maps
    write_folder(tmp_path / "new" / "out", study, outcome, store)
    out = tmp_path / "new" / "out"
    assert sorted(path.name for path in out.iterdir()) == ["maps.html", "scores.csv", "study.json"]
    assert Study.from_json((out / "study.json").read_text()) == study
    assert len((out / "scores.csv").read_text().splitlines()) == 3
    assert json.loads((out / "study.json").read_text())["families"] == ["even", "odd"]


def test_without_results_there_is_no_page_of_maps(
    run_with_maps: tuple[Study, Outcome, ResultStore], tmp_path: Path
) -> None:
    study, _, store = run_with_maps
    write_folder(tmp_path / "out", study, Outcome((), {"Last digits": "no"}), store)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["scores.csv", "study.json"]


def test_a_folder_that_cannot_be_written_is_a_sentence(
    run_with_maps: tuple[Study, Outcome, ResultStore], tmp_path: Path
) -> None:
    study, outcome, store = run_with_maps
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadChoice, match=r"cannot be written .*Name another"):
        write_folder(tmp_path / "file", study, outcome, store)
