"""Map honesty: from planted vectors on a bench to whole runs of real models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import streamlit  # noqa: F401  sets Plotly's default template to placeholder colours, as in the app

from numembed.analysis.inference.power import smallest_beyond
from numembed.analysis.maps.projections import PROJECTIONS
from numembed.analysis.scores import score_all
from numembed.core.arrays import Matrix
from numembed.core.errors import Cancelled
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.examinations.maps.compute import SEEDS, Maps, MapTruth, maps
from numembed.examinations.maps.text import (
    groups_sentence,
    kept_sentence,
    maps_sentence,
    noise_sentence,
    scores_sentence,
    seeds_sentence,
    seen_sentence,
    smallest_in_map,
    smallest_seen,
)
from numembed.examinations.registry import ExaminationContext
from numembed.figures.map_faithfulness import kept_figure, noise_figure, scores_figure, seeds_figure
from numembed.figures.maps import groups_of
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import run
from numembed.storage.vectors import VectorStore
from numembed.studies.keys import examined_key, projection_key
from numembed.studies.results import ModelResult, Projection, ResultStore
from numembed.studies.stored import stored_examination, stored_projection, stored_warning
from numembed.studies.study import Study
from tests.offline import OFFLINE

STUDY = replace(paper_study("last_digits"), families=("even", "primes", "fibonacci"), length=12)
pytestmark = pytest.mark.slow  # UMAP is loaded and compiles at its first use


def _bench(
    matrix: Matrix, settings: Settings, store: ResultStore, tell: Callable[[int, int], None] = lambda done, total: None
) -> ExaminationContext:
    """A bench for planted vectors in place of a model's."""
    labels, spec = STUDY.sequences.labels, model("last_digits")
    scores, clusters = score_all(matrix, labels, model=spec.name)
    result = ModelResult(spec, matrix.shape[1], scores, clusters)
    return ExaminationContext(STUDY, spec, result, store, settings, lambda sequences, spec: matrix, tell)


def _planted(gap: float, seed: int = 0) -> Matrix:
    labels = STUDY.sequences.labels
    noise = np.random.default_rng(seed).standard_normal((len(labels), 32))
    return (noise + gap * np.eye(32)[labels]).astype(np.float32)


def _sentences(found: Maps) -> str:
    methods = [
        sentence(found, method) for method in PROJECTIONS.names for sentence in (noise_sentence, groups_sentence)
    ]
    seeds = [seeds_sentence(seeds, found.n) for seeds in found.seeds]
    return " ".join([maps_sentence("m", found), kept_sentence(found), scores_sentence(found), *methods, *seeds])


@pytest.fixture
def store(settings: Settings) -> Any:
    with ResultStore(settings.app_db) as opened:
        yield opened


def test_clear_families_are_kept_by_every_map_and_no_map_is_accused(settings: Settings, store: ResultStore) -> None:
    found = maps(_bench(_planted(9), settings, store))
    assert [(one.method, one.dims) for one in found.maps] == [(m, d) for d in (2, 3) for m in PROJECTIONS.names]
    assert found.space > found.chance_high and found.p <= 0.01
    assert [one.warning for one in found.maps] == [""] * 6
    flat = [one for one in found.maps if one.dims == 2]
    assert all(one.silhouette > max(one.chance_high, one.noise_highest) for one in flat)
    said = _sentences(found)
    assert said.startswith("No clear groups were found in the maps of m") and "which is more than chance" in said
    luck = f"of {found.noise_maps} maps of noise, as one map of noise in {found.noise_maps + 1} would by chance: "
    assert f"closer together in the model's map than in any {luck}" in said
    assert from_plain(Maps, json.loads(json.dumps(as_plain(found)))) == found


def test_noise_in_place_of_a_model_is_nowhere_distinguished_from_noise(settings: Settings, store: ResultStore) -> None:
    accused, closer = 0, 0
    for seed in range(2):
        found = maps(_bench(_planted(0, seed), settings, store))
        accused += any(one.warning for one in found.maps)
        closer += sum("than in any of" in noise_sentence(found, method) for method in PROJECTIONS.names)
        if found.p > 0.05:
            assert "which is not more than chance" in scores_sentence(found)
    assert accused <= 1 and closer <= 3  # of 6, and the best of ten by chance in one of ten


def test_the_test_within_windows_decides_what_is_said_of_the_vectors(settings: Settings, store: ResultStore) -> None:
    plain = maps(_bench(_planted(0), settings, store))
    found = replace(plain, p=0.6, p_within=0.001, within_mean=-0.1, within_high=-0.05)
    assert "in the vectors, which is more than chance within windows, and" in scores_sentence(found)
    assert seen_sentence(found) == ""
    other = replace(found, p=0.001, p_within=0.6)
    assert "in the vectors, which is not more than chance within windows, and" in scores_sentence(other)
    assert smallest_seen(other) == pytest.approx(smallest_beyond(-0.1, 0.05 / 1.96), rel=1e-3)
    old = replace(found, p=0.001, p_within=math.nan)
    assert "in the vectors, which is more than chance, and" in scores_sentence(old)


def test_the_points_are_those_that_compare_shows_and_a_lying_map_is_red(settings: Settings, store: ResultStore) -> None:
    labels, spec = STUDY.sequences.labels, model("last_digits")
    lie = (np.random.default_rng(5).standard_normal((3, 2))[labels] * 9).astype(np.float32)
    lie += np.random.default_rng(1).standard_normal(lie.shape).astype(np.float32) * 0.3
    key = projection_key(spec, STUDY.sequences, method="umap", dims=2, seed=STUDY.seed)
    store.put_projection(key, Projection(lie, "umap", {"neighbors": 11}))
    found = maps(_bench(_planted(0), settings, store))
    shown = np.asarray(next(one.points for one in found.drawn if one.method == "umap"))
    scale = np.ptp(lie, axis=0) / np.ptp(shown, axis=0)
    assert np.abs(shown).max() == pytest.approx(1) and scale[0] == pytest.approx(scale[1], rel=0.01)
    assert stored_warning(STUDY, spec, store, method="umap", dims=2) == "", "nobody has looked yet"
    store.put(examined_key(STUDY, spec, "maps"), as_plain(found))
    said = {
        (method, dims): stored_warning(STUDY, spec, store, method=method, dims=dims)
        for method, dims in (("umap", 2), ("umap", 3), ("pca", 2))
    }
    assert said[("umap", 2)].startswith("This map shows groups that the vectors do not")
    assert said[("umap", 3)] == said[("pca", 2)] == ""
    assert maps_sentence("m", found) == "Not everywhere: the UMAP map of m shows groups that its vectors do not have."


def test_six_seeds_of_clear_families_agree_more_than_those_of_noise(settings: Settings, store: ResultStore) -> None:
    clear, noise = (maps(_bench(_planted(gap), settings, store)) for gap in (9, 0))
    for one, other in zip(clear.seeds, noise.seeds, strict=True):
        assert len(one.points) == len(one.silhouettes) == SEEDS and len(one.points[0]) == len(STUDY.sequences)
        assert one.stability > one.chance and one.nearest == 3 and one.kept > max(other.kept, 3 / 11)
        assert len(set(one.points)) == SEEDS, "the seeds show the same map"
        assert max(abs(value) for places in one.points for row in places for value in row) == 1
        start = " from random starts" if one.method == "tsne" else ""
        assert f"Six maps of the same vectors{start} agree by" in seeds_sentence(one, clear.n)


def test_equal_vectors_have_dashes_and_no_error(settings: Settings, store: ResultStore) -> None:
    found = maps(_bench(np.ones((len(STUDY.sequences), 8), np.float32), settings, store))
    assert math.isnan(found.space) and all(math.isnan(one.trustworthiness) and not one.warning for one in found.maps)
    assert "all vectors are equal" in found.maps[0].note and json.dumps(as_plain(found), allow_nan=False)
    assert "have no score" in _sentences(found) and "nan" not in _sentences(found)


def test_it_tells_every_map_and_can_be_stopped(settings: Settings, store: ResultStore) -> None:
    told: list[tuple[int, int]] = []
    maps(_bench(_planted(3), settings, store, lambda done, total: told.append((done, total))))
    assert [done for done, _ in told] == list(range(told[0][1]))

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        maps(_bench(_planted(3), settings, store, stop))


def _run(study: Study, settings: Settings) -> tuple[ModelResult, dict[str, Any], dict[str, Projection | None]]:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
        assert not outcome.errors
        result = outcome.results[0]
        found = stored_examination(study, result.model, "maps", results)
        kept = {m: stored_projection(study, result.model, results, method=m, dims=2) for m in PROJECTIONS.names}
    assert found is not None
    return result, found, kept


@pytest.mark.parametrize("name", ["string_length", "all-MiniLM-L6-v2"])
def test_a_run_answers_and_every_picture_can_be_drawn(name: str, settings: Settings) -> None:
    study = replace(paper_study(name), examine=("maps",))
    result, plain, kept = _run(study, settings)
    found = from_plain(Maps, plain)
    for picture in found.drawn:
        projection = kept[picture.method]
        assert projection is not None
        centred = projection.points - (projection.points.max(axis=0) + projection.points.min(axis=0)) / 2
        assert np.asarray(picture.points) == pytest.approx(centred / np.abs(centred).max(), abs=1e-3)
    assert found.space == pytest.approx(result.score("silhouette", "families").value, abs=1e-4)
    assert len(json.dumps(plain)) < 20_000
    groups = groups_of(study.sequences, result.clusters, "family")
    pair = [("A", found.drawn[0]), ("B", found.noise[0])]
    for theme in ("light", "dark"):
        figures = [
            kept_figure(found, theme=theme),
            scores_figure(found, theme=theme),
            seeds_figure(found.seeds[0], study.sequences, groups, theme=theme),
            noise_figure(pair, study.sequences, groups, theme=theme),
        ]
        assert all("#00000" not in figure.to_json() and "NaN" not in figure.to_json() for figure in figures)
    assert len(figures[2].data) == SEEDS * 6 and sum(trace.showlegend is not False for trace in figures[2].data) == 6
    assert not any(one.warning for one in found.maps)
    assert "nan" not in _sentences(found)


def test_a_score_that_is_no_more_than_chance_has_the_smallest_that_would_have_been_seen() -> None:
    found = Maps(24, 8, 9, 0.5, -0.02, -0.05, -0.09, -0.01, 0.4, (), (), (), ())
    least = smallest_seen(found)
    assert least is not None and found.chance_high < least < 0.02
    assert seen_sentence(found) == "This design would have seen a silhouette of about 0.01 in the vectors (80% power)."
    assert seen_sentence(replace(found, p=0.01)) == "" and seen_sentence(replace(found, p=math.nan)) == ""
    numbers = dict.fromkeys([field.name for field in fields(MapTruth)][2:18], 0.1)
    one = MapTruth("pca", 2, **numbers | {"noise_silhouette": 0.0, "noise_highest": 0.1})  # type: ignore[arg-type]
    assert (
        0.14 < (smallest_in_map(found, one) or 0) < 0.17 and smallest_in_map(replace(found, noise_maps=1), one) is None
    )
