"""Further questions about each model of a study: what studies, keys, commands and pages know of them.

Each is one value, declared in ``numembed/examinations``. Nothing that computes is imported with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Examination:
    """A further question about each model of a study; everything that concerns it follows from this value."""

    name: str  # in studies, results and exports
    verb: str  # of the command line
    help: str  # what the verb does, in one sentence
    title: str  # of a run that asks it; {} stands for the models
    page: str  # that asks it and shows the answer
    module: str  # that holds its compute, text and rows as IMPLEMENTATION: a numembed.examinations.registry one
    options: tuple[str, ...] = ("designs",)  # entries of the study that decide the answer, beside sequences and seed
    with_explanation: bool = False  # whether the explanation of the clusters, which every run stores, is a part of it

    @property
    def implementation(self) -> Any:
        """Its functions, imported at their first use."""
        return import_module(self.module).IMPLEMENTATION


EXAMINATIONS: dict[str, Examination] = {}  # by name, in the order in which a study lists them


def register(examination: Examination) -> None:
    """Make an examination known everywhere; a second one with its name or verb is a fault of the program."""
    if any({examination.name, examination.verb} & {one.name, one.verb} for one in EXAMINATIONS.values()):
        raise ValueError(f"Two examinations are called {examination.name!r} or {examination.verb!r}.")
    EXAMINATIONS[examination.name] = examination
