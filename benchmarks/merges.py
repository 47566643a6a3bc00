"""Our merges beside mergekit's, where it is installed: the largest difference of any weight, and the time.

``python -m benchmarks.merges FILE`` writes the reference values that the tests carry (tests/golden/merges.json). For
both, install mergekit 0.1.5 in an environment of its own: it is no part of this project.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Figure, cpu_seconds
from numembed.core.arrays import Tensor
from numembed.models.files.tensors import TensorFolder, write_file
from numembed.models.merging.folders import merge_folders
from numembed.models.merging.methods import Space
from numembed.models.merging.tensors import Merge, ingredients, merger
from numembed.models.sources import bundled_folder

LARGEST_DIFFERENCE = 2e-6  # of float32 weights


@dataclass(frozen=True)
class Case:
    """One merge, as mergekit and as we call it."""

    theirs: str
    parameters: Mapping[str, Any]
    merge: Merge
    parts: int
    base: bool = False

    @property
    def leaves_open(self) -> bool:
        """True where the method does not say which of several equally large values are kept: ours keeps all."""
        return self.theirs == "ties" and self.parameters["density"] < 1


def _case(theirs: str, parts: int, method: str, space: Space, base: bool = False, **both: Any) -> Case:
    """``both`` names what goes to mergekit, ``ours`` what goes to us."""
    ours = both.pop("ours", {})
    weights = ours.pop("weights", ())
    return Case(theirs, both, Merge(method, space, weights=weights, options=tuple(ours.items())), parts, base)


CASES = (
    *(_case("slerp", 2, "slerp", "weights", t=t, ours={"t": t}) for t in (0.1, 0.5, 0.9)),
    *(_case("linear", 2, "linear", "weights", weight=[1 - t, t], ours={"t": t}) for t in (0.1, 0.5)),
    _case("linear", 3, "soup", "weights", weight=[1.0, 2.0, 3.0], ours={"weights": (1, 2, 3)}),
    *(_case("karcher", parts, "karcher", "weights", max_iter=100, tol=1e-9) for parts in (2, 3)),  # as far as ours
    _case("nuslerp", 2, "slerp", "weights", weight=[0.7, 0.3], ours={"t": 0.3, "fallback": 1}),
    _case("nuslerp", 2, "slerp", "task_vectors", True, weight=[0.7, 0.3], ours={"t": 0.3, "fallback": 1}),
    _case("multislerp", 2, "karcher", "task_vectors", True, weight=[0.5, 0.5]),
    _case("multislerp", 2, "karcher", "weights", weight=[0.5, 0.5]),
    _case("task_arithmetic", 3, "task_arithmetic", "task_vectors", True, weight=[0.4] * 3, ours={"scale": 0.4}),
    *(
        _case(
            "ties",
            3,
            "ties",
            "task_vectors",
            True,
            weight=[1.0, 2.0, 1.0],
            density=density,
            ours={"density": density, "weights": (1, 2, 1)},
        )
        for density in (0.2, 0.5, 1.0)
    ),
    _case("dare_linear", 3, "dare", "task_vectors", True, weight=[1 / 3] * 3, density=1.0, ours={"density": 1}),
    _case("model_stock", 2, "model_stock", "task_vectors", True),
    _case("model_stock", 3, "model_stock", "task_vectors", True),
)


def merges() -> list[Figure]:
    """Every method that both have, on the bundled model and three small updates of it, beside mergekit in float64.

    mergekit by itself, and as ``SentenceTransformer.merge`` calls it.
    """
    if importlib.util.find_spec("mergekit") is None:
        print("mergekit is not installed, so nothing is compared; the tests carry the values that it gave")
        return []
    base = {name: tensor for name, tensor in TensorFolder(bundled_folder()).items() if tensor.dtype == np.float32}
    figures = [_figure(case, base, _updated(base, case.parts)) for case in CASES]
    with tempfile.TemporaryDirectory() as place:
        return [*figures, *_library(base, Path(place))]


def _library(base: Mapping[str, Tensor], place: Path) -> Iterator[Figure]:
    """Yield how far the folders that we write are from what ``SentenceTransformer.merge`` makes of the same two.

    What is zero in the base stays so: for an arc from nothing we take the straight line, mergekit a right angle.
    """
    from sentence_transformers import SentenceTransformer

    changed = place / "changed"
    shutil.copytree(bundled_folder(), changed)
    stored = TensorFolder(bundled_folder())
    values = {name: value for name, value in _updated(base, 1)[0].items() if base[name].any()}
    shapes = [(name, one.dtype, one.shape) for name, one in stored.stored.items()]
    write_file(changed / "model.safetensors", shapes, lambda name: values.get(name, stored[name]))
    for method, parameters in (("slerp", {"t": 0.3}), ("linear", {"weight": [0.7, 0.3]})):
        out = place / method
        spent = cpu_seconds(
            partial(merge_folders, Merge(method, options=(("t", 0.3),)), [bundled_folder(), changed], out)
        )
        theirs = SentenceTransformer.merge(
            [str(bundled_folder()), str(changed)], method, parameters=parameters, dtype="float64", out_dtype="float32"
        )
        wanted, ours = theirs.state_dict(), SentenceTransformer(str(out)).state_dict()
        apart = max(float((wanted[name] - ours[name]).abs().max()) for name in wanted)
        print(f"SentenceTransformer.merge, {method}: {spent:.2f} s of CPU for our folder")
        name = f"SentenceTransformer.merge, {method}, largest difference"
        yield Figure(name, apart, LARGEST_DIFFERENCE, at_most=True)


def _figure(case: Case, base: Mapping[str, Tensor], parts: list[dict[str, Tensor]]) -> Figure:
    tensors: dict[str, Mapping[str, Tensor]] = {}

    def ours() -> None:
        given = ingredients(parts, base if case.base else None)
        value_of = merger(case.merge, given)
        tensors["ours"] = {name: value_of(name) for name in (*given.mixed, *given.kept, *given.tied)}

    def theirs(double: bool) -> None:
        tensors[f"theirs {double}"] = {
            name: mergekit(case, [part[name] for part in parts], base[name], double=double) for name in base
        }

    spent = [cpu_seconds(work) for work in (ours, lambda: theirs(False), lambda: theirs(True))]
    mine, single, double = tensors["ours"], tensors["theirs False"], tensors["theirs True"]
    print(
        f"{case.theirs}, {case.parts} models: {spent[0]:.2f} s of CPU, mergekit {spent[1]:.2f} s in float32, which is "
        f"{max(_apart(single, double)):.1e} off its own float64"
    )
    name = f"{case.theirs} against {case.merge.method}"
    if case.leaves_open:
        differing = sum(int((np.abs(mine[one] - double[one]) > LARGEST_DIFFERENCE).sum()) for one in base)
        return Figure(f"{name}, share differing", differing / sum(map(np.size, base.values())), 1e-5, at_most=True)
    return Figure(f"{name}, largest difference", max(_apart(mine, double)), LARGEST_DIFFERENCE, at_most=True)


def _apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[float]:
    return [float(np.abs(one[name] - other[name]).max()) for name in other]


def mergekit(case: Case, parts: list[Tensor], base: Tensor, *, double: bool = True) -> Tensor:
    """Return what mergekit makes of one tensor, as float32."""
    import torch

    merge_tensors: Callable[..., Any] = importlib.import_module("mergekit.merge_methods").merge_tensors
    tensors = [torch.from_numpy(tensor.copy()) for tensor in ([base] if case.base else []) + parts]
    given = dict(case.parameters)
    if case.base and "weight" in given:
        given["weight"] = dict(enumerate(given["weight"], start=1))
    merged = merge_tensors(
        tensors,
        case.theirs,
        parameters=given,
        base_index=0 if case.base or case.theirs == "slerp" else None,
        dtype=torch.float64 if double else None,
        out_dtype=torch.float32,
    )
    values: Tensor = merged.numpy()
    return values


def reference() -> Iterator[dict[str, Any]]:
    """Yield the reference values: small seeded tensors, and what mergekit makes of them."""
    random = np.random.default_rng(5)
    base = random.standard_normal((6, 4)).astype(np.float32)
    shared = random.standard_normal((6, 4))  # what the updates have in common: their cosine is above 0
    kinds = {
        "apart": [random.standard_normal((6, 4)).astype(np.float32) for _ in range(3)],
        "updates": [(base + 0.02 * (shared + random.standard_normal((6, 4)))).astype(np.float32) for _ in range(3)],
        "wide": [(base + shared + random.standard_normal((6, 4))).astype(np.float32) for _ in range(3)],
    }
    yield {"base": base.tolist()} | {kind: [part.tolist() for part in parts] for kind, parts in kinds.items()}
    for case in CASES:
        for kind, parts in kinds.items():
            ours = {
                "method": case.merge.method,
                "space": case.merge.space,
                "weights": case.merge.weights,
                "options": case.merge.options,
                "parts": case.parts,
            }
            value = mergekit(case, parts[: case.parts], base)
            yield {"mergekit": case.theirs, "inputs": kind, "ours": ours, "value": value.reshape(-1).tolist()}


def _updated(base: Mapping[str, Tensor], parts: int) -> list[dict[str, Tensor]]:
    """Return models made from ``base`` by updates of LoRA's size, which have half of their direction in common."""
    random = np.random.default_rng(0)
    made: list[dict[str, Tensor]] = [{} for _ in range(parts)]
    for name, tensor in base.items():
        size = np.float32(3e-4)
        shared = random.standard_normal(tensor.shape, dtype=np.float32)
        for part in made:
            part[name] = tensor + size * (shared + random.standard_normal(tensor.shape, dtype=np.float32))
    return made


if __name__ == "__main__":
    inputs, *values = reference()
    lines = ",\n".join(json.dumps(value) for value in values)
    Path(sys.argv[1]).write_text(f'{{"inputs": {json.dumps(inputs)},\n"values": [\n{lines}\n]}}\n', encoding="utf-8")
