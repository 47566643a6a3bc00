"""A study whose sequences are matched: as JSON, as sequences, and through a whole run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numembed.core.errors import NumembedError, UnknownName
from numembed.core.settings import Settings
from numembed.export import scores_csv
from numembed.models.encoders.loaded import LoadedModel
from numembed.paper.protocol import paper_study
from numembed.runs.jobs import JobTable
from numembed.runs.study_run import run
from numembed.runs.worker import run_job
from numembed.sequences.matching import MATCHINGS, matched
from numembed.sequences.sets import redrawn
from numembed.storage.vectors import VectorStore
from numembed.studies.keys import design_key, examined_key
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_result
from numembed.studies.study import Study, furthest_start, redrawings
from tests.offline import OFFLINE

PLAIN = paper_study("last_digits")
ALL = MATCHINGS.names


@given(names=st.lists(st.sampled_from(ALL), max_size=5))
def test_a_matched_study_comes_back_from_its_json(names: list[str]) -> None:
    study = replace(PLAIN, matched=tuple(names))
    assert study.matched == tuple(name for name in ALL if name in names)
    assert Study.from_json(study.to_json()) == study
    assert json.loads(study.to_json())["matched"] == list(study.matched)
    assert (study.key == PLAIN.key) == (not names)


def test_wrong_names_are_refused_in_a_sentence() -> None:
    with pytest.raises(UnknownName, match="No matching is called 'magnitud'"):
        replace(PLAIN, matched=("magnitud",))
    for wrong in ("numbers", [1], {"numbers": True}):
        with pytest.raises(NumembedError, match="matched: a list of names"):
            Study.from_dict(PLAIN.as_dict() | {"matched": wrong})


def test_models_read_the_matched_sequences_and_plain_ones_stay_at_hand() -> None:
    study = replace(PLAIN, matched=ALL)
    assert study.plain_sequences == PLAIN.sequences
    assert study.sequences == matched(PLAIN.sequences, ALL) != PLAIN.sequences


def test_redrawn_windows_are_drawn_first_and_matched_then() -> None:
    study = replace(PLAIN, matched=("numbers", "length"))
    plain = redrawn(PLAIN.sequences, 3, seed=PLAIN.seed, furthest=furthest_start(PLAIN))
    designs = list(redrawings(study, 3))
    assert designs == [matched(design, study.matched) for design in plain]
    for design in designs:
        numbers = {
            name: {n for item in design.items if item.family == name for n in item.terms} for name in study.families
        }
        assert max(Counter(chain(*numbers.values())).values()) == 1


@pytest.mark.slow
def test_a_run_scores_the_matched_sequences_and_redraws_them(settings: Settings) -> None:
    study = replace(PLAIN, matched=ALL, designs=3)
    with VectorStore(settings.cache_db) as vectors, ResultStore(settings.app_db) as results:

        def scored(asked: Study) -> float:
            outcome = run(asked, vectors=vectors, results=results, loaded=LoadedModel(OFFLINE), settings=settings)
            assert outcome.errors == {}
            return outcome.results[0].score("silhouette", "families").value

        plain, fair = scored(PLAIN), scored(study)
        assert plain == pytest.approx(0.645, abs=0.001) and fair != pytest.approx(plain, abs=0.01)
        assert stored_result(PLAIN, PLAIN.models[0], results).designs == {}  # type: ignore[union-attr]
        found = stored_result(Study.from_json(study.to_json()), study.models[0], results)
        assert found is not None and found.score("silhouette", "families").value == fair
        assert {len(values) for values in found.designs.values()} == {3}
        assert "silhouette" in scores_csv(study, [found])


def test_what_cannot_be_matched_ends_the_job_with_its_sentence(settings: Settings) -> None:
    study = replace(PLAIN, families=(*PLAIN.families, "digit_sums"), matched=("magnitude",))
    with JobTable(settings.app_db) as jobs:
        jobs.submit(study, asked_by="test")
        job = jobs.claim()
        assert job is not None
        run_job(job, jobs, settings=settings, loaded=LoadedModel(OFFLINE))
        ended = jobs.get(job.id)
    told = " ".join([ended.error, *(step.note for step in ended.progress)])
    assert ended.state == "failed" and "Digit sums: within the first 100,000 terms" in told


def test_windows_that_are_redrawn_differ_though_a_matching_changes_nothing_in_the_plain_set() -> None:
    plain = Study(("consecutive", "even"), PLAIN.models, per_family=2, length=10, first_window=15)
    same = replace(plain, matched=("length",))
    (spec,) = plain.models
    assert plain.sequences.texts == same.sequences.texts
    assert [one.texts for one in redrawings(plain, 3)] != [one.texts for one in redrawings(same, 3)]
    assert design_key(plain, spec, 3) != design_key(same, spec, 3)
    assert examined_key(plain, spec, "stress") != examined_key(same, spec, "stress")
