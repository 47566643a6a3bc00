"""A map that is registered and nothing more is drawn, offered, captioned, examined and exported."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from numembed.analysis.maps.projections import PROJECTIONS, caption_of, project, run_order, seeded_maps
from numembed.cli import main
from numembed.core.arrays import Matrix, Points
from numembed.core.errors import BadChoice
from numembed.core.registry import Range
from numembed.core.settings import Settings
from numembed.examinations.maps.compute import SEEDS
from numembed.paper.protocol import paper_study
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_projection
from tests.pages.elements import opened, protos, told, work_off

STUDY = paper_study("last_digits")
CAPTION = "Lattice, 3 columns of 24 sequences"


def lattice(
    matrix: Matrix, *, dims: int, seed: int, columns: Annotated[int, Range(1, 9)] = 3
) -> tuple[Points, dict[str, Any]]:
    """Puts the sequences on a lattice, whatever their vectors are."""
    rows = np.random.default_rng(seed).permutation(len(matrix))
    points = np.stack([rows % columns, rows // columns, rows % 2][:dims], axis=1)
    return points.astype(np.float32), {"columns": columns, "rows": len(matrix)}


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """Register the lattice beside PCA alone, which is quick; the folders in which it was to keep compiled code."""
    folders: list[Path | None] = []

    @contextlib.contextmanager
    def compiles(folder: Path | None) -> Iterator[None]:
        folders.append(folder)
        yield

    monkeypatch.setattr(PROJECTIONS, "_entries", {"pca": PROJECTIONS["pca"]})
    PROJECTIONS.register(
        "Lattice",
        caption=lambda used: f"Lattice, {used['columns']} columns of {used['rows']} sequences",
        seeded={"columns": 4},
        compiles=compiles,
    )(lattice)
    return folders


def test_its_facts_decide_when_it_is_drawn_and_its_options_are_checked(compiled: list[Path | None]) -> None:
    assert run_order() == (("pca",), ("lattice",)) and seeded_maps() == {"lattice": {"columns": 4}}
    points, used = project(np.eye(24, dtype=np.float32), "lattice", columns=2, cache_folder=Path("there"))
    assert used == {"columns": 2, "rows": 24} and points[:, 0].max() == 1 and compiled == [Path("there")]
    with pytest.raises(BadChoice, match="columns takes a whole number from 1 to 9"):
        project(np.eye(24, dtype=np.float32), "lattice", columns=10)


def test_one_without_any_facts_has_its_title_as_caption(compiled: list[Path | None]) -> None:
    def plain(matrix: Matrix, *, dims: int, seed: int) -> tuple[Points, dict[str, Any]]:
        return matrix[:, :dims], {"more": 1}

    PROJECTIONS.register("Plain")(plain)
    assert caption_of("plain", {"more": 1}) == "Plain" and caption_of("plain", {"note": "none"}) == "none"
    assert run_order()[0] == ("pca", "plain") and "plain" not in seeded_maps()


@pytest.mark.slow
def test_a_run_stores_and_exports_it(
    compiled: list[Path | None], settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--study", "paper", "--models", "last_digits", "--out", str(tmp_path / "out")]) == 0
    with ResultStore(settings.app_db) as results:
        for dims in (2, 3):
            found = stored_projection(STUDY, STUDY.models[0], results, method="lattice", dims=dims)
            assert found is not None and found.points.shape == (24, dims) and found.used["columns"] == 3
    assert set(compiled) == {settings.compiled}
    page = (tmp_path / "out" / "maps.html").read_text()
    assert "<h2>PCA</h2>" in page and "<h2>Lattice</h2>" in page and "<h2>UMAP</h2>" not in page


@pytest.mark.slow
def test_the_maps_verb_examines_it_with_its_seeds(
    compiled: list[Path | None], settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["maps", "--study", "paper", "--models", "last_digits", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    parts = {(row["part"], row["method"]) for row in rows if "method" in row}
    drawn = {(part, method) for part in ("map", "drawn", "noise") for method in ("pca", "lattice")}
    assert parts == drawn | {("seeds", "lattice")}
    seeds = next(row for row in rows if row.get("part") == "seeds")
    assert len(seeds["points"]) == SEEDS
    assert len({place[0] for place in seeds["points"][0]}) > 3, "its seeds are drawn with the options of its facts"


@pytest.mark.slow
def test_compare_offers_it_and_draws_it_with_its_caption(
    compiled: list[Path | None], app: AppTest, settings: Settings
) -> None:
    app.query_params["models"] = ["last_digits"]
    app.run().button(key="run").click().run()
    work_off(settings)
    opened(app, "pages/compare.py")
    offered = app.segmented_control(key="method")
    assert list(offered.options) == ["PCA", "Lattice"] and offered.value == "pca"
    assert "**Lattice**: Puts the sequences on a lattice" in offered.proto.help
    offered.set_value("lattice").run()
    assert not app.exception and CAPTION in told(app)
    assert any(chart.alt.startswith("Lattice map in 2 dimensions") for chart in protos(app, "plotly_chart"))


@pytest.mark.slow
def test_the_maps_page_says_which_maps_have_seeds(
    compiled: list[Path | None], app: AppTest, settings: Settings
) -> None:
    app.query_params["models"] = ["last_digits"]
    app.run().button(key="run").click().run()
    work_off(settings)
    opened(app, "pages/maps.py").button(key="ask maps").click().run()
    work_off(settings)
    app.run()
    assert not app.exception and list(app.segmented_control(key="seeds_method").options) == ["Lattice"]
    assert "The same for every seed: PCA." in told(app) and "Six seeds: Lattice." in told(app).replace("*", "")
