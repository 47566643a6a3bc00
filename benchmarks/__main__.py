"""``python -m benchmarks [NAME …]``: print every figure beside its goal; exit 1 where one falls short."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

TOPICS = {
    "page": "benchmarks.page",
    "study": "benchmarks.study",
    "encode": "benchmarks.encode",
    "cut": "benchmarks.encode",
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
}


def main() -> int:
    """Run the named topics, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure what the README states.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(TOPICS)}; all without a name")
    parser.add_argument("--list", action="store_true", help="only say what each of them compares")
    asked = parser.parse_args()
    names = asked.names or list(TOPICS)
    if unknown := [name for name in names if name not in TOPICS]:
        parser.error(f"no benchmark is called {unknown[0]!r}; known: {', '.join(TOPICS)}")
    missed = 0
    for name in names:
        topic = getattr(importlib.import_module(TOPICS[name]), name)
        print(f"\n{name}: {(topic.__doc__ or '').splitlines()[0]}", flush=True)
        for figure in () if asked.list else topic():
            print(figure, flush=True)
            missed += not figure.reached
    return 1 if missed else 0


if __name__ == "__main__":
    # one thread and no hub, decided before numpy is imported
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    sys.exit(main())
