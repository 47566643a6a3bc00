"""What the clusters encode: from synthetic vectors with a known answer to a whole run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import streamlit  # noqa: F401  sets Plotly's default template to placeholder colours, as in the app

from numembed.analysis.attributes import attributes
from numembed.analysis.labels import kmeans
from numembed.explain import LARGEST, Explanation, explain, sentence_of, shares_sentence
from numembed.figures.explain import agreement_figure, confusion_figure, shares_figure, similarity_figure
from numembed.models.encoders import LoadedModel
from numembed.paper import paper_study
from numembed.results import ResultStore
from numembed.run import run
from numembed.sequences.sets import make_sequences
from numembed.settings import Settings
from numembed.store import VectorStore
from numembed.study import stored_explanation
from tests.offline import OFFLINE

SEQUENCES = make_sequences(["even", "primes", "fibonacci", "squares"], per_family=6, length=12)


def _of(attribute: str, noise: float = 0.05) -> Explanation:
    """Vectors that hold one attribute and nothing else."""
    labels = attributes(SEQUENCES)[attribute]
    matrix = np.eye(8)[labels] + np.random.default_rng(0).normal(0, noise, (len(labels), 8))
    matrix = matrix.astype(np.float32)
    return explain(matrix, SEQUENCES, kmeans(matrix, SEQUENCES.labels, seed=0))


@pytest.mark.parametrize("attribute", ["family", "window", "string_length"])
def test_the_attribute_that_the_vectors_hold_is_named_first(attribute: str) -> None:
    found = _of(attribute)
    assert found.agreements[0].attribute == attribute and found.agreements[0].p <= 0.01
    assert attribute.replace("_", " ") in sentence_of("m", found).split(".")[0].lower()


def test_noise_is_claimed_to_follow_nothing() -> None:
    claims = 0
    for seed in range(60):
        matrix = np.random.default_rng(seed).standard_normal((len(SEQUENCES), 16)).astype(np.float32)
        found = explain(matrix, SEQUENCES, kmeans(matrix, SEQUENCES.labels, seed=0), seed=seed)
        family = next(one for one in found.agreements if one.attribute == "family")
        claims += "families they agree better" in sentence_of("m", found) or (
            found.agreements[0] is family and family.p <= 0.05
        )
    assert claims <= 7  # one in twenty by chance, and room for the luck of 60 draws


def test_shares_of_the_variance_are_told_as_they_are() -> None:
    family, window = _of("family", 0.3), _of("window", 0.3)
    assert "the family counts more" in shares_sentence(family)
    assert "the family counts less" in shares_sentence(window)
    for found in (family, window):
        assert sum(share.share for share in found.shares) == pytest.approx(1, abs=1e-6)


def test_it_survives_its_json_and_every_picture_is_drawn() -> None:
    found = _of("family")
    assert Explanation.from_json(found.as_json()) == found
    assert np.array(found.counts).sum() == len(SEQUENCES) and found.matched == 1.0
    for theme in ("light", "dark"):
        for figure in (
            agreement_figure(found, theme=theme),
            shares_figure(found, theme=theme),
            confusion_figure(found, SEQUENCES, theme=theme),
            similarity_figure(found, SEQUENCES, found.order, theme=theme),
        ):
            assert figure.data and "#00000" not in figure.to_json()
    heat = similarity_figure(found, SEQUENCES, found.order).data[0]
    assert np.allclose(np.diag(np.array(heat.z)), 1, atol=1e-3)


@pytest.fixture
def stores(settings: Settings) -> Iterator[tuple[VectorStore, ResultStore]]:
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:
        yield vectors, results


def test_a_run_explains_every_model_and_keeps_it(stores: tuple[VectorStore, ResultStore], settings: Settings) -> None:
    vectors, results = stores
    study = paper_study("last_digits", "log_magnitude")
    outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
    digits, sizes = (stored_explanation(study, result.model, results) for result in outcome.results)
    assert digits is not None and sizes is not None
    assert {one.attribute for one in digits.agreements[:2]} & {"family", "last_digits", "odd_share"}
    assert sizes.agreements[0].attribute in ("magnitude", "string_length", "window", "growth")


def test_many_sequences_are_not_explained_one_by_one(
    stores: tuple[VectorStore, ResultStore], settings: Settings
) -> None:
    vectors, results = stores
    study = replace(paper_study("string_length"), families=("even",), per_family=LARGEST + 1, length=2)
    outcome = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
    assert stored_explanation(study, outcome.results[0].model, results) is None


@pytest.mark.slow
def test_the_bundled_model_follows_the_window(stores: tuple[VectorStore, ResultStore], settings: Settings) -> None:
    vectors, results = stores
    study = paper_study("all-MiniLM-L6-v2")
    (result,) = run(study, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings).results
    found = stored_explanation(study, result.model, results)
    assert found is not None
    by_name = {one.attribute: one.ari for one in found.agreements}
    assert by_name["window"] == pytest.approx(0.33, abs=0.05) and by_name["family"] == pytest.approx(-0.09, abs=0.05)
    shares = {share.name: share.share for share in found.shares}
    assert shares["family"] == pytest.approx(0.19, abs=0.03) and shares["window"] == pytest.approx(0.30, abs=0.03)
    told = sentence_of("it", found)
    assert (
        told.startswith("The groups that KMeans finds in it follow the window most") and "no better than chance" in told
    )
    assert "token_count" in by_name
