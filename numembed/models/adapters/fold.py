"""LoRA adapters as PEFT saves them, folded into their base: W + scale · (alpha / r) · B A.

Several adapters are added by folding one after the other, in float32: base + Σ delta. (PEFT's own way of joining them,
``linear``, averages the factors A and B separately, which is another matrix: it was 85% off.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from numembed.core.arrays import Tensor
from numembed.core.errors import BadChoice
from numembed.models.adapters.base_names import passes, stored_names, turned_in
from numembed.models.adapters.peft_files import CONFIG, factors_in, is_factor, read_adapter, unwrapped
from numembed.models.adapters.peft_rules import is_retrained, strength
from numembed.models.adapters.peft_settings import CHOOSE, MERGE_IT, check_kind
from numembed.models.files.folders import read_json
from numembed.models.files.tensors import (
    HEADS,
    Stored,
    TensorFolder,
    shapes_of,
    tied_embedding,
)

Shapes = Mapping[str, tuple[tuple[int, ...], bool]]
_OF_TRAINING = ".lora_velora_embed"  # what VeLoRA's backward pass goes by


@dataclass(frozen=True)
class Product:
    """What an adapter's two factors add to one tensor."""

    down: str  # its factor A (r, in)
    up: str  # its factor B (out, r)
    factor: float
    turned: bool  # stored as (in, out): embeddings, and the layers of GPT-2

    def delta(self, tensor: Tensor, adapter: Mapping[str, Tensor]) -> Tensor:
        """Return what is added to ``tensor``."""
        product = adapter[self.up].astype(np.float32) @ adapter[self.down].astype(np.float32)
        product *= np.float32(self.factor)
        return product.T if self.turned else product


@dataclass(frozen=True)
class Addend:
    """What an adapter adds to one bias, or the values that it puts in the place of a whole tensor."""

    given: str
    factor: float
    replaces: bool

    def delta(self, tensor: Tensor, adapter: Mapping[str, Tensor]) -> Tensor:
        """Return what is added to ``tensor``."""
        values = adapter[self.given].astype(np.float32)
        return (values - tensor if self.replaces else values) * np.float32(self.factor)


Change = Product | Addend


class AdaptedFolder(Mapping[str, Tensor]):
    """The weights of a model folder with an adapter folded in; each is made on demand and not kept.

    Raises BadChoice for an adapter that does not fit the base or holds more than LoRA, ModelUnavailable where there is
    none; both before any weight of the base is read.
    """

    def __init__(self, base: Path, adapter: Path, scale: float = 1.0) -> None:
        self.base, self.adapter, self.scale = TensorFolder(base), adapter, scale
        self._factors = {name: one.read() for name, one in read_adapter(adapter).items()}
        self._changes = changes(
            self.base, self._factors, read_json(adapter / CONFIG), scale, turned=turned_in(self.base)
        )
        self.folder, self.modules, self.stored = self.base.folder, self.base.modules, self.base.stored
        self.architecture = self.base.architecture

    def __getitem__(self, name: str) -> Tensor:
        return folded(self.base[name], self._factors, self._changes.get(name))

    def __iter__(self) -> Iterator[str]:
        return iter(self.base)

    def __len__(self) -> int:
        return len(self.base)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the tensors that the adapter changes."""
        return tuple(self._changes)


def folded(tensor: Tensor, adapter: Mapping[str, Tensor], change: Change | None) -> Tensor:
    """Return ``tensor`` with what the adapter does to it."""
    return tensor if change is None else (tensor + change.delta(tensor, adapter)).astype(tensor.dtype, copy=False)


def changes(
    base: Mapping[str, Tensor],
    adapter: Mapping[str, Tensor | Stored],
    config: Mapping[str, Any],
    scale: float,
    *,
    turned: tuple[str, ...] = (),
) -> dict[str, Change]:
    """Return what the adapter changes, by the base's names; raise BadChoice where it does not fit the base.

    ``turned`` are the last names of the layers that store their weights as (in, out).
    """
    check_kind(config)
    shapes, name_in_base, found = shapes_of(base), stored_names(base), dict[str, Change]()
    for module, pair in factors_in(adapter).items():
        name = name_in_base(f"{module}.weight")
        if name is None and not passes(f"{module}.weight", base):
            continue  # of a pooler or head that the base's files leave out
        if name is None or not pair.down or not pair.up:
            raise BadChoice(f"The adapter was made for another base: this one has no {module[:120]!r}. {CHOOSE}")
        lies_turned = pair.embedding or module.rpartition(".")[2] in turned
        down, up = adapter[pair.down].shape, adapter[pair.up].shape
        _check_shape(name, shapes[name][0], down, up, lies_turned)
        factor = scale * strength(config, module, max(1, down[0]))
        found[name] = Product(pair.down, pair.up, factor, lies_turned)
        if (bias := pair.up.replace(".weight", ".bias")) != pair.up and bias in adapter:
            found[_bias_of(name, shapes)] = Addend(bias, factor, replaces=False)
    used = {change.up.replace(".weight", ".bias") for change in found.values() if isinstance(change, Product)}
    for key in (key for key in adapter if not is_factor(key) and key not in used and _OF_TRAINING not in key):
        known = name_in_base(unwrapped(key))
        if _replaces(key, adapter[key], known, base, config) and known is not None:
            if known in found:
                raise BadChoice(
                    f"The adapter changes {known[:120]!r} in two ways, which is not folded here. {MERGE_IT}"
                )
            found[known] = Addend(key, scale, replaces=True)
    if not found:
        raise BadChoice("The adapter is empty: it adapts no part of the model. Choose another one.")
    return found | _tied_changes(base, found)


def _bias_of(weight: str, shapes: Shapes) -> str:
    name = f"{weight.removesuffix('weight')}bias"
    if name not in shapes:
        raise BadChoice(f"The adapter has a bias for {weight[:120]!r}, which has none in the base. {MERGE_IT}")
    return name


def _replaces(
    key: str, value: Tensor | Stored, known: str | None, base: Mapping[str, Tensor], config: Mapping[str, Any]
) -> bool:
    """Return whether a tensor of the adapter takes the place of ``known``, the base's; raise BadChoice for what is odd.

    That are trained biases and parts that were trained as a whole. What changes no vector may be there too: heads and
    poolers, and a copy of the base's own embedding, which PEFT saves beside an adapted one.
    """
    plain = unwrapped(key)
    whole = is_retrained(config, plain)
    if (known is None and whole) or not passes(known or plain, base):
        return False
    if known is not None and (whole or (plain.endswith(".bias") and config.get("bias") in ("all", "lora_only"))):
        if (shape := _shape_of(base, known)) != value.shape:
            raise _other_base(known, value.shape, shape)
        return True
    if known is None or not np.array_equal(base[known], value.read() if isinstance(value, Stored) else value):
        raise BadChoice(
            f"The adapter holds {plain[:120]!r}, which is no LoRA factor and not the base's own. {MERGE_IT}"
        )
    return False


def _check_shape(name: str, shape: tuple[int, ...], down: tuple[int, ...], up: tuple[int, ...], turned: bool) -> None:
    if len(down) != 2 or len(up) != 2:
        raise BadChoice(f"The adapter changes a convolution, {name[:120]!r}: not supported. Merge it with PEFT.")
    made = (down[1], up[0]) if turned else (up[0], down[1])
    if made != shape or down[0] != up[1]:
        raise _other_base(name, made, shape)


def _other_base(name: str, made: tuple[int, ...], shape: tuple[int, ...]) -> BadChoice:
    text = " and ".join("×".join(map(str, one)) for one in (made, shape))
    return BadChoice(f"The adapter was made for another base: {name[:120]!r} is {text} there and here. {CHOOSE}")


def _tied_changes(base: Mapping[str, Tensor], found: Mapping[str, Change]) -> dict[str, Change]:
    """Return the changes of output heads that repeat an adapted embedding: in PEFT they are one tensor."""
    shapes = shapes_of(base)
    changed = {shapes[name] for name in found}
    heads = [name for name in base if name.endswith(HEADS) and name not in found and shapes[name] in changed]
    tied = {head: tied_embedding(base, head) for head in heads}
    return {head: found[name] for head, name in tied.items() if name is not None and name in found}


def _shape_of(base: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    """Return the shape of one tensor, without reading it from a folder."""
    return base.stored[name].shape if isinstance(base, TensorFolder) else base[name].shape
