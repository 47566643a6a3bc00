"""Two real workers: a short run of one visitor during the long run of another, and no model in the light lane."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.faults_places import SUPERVISOR, Place, wait_until
from numembed.analysis.scores import SILHOUETTE, plain_scores
from numembed.core.errors import LIGHT, MODEL
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.runs.queue import TURN_SECONDS
from numembed.studies.results import ResultStore
from numembed.studies.stored import previously_pinned, stored_result
from numembed.studies.study import Study
from tests.faults.test_kills import worker_of

pytestmark = pytest.mark.slow
LONG = Study(("even", "odd", "primes", "squares"), (model("all-MiniLM-L6-v2"),), per_family=130, length=60)
SHORT = Study(("even", "primes"), (model("all-MiniLM-L6-v2"),), per_family=3, length=17)


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    here = Place(settings)
    yield here
    here.clear()


def _log(place: Place, job: str) -> list[str]:
    lines = (place.settings.home / "worker.log").read_text().splitlines()
    return [line.split(job)[1].split(":")[0].split(",")[0] for line in lines if job in line]


def test_a_long_run_gives_way_to_a_short_one_and_both_end_right(place: Place) -> None:
    server = place.start("-c", SUPERVISOR)
    long = place.jobs.submit(LONG, asked_by="one")
    light, heavy = worker_of(server, place, LIGHT), worker_of(server, place, MODEL)
    wait_until(lambda: place.runs(long) and place.job(long).progress[0].done > 0)
    counts: list[int] = []
    short = place.jobs.submit(SHORT, asked_by="another")

    def ended() -> bool:
        counts.append(place.job(long).progress[0].done)
        return not place.job(short).active

    wait_until(ended)
    assert place.job(long).active, "the long run was too short to say anything"
    assert place.job(long).attempts == 1 and counts == sorted(counts)
    assert "waits again after" in " ".join(_log(place, long)), "the long run never gave way"
    assert not [one for one in light.memory_maps() if "torch" in one.path], "the light lane has loaded torch"
    assert [one for one in heavy.memory_maps() if "torch" in one.path]
    wait_until(lambda: not place.job(long).active, seconds=900)
    assert (place.job(long).state, place.job(short).state, TURN_SECONDS) == ("done", "done", 10.0)
    with ResultStore(place.settings.app_db) as results:
        for study in (LONG, SHORT):
            spec = previously_pinned(study.models[0], results)
            found = stored_result(study, study.models[0], results)
            assert spec is not None and found is not None
            matrix, there = place.vectors.read(spec.stored.key, study.sequences.texts)
            assert there.all() and np.isfinite(matrix).all()
            again = plain_scores(matrix, study.sequences.labels, distance="euclidean", seed=study.seed)
            assert found.score(*SILHOUETTE).value == pytest.approx(again[SILHOUETTE], abs=1e-6)
