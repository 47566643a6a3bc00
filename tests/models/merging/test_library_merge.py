"""Our merges beside ``SentenceTransformer.merge``: the same models come out, on the library's own way through a model.

The library leaves the arithmetic to mergekit. Where that is not installed, the two formulas stand in for it here;
``benchmarks/merges.py`` compares with the real one.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from numembed.models.merging.folders import merge_folders
from numembed.models.merging.tensors import Merge
from tests import tiny

pytestmark = pytest.mark.slow
TEXTS = ["1, 2, 3", "2, 4, 6, 8, 10", "The bakery opens before sunrise."]


@pytest.fixture
def _mergekit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library find mergekit, or what stands in for it."""
    if importlib.util.find_spec("mergekit") is not None:
        return
    module: Any = ModuleType("mergekit.merge_methods")
    module.BasePolicy = SimpleNamespace(IGNORED="ignored")
    module.get, module.merge_state_dicts = _method, _merged_states
    monkeypatch.setitem(sys.modules, "mergekit", ModuleType("mergekit"))
    monkeypatch.setitem(sys.modules, "mergekit.merge_methods", module)
    monkeypatch.setattr("sentence_transformers.base.merging.version", lambda name: "0.1.5")


def _method(name: str) -> Any:
    parameters = [SimpleNamespace(name="weight")] if name == "linear" else []
    spec = SimpleNamespace(contract=SimpleNamespace(base="ignored" if name == "linear" else "needed"))
    return SimpleNamespace(
        name=name,
        spec=SimpleNamespace(contract=spec.contract, parameters=parameters),
        validate_inputs=lambda models, base: None,
    )


def _merged_states(
    states: Mapping[int, Mapping[str, Any]],
    method: Any,
    *,
    base: int | None,
    parameters: Mapping[str, Any],
    dtype: Any,
    out_dtype: Any,
    batch_options: Any,
) -> dict[str, Any]:
    import torch

    first, second = states[0], states[1]
    found = {}
    for name, tensor in first.items():
        if not tensor.is_floating_point():
            found[name] = tensor
            continue
        one, two = tensor.to(dtype), second[name].to(dtype)
        if method.name == "linear":
            shares = [weight / sum(parameters["weight"]) for weight in parameters["weight"]]
        else:
            assert base == 0
            cosine = float((one / one.norm().clamp(min=1e-8) * two / two.norm().clamp(min=1e-8)).sum().clamp(-1, 1))
            t, angle = parameters["t"], float(np.arccos(cosine))
            straight = abs(cosine) > 0.9995
            shares = [1 - t, t] if straight else [np.sin(part * angle) / np.sin(angle) for part in (1 - t, t)]
        found[name] = (shares[0] * one + shares[1] * two).to(out_dtype or torch.float32)
    return found


@pytest.mark.parametrize(
    ("method", "parameters", "ours"),
    [
        ("slerp", {"t": 0.3}, Merge("slerp", options=(("t", 0.3),))),
        ("slerp", {"t": 1.0}, Merge("slerp", options=(("t", 1.0),))),
        ("linear", {"weight": [0.7, 0.3]}, Merge("linear", options=(("t", 0.3),))),
        ("linear", {"weight": [1.0, 3.0]}, Merge("soup", weights=(1, 3))),
    ],
)
@pytest.mark.usefixtures("_mergekit")
def test_the_librarys_own_merge_is_the_same_model(
    tmp_path: Path, method: str, parameters: dict[str, Any], ours: Merge
) -> None:
    from sentence_transformers import SentenceTransformer

    folders = [tiny.write_model(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    theirs = SentenceTransformer.merge(
        [str(folder) for folder in folders], method, parameters=parameters, dtype="float64", out_dtype="float32"
    )
    out = SentenceTransformer(str(merge_folders(ours, folders, tmp_path / "out").folder))
    wanted, found = theirs.state_dict(), out.state_dict()
    assert wanted.keys() == found.keys()
    assert max(float((wanted[name] - found[name]).abs().max()) for name in wanted) <= 2e-6
    np.testing.assert_allclose(theirs.encode(TEXTS), out.encode(TEXTS), atol=1e-5)
    one, other = (SentenceTransformer(str(folder)).encode(TEXTS) for folder in folders)
    assert not np.allclose(one, other, atol=1e-2), "two equal models would prove nothing"
