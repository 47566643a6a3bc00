"""``python -m benchmarks [NAME …] [--write]``: print every figure beside its goal; exit 1 where one falls short."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import REPORT, Ran, write_report

TOPICS = {
    "page": "benchmarks.page",
    "study": "benchmarks.study",
    "encode": "benchmarks.encode",
    "cut": "benchmarks.encode",
    "check": "benchmarks.check",
    "card": "benchmarks.card",
    "permutation": "benchmarks.analysis",
    "silhouette": "benchmarks.analysis",
    "evidence": "benchmarks.evidence",
    "umap": "benchmarks.maps",
    "tsne": "benchmarks.maps",
    "store": "benchmarks.store",
    "stress": "benchmarks.stress",
    "wire": "benchmarks.maps",
    "steps": "benchmarks.training",
    "adapters": "benchmarks.training",
    "merges": "benchmarks.merges",
    "sweep": "benchmarks.sweep",
    "calibration": "benchmarks.calibration",
    "noise": "benchmarks.noise",
    "load": "benchmarks.load",
    "queue": "benchmarks.queue",
    "faults": "benchmarks.faults",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named topics, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure what docs/benchmarks.md states.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(TOPICS)}; all without a name")
    parser.add_argument("--list", action="store_true", help="only say what each of them compares")
    parser.add_argument(
        "--write", nargs="?", type=Path, const=REPORT, metavar="FILE", help="write the figures into docs/benchmarks.md"
    )
    options = parser.parse_args(arguments)
    names = options.names or list(TOPICS)
    if unknown := [name for name in names if name not in TOPICS]:
        parser.error(f"no benchmark is called {unknown[0]!r}; known: {', '.join(TOPICS)}")
    missed = 0
    for name in names:
        ran = _run(name, measure=not options.list)
        missed += sum(not figure.reached for figure in ran.figures)
        if options.write:  # after each, so that a campaign which is stopped keeps what it has measured
            write_report(options.write, [ran], list(TOPICS))
    return 1 if missed else 0


def _run(name: str, *, measure: bool) -> Ran:
    """Print what one benchmark compares and, where it is to ``measure``, its figures."""
    topic = getattr(importlib.import_module(TOPICS[name]), name)
    about = (topic.__doc__ or "").splitlines()[0]
    print(f"\n{name}: {about}\npython -m benchmarks {name}", flush=True)
    figures = tuple(topic()) if measure else ()
    for figure in figures:
        print(figure, flush=True)
    return Ran(name, about, figures)


if __name__ == "__main__":
    # one thread and no hub, decided before numpy is imported
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    sys.exit(main())
