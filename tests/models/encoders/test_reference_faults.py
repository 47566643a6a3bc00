"""Faults in computing that were built into a model after its folder was identified: its reference shows each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders import encoder as encoders
from numembed.models.encoders.interface import Finding, ModelCheck
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from tests import architectures
from tests.offline import OFFLINE

Fault = Callable[[Any], object]  # what changes a SentenceTransformer
NAMES = {"bert": "bert-mean", "qwen": "qwen3-causal-lasttoken", "gemma": "gemma3-text-bidir", "bundled": ""}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[str, Settings]]:
    """What to load by its short name, and where a good load has left its reference."""
    root = tmp_path_factory.mktemp("reference")
    settings = replace(OFFLINE, home=root / "home")

    @functools.cache
    def good(name: str) -> tuple[str, Settings]:
        built = NAMES[name]
        reference = str(architectures.build(built, root / name)) if built else "all-MiniLM-L6-v2"
        first = _loaded(reference, settings)
        assert first.ok, first.sentence
        assert reference_in(first).ok is (None if built else True)  # the bundled model's comes with the program
        return reference, settings

    return good


def _loaded(reference: str, settings: Settings) -> ModelCheck:
    return LoadedModel(settings).get(resolve(model(reference), settings)).check


def reference_in(check: ModelCheck) -> Finding:
    return next(finding for finding in check.findings if finding.name == "reference")


@pytest.fixture
def build_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], None]:
    """Let every model be loaded as it is, and then be changed by a fault."""
    right = encoders.load

    def into(fault: Fault) -> None:
        def load(*arguments: Any, **options: Any) -> Any:
            import torch

            loaded, report = right(*arguments, **options)
            with torch.no_grad():
                fault(loaded)
            return loaded, report

        monkeypatch.setattr(encoders, "load", load)

    return into


# ---- faults -----------------------------------------------------------------------------------------------------


def _layers(model: Any) -> Any:
    inner = model[0].auto_model
    return inner.encoder.layer if hasattr(inner, "encoder") else inner.layers


def swapped_layers(model: Any) -> None:
    """Put the last two layers in each other's place."""
    layers = _layers(model)
    layers[-1], layers[-2] = layers[-2], layers[-1]


def dropped_layer(model: Any) -> None:
    """Leave the last layer out."""
    del _layers(model)[-1]


def relu(model: Any) -> None:
    """Take another activation."""
    import torch

    for layer in _layers(model):
        if hasattr(layer, "intermediate"):
            layer.intermediate.intermediate_act_fn = torch.nn.ReLU()
        else:
            layer.mlp.act_fn = torch.nn.ReLU()


def eps(size: float) -> Fault:
    """Take another epsilon in all norms."""

    def set_eps(model: Any) -> None:
        for part in model[0].auto_model.modules():
            for name in ("eps", "variance_epsilon"):
                if isinstance(getattr(part, name, None), float):
                    setattr(part, name, size)

    return set_eps


def query_key(model: Any) -> None:
    """Exchange query and key in one layer."""
    attention = _layers(model)[0].attention.self
    attention.query, attention.key = attention.key, attention.query


def faster_rope(model: Any) -> None:
    """Turn positions by another theta: 1,000 times as large."""
    inner = model[0].auto_model
    rotary = inner.rotary_emb
    for name, buffer in list(rotary.named_buffers()):
        if name.endswith("inv_freq"):
            width = len(buffer)
            buffer *= 1000.0 ** (-buffer.new_tensor(range(width)) / width)


def limit(tokens: int) -> Fault:
    """Read fewer tokens."""
    return lambda model: setattr(model, "max_seq_length", tokens)


def _positions(model: Any) -> Any:
    return model[0].auto_model.embeddings.position_embeddings.weight


def no_positions(model: Any) -> None:
    """Lose all positions."""
    _positions(model).zero_()


def late_positions(model: Any) -> None:
    """Garbage from position 64 on."""
    import torch

    table = _positions(model)
    table[64:] = torch.randn(table[64:].shape, generator=torch.Generator().manual_seed(3)) * table.std()


def endless_positions(model: Any) -> None:
    """Infinite values for long texts only."""
    _positions(model)[64:] = float("inf")


def other_checkpoint(model: Any) -> None:
    """Take all matrices of another checkpoint: as large, but other numbers."""
    import torch

    draw = torch.Generator().manual_seed(5)
    for weight in model[0].auto_model.parameters():
        if weight.ndim > 1:
            weight.copy_(torch.randn(weight.shape, generator=draw) * weight.std())


def half_a_layer(model: Any) -> None:
    """Zero half the rows of one matrix in each block of the last layer."""
    for weight in _layers(model)[-1].parameters():
        if weight.ndim > 1:
            weight[: len(weight) // 2] = 0


def padded_left(model: Any) -> None:
    """Pad on the side where positions count."""
    model.tokenizer.padding_side = "left"


def without(kind: str) -> Fault:
    """Lose the modules of a kind behind the transformer."""

    def lose(model: Any) -> None:
        for name, module in list(model.named_children()):
            if type(module).__name__ == kind:
                del model[int(name)]
                return lose(model)
        return None

    return lose


BERT = {
    "layers swapped": swapped_layers,
    "query and key": query_key,
    "gelu → relu": relu,
    "norm eps": eps(1.0),
    "positions zeroed": no_positions,
    "positions from 64": late_positions,
    "infinite from 64": endless_positions,
    "other checkpoint": other_checkpoint,
    "half a layer": half_a_layer,
    "padding left": padded_left,
    "limit 8": limit(8),
    "limit 32": limit(32),
    "unit length lost": without("Normalize"),
    "layer dropped": dropped_layer,
}
DECODER = {
    "rope theta": faster_rope,
    "RMS eps": eps(0.5),
    "silu → relu": relu,
    "layers swapped": swapped_layers,
    "limit 8": limit(8),
    "limit 32": limit(32),
    "unit length lost": without("Normalize"),
    "other checkpoint": other_checkpoint,
    "half a layer": half_a_layer,
    "layer dropped": dropped_layer,
}
FAULTS = [
    *(("bert", name) for name in BERT),
    *(("bundled", name) for name in BERT),
    *(("qwen", name) for name in DECODER),
    *(("gemma", name) for name in (*DECODER, "dense layers lost")),
]
_BY_NAME: dict[str, Fault] = {**BERT, **DECODER, "dense layers lost": without("Dense")}


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_fault_in_computing_is_seen(name: str, fault: str, lab: Any, build_in: Callable[[Fault], None]) -> None:
    reference, settings = lab(name)
    build_in(_BY_NAME[fault])
    check = _loaded(reference, settings)
    found = reference_in(check)
    assert found.ok is False and found.sentence in check.sentence
    assert (
        "lowest cosine" in found.sentence or "lengths such as" in found.sentence or "gave no vector" in found.sentence
    )


# ---- what is no fault -------------------------------------------------------------------------------------------


def two_threads(model: Any) -> None:
    import torch

    torch.set_num_threads(2)


def eager(model: Any) -> None:
    model[0].auto_model.set_attn_implementation("eager")


def short_tokenizer(model: Any) -> None:
    """A limit of the tokenizer's own, which every call overrides."""
    model.tokenizer.backend_tokenizer.enable_truncation(8)


HARMLESS: dict[str, Fault] = {
    "threads": two_threads,
    "eager": eager,
    "tokenizer": short_tokenizer,
    "again": lambda model: None,
    "limit": lambda model: setattr(model, "max_seq_length", min(model.max_seq_length, 512)),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", HARMLESS)
def test_what_rounds_otherwise_is_no_fault(name: str, change: str, lab: Any, build_in: Callable[[Fault], None]) -> None:
    import torch

    reference, settings = lab(name)
    build_in(HARMLESS[change])
    before = torch.get_num_threads()
    try:
        found = reference_in(_loaded(reference, settings))
    finally:
        torch.set_num_threads(before)
    assert found.ok is True, found.sentence


def test_padding_on_the_left_is_none_where_positions_are_relative(lab: Any, build_in: Callable[[Fault], None]) -> None:
    reference, settings = lab("qwen")
    build_in(padded_left)
    assert reference_in(_loaded(reference, settings)).ok is True
