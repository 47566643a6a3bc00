"""Adapters of many architectures, as PEFT and the library save them: the vectors are those of merge_and_unload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.models.adapters.adapted import TEXTS
from tests.models.adapters.peft_bases import KINDS, Base, check_like_peft, opened, randomize, save_adapter

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # transformers and PEFT warn of themselves


@pytest.fixture(scope="module", params=list(KINDS))
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Base]:
    """Each architecture in turn."""
    return request.param, opened(request.param, tmp_path_factory.mktemp("bases") / request.param)


def test_named_layers_are_adapted_and_names_of_other_architectures_are_passed_over(
    base: tuple[str, Base], tmp_path: Path
) -> None:
    from peft import LoraConfig

    kind, made = base
    targets = [*KINDS[kind].targets, "attention.nowhere", "q_proj.of_another"]
    save_adapter(made, LoraConfig(r=4, lora_alpha=8, target_modules=targets, bias="all"), tmp_path)
    settings = check_like_peft(made, tmp_path)
    assert "attention.nowhere" in settings["target_modules"]


def test_all_linear_layers_are_adapted(base: tuple[str, Base], tmp_path: Path) -> None:
    from peft import LoraConfig

    save_adapter(base[1], LoraConfig(r=2, target_modules="all-linear", layers_to_transform=None), tmp_path)
    check_like_peft(base[1], tmp_path)


@pytest.mark.parametrize("base", ["bert-pretraining", "gpt2", "qwen3", "llama-lm"], indirect=True)
def test_an_adapter_that_the_library_added_is_read_like_one_of_peft(base: tuple[str, Base], tmp_path: Path) -> None:
    from peft import LoraConfig
    from sentence_transformers import SentenceTransformer

    kind, made = base
    theirs = SentenceTransformer(str(made.folder), device="cpu")
    theirs.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=list(KINDS[kind].targets)))
    randomize(theirs)
    theirs.save_pretrained(str(tmp_path), create_model_card=False)
    assert (tmp_path / "adapter_model.safetensors").is_file()
    off = np.abs(made.adapted(tmp_path) - theirs.encode(TEXTS)).max()
    assert off < 1e-5 < 0.1 < np.abs(made.unchanged - theirs.encode(TEXTS)).max()


@pytest.mark.parametrize("base", ["bert", "gpt2", "gpt2-lm"], indirect=True)
@pytest.mark.parametrize("stated", [True, False])
def test_which_way_a_square_layer_lies_is_a_matter_of_its_class(
    base: tuple[str, Base], stated: bool, tmp_path: Path
) -> None:
    from peft import LoraConfig

    kind, made = base
    targets = ["attn.c_proj"] if kind.startswith("gpt2") else ["query"]
    save_adapter(made, LoraConfig(r=4, lora_alpha=8, target_modules=targets), tmp_path)
    file = tmp_path / "adapter_config.json"
    settings = json.loads(file.read_text())
    assert settings["fan_in_fan_out"] is kind.startswith("gpt2")  # PEFT corrects what it was told
    file.write_text(json.dumps(settings | {"fan_in_fan_out": stated}))
    check_like_peft(made, tmp_path)


@pytest.mark.parametrize("base", ["bert-pretraining", "llama-lm", "t5"], indirect=True)
def test_an_adapter_that_was_trained_with_a_head_is_read_without_it(base: tuple[str, Base], tmp_path: Path) -> None:
    from peft import LoraConfig

    kind, made = base
    task = {"bert-pretraining": "SEQ_CLS", "llama-lm": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM"}[kind]
    head = "SequenceClassification" if task == "SEQ_CLS" else KINDS[kind].saved_as.removeprefix("AutoModelFor")
    own = r"encoder\.block\.\d\..*\.(q|v)" if kind == "t5" else list(KINDS[kind].targets)
    _check_with_head(made, head, LoraConfig(r=4, lora_alpha=8, target_modules=own, task_type=task), tmp_path)


@pytest.mark.parametrize("base", ["qwen3-tied"], indirect=True)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    "options", [{"target_modules": ["embed_tokens", "q_proj"]}, {"modules_to_save": ["embed_tokens"]}]
)
def test_what_an_adapter_holds_for_a_tied_head_changes_no_vector(
    base: tuple[str, Base], tied: bool, options: dict[str, Any], tmp_path: Path
) -> None:
    from peft import LoraConfig

    config = {"r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM", "ensure_weight_tying": tied} | options
    _check_with_head(base[1], "CausalLM", LoraConfig(**config), tmp_path)


def _check_with_head(base: Base, head: str, config: Any, folder: Path) -> None:
    """Check an adapter of the base with a head against what the library gives with the adapted model inside."""
    import transformers
    from peft import get_peft_model

    whole = getattr(transformers, f"AutoModelFor{head}").from_pretrained(str(base.folder))
    theirs = get_peft_model(whole, config)
    randomize(theirs)
    theirs.save_pretrained(str(folder))
    inner = theirs.get_base_model()  # not merged: PEFT would add what a tied head has to the embedding once more
    expected = base.vectors_of(inner.encoder if head == "Seq2SeqLM" else inner.base_model)
    assert np.abs(base.adapted(folder) - expected).max() < 1e-5 < 0.1 < np.abs(base.unchanged - expected).max()
