"""The paper's study from the store against computing it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.measure import Figure, child_cpu_seconds, cpu_seconds, interleaved
from numembed.core.settings import read_settings
from numembed.models.catalogue.names import model
from numembed.models.embedding import embed
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.spec import ModelSpec
from numembed.paper.protocol import paper_study
from numembed.sequences.sets import IntegerSequence, SequenceSet
from numembed.storage.vectors import VectorStore

NAMES = ["--models", "all-MiniLM-L6-v2"]


def study() -> list[Figure]:
    """The paper's 24 sequences read from the store, beside encoding them; one more; and a whole fresh process."""
    spec, sequences, loaded = model("all-MiniLM-L6-v2"), paper_study().sequences, LoadedModel(read_settings())
    loaded.get(spec).encode(["1, 2, 3"])
    texts = sequences.texts
    with tempfile.TemporaryDirectory() as name:
        colds = []
        for i in range(5):
            with VectorStore(Path(name) / f"cold-{i}.db") as empty:
                colds.append(cpu_seconds(lambda empty=empty: embed(spec, sequences, store=empty, loaded=loaded)))  # type: ignore[misc]
        with VectorStore(Path(name) / "cold-0.db") as vectors:
            (warm,) = interleaved(lambda: embed(spec, sequences, store=vectors, loaded=loaded), rounds=200)
            reached = _encoded(spec, _one_more(sequences), vectors, loaded)
            one_more = 1 if reached == [_MORE] else math.inf
        environment = {**os.environ, "NUMEMBED_HOME": name}

        def process() -> None:
            command = [sys.executable, "-m", "numembed", "run", *NAMES]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

        subprocess.run(
            [sys.executable, "-m", "numembed", "prime"], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        first, again = child_cpu_seconds(process), child_cpu_seconds(process)
        heavy = subprocess.run(
            [sys.executable, "-c", _IMPORTED], env=environment, check=True, capture_output=True, text=True
        ).stdout.splitlines()[-1]
    cold = sorted(colds)[2]
    print(f"{len(texts)} texts: encoded in {cold * 1000:.0f} ms, read in {warm * 1000:.2f} ms of CPU")
    print(f"numembed run: first {first:.2f} s, again {again:.2f} s of CPU; heavy imports of the second: {heavy}")
    return [
        Figure("study rerun in the worker", cold / warm, 1_000),
        Figure("study with one more sequence, texts encoded", one_more, 1, at_most=True),
        Figure("study rerun as a fresh process", first / again, 5),
        Figure("study rerun imports of torch", float("torch" in heavy), 0, at_most=True),
    ]


_MORE = "1, 8, 27, 64"


def _one_more(sequences: SequenceSet) -> SequenceSet:
    return replace(sequences, items=(*sequences.items, IntegerSequence("cubes", 1, (1, 8, 27, 64))))


def _encoded(spec: ModelSpec, sequences: SequenceSet, vectors: VectorStore, loaded: LoadedModel) -> list[str]:
    """Return the texts that reach the model."""
    encoder: Any = loaded.get(spec)
    reached: list[str] = []
    plain = encoder.encode

    def listening(texts: Sequence[str]) -> Any:
        reached.extend(texts)
        return plain(texts)

    encoder.encode = listening
    embed(spec, sequences, store=vectors, loaded=loaded)
    del encoder.encode
    return reached


_IMPORTED = f"""
import sys
from numembed.cli import main
main(["run", *{NAMES!r}])
print([name for name in ("torch", "sentence_transformers", "sklearn", "umap", "pandas") if name in sys.modules])
"""
