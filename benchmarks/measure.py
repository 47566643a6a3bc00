"""A figure with its goal, and how CPU time is taken."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured number and its goal: at least, or (``at_most``) at most."""

    name: str
    value: float
    goal: float
    at_most: bool = False

    @property
    def reached(self) -> bool:
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    @property
    def sign_and_goal(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.goal:,g}"

    def __str__(self) -> str:
        verdict = "" if self.reached else "  MISSED"
        return f"{self.name}: ratio {self.value:,.4g} (goal {self.sign_and_goal}){verdict}"


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process for one call."""
    began = time.process_time()
    work()
    return time.process_time() - began


def interleaved(*works: Callable[[], object], rounds: int) -> list[float]:
    """Return the median CPU seconds of each work; the rounds alternate, so that drift hits all alike."""
    spent: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for times, work in zip(spent, works, strict=True):
            times.append(cpu_seconds(work))
    return [statistics.median(times) for times in spent]


def child_cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the processes that ``work`` starts and waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
