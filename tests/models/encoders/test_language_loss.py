from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numembed.models.catalogue.names import model
from numembed.models.encoders.interface import Encoder
from numembed.models.encoders.language_loss import language_loss, predicts_tokens
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from tests import architectures
from tests.offline import OFFLINE

TEXTS = ("2, 4, 6, 8", "1, 1, 2, 3, 5, 8, 13, 21")
QWEN = "qwen3-causal-lasttoken"


def _loaded(folder: Path) -> Encoder:
    return LoadedModel(OFFLINE).get(resolve(model(str(folder)), OFFLINE))


@pytest.mark.slow
def test_the_loss_of_a_tied_decoder_is_the_librarys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    plain = architectures.ARCHITECTURES[QWEN]
    tied = replace(plain, config={**plain.config, "tie_word_embeddings": True})
    monkeypatch.setitem(architectures.ARCHITECTURES, QWEN, tied)
    folder = architectures.build(QWEN, tmp_path / "qwen")
    assert predicts_tokens(folder)
    encoder = _loaded(folder)
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    losses = []
    for ids in encoder.token_ids(TEXTS):  # type: ignore[attr-defined]
        row = torch.tensor([ids])
        with torch.no_grad():
            losses += [float(whole(row, labels=row).loss)] * (len(ids) - 1)
    assert language_loss(encoder, TEXTS) == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.slow
def test_a_decoder_without_its_head_has_no_loss(tmp_path: Path) -> None:
    folder = architectures.build(QWEN, tmp_path / "qwen")
    assert not predicts_tokens(folder) and language_loss(_loaded(folder), TEXTS) is None


@pytest.mark.slow
def test_an_encoder_has_no_loss(tiny_model: Path) -> None:
    assert not predicts_tokens(tiny_model) and language_loss(_loaded(tiny_model), TEXTS) is None
