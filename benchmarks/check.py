"""What the check of a loaded model costs: loading the bundled model with and without its reference vectors."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial

from benchmarks.measure import Figure, child_cpu_seconds, interleaved
from numembed.core.settings import read_settings
from numembed.models.catalogue.names import facts_of, model
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.references import compare
from numembed.models.resolve import folder_of

NAME = "all-MiniLM-L6-v2"
ROUNDS, PROCESSES = 9, 5
_LOAD = "from benchmarks.check import loaded; loaded(with_reference={})"


def loaded(*, with_reference: bool) -> SentenceEncoder:
    """Return the bundled model as a run loads it, or without the comparison."""
    spec, settings = model(NAME), read_settings()
    comparison = partial(compare, home=settings.home) if with_reference else None
    return SentenceEncoder(spec, folder_of(spec, settings), device="cpu", facts=facts_of(spec), compare=comparison)


def check() -> list[Figure]:
    """Loading the bundled model with its reference vectors compared, beside loading it without: CPU seconds."""
    with tempfile.TemporaryDirectory() as home:  # the reference that comes with the program counts
        os.environ["NUMEMBED_HOME"] = home
        new: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(PROCESSES):
            for wanted, spent in new.items():
                command = [sys.executable, "-c", _LOAD.format(wanted)]
                spent.append(child_cpu_seconds(partial(subprocess.run, command, check=True, capture_output=True)))
        fresh, bare = (statistics.median(new[wanted]) for wanted in (True, False))
        finding = loaded(with_reference=True).check.findings[-1]
        again, plain = interleaved(
            partial(loaded, with_reference=True), partial(loaded, with_reference=False), rounds=ROUNDS
        )
    print(
        f"in a new process {fresh:.2f} s with, {bare:.2f} s without; in the same process {again:.2f} and {plain:.2f} s"
    )
    return [
        Figure("check with reference, a new process", fresh / bare, 1.1, at_most=True),
        Figure("check with reference, in the same process", again / plain, 1.1, at_most=True),
        Figure("check reference agrees", float(finding.name == "reference" and finding.ok is True), 1.0),
    ]
