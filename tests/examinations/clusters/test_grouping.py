"""Other ways of grouping: from vectors with a known answer to whole runs; no sentence says more than its shuffles."""

from __future__ import annotations

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import streamlit  # noqa: F401  sets Plotly's default template to placeholder colours, as in the app

from numembed.analysis.clusters.agreement import ranked_agreement
from numembed.analysis.clusters.attributes import attributes
from numembed.analysis.clusters.clusterers import CLUSTERERS, kmeans
from numembed.analysis.clusters.null_reference import REFERENCES, standing_out, without_groups
from numembed.analysis.metrics import silhouette
from numembed.core.arrays import Matrix
from numembed.core.errors import Cancelled
from numembed.core.serialization import as_plain, from_plain
from numembed.core.settings import Settings
from numembed.examinations.clusters import grouping as module
from numembed.examinations.clusters.grouping import Factor, Grouping, Way, examine
from numembed.examinations.clusters.rows import grouping_rows
from numembed.examinations.clusters.text import grouping_sentence, seeds_sentence, steps_sentence, ways_sentence
from numembed.figures.clusters import steps_figure
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.study_run import run
from numembed.storage.vectors import VectorStore
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_examination
from tests.offline import OFFLINE

STUDY = replace(
    paper_study("last_digits"), families=("even", "primes", "fibonacci", "squares"), per_family=5, length=12
)
ATTRIBUTES = attributes(STUDY.sequences)


@pytest.fixture(autouse=True)
def few_seeds(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fifty seeds and eleven numbers of groups take seconds; only the slow tests have them."""
    if "slow" not in request.keywords:
        monkeypatch.setattr("numembed.analysis.clusters.clusterers.default_seeds", lambda n: 4)
        monkeypatch.setattr(module, "default_seeds", lambda n: 4)
        monkeypatch.setattr(module, "KS", range(2, 5))


@functools.cache
def _of(attribute: str, noise: float = 0.05, seed: int = 0) -> Grouping:
    """Other ways of grouping vectors that hold one attribute and nothing else."""
    labels = ATTRIBUTES[attribute]
    matrix = np.eye(8)[labels] + np.random.default_rng(seed).normal(0, noise, (len(labels), 8))
    return examine(matrix.astype(np.float32), ATTRIBUTES, STUDY, progress=lambda done, total: None)


def _way(family: Factor, window: Factor) -> Way:
    return Way("ward", 4, 0, family, window, "window", window, 0.2)


YES, NO = Factor(0.5, 0.5, 0.01), Factor(0.01, 0.01, 0.4)
LESS, UNDEFINED = Factor(0.3, 0.3, 0.02), Factor(float("nan"), float("nan"), float("nan"))


@pytest.mark.slow
@pytest.mark.parametrize("attribute", ["family", "window"])
def test_every_clusterer_names_what_the_vectors_hold(attribute: str) -> None:
    found = _of(attribute)
    other = "window" if attribute == "family" else "family"
    assert [way.name for way in found.ways] == list(CLUSTERERS.names)
    for way in found.ways:
        assert way.attribute == attribute and way.most.p <= 0.05 and way.most.ari > 0.5, way
        assert getattr(way, attribute).ari > 0.5 > getattr(way, other).ari
    assert (
        ways_sentence(found)
        == f"Every way of grouping follows the {attribute} better than chance, and none the {other}."
    )
    assert "all give the same answer" in seeds_sentence(found) or attribute == "window"
    assert steps_sentence(found).startswith("4 groups stand out furthest") or attribute == "window"


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([(NO, YES), (NO, LESS)], "Every way of grouping follows the window better than chance, and none the family."),
        ([(YES, LESS), (LESS, YES)], "Every way of grouping follows both family and window better than chance."),
        (
            [(YES, LESS), (YES, NO)],
            "Of 2 ways of grouping, 2 follow the family and 1 follows the window better than chance.",
        ),
        ([(NO, NO), (NO, NO)], "None of 2 ways of grouping follows the family or the window better than chance."),
        (
            [(NO, YES), (YES, NO), (NO, NO)],
            "Of 3 ways of grouping, 1 follows the family, 1 follows the window and 1 follows neither better than "
            "chance.",
        ),
        (
            [(NO, YES), (NO, YES), (NO, NO), (NO, NO)],
            "Of 4 ways of grouping, 2 follow the window and 2 follow neither better than chance.",
        ),
        (
            [(NO, YES), (UNDEFINED, UNDEFINED)],
            "Every way that finds groups here follows the window better than chance, and none the family.",
        ),
        ([(UNDEFINED, UNDEFINED)], "No way of grouping finds groups that could follow family or window here."),
    ],
)
def test_the_sentence_counts_ways(pairs: list[tuple[Factor, Factor]], told: str) -> None:
    found = Grouping(tuple(_way(*pair) for pair in pairs), (), 4, 50, 0, float("nan"))
    assert ways_sentence(found) == told and grouping_sentence(found) == told


@pytest.mark.slow
def test_on_noise_at_most_one_sentence_in_twenty_claims_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numembed.analysis.clusters.clusterers.default_seeds", lambda n: 2)
    monkeypatch.setattr(module, "KS", range(3, 4))
    claims = {"ways": 0, "stands out": 0}
    for seed in range(12):
        matrix = np.random.default_rng(seed).standard_normal((len(STUDY.sequences), 16)).astype(np.float32)
        found = examine(matrix, ATTRIBUTES, replace(STUDY, seed=seed), progress=lambda done, total: None)
        claims["ways"] += not ways_sentence(found).startswith("None of 6")
        claims["stands out"] += "stand out furthest" in steps_sentence(found)
    assert max(claims.values()) <= 3, claims


def test_p_is_made_stricter_for_all_that_is_looked_at_together() -> None:
    matrix = np.random.default_rng(3).standard_normal((len(STUDY.sequences), 16)).astype(np.float32)
    found = examine(matrix, ATTRIBUTES, STUDY, progress=lambda done, total: None)
    plain = [
        {one.attribute: one.p for one in ranked_agreement(entry.function(matrix, 4, STUDY.seed), ATTRIBUTES)}
        for entry in CLUSTERERS
    ]
    told = [p for way in found.ways for p in (way.family.p, way.window.p)]
    assert min(told) == pytest.approx(min(1, 12 * min(min(one["family"], one["window"]) for one in plain)))
    for way, one in zip(found.ways, plain, strict=True):
        assert way.most.p >= one[way.attribute] and way.most.p >= min(1, len(ATTRIBUTES) * min(one.values()))


def test_vectors_without_groups_have_the_same_mean_and_variance_at_other_places() -> None:
    matrix = (np.random.default_rng(0).standard_normal((20, 30)) * np.linspace(1, 3, 30) + 5).astype(np.float32)
    other = without_groups(matrix, 1)
    assert other.mean(axis=0) == pytest.approx(matrix.mean(axis=0), abs=1e-4)
    assert np.cov(other.T) == pytest.approx(np.cov(matrix.T), abs=1e-3)
    assert np.abs(other - matrix).max() > 1 and not np.array_equal(without_groups(matrix, 2), other)


def test_clear_groups_stand_out_and_equal_vectors_say_why_not() -> None:
    matrix = 5 * np.eye(4, 6, dtype=np.float32)[np.arange(20) % 4]
    matrix = matrix + np.random.default_rng(0).normal(0, 0.3, matrix.shape).astype(np.float32)
    values = [silhouette(matrix, kmeans(matrix, k, 0)) for k in (2, 4)]
    found = standing_out(matrix, (2, 4), values)
    assert found.p == 1 / (1 + REFERENCES) and found.best == 1 and (found.high >= found.low).all()
    assert standing_out(np.ones((20, 6), np.float32), (2, 4), values).note == "all vectors are equal"


@pytest.mark.slow
def test_it_survives_its_json_and_is_drawn_in_both_themes() -> None:
    found = _of("family")
    plain = json.loads(json.dumps(as_plain(found), allow_nan=False))
    assert as_plain(from_plain(Grouping, plain)) == as_plain(found)
    for theme in ("light", "dark"):
        figure = steps_figure(found, theme=theme)
        assert len(figure.data) == 3 and "#00000" not in figure.to_json()
    assert [row["part"] for row in grouping_rows(found)] == ["way"] * len(CLUSTERERS) + ["k"] * len(found.steps) + [
        "best"
    ]


@pytest.mark.parametrize(("families", "per_family"), [(("even",), 1), (("even",), 4), (("even", "primes"), 1)])
@pytest.mark.parametrize("kind", ["noise", "equal"])
def test_strange_sets_are_answered_in_words(families: tuple[str, ...], per_family: int, kind: str) -> None:
    study = replace(STUDY, families=families, per_family=per_family)
    n = len(study.sequences)
    matrix: Matrix = np.random.default_rng(0).standard_normal((n, 4)).astype(np.float32)
    matrix = matrix if kind == "noise" else np.ones_like(matrix)
    found = examine(matrix, attributes(study.sequences), study, progress=lambda done, total: None)
    assert "nan" not in grouping_sentence(found) and grouping_sentence(found)
    assert steps_figure(from_plain(Grouping, json.loads(json.dumps(as_plain(found), allow_nan=False)))).data


def test_progress_never_goes_back_and_a_cancel_stops_it() -> None:
    heard: list[tuple[int, int]] = []
    matrix = np.random.default_rng(0).standard_normal((len(STUDY.sequences), 4)).astype(np.float32)
    examine(matrix, ATTRIBUTES, STUDY, progress=lambda done, total: heard.append((done, total)))
    assert [done for done, _ in heard] == sorted(done for done, _ in heard) and heard[-1][0] == heard[-1][1]

    def stop(done: int, total: int) -> None:
        if done > 3:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        examine(matrix, ATTRIBUTES, STUDY, progress=stop)


@pytest.mark.slow
def test_a_run_asks_it_and_keeps_it(settings: Settings) -> None:
    study = replace(STUDY, examine=("grouping",))
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
        assert not outcome.errors
        plain = stored_examination(study, outcome.results[0].model, "grouping", results)
    assert plain is not None
    found = from_plain(Grouping, plain)
    assert found.families == 4 and found.ways[0].family.ari == outcome.results[0].score("ari", "kmeans").value


@pytest.mark.slow
def test_the_bundled_models_groups_follow_the_window_whoever_groups(settings: Settings) -> None:
    study = replace(paper_study("all-MiniLM-L6-v2"), examine=("grouping",))
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
        plain = stored_examination(study, outcome.results[0].model, "grouping", results)
    assert plain is not None
    found = from_plain(Grouping, plain)
    first = next(way for way in found.ways if way.name == "kmeans")
    assert first.window.ari == pytest.approx(0.33, abs=0.05) and first.family.ari == pytest.approx(-0.09, abs=0.05)
    assert first.attribute == "window"
    assert all(way.window.ari > way.family.ari for way in found.ways)
    assert "follow the window" in ways_sentence(found) and "the family" not in ways_sentence(found).split("none")[0]
    assert "50 seeds of KMeans give" in seeds_sentence(found) and len(found.steps) == 11
