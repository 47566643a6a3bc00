"""The paper's claims that numbers can test: its words from claims.toml, each with the function that judges a table."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from numembed.paper import further_verdicts, verdicts, verdicts_on_causes
from numembed.paper.judging import FEW, Table, Verdict
from numembed.paper.published import PublishedScore

_FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, word for word, and the function that holds a table against it."""

    name: str
    quotation: str
    section: str
    question: str
    test: str  # what is done, in one sentence
    computed: str  # how, with its reference
    judge: Callable[[Table], Verdict]


def judged(table: Table) -> tuple[Verdict, ...]:
    """Return what ``table`` says of each of CLAIMS, in their order; computed once for equal tables."""
    if len(table) < 2:
        return (Verdict(FEW, "Two models or more are needed."),) * len(CLAIMS)
    return _judged(tuple(table))


@functools.lru_cache(maxsize=64)
def _judged(table: tuple[PublishedScore, ...]) -> tuple[Verdict, ...]:
    return tuple(claim.judge(table) for claim in CLAIMS)


def _read_claims() -> tuple[Claim, ...]:
    words = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    judges = vars(verdicts) | vars(verdicts_on_causes) | vars(further_verdicts)
    return tuple(Claim(name, judge=judges[name], **facts) for name, facts in words.items())


CLAIMS: tuple[Claim, ...] = _read_claims()
"""In the order of the argument."""
