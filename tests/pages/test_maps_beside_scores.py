"""Compare's maps beside its scores, through app.py with real runs: which opens first, and what is said below it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from numembed.analysis.maps.families import map_silhouette
from numembed.analysis.maps.projections import PROJECTIONS
from numembed.core.settings import Settings
from numembed.export import maps_html
from numembed.studies.keys import projection_key
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_projection, stored_results
from numembed.studies.study import Study
from tests.pages.elements import charts, told, work_off

FEW = ["even", "odd"]
MANY = ["consecutive", "multiples", "primes"]


@pytest.fixture(autouse=True)
def without_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here asks for it, and it compiles for long."""
    quick = {name: PROJECTIONS[name] for name in ("tsne", "pca")}
    monkeypatch.setattr(PROJECTIONS, "_entries", quick)


def _run(app: AppTest, settings: Settings, families: list[str], per_family: int) -> Study:
    app.query_params.update(models=["last_digits"], families=families, per_family=str(per_family))
    app.run().button(key="run").click().run()
    work_off(settings)
    app.run()
    assert not app.exception
    return Study.from_dict({"models": ["last_digits"], "families": families, "per_family": per_family})


@pytest.mark.slow
def test_few_points_open_with_pca_until_a_visitor_chooses(app: AppTest, settings: Settings) -> None:
    _run(app, settings, FEW, 4)
    assert app.segmented_control(key="method").value == "pca" and "PCA, shows" in told(app)
    assert list(app.segmented_control(key="method").options) == ["t-SNE", "PCA"], "the order stays"
    _more(app, settings, 8)
    assert app.segmented_control(key="method").value == "tsne", "nobody has chosen yet"
    app.segmented_control(key="method").set_value("tsne").run()
    _more(app, settings, 4)
    assert app.segmented_control(key="method").value == "pca", "t-SNE stood there already: no choice"
    app.segmented_control(key="method").set_value("tsne").run()
    assert "t-SNE, perplexity 2 (paper: 10), 1,000 iterations" in told(app)
    for count in (8, 4):
        _more(app, settings, count)
        assert app.segmented_control(key="method").value == "tsne", "a choice stays"


def _more(app: AppTest, settings: Settings, per_family: int) -> None:
    app.number_input(key="per_family").set_value(per_family).run()
    app.button(key="run").click().run()
    work_off(settings)
    app.run()
    assert not app.exception


@pytest.mark.slow
def test_equal_vectors_and_a_map_that_contradicts_are_told(app: AppTest, settings: Settings) -> None:
    study = _run(app, settings, MANY, 8)
    texts = {
        text for chart in charts(app) for trace in json.loads(chart.spec)["data"] for text in trace.get("text") or ()
    }
    assert "\u00a0×4" in texts and "The map" not in told(app)
    with ResultStore(settings.app_db) as results:
        (result,) = stored_results(study, results)
        assert result is not None
        key = projection_key(result.model, study.sequences, method="tsne", dims=2, seed=0)
        drawn = stored_projection(study, result.model, results, method="tsne", dims=2)
        assert drawn is not None and drawn.families is not None and drawn.equal
        mixed = np.random.default_rng(0).permutation(drawn.points)
        shown = map_silhouette(mixed, study.sequences.labels, windows=study.sequences.windows, seed=0)
        results.put_projection(key, replace(drawn, points=mixed, families=shown, equal=()))
        page = maps_html(study, [result], results)
    app.run()
    assert "The map shows less of the families than the vectors do (silhouette" in told(app)
    assert "The map shows less of the families" in page
    app.segmented_control(key="method").set_value("pca").run()
    assert "The map shows" not in told(app)
