"""Every kind of weights has its row in each table, and says about itself what the program asks."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

from numembed.core.errors import BadChoice
from numembed.core.serialization import canonical_json
from numembed.core.settings import Endpoint, Settings
from numembed.models.encoders.loaded import ENCODERS
from numembed.models.encoders.weight_swap import CHANGES
from numembed.models.resolve import KINDS, known_folder, resolve
from numembed.models.save import RECIPES, save_model
from numembed.models.spec import (
    WEIGHT_KINDS,
    AdapterWeights,
    BaselineWeights,
    FolderWeights,
    HubWeights,
    LocalWeights,
    LoraWeights,
    MergedWeights,
    ModelSpec,
    PackagedWeights,
    RemoteWeights,
    ScratchWeights,
    Weights,
    WeightsKind,
    origin_of,
)

COMMIT, DIGEST = "1" * 40, "d" * 64
HUB, LOCAL = HubWeights("owner/name", COMMIT), LocalWeights("/models/mine", DIGEST)
HUB_PLAIN = {"kind": "HubWeights", "repo": "owner/name", "revision": COMMIT}
LOCAL_PLAIN = {"kind": "LocalWeights", "path": "/models/mine", "digest": DIGEST}
LORA = LoraWeights(HUB, LOCAL, 0.5)
LORA_PLAIN = {"kind": "LoraWeights", "base": HUB_PLAIN, "adapter": LOCAL_PLAIN, "scale": 0.5}
DESCRIBED: list[tuple[Any, dict[str, Any]]] = [  # as they enter the keys of stored vectors: none may ever change
    (HUB, HUB_PLAIN),
    (LOCAL, LOCAL_PLAIN),
    (ScratchWeights("number-lm", DIGEST), {"kind": "ScratchWeights", "name": "number-lm", "digest": DIGEST}),
    (PackagedWeights("SmolLM2", DIGEST), {"kind": "PackagedWeights", "name": "SmolLM2", "digest": DIGEST}),
    (
        RemoteWeights("lab", "http://lab/v1", "small"),
        {"kind": "RemoteWeights", "endpoint": "lab", "url": "http://lab/v1", "model": "small"},
    ),
    (BaselineWeights("last_digits", 2), {"kind": "BaselineWeights", "name": "last_digits", "version": 2}),
    (LORA, LORA_PLAIN),
    (
        MergedWeights("slerp", (LORA, HUB), HUB, "task_vectors", "flat", (1, 3), (("t", 0.5), ("fallback", 1))),
        {
            "kind": "MergedWeights",
            "method": "slerp",
            "parts": [LORA_PLAIN, HUB_PLAIN],
            "base": HUB_PLAIN,
            "space": "task_vectors",
            "scope": "flat",
            "weights": [1.0, 3.0],
            "options": [["fallback", 1.0], ["t", 0.5]],
        },
    ),
    (
        MergedWeights("soup", (HUB, LOCAL)),
        {
            "kind": "MergedWeights",
            "method": "soup",
            "parts": [HUB_PLAIN, LOCAL_PLAIN],
            "base": None,
            "space": "",
            "scope": "tensor",
            "weights": [],
            "options": [],
        },
    ),
]
ADAPTERS = get_args(AdapterWeights)
EACH = pytest.mark.parametrize("kind", get_args(Weights), ids=lambda kind: kind.__name__)
NO_NETWORK = Settings(
    Path("/nowhere"), offline=True, prewarm=False, endpoints={"lab": Endpoint("lab", "http://lab/v1", "small")}
)


@EACH
def test_every_kind_has_its_row_in_each_table(kind: type[WeightsKind]) -> None:
    assert kind in KINDS, "resolve.KINDS has no row of it"
    source = KINDS[kind]
    has_files = kind.runner == "files" and not kind.change
    assert (source.folder is not None) is (source.known_folder is not None) is has_files
    assert (source.adapter_folder is not None) is (source.resolved_adapter is not None) is (kind in ADAPTERS)
    assert has_files is (kind in get_args(FolderWeights))
    assert kind.runner in {"formula", *ENCODERS}, "encoder.ENCODERS has no row of its runner"
    assert kind.change in {"", *CHANGES}, "weight_swap.CHANGES has no row of its change"
    assert kind.change in RECIPES, "save.RECIPES has no row of its change"
    assert WEIGHT_KINDS[kind.__name__] is kind
    assert kind in {type(one) for one, _ in DESCRIBED}, "its description is missing above"


def test_no_table_has_a_row_of_no_kind() -> None:
    kinds = get_args(Weights)
    assert set(KINDS) == set(kinds) == set(WeightsKind.__subclasses__())
    assert {kind.change for kind in kinds} == RECIPES.keys() == {"", *CHANGES}
    assert {kind.runner for kind in kinds} == {"formula", *ENCODERS}


@EACH
def test_what_a_kind_says_about_itself_is_about_its_fields(kind: Any) -> None:
    names = {field.name for field in fields(kind)}
    assert {kind.named_by, kind.resolved_by} <= names | {""}
    assert bool(kind.named_by) is not bool(kind.change), "a person writes its name, or that of what it is made of"
    assert kind.resolved_by or kind.change or kind.runner == "formula"
    assert not names & {field for field in vars(WeightsKind) if not field.startswith("_")}


@pytest.mark.parametrize(("weights", "described"), DESCRIBED)
def test_the_words_that_enter_the_keys_stay(weights: Weights, described: dict[str, Any]) -> None:
    spec = ModelSpec("m", weights)
    assert canonical_json(spec.as_dict()["weights"]) == canonical_json(described)
    assert list(spec.as_dict()["weights"]) == list(described)
    assert ModelSpec.from_dict(json.loads(canonical_json(spec.as_dict()))) == spec and len(spec.key) == 64


@pytest.mark.parametrize(
    "loose",
    [
        HubWeights("owner/name"),
        LocalWeights("/m"),
        ScratchWeights("number-lm"),
        RemoteWeights("lab"),
        LoraWeights(HubWeights("owner/name"), LOCAL),
        LoraWeights(HUB, LocalWeights("/a")),
        MergedWeights("soup", (HUB, HubWeights("owner/name"))),
        MergedWeights("soup", (HUB, HUB), LocalWeights("/m")),
        MergedWeights("soup", (HUB, LoraWeights(HUB, LocalWeights("/a")))),
    ],
)
def test_what_is_left_open_has_no_key(loose: Weights) -> None:
    assert not ModelSpec("m", loose).resolved


def test_the_origin_is_the_first_model_that_something_is_made_of() -> None:
    assert origin_of(LORA) == HUB and origin_of(LOCAL) == LOCAL
    assert origin_of(MergedWeights("soup", (LORA, LOCAL), LOCAL)) == HUB


def test_each_kind_is_called_by_what_a_person_wrote() -> None:
    called = [one.called for one, _ in DESCRIBED]
    assert called == ["owner/name", "mine", "number-lm", "SmolLM2", "lab", "last_digits", "", "", ""]


def test_what_is_made_of_others_is_in_its_origins_folder(tiny_model: Path) -> None:
    here = LocalWeights(str(tiny_model))
    for made in (LoraWeights(here, LOCAL), MergedWeights("soup", (LoraWeights(here, LOCAL), HUB))):
        assert known_folder(made, NO_NETWORK) == tiny_model
    assert known_folder(RemoteWeights("lab"), NO_NETWORK) is None
    assert known_folder(BaselineWeights("last_digits"), NO_NETWORK) is None


def test_an_endpoint_is_resolved_from_the_settings_alone() -> None:
    spec = ModelSpec("Lab", RemoteWeights("lab", "http://evil", "other"), prompt="query: ")
    found = resolve(spec, NO_NETWORK)
    assert found.weights == RemoteWeights("lab", "http://lab/v1", "small") and found.prompt == "query: "


def test_a_merge_of_a_merge_is_not_saved_as_its_origin(tiny_model: Path, tmp_path: Path) -> None:
    here = LocalWeights(str(tiny_model), DIGEST)
    nested = ModelSpec("nested", MergedWeights("soup", (MergedWeights("soup", (here, here)), here)))
    with pytest.raises(BadChoice, match=r"one of its parts is itself a merge.* Save that part as a folder first"):
        save_model(nested, tmp_path / "out", settings=NO_NETWORK)
    assert not (tmp_path / "out").exists()
