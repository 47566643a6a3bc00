"""What an adapter's names mean in its base, which may be saved with or without its architecture's name in front."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from numembed.core.arrays import Tensor
from numembed.models.files.tensors import TensorFolder, architecture_in, names_of, passed_through, plain_name

_EXPERT = re.compile(r"\.experts\.\d+\.")  # in the files each for itself, in memory all in one tensor


def stored_names(base: Mapping[str, Tensor]) -> Callable[[str], str | None]:
    """Return the function from any name of a tensor to what the base's files call it; None where they have none."""
    names = names_of(base)
    return lambda name: names.get(plain_name(name, base))


def passes(name: str, base: Mapping[str, Tensor]) -> bool:
    """Return whether a vector passes through a tensor of which any name is known: not through poolers and heads."""
    plain = plain_name(name, base)
    return plain in passed_through(base) or (plain not in names_of(base) and architecture_in(base).passes(plain))


def turned_in(base: TensorFolder) -> tuple[str, ...]:
    """Return the last names of the layers of a model folder that store their weights turned."""
    return base.architecture.turned


def modules_spelled_like(module: str, base: TensorFolder) -> Iterator[str]:
    """Yield the modules of the base that an adapter can adapt, spelled with or without a name in front, as ``module``.

    A decoder behind an encoder is none of them: models that give vectors leave it out.
    """
    known = (stored_names(base)(f"{module}.weight") or "").removesuffix(".weight")
    front = module.removesuffix(known) if module.endswith(known) else ""  # what stands before one of the two names
    back = known.removesuffix(module) if known.endswith(module) else ""
    names = [name for name, one in base.stored.items() if len(one.shape) > 1 and name.endswith(".weight")]
    paired = any(name.removeprefix(back).startswith("encoder.") for name in names)
    for name in (name for name in names if "/" not in name and passes(name, base) and not _EXPERT.search(name)):
        plain = name.removeprefix(back).removesuffix(".weight")
        if not (paired and plain.startswith("decoder.")):
            yield front + plain
