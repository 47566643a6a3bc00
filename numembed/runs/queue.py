"""Which waiting run is next: short ones first, visitor by visitor, and of each visitor only so many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHORT_SECONDS = 30.0  # a run that is expected to take less is short; so is one of which nothing is known yet
TURN_SECONDS = 10.0  # that a long run has at least before it gives way to a short one
LONG_SECONDS = 1e9  # stands for a long run of which no more is known


@dataclass(frozen=True)
class Place:
    """An active run, as the queue sees it."""

    id: str
    number: int  # in order of requests
    lane: str
    waits: bool
    begun: bool
    visitor: str
    turn: int  # the newest of its visitor's: the higher, the later
    seconds: float | None  # that its lane is expected to need for it; None where nobody knows
    limited: bool = False  # whether the limits hold for its visitor

    @property
    def is_short(self) -> bool:
        """Whether it goes before long runs."""
        return self.seconds is None or self.seconds < SHORT_SECONDS


def in_order(places: Sequence[Place], lane: str, *, active_runs: int, long_first: bool = False) -> Iterator[Place]:
    """Yield the runs that wait in ``lane`` (in any, if "") in the order in which they begin.

    The visitor who was served longest ago is next. A visitor who is limited and has begun ``active_runs`` that are not
    over has the others come last. With ``long_first`` the first one is long, where there is one.
    """
    busy = _busy(places)
    turns = {place.visitor: place.turn for place in places}
    waiting = [place for place in places if place.waits and lane in ("", place.lane)]
    now = max(turns.values(), default=0)

    def order(place: Place) -> tuple[bool, bool, int, int]:
        held = _is_held(place, busy, active_runs)
        return held, place.is_short is long_first, turns[place.visitor], place.number

    while waiting:
        following = min(waiting, key=order)
        waiting.remove(following)
        yield following
        now, long_first = now + 1, False
        turns[following.visitor] = now
        busy[following.visitor] += not following.begun


def next_in(
    places: Sequence[Place], lane: str, *, active_runs: int, long_first: bool = False, short_only: bool = False
) -> Place | None:
    """Return the run that begins next, or None; with ``short_only`` only a short one."""
    following = next(in_order(places, lane, active_runs=active_runs, long_first=long_first), None)
    if following is None or (short_only and not following.is_short):
        return None
    return None if _is_held(following, _busy(places), active_runs) else following


def _busy(places: Sequence[Place]) -> Counter[str]:
    """Return how many runs of each visitor have begun."""
    return Counter(place.visitor for place in places if place.begun)


def _is_held(place: Place, busy: Counter[str], active_runs: int) -> bool:
    """Return whether a run has to wait until another one of its visitor is over."""
    return place.limited and not place.begun and busy[place.visitor] >= active_runs


@dataclass(frozen=True)
class Wait:
    """What a waiting run waits for."""

    place: int  # among those that wait, from 1
    ahead: tuple[str, ...]  # runs, the present one first
    seconds: float | None  # until it begins, about; None where nobody knows


def wait_of(places: Sequence[Place], job_id: str, *, active_runs: int) -> Wait | None:
    """Return what a run waits for in its lane; None where it does not wait.

    A long run that is there already gives way to a short one after its turn.
    """
    own = next((place for place in places if place.id == job_id and place.waits), None)
    if own is None:
        return None
    ordered = list(in_order(places, own.lane, active_runs=active_runs))
    running = [place for place in places if place.lane == own.lane and not place.waits]
    ahead = [*running, *ordered[: ordered.index(own)]]
    seconds = [TURN_SECONDS if own.is_short and _gives_way(place) else place.seconds for place in ahead]
    known = [one for one in seconds if one is not None and one < LONG_SECONDS]
    return Wait(
        ordered.index(own) + 1,
        tuple(place.id for place in ahead),
        sum(known) if len(known) == len(seconds) else None,
    )


def _gives_way(place: Place) -> bool:
    return not place.waits and not place.is_short
