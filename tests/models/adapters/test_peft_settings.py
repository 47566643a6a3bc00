"""Every setting of PEFT's LoRA: the vectors are those of merge_and_unload, or the adapter is refused for its reason."""

from __future__ import annotations

import dataclasses
import json
import shutil
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import BadChoice
from tests.models.adapters.peft_bases import Base, check_like_peft, opened, randomize, save_adapter

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # transformers and PEFT warn of themselves


@dataclass(frozen=True)
class Variant:
    """An adapter, and why it is refused; "" where it is folded."""

    options: dict[str, Any] = field(default_factory=dict)
    told: str = ""
    written: dict[str, Any] = field(default_factory=dict)  # into its settings: what cannot be made on a small BERT


def _runtime() -> Any:
    from peft import LoraRuntimeConfig

    return LoraRuntimeConfig(ephemeral_gpu_offload=True)


V = Variant
TRIED: dict[str, tuple[Variant, ...]] = {  # adapters by the setting that they are about: each that PEFT has
    "task_type": (V({"task_type": "FEATURE_EXTRACTION"}), V({"task_type": "SEQ_CLS"})),
    "peft_type": (V(written={"peft_type": "LOHA"}, told="kind 'LOHA'"),),
    "auto_mapping": (V(written={"auto_mapping": {"parent_library": "os"}}, told="asks to import program code"),),
    "peft_version": (V(written={"peft_version": "0.3.0"}),),
    "base_model_name_or_path": (V(written={"base_model_name_or_path": "owner/another"}),),  # the base is a folder
    "revision": (V({"revision": "main"}),),
    "inference_mode": (V({"inference_mode": True}),),
    "r": (V({"r": 1}), V({"r": 7}), V(written={"r": 0}, told="rank from 1 to 256")),
    "target_modules": (
        V({"target_modules": ["query", "value", "q_proj", "gate_proj"]}),
        V({"target_modules": ["encoder.layer.1.attention.self.key"]}),
        V({"target_modules": r"encoder\.layer\.\d\..*\.(query|dense)"}),
        V({"target_modules": "all-linear"}),
        V({"target_modules": ["query", "word_embeddings", "position_embeddings"]}),
        V(written={"target_modules": ["query", "value", "key"]}, told="incomplete: .*'encoder.layer.0.*key'"),
        V(written={"target_modules": ["query"]}, told="factors for .*value', which its settings do not name"),
        V(written={"target_modules": "("}, told="setting 'target_modules' is '\\('"),
    ),
    "exclude_modules": (
        V({"exclude_modules": ["value", "1.attention.self.query"]}),
        V({"exclude_modules": r".*layer\.0\..*"}),
        V(written={"exclude_modules": ["query"]}, told="factors for .*query', which its settings do not name"),
    ),
    "lora_alpha": (V({"lora_alpha": 3}), V(written={"lora_alpha": "8"}, told="setting 'lora_alpha' is '8'")),
    "lora_dropout": (V({"lora_dropout": 0.5}),),
    "fan_in_fan_out": (V({"fan_in_fan_out": True}), V(written={"fan_in_fan_out": True})),
    "bias": (V({"bias": "all"}), V({"bias": "lora_only"}), V(written={"bias": "odd"}, told="of the kind odd")),
    "use_rslora": (V({"use_rslora": True}),),
    "modules_to_save": (
        V({"modules_to_save": ["pooler"]}),
        V({"modules_to_save": ["LayerNorm", "classifier"]}),
        V({"modules_to_save": ["word_embeddings"]}),
        V(written={"modules_to_save": ["*"]}, told="setting 'modules_to_save'"),
    ),
    "init_lora_weights": (
        *(V({"init_lora_weights": kind}) for kind in (True, False, "gaussian", "eva", "orthogonal", "mica")),
        V({"init_lora_weights": "olora"}, "a changed base \\(olora start\\)"),
        V({"init_lora_weights": "pissa"}, "a changed base \\(pissa start\\)"),
        V({"init_lora_weights": "pissa_niter_4"}, "a changed base \\(pissa_niter_4 start\\)"),
        V({"init_lora_weights": "lora_ga"}, "a changed base \\(lora_ga start\\)"),
        V(written={"init_lora_weights": "corda"}, told="a changed base \\(corda start\\)"),
        V(written={"init_lora_weights": "loftq"}, told="a changed base \\(loftq start\\)"),
        V(written={"init_lora_weights": "a later one"}, told="a changed base \\(a later one start\\)"),
    ),
    "layers_to_transform": (
        V({"layers_to_transform": [1]}),
        V({"layers_to_transform": 0}),
        V({"layers_to_transform": []}),
        V(written={"layers_to_transform": [0]}, told="factors for .*layer.1.*, which its settings do not name"),
        V(written={"layers_to_transform": ["0"]}, told="setting 'layers_to_transform'"),
    ),
    "layers_pattern": (
        V({"layers_to_transform": [1], "layers_pattern": "layer"}),
        V({"layers_to_transform": [0], "layers_pattern": ["block", "layer"]}),
    ),
    "rank_pattern": (V({"rank_pattern": {"query": 2, r"0\.attention.*value": 3}}),),
    "alpha_pattern": (
        V({"alpha_pattern": {"self.query": 3, r".*\.0\..*": 2}, "rank_pattern": {"query": 2}}),
        V(written={"alpha_pattern": {"query": "much"}}, told="setting 'alpha_pattern'"),
    ),
    "megatron_config": (V(written={"megatron_config": {"layers": 1}}, told="uses Megatron's layers"),),
    "megatron_core": (
        V({"megatron_core": "megatron.core"}),
        V(written={"megatron_core": "evil.module"}, told="asks to import program code"),
    ),
    "trainable_token_indices": (
        V({"trainable_token_indices": [3, 7]}, "uses retrained tokens"),
        V({"trainable_token_indices": {"word_embeddings": [5]}}, "uses retrained tokens"),
    ),
    "loftq_config": (V({"loftq_config": {}}),),
    "eva_config": (V({"init_lora_weights": "eva", "eva_config": {}}),),
    "corda_config": (V({"corda_config": {}}),),  # without its start it says nothing
    "lora_ga_config": (V({"lora_ga_config": {}}),),
    "use_dora": (V({"use_dora": True}, "uses DoRA"),),
    "velora_config": (V({"velora_config": {"num_groups": 8}}),),  # another way back, the same model
    "alora_invocation_tokens": (V(written={"alora_invocation_tokens": [1, 2]}, told="uses activated LoRA"),),
    "use_qalora": (V({"use_qalora": True, "qalora_group_size": 8}, "uses QALoRA"),),
    "qalora_group_size": (V({"qalora_group_size": 8}),),
    "monteclora_config": (V({"monteclora_config": {"num_samples": 2}}, "uses MonteCLoRA"),),
    "layer_replication": (V({"layer_replication": [(0, 2), (1, 2)]}, "uses repeated layers"),),
    "runtime_config": (V({"runtime_config": _runtime}),),
    "lora_bias": (
        V({"lora_bias": True}),
        V({"lora_bias": True, "bias": "all"}, "changes .*bias' in two ways"),
    ),
    "target_parameters": (
        V({"target_modules": ["value"], "target_parameters": ["query.weight"]}, "uses adapted experts"),
    ),
    "use_bdlora": (
        V(
            {"use_bdlora": {"target_modules_bd_a": ["query"], "nblocks": 2, "match_strict": False}},
            "uses BD-LoRA",
        ),
    ),
    "arrow_config": (V(written={"arrow_config": {"top_k": 3}}, told="uses Arrow"),),
    "kasa_config": (V({"kasa_config": {}}, "uses KaSA"),),
    "ensure_weight_tying": (V({"ensure_weight_tying": True, "target_modules": ["query", "word_embeddings"]}),),
}


PLAIN = {"r": 4, "lora_alpha": 8, "target_modules": ["query", "value"]}
VARIANTS = [(name, number) for name, variants in TRIED.items() for number in range(len(variants))]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A tiny BERT with all that the library saves."""
    return opened("bert", tmp_path_factory.mktemp("bases") / "bert")


@pytest.fixture(scope="module")
def plain(bert: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny BERT without anything particular."""
    from peft import LoraConfig

    folder = tmp_path_factory.mktemp("adapters") / "plain"
    save_adapter(bert, LoraConfig(**PLAIN), folder)
    return folder


@pytest.mark.parametrize(("name", "number"), VARIANTS)
def test_an_adapter_with_a_setting_is_pefts_or_refused_for_its_reason(
    bert: Base, plain: Path, name: str, number: int, tmp_path: Path
) -> None:
    from peft import LoraConfig

    variant, folder = TRIED[name][number], tmp_path / "adapter"
    if variant.options:
        made = {name: value() if callable(value) else value for name, value in variant.options.items()}
        save_adapter(bert, LoraConfig(**(PLAIN | made)), folder)
    else:
        _change(Path(shutil.copytree(plain, folder)), variant.written)
    if variant.told:
        with pytest.raises(BadChoice, match=variant.told):
            bert.adapted(folder)
    else:
        check_like_peft(bert, folder)


def test_every_setting_and_every_start_that_peft_has_is_tried() -> None:
    from peft import LoraConfig

    assert set(TRIED) == {one.name for one in dataclasses.fields(LoraConfig)}
    starts = {(one.options | one.written)["init_lora_weights"] for one in TRIED["init_lora_weights"]}
    hint = typing.get_type_hints(LoraConfig)["init_lora_weights"]
    named = {value for part in typing.get_args(hint) for value in typing.get_args(part)}
    assert named - starts == {"pissa_niter_[number of iters]"}


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_an_adapter_whose_start_was_converted_to_plain_lora_is_folded(bert: Base, start: str, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(bert.fresh(), LoraConfig(**(PLAIN | {"init_lora_weights": start})))
    model.peft_config["default"].init_lora_weights = True  # as PEFT's guide says
    model.save_pretrained(str(tmp_path / "start"))
    randomize(model)
    kept = str(tmp_path / "start")
    model.save_pretrained(str(tmp_path / "adapter"), path_initial_model_for_weight_conversion=kept)
    assert check_like_peft(bert, tmp_path / "adapter")["r"] == 8


@pytest.mark.parametrize("lost", ["encoder.layer.1.attention.self.value", "value"])
def test_a_file_that_lacks_factors_for_a_module_of_the_base_is_incomplete(
    bert: Base, plain: Path, lost: str, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    file = Path(shutil.copytree(plain, tmp_path / "adapter")) / "adapter_model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if f"{lost}.lora" not in name}
    save_file(kept, file)
    with pytest.raises(BadChoice, match=r"incomplete: its settings name 'encoder.layer.*value', but its file has no"):
        bert.adapted(file.parent)


def _change(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
