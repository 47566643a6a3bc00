"""The paper's protocol, end to end, without a network: the numbers that the project was measured to give."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from numembed.core.settings import read_settings
from numembed.models.catalogue.names import CATALOGUE
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.spec import HubWeights, ModelSpec
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import run
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ModelResult, ResultStore
from numembed.studies.stored import stored_projection
from tests.offline import OFFLINE

pytestmark = pytest.mark.slow
MINILM = {
    ("silhouette", "families"): -0.0922,
    ("davies_bouldin", "families"): 3.1046,
    ("silhouette", "kmeans"): 0.2299,
    ("davies_bouldin", "kmeans"): 1.1919,
    ("ari", "kmeans"): -0.094,
    ("ami", "kmeans"): -0.152,
}
STUDY = paper_study("all-MiniLM-L6-v2", "last_digits", "first_differences")


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, ModelResult], ResultStore]]:
    """The results by model name and the store that holds the maps."""
    home = tmp_path_factory.mktemp("paper")
    settings = read_settings({**os.environ, "NUMEMBED_HOME": str(home), "HF_HUB_OFFLINE": "1"})
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(STUDY, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
        assert outcome.errors == {}
        yield {result.model.name: result for result in outcome.results}, results


def test_the_sequences_are_the_papers() -> None:
    texts = STUDY.sequences.texts
    assert len(texts) == 24
    assert texts[0].startswith("1, 2, 3, ") and texts[0].endswith(", 49, 50")
    assert texts[12].startswith("2, 3, 5, 7, 11, ")
    assert texts[16].startswith("0, 1, 3, 6, 2, 7, 13, ")


@pytest.mark.parametrize(("metric", "labels"), MINILM)
def test_the_bundled_models_scores(paper: tuple[dict[str, ModelResult], ResultStore], metric: str, labels: str) -> None:
    score = paper[0]["all-MiniLM-L6-v2"].score(metric, labels)
    assert score.value == pytest.approx(MINILM[metric, labels], abs=0.002)


def test_the_bundled_model_is_at_chance(paper: tuple[dict[str, ModelResult], ResultStore]) -> None:
    score = paper[0]["all-MiniLM-L6-v2"].score("silhouette", "families")
    assert score.chance_mean == pytest.approx(-0.109, abs=0.005)
    assert score.p == pytest.approx(0.19, abs=0.03)


def test_trivial_baselines_beat_it_and_chance(paper: tuple[dict[str, ModelResult], ResultStore]) -> None:
    found = {result.model.weights.name: result for result in paper[0].values() if result.model.is_baseline}
    for name, value in (("last_digits", 0.645), ("first_differences", 0.548)):
        score = found[name].score("silhouette", "families")
        assert score.value == pytest.approx(value, abs=0.002)
        assert score.p == pytest.approx(0.0001)


def test_the_bundled_model_is_the_hubs_repository(paper: tuple[dict[str, ModelResult], ResultStore]) -> None:
    row = CATALOGUE["all-MiniLM-L6-v2"]
    hub = ModelSpec("whatever its name", HubWeights("sentence-transformers/all-MiniLM-L6-v2", row.revision))
    assert paper[0]["all-MiniLM-L6-v2"].model.key == hub.key
    assert len(row.revision) == 40
    assert paper[0]["all-MiniLM-L6-v2"].dimension == 384


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("method", ["tsne", "umap", "pca"])
def test_every_model_has_its_maps(paper: tuple[dict[str, ModelResult], ResultStore], method: str, dims: int) -> None:
    for result in paper[0].values():
        found = stored_projection(STUDY, result.model, paper[1], method=method, dims=dims)
        assert found is not None
        assert found.points.shape == (24, dims)
        if method == "tsne":
            assert found.used == {"perplexity": 6, "paper": 10, "iterations": 1_000, "program": "scikit-learn"}


def test_two_runs_in_fresh_homes_agree_to_the_last_digit(
    paper: tuple[dict[str, ModelResult], ResultStore], tmp_path: Path
) -> None:
    settings = read_settings({**os.environ, "NUMEMBED_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"})
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        again = run(STUDY, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
    for result in again.results:
        assert result.scores == paper[0][result.model.name].scores
