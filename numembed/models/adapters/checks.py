"""Whether an adapter belongs to a base: decided by its settings, both headers, and the recipe of one trained here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numembed.core.errors import BadChoice
from numembed.models.adapters.base_names import modules_spelled_like, passes, turned_in
from numembed.models.adapters.fold import AdaptedFolder, Product, changes
from numembed.models.adapters.peft_files import CONFIG, RECIPE, factors_in, read_adapter
from numembed.models.adapters.peft_rules import is_target, names_modules
from numembed.models.adapters.peft_settings import CHOOSE, check_settings
from numembed.models.adapters.recipe import MOST_RANK
from numembed.models.files.folders import digest_of_folder, read_json
from numembed.models.files.tensors import FLOATS, Stored, TensorFolder
from numembed.models.spec import FolderWeights, HubWeights

_HUB_ID = re.compile(r"[\w-]{1,96}/[\w.-]{1,96}", re.ASCII)


def attached(base: Path, adapter: Path, scale: float = 1.0, *, weights: FolderWeights | None = None) -> AdaptedFolder:
    """Return the model folder ``base`` with an adapter folded in, once it is known to belong there.

    Raises what :func:`check_adapter` and AdaptedFolder raise, before any weight of the base is folded.
    """
    check_adapter(adapter, base, weights=weights)
    return AdaptedFolder(base, adapter, scale)


def check_adapter(adapter: Path, base: Path, *, weights: FolderWeights | None = None) -> None:
    """Return where the PEFT folder ``adapter`` fits the model folder ``base``, by names, shapes and digests.

    ``weights`` is what the base is called, where that is known. Raises BadChoice for an adapter of another base, of
    another kind or with settings nobody here knows, ModelUnavailable where there is no adapter or a file is damaged.
    """
    stored = read_adapter(adapter)
    config = read_json(adapter / CONFIG)
    check_settings(config)
    _check_name(config, weights)
    tensors = TensorFolder(base)
    for change in changes(tensors, stored, config, 1.0, turned=turned_in(tensors)).values():
        given = (change.down, change.up) if isinstance(change, Product) else (change.given,)
        _check_stored(*(stored[name] for name in given))
    if names_modules(config):
        _check_targets(config, tensors, stored)
    if _trained_on(adapter, base, weights) is False:
        stated = read_json(adapter / RECIPE)["base"]
        raise BadChoice(
            f"The adapter was trained on {str(stated.get('name'))[:80]!r}, whose files differ from those of "
            f"{base.name[:80]!r} are. {CHOOSE}"
        )


def is_verified(adapter: Path, base: Path, weights: FolderWeights) -> bool:
    """Return whether an adapter that fits ``base`` also says that it was trained on it, by digest or repository.

    The path of a folder says nothing: it can lie on another machine, and hold something else by now.
    """
    trained = _trained_on(adapter, base, weights)
    named = _repository(read_json(adapter / CONFIG))
    return bool(trained) or (trained is None and bool(named) and isinstance(weights, HubWeights))


def _check_name(config: Mapping[str, Any], weights: FolderWeights | None) -> None:
    """Refuse an adapter that names another repository; whose it is does not matter: there are mirrors."""
    named, base = _repository(config), weights.repo if isinstance(weights, HubWeights) else ""
    if named and base and named.rpartition("/")[2].lower() != base.rpartition("/")[2].lower():
        raise BadChoice(f"The adapter was made for {named[:80]}, not for {base[:80]}. {CHOOSE}")


def _repository(config: Mapping[str, Any]) -> str:
    """Return which repository an adapter names as its base; "" for the path of a folder, or nothing."""
    named = config.get("base_model_name_or_path")
    return named if isinstance(named, str) and _HUB_ID.fullmatch(named) else ""


def _check_stored(*given: Stored) -> None:
    if len(given) == 2 and given[0].shape[0] > MOST_RANK:
        raise BadChoice(f"An adapter has a rank of at most {MOST_RANK}, got {given[0].shape[0]:,}. Choose another one.")
    if packed := [one.dtype for one in given if one.dtype not in FLOATS]:
        raise BadChoice(f"The adapter is packed as {packed[0][:20]}, which is not read here. Save it as float32.")


def _check_targets(config: Mapping[str, Any], base: TensorFolder, stored: Mapping[str, Stored]) -> None:
    """Refuse an adapter whose settings and factors do not go together: part of it is missing, or of another one.

    Names that match no module of the base adapt nothing, as in PEFT.
    """
    adapted = factors_in(stored)
    inside = [module for module in adapted if passes(f"{module}.weight", base)]  # a tied head may have factors too
    if foreign := [module for module in inside if not is_target(config, module)]:
        raise BadChoice(
            f"The adapter's file has factors for {foreign[0][:120]!r}, which its settings do not name, so PEFT would "
            "leave them out. Download or save it again."
        )
    known = modules_spelled_like(inside[0], base) if inside else ()
    wanted = [module for module in known if is_target(config, module) and module not in adapted]
    if wanted:
        raise BadChoice(
            f"The adapter is incomplete: its settings name {wanted[0][:120]!r}, but its file has no such factors. "
            "Download or save it again."
        )


def _trained_on(adapter: Path, base: Path, weights: FolderWeights | None) -> bool | None:
    """Return whether an adapter of our own was trained on these weights, wherever they lie; None where nobody knows."""
    stated = read_json(adapter / RECIPE).get("base")
    trained = stated.get("weights") if isinstance(stated, dict) else None
    if not isinstance(trained, dict):
        return None  # made elsewhere
    if trained.get("digest"):
        return bool(trained["digest"] == (getattr(weights, "digest", "") or digest_of_folder(base)))
    if isinstance(weights, HubWeights) and weights.repo == trained.get("repo"):
        return bool(trained.get("revision") == weights.revision)
    return None  # a mirror or a copy: the same files under another name
