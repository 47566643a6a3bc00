"""A short run of one visitor that is asked for during the long run of another: when it begins, and how both end."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.faults_places import SUPERVISOR, Place, wait_until
from benchmarks.measure import Figure
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.runs.job import Job
from numembed.studies.results import ResultStore
from numembed.studies.study import Study

MINUTES = float(os.environ.get("NUMEMBED_QUEUE_MINUTES", "20"))  # of the long run, about
_FAMILIES = (
    *("even", "odd", "primes", "squares", "lucky"),
    *("composites", "triangular", "semiprimes", "squarefree", "evil"),
)


def queue() -> list[Figure]:
    """Return how long the short run waits, whether it ends while the long one goes on, and whether both end right."""
    with tempfile.TemporaryDirectory() as name:
        place = Place(Settings(Path(name) / "home", offline=True, prewarm=True))
        try:
            return _measured(place)
        finally:
            place.clear()


def _measured(place: Place) -> list[Figure]:
    place.start("-c", SUPERVISOR.replace("600", "7200"))
    spec = (model("all-MiniLM-L6-v2"),)
    first = place.jobs.submit(Study(("even", "odd"), spec, per_family=40, length=60), asked_by="nobody")
    wait_until(lambda: not place.job(first).active, seconds=600)  # so that times are known, as on a server at work
    with ResultStore(place.settings.app_db) as results:
        pace = statistics.median(work.seconds / work.texts for work in results.works())
    each = round(MINUTES * 60 / 2 / pace / len(_FAMILIES))  # with random weights they are all encoded once more
    long = place.jobs.submit(Study(_FAMILIES, spec, per_family=min(each, 1_900), length=60), asked_by="one")
    wait_until(lambda: place.runs(long) and place.job(long).progress[0].done > 50, seconds=1_200)
    asked = time.monotonic()
    short = place.jobs.submit(Study(("primes", "squares"), spec, per_family=20, length=47), asked_by="another")
    began: list[float] = []

    def ended() -> bool:
        if not began and place.runs(short):
            began.append(time.monotonic() - asked)
        return not place.job(short).active

    wait_until(ended, seconds=1_200)
    took, still_runs = time.monotonic() - asked, place.job(long).active
    wait_until(lambda: not place.job(long).active, seconds=7_200)
    runs = [place.job(one) for one in (long, short)]
    print(f"the long run took {runs[0].seconds or 0:.0f} s of work, the short one {runs[1].seconds or 0:.1f} s")
    print(f"the short one's model began after {began[0]:.1f} s, and it was done {took:.1f} s after it was asked for")
    return [
        Figure("queue: seconds until the short run's model begins", began[0], 30, at_most=True),
        Figure("queue: the long run still went on when the short one was done (1)", float(still_runs), 1),
        Figure("queue: both ended right at the first attempt (1)", float(_right(runs)), 1),
    ]


def _right(runs: list[Job]) -> bool:
    return all((job.state, job.attempts, job.error) == ("done", 1, "") for job in runs)
