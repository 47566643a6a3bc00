"""Which modules an adapter's settings name: what PEFT itself says, without it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from numembed.models.adapters.peft_rules import is_target

MODULES = (
    *("encoder.layer.0.attention.self.query", "encoder.layer.1.attention.self.query", "encoder.layer.11.output.dense"),
    *(
        "query",
        "a.query.b",
        "my_query",
        "layer.1.query",
        "layers.1.experts.0.w1",
        "model.layers.1.experts.0.w1",
        "pooler.dense",
        "h.0.attn.c_proj",
    ),
)
TARGETS: tuple[Any, ...] = (
    ["query"],
    ["query", "dense", "nowhere"],
    ["self.query", "1.query"],
    ["w1", "c_proj", "encoder.layer.1.attention.self.query"],
    r".*\.(query|dense)",
    r"query",
    r"encoder\.layer\.\d\..*",
)
EXCLUDED: tuple[Any, ...] = (None, [], ["pooler.dense"], ["query"], r".*\.0\..*", r"query")
LAYERS: tuple[dict[str, Any], ...] = (
    {},
    {"layers_to_transform": []},
    {"layers_to_transform": 0},
    {"layers_to_transform": [1, 11]},
    {"layers_to_transform": [0, 1], "layers_pattern": "layer"},
    {"layers_to_transform": [1], "layers_pattern": ["h", "layers"]},
    {"layers_to_transform": [0], "layers_pattern": []},
)
RETRAINED: tuple[Any, ...] = (None, [], ["pooler"], ["classifier", "query"])


@pytest.mark.slow
def test_a_module_is_a_target_where_peft_takes_it_for_one() -> None:
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    found = set()
    for targets, excluded, layers, retrained in itertools.product(TARGETS, EXCLUDED, LAYERS, RETRAINED):
        if isinstance(targets, str) and layers:
            continue  # PEFT does not take both
        plain = {"target_modules": targets, "exclude_modules": excluded, "modules_to_save": retrained, **layers}
        theirs = LoraConfig(**plain)
        for module in MODULES:
            expected = bool(check_target_module_exists(theirs, module))
            assert is_target(plain, module) is expected, (plain, module)
            found.add((module, expected))
    assert found == {(module, taken) for module in MODULES for taken in (True, False)} - {
        ("a.query.b", True),
        ("my_query", True),
    }
