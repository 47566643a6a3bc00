"""The small models of this project's own: where their files lie, how they come there, how they are adapted.

``number-encoder`` is trained on this machine when it is first used. ``number-lm`` comes with the program; its weights
were made by ``python -m numembed.models.builtin.language_model``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.serialization import canonical_json
from numembed.core.settings import Settings
from numembed.models.adapters.recipe import Recipe
from numembed.models.builtin.encoder import EncoderRecipe, train_encoder
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import facts_of
from numembed.models.files.publish import held_lock, is_whole, published
from numembed.models.spec import ModelSpec, ScratchWeights, origin_of
from numembed.sequences.splits import split_called

ENCODER, LANGUAGE_MODEL = "number-encoder", "number-lm"
USUAL_ENCODER = EncoderRecipe()
SHIPPED = Path(__file__).with_name("shipped")
_VERSION = "1"  # of the training program: another one, another folder
_LIBRARIES = ("torch", "transformers", "tokenizers")
_ASK_SECONDS = 0.2  # while another process trains
LARGE_MILLIONS = 100.0  # parameters, above which training takes fewer and shorter steps
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_DECODERS = ("Llama", "Mistral", "Qwen", "Gemma")  # how the names of architectures begin whose layers are called so


def builtin_place(name: str, settings: Settings) -> Path:
    """Return where a model of our own lies, here or not yet; raises ModelUnavailable for an unknown name."""
    match name:
        case "number-encoder":
            return encoder_place(USUAL_ENCODER, settings)
        case "number-lm":
            return SHIPPED / LANGUAGE_MODEL
        case _:
            raise ModelUnavailable(f"No built-in model is called {name[:80]!r}. Known: {ENCODER}, {LANGUAGE_MODEL}.")


def builtin_folder(name: str, settings: Settings, *, progress: Progress = silent) -> Path:
    """Return the folder of a model of our own, trained where it is not here yet; raises ModelUnavailable."""
    place = builtin_place(name, settings)
    if name == ENCODER:
        return trained_encoder(USUAL_ENCODER, settings, progress=progress)
    if not is_whole(place):
        raise ModelUnavailable(f"The files of {name} are damaged or missing. Install numembed again.")
    return place


def encoder_place(recipe: EncoderRecipe, settings: Settings) -> Path:
    """Return where the encoder of a recipe lies: another one for other versions of the libraries."""
    versions = {library: importlib.metadata.version(library) for library in _LIBRARIES}
    decides = {"recipe": asdict(recipe), "versions": versions, "program": _VERSION}
    digest = hashlib.sha256(canonical_json(decides).encode()).hexdigest()[:12]
    return settings.home / "scratch" / f"{ENCODER}-{digest}"


def trained_encoder(recipe: EncoderRecipe, settings: Settings, *, progress: Progress = silent) -> Path:
    """Return the folder of the encoder of a recipe, trained where it is not here yet.

    Processes that ask at once train once: the others wait. ``progress`` tells of the stage "build" and may raise
    Cancelled, here and while waiting; nothing of an unfinished training stays.
    """
    place = encoder_place(recipe, settings)
    if not is_whole(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        begins = partial(progress, 0, recipe.steps, "build")  # also while it waits
        begins()
        with held_lock(place.with_name(f".{place.name}.lock"), begins, seconds=_ASK_SECONDS):
            if not is_whole(place):  # nobody has trained it in the meantime
                shutil.rmtree(place, ignore_errors=True)  # a file of it is damaged
                with published(place) as draft:
                    train_encoder(recipe, draft, progress=progress)
    return place


def usual_recipe(base: ModelSpec) -> Recipe:
    """Return how adapters of ``base`` are trained by default; a model of our own takes other steps than a large one."""
    origin, facts = origin_of(base.weights), facts_of(base)
    if not isinstance(origin, ScratchWeights):
        return _large_recipe(facts) if facts is not None and facts.parameters_millions > LARGE_MILLIONS else Recipe()
    split = replace(split_called("others"), shortest=20, longest=50)
    if origin.name == LANGUAGE_MODEL:  # sequences that begin near one another won it nothing
        return Recipe(split=split, rank=32, alpha=64.0, apart=None, learning_rate=4e-3, steps=150)
    return Recipe(split=split, apart=None, steps=100)  # it knows the twelve families: more is won on the paper's six


def _large_recipe(facts: Row) -> Recipe:
    """Return the usual recipe of a large model: few steps of short sequences, in bfloat16 where that is quicker.

    24 such steps won SmolLM2 more than 200 won all-MiniLM-L6-v2, and kept more of the base.
    """
    targets = _ATTENTION if facts.architecture.startswith(_DECODERS) else ()
    split = replace(split_called("others"), longest=12, brief=True)
    return Recipe(split=split, targets=targets, batch=16, steps=24, warmup=2, seeds=(0, 1), numbers="auto")
