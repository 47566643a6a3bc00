from __future__ import annotations

import json
from pathlib import Path

import pytest

from numembed.core.errors import AcceleratorLost, ModelUnavailable, NumembedError, TextFailed
from numembed.models.catalogue.names import model
from numembed.models.encoders import language_loss as losses
from numembed.models.encoders.interface import Encoder
from numembed.models.encoders.language_loss import language_loss, predicts_tokens
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from tests import architectures
from tests.offline import OFFLINE

TEXTS = ("2, 4, 6, 8", "1, 1, 2, 3, 5, 8, 13, 21")
QWEN = "qwen3-causal-lasttoken"


def _loaded(folder: Path, choice: str = "") -> Encoder:
    return LoadedModel(OFFLINE).get(resolve(model(f"{folder}{choice}"), OFFLINE))


TIED = {"tie_word_embeddings": True}
CHANGED = {  # settings that a head follows besides its weights
    "tied": ("qwen3", {}),
    "scaled": ("granite", {"logits_scaling": 8.0}),
    "capped": ("gemma2", {"final_logit_softcapping": 0.05}),
}


def _decoder(folder: Path, kind: str, **settings: object) -> Path:
    """Save a decoder with random weights of one of the library's types, as a model folder, and return it."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    made = architectures.build(QWEN, folder)
    vocabulary = json.loads((made / "config.json").read_text())["vocab_size"]
    sizes = {"vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
    config = CONFIG_MAPPING[kind](**(sizes | heads | settings))
    AutoModelForCausalLM.from_config(config).save_pretrained(made)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("name", CHANGED)
def test_the_loss_of_a_tied_decoder_is_the_librarys(tmp_path: Path, name: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    kind, settings = CHANGED[name]
    folder = _decoder(tmp_path / kind, kind, **TIED, **settings)
    encoder = _loaded(folder)
    assert predicts_tokens(encoder)
    whole = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    each = []
    for ids in encoder.token_ids(TEXTS):  # type: ignore[attr-defined]
        row = torch.tensor([ids])
        with torch.no_grad():
            each += [float(whole(row, labels=row).loss)] * (len(ids) - 1)
    assert language_loss(encoder, TEXTS) == pytest.approx(sum(each) / len(each), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "settings"), [("qwen3", {}), ("phi", TIED)], ids=["untied", "bias"])
def test_a_decoder_whose_head_has_weights_of_its_own_has_no_loss(
    tmp_path: Path, kind: str, settings: dict[str, object]
) -> None:
    encoder = _loaded(_decoder(tmp_path / kind, kind, **settings))
    assert not predicts_tokens(encoder) and language_loss(encoder, TEXTS) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "settings", "choice"),
    [("qwen3", {}, " attention=bidirectional"), ("gemma3_text", {"use_bidirectional_attention": True}, "")],
    ids=["chosen", "by its settings"],
)
def test_a_decoder_that_looks_ahead_has_no_loss(
    tmp_path: Path, kind: str, settings: dict[str, object], choice: str
) -> None:
    folder = _decoder(tmp_path / kind, kind, **TIED, **settings)
    encoder = _loaded(folder, choice)
    assert not predicts_tokens(encoder) and language_loss(encoder, TEXTS) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("CUDA error: device-side assert triggered", AcceleratorLost),
        ("CUDA out of memory.", ModelUnavailable),
        ("shapes cannot be multiplied", TextFailed),
    ],
)
def test_what_fails_while_tokens_are_predicted_is_told_as_elsewhere(
    tmp_path: Path, words: str, kind: type[NumembedError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError(words)

    encoder = _loaded(_decoder(tmp_path / "qwen", "qwen3", **TIED))
    monkeypatch.setattr(losses, "_logits", failing)
    with pytest.raises(kind):
        language_loss(encoder, TEXTS)


@pytest.mark.slow
def test_an_encoder_has_no_loss_and_nothing_is_said_of_it(tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    encoder = _loaded(tiny_model)
    assert not predicts_tokens(encoder) and language_loss(encoder, TEXTS) is None
    assert "LMHead" not in "".join(capfd.readouterr())
