"""Every kind of adapter that PEFT has besides LoRA is refused by its name."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import BadChoice
from tests.models.adapters.peft_bases import Base, opened

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # transformers and PEFT warn of themselves
PLAIN = [
    "ADAMSS",
    "ADAPTION_PROMPT",
    "BEFT",
    "BOFT",
    "CPT",
    "DEFT",
    "DELORA",
    "FOURIERFT",
    "FROD",
    "GLORA",
    "GRALORA",
    "HIRA",
    "HRA",
    "IA3",
    "LILY",
    "LN_TUNING",
    "LOHA",
    "LOKR",
    "OFT",
    "OSF",
    "PEANUT",
    "POLY",
    "PSOFT",
    "PVERA",
    "RANDLORA",
    "SHADOW",
    "SUPERTUNING",
    "TINYLORA",
    "TRAINABLE_TOKENS",
    "UNILORA",
    "VERA",
    "XLORA",
]
PROMPTS = ["CARTRIDGE", "MULTITASK_PROMPT_TUNING", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING"]
KINDS: dict[str, dict[str, Any]] = {  # with what a BERT that is 32 wide needs besides the names of layers
    **{kind: {} for kind in PLAIN},
    **{kind: {"task_type": "FEATURE_EXTRACTION"} for kind in PROMPTS},
    "ADALORA": {"total_step": 10},
    "C3A": {"block_size": 16},
    "MISS": {"r": 4},
    "SHIRA": {"r": 2},
    "ROAD": {"group_size": 16},
    "VBLORA": {"vector_length": 16, "num_vectors": 8},
    "WAVEFT": {"n_frequency": 50},
}
OF_DECODERS = ("ADAPTION_PROMPT", "CPT")  # no BERT can have them: their settings beside a LoRA's file


def _kinds() -> dict[str, Any]:
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    return {kind.value: settings for kind, settings in PEFT_TYPE_TO_CONFIG_MAPPING.items() if kind.value != "LORA"}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A tiny BERT."""
    return opened("bert", tmp_path_factory.mktemp("bases") / "bert")


def test_every_kind_that_peft_has_is_tried() -> None:
    assert set(KINDS) == set(_kinds())


@pytest.mark.parametrize("kind", KINDS)
def test_another_kind_than_lora_is_refused_by_its_name(bert: Base, kind: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    settings = _kinds()[kind]
    known = {"target_modules": ["query", "value"], "feedforward_modules": [], "num_virtual_tokens": 3}
    options = {name: value for name, value in known.items() if name in {one.name for one in fields(settings)}}
    options |= KINDS[kind]
    if kind in OF_DECODERS:
        get_peft_model(bert.fresh(), LoraConfig(target_modules=["query"])).save_pretrained(str(tmp_path))
        file = tmp_path / "adapter_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"peft_type": kind}))
    else:
        get_peft_model(bert.fresh(), settings(**options)).save_pretrained(str(tmp_path))
    with pytest.raises(BadChoice, match=f"The adapter is of the kind '{kind}'; only LoRA adapters can be attached"):
        bert.adapted(tmp_path)
