"""Who is next: short runs first, visitor by visitor, none more than its share, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numembed.core.errors import LIGHT, MODEL, BadChoice
from numembed.core.settings import RunLimits
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.models.catalogue.names import model
from numembed.runs.jobs import JobTable
from numembed.runs.queue import LONG_SECONDS, TURN_SECONDS, Place, Wait, in_order, next_in, wait_of
from numembed.studies.study import Study

STUDY = Study(("even", "odd"), (model("last_digits"),), per_family=2, length=5)


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[JobTable]:
    with JobTable(tmp_path / "app.db") as table:
        yield table


def _ask(jobs: JobTable, number: int, visitor: str, limits: RunLimits | None = None) -> str:
    return jobs.submit(replace(STUDY, seed=number), asked_by=visitor, visitor=visitor, limits=limits)


def _end(jobs: JobTable, job: str) -> None:
    jobs.finish(job, state="done", seconds=1.0, progress=())


def _hand_over(jobs: JobTable, job: str, lane: str, expected: float | None) -> None:
    jobs.pause(job, lane=lane, expected=expected, seconds=1.0, progress=(), notes="")


def test_visitors_take_turns(jobs: JobTable) -> None:
    asked = [_ask(jobs, number, visitor) for number, visitor in enumerate("AAAABBC")]
    taken = []
    while (job := jobs.claim()) is not None:
        taken.append(job.asked_by)
        _end(jobs, job.id)
    assert "".join(taken) == "ABCABAA" and len(asked) == 7


def test_a_visitor_who_comes_later_waits_for_one_run_of_each_other(jobs: JobTable) -> None:
    for number in range(10):
        _ask(jobs, number, "A")
    for _ in range(3):
        job = jobs.claim()
        assert job is not None and job.asked_by == "A"
        _end(jobs, job.id)
    late = _ask(jobs, 99, "B")
    job = jobs.claim()
    assert job is not None and job.id == late


def test_short_runs_go_first_and_a_long_one_has_its_turn(jobs: JobTable) -> None:
    long, short = _ask(jobs, 0, "A"), _ask(jobs, 1, "B")
    jobs.claim()
    _hand_over(jobs, long, MODEL, 600.0)
    jobs.claim()
    _hand_over(jobs, short, MODEL, 5.0)
    later = _ask(jobs, 2, "A")
    assert jobs.claim(LIGHT).id == later  # type: ignore[union-attr]
    _hand_over(jobs, later, MODEL, None)  # nobody knows yet: it may be short
    assert [place.id for place in in_order(jobs.queue(), MODEL, active_runs=9)] == [short, later, long]
    assert next_in(jobs.queue(), MODEL, active_runs=9, long_first=True).id == long  # type: ignore[union-attr]
    assert jobs.claim(LIGHT) is None
    for job in (short, later):
        assert jobs.claim(MODEL, short_only=True).id == job  # type: ignore[union-attr]
    assert jobs.claim(MODEL, short_only=True) is None and jobs.claim(MODEL).id == long  # type: ignore[union-attr]


def test_a_run_that_changes_its_lane_is_no_new_attempt_and_keeps_what_it_took(jobs: JobTable) -> None:
    job = _ask(jobs, 0, "A")
    jobs.claim(LIGHT)
    for lane in (MODEL, LIGHT, MODEL):
        jobs.pause(job, lane=lane, expected=None, seconds=2.0, progress=(), notes="{}")
        claimed = jobs.claim(lane)
        assert claimed is not None and (claimed.attempts, claimed.lane) == (1, lane)
    assert jobs.get(job).seconds == 6.0
    jobs.cancel(job)
    jobs.pause(job, lane=LIGHT, expected=None, seconds=0.0, progress=(), notes="")
    assert jobs.get(job).state == "cancelled", "a cancel that came meanwhile is heard"


def test_a_merging_experiment_begins_where_models_are_loaded(jobs: JobTable) -> None:
    job = jobs.get(jobs.submit(MergeExperiment(), asked_by="A"))
    assert job.lane == MODEL and jobs.claim(LIGHT) is None
    assert not jobs.queue()[0].is_short


def test_each_visitor_has_so_many_runs_at_a_time_and_so_many_that_wait(jobs: JobTable) -> None:
    limits = RunLimits(active_runs=3, waiting_runs=4)
    asked = [_ask(jobs, number, "10.0.0.7", limits) for number in range(3)]
    for job in asked:
        assert jobs.claim(LIGHT, active_runs=3) is not None
        _hand_over(jobs, job, MODEL, None)
    more = [_ask(jobs, number, "10.0.0.7", limits) for number in range(3, 7)]
    with pytest.raises(BadChoice, match=r"^4 of your runs are waiting, the most .* This one was not requested\. Wait"):
        _ask(jobs, 7, "10.0.0.7", limits)
    assert _ask(jobs, 4, "10.0.0.7", limits) == more[1], "an equal run is no further one"
    assert jobs.claim(LIGHT, active_runs=3) is None, "three of this visitor have begun"
    other = _ask(jobs, 8, "10.0.0.8", limits)
    assert jobs.claim(LIGHT, active_runs=3).id == other  # type: ignore[union-attr]
    assert jobs.claim(MODEL, active_runs=3).id == asked[0]  # type: ignore[union-attr]
    _end(jobs, asked[0])
    assert jobs.claim(LIGHT, active_runs=3).id == more[0]  # type: ignore[union-attr]


def test_on_this_machine_there_are_no_limits(jobs: JobTable) -> None:
    for number in range(30):
        _ask(jobs, number, "")
    for _ in range(30):
        assert jobs.claim(LIGHT, active_runs=3) is not None


def test_what_a_run_waits_for(jobs: JobTable) -> None:
    present, long, mine, other = (_ask(jobs, number, visitor) for number, visitor in enumerate("ABCD"))
    for job, seconds in ((present, 600.0), (long, 120.0), (mine, 20.0), (other, 10.0)):
        jobs.claim(LIGHT)
        _hand_over(jobs, job, MODEL, seconds)
    assert jobs.claim(MODEL, long_first=True).id == present  # type: ignore[union-attr]
    waits = {job: wait_of(jobs.queue(), job, active_runs=3) for job in (present, mine, other, long)}
    assert waits[present] is None
    assert waits[mine] == Wait(1, (present,), TURN_SECONDS), "the long one gives way"
    assert waits[other] == Wait(2, (present, mine), TURN_SECONDS + 20)
    assert waits[long] == Wait(3, (present, mine, other), 630)
    unknown = _ask(jobs, 9, "E")
    assert wait_of(jobs.queue(), unknown, active_runs=3) == Wait(1, (), 0), "it waits in another lane"
    jobs.claim(LIGHT)
    _hand_over(jobs, unknown, MODEL, None)
    last = _ask(jobs, 10, "F")
    jobs.claim(LIGHT)
    _hand_over(jobs, last, MODEL, LONG_SECONDS)
    waiting = wait_of(jobs.queue(), last, active_runs=3)
    assert waiting is not None and waiting.place == 5 and waiting.seconds is None


def test_a_damaged_row_is_in_some_lane_and_begins(jobs: JobTable) -> None:
    job = _ask(jobs, 0, "A")
    jobs._connection.execute("UPDATE jobs SET lane = 'mowel', turn = 'x', expected = x'00', visitor = x'ff'")
    assert jobs.claim(MODEL) is None
    assert jobs.claim(LIGHT).id == job  # type: ignore[union-attr]


_PLACES = st.lists(
    st.builds(
        Place,
        id=st.uuids().map(str),
        number=st.integers(1, 10_000),
        lane=st.sampled_from([LIGHT, MODEL]),
        waits=st.booleans(),
        begun=st.booleans(),
        visitor=st.sampled_from("ABCD"),
        turn=st.integers(0, 50),
        seconds=st.one_of(st.none(), st.floats(0, 1e4)),
        limited=st.booleans(),
    ),
    max_size=30,
    unique_by=(lambda place: place.id, lambda place: place.number),
)


@given(_PLACES, st.sampled_from([LIGHT, MODEL]))
def test_every_waiting_run_has_one_place_and_short_ones_come_before_long_ones(places: list[Place], lane: str) -> None:
    ordered = list(in_order(places, lane, active_runs=1_000))
    assert sorted(place.id for place in ordered) == sorted(one.id for one in places if one.waits and one.lane == lane)
    assert [place.is_short for place in ordered] == sorted((place.is_short for place in ordered), reverse=True)
    for number, place in enumerate(ordered, start=1):
        waiting = wait_of(places, place.id, active_runs=1_000)
        assert waiting is not None and waiting.place == number
    following = next_in(places, lane, active_runs=1_000)
    assert following == (ordered[0] if ordered else None)
