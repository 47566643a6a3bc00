"""Loads a SentenceTransformer folder as its makers meant it: recipe, native shims, the loader's own report."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numembed.core.errors import AcceleratorLost, BadChoice, ModelUnavailable, reason_of
from numembed.models.files.architectures import NO_LIMIT, UNKNOWN, Architecture, architecture_of
from numembed.models.files.folders import read_json
from numembed.models.files.settings import SETTINGS_FILE, wrong_setting
from numembed.models.files.tensors import modules_of, read_header, weight_files
from numembed.models.loading.architectures import as_loaded
from numembed.models.loading.padding import ensure_padding
from numembed.models.loading.random_weights import draw_weights
from numembed.models.loading.reasons import load_failure, refuse_empty_tokenizer
from numembed.models.spec import ModelSpec

_NO_ROOM = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "STATUS_ALLOC_FAILED",
    "could not create a primitive",  # oneDNN, which finds no room for the code of an operation
)
_LOST = ("CUDA error", "CUDA driver", "cuDNN error", "CUBLAS_STATUS", "HIP error")


@dataclass(frozen=True)
class LoadReport:
    """What the loader said: weights that it made up and weights that it left out."""

    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def load(spec: ModelSpec, folder: Path, *, device: str = "cpu") -> tuple[Any, LoadReport]:
    """Return the SentenceTransformer in ``folder`` by the recipe of ``spec``, and what its loader reported.

    Where the recipe asks for random weights, they take the place of those that were read, number by number. Never
    pickles, never the network; program code only where the recipe names it. Raises ModelUnavailable.
    """
    _import_libraries()
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # its bars would run through ours
    _register_shims()
    try:
        with _no_network(), _reported() as reports:
            # random weights are drawn on the processor: a graphics card draws others from the same seed
            model = _model(spec, folder, device if spec.loading.random_seed is None else "cpu")
        _refuse_idle(spec, model)
        if transformer_of(model) is not None:  # a static model reads everything
            refuse_empty_tokenizer(spec, folder, model.tokenizer)
            ensure_padding(model)
            if limit := _limit(spec, model):
                model.max_seq_length = limit
    except (BadChoice, ModelUnavailable):
        raise
    except Exception as error:
        logging.getLogger(__name__).info("could not load %s", folder, exc_info=True)  # the worker keeps it in its log
        raise _machine_fault(spec, error) or load_failure(spec, folder, error) from error
    _refuse_without(spec, model)
    if spec.loading.random_seed is not None:
        _randomise(spec, model, spec.loading.random_seed)
        with described_faults(spec):
            model.to(device)
    return model.eval(), _summary(reports, model, folder)


@functools.cache
def _import_libraries() -> None:
    """Import the libraries once, and let the garbage collector, which runs at each change of models, pass over them."""
    import sentence_transformers  # noqa: F401

    gc.collect()
    gc.freeze()


def transformer_of(model: Any) -> Any:
    """Return the part of a SentenceTransformer that holds the transformer, or None for a static model."""
    first = model[0]
    return first if hasattr(first, "auto_model") else None


def pooling_of(model: Any) -> Any:
    """Return the module that turns token vectors into one vector, or None."""
    return next((module for module in model if type(module).__name__ == "Pooling"), None)


def _model(spec: ModelSpec, folder: Path, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    _refuse_wrong_settings(spec, folder)
    recipe = spec.loading
    options: dict[str, Any] = {
        "model_kwargs": {"use_safetensors": True, "dtype": spec.dtype},
        "processor_kwargs": {
            name: True
            for name, wanted in (("add_bos_token", recipe.add_bos), ("add_eos_token", recipe.add_eos))
            if wanted
        },
    }
    if (folder / "modules.json").is_file() or not recipe.pooling:
        model = SentenceTransformer(
            str(folder), device=device, local_files_only=True, trust_remote_code=bool(recipe.remote_code), **options
        )
    else:
        model = SentenceTransformer(modules=_by_hand(spec, folder, options), device=device)
    if recipe.pooling and (pooling := pooling_of(model)) is not None:
        pooling.pooling_mode, pooling.include_prompt = recipe.pooling, recipe.pool_prompt
    if recipe.full_width:
        model.truncate_dim = None
    if recipe.normalize and not any(type(module).__name__ == "Normalize" for module in model):
        from sentence_transformers.base.modules import Normalize

        model.append(Normalize())
    if recipe.causal is not None and (transformer := transformer_of(model)) is not None:
        transformer.auto_model.config.is_causal = recipe.causal  # read at every forward pass; before loading it is lost
    return model


def _refuse_wrong_settings(spec: ModelSpec, folder: Path) -> None:
    """Refuse a folder whose settings for every text cannot be followed: nobody would notice other vectors."""
    wrong = wrong_setting(read_json(folder / SETTINGS_FILE)) if (folder / "modules.json").is_file() else ""
    if wrong:
        raise ModelUnavailable(f"{spec.name} could not be loaded as a SentenceTransformer model: its {wrong}")


def _by_hand(spec: ModelSpec, folder: Path, options: dict[str, Any]) -> list[Any]:
    """Return the modules of a model whose folder does not list them."""
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    # said to each of them: where it is left open, the library asks at the terminal whether to run program code
    shared = {"local_files_only": True, "trust_remote_code": bool(spec.loading.remote_code)}
    kinds = ("model_kwargs", "processor_kwargs", "config_kwargs")
    transformer = Transformer(str(folder), **{kind: options.get(kind, {}) | shared for kind in kinds})
    pooling = Pooling(transformer.get_embedding_dimension(), spec.loading.pooling, spec.loading.pool_prompt)
    return [transformer, pooling]


def _limit(spec: ModelSpec, model: Any) -> int | None:
    """Return the most tokens that the model can read: as requested or stated, but never more than it has positions."""
    stated = spec.max_tokens or model.max_seq_length
    stated = None if stated is None or stated >= NO_LIMIT else int(stated)
    transformer = transformer_of(model).auto_model
    architecture, config = _architecture_of(transformer), transformer.config.get_text_config()
    names = dict([*transformer.named_parameters(), *transformer.named_buffers()])
    if positions := architecture.most_tokens(config.to_dict(), names):
        stated = min(stated or positions, positions)
    return stated


def _architecture_of(transformer: Any) -> Architecture:
    known = architecture_of(transformer.config.to_dict())
    return as_loaded(transformer) if known is UNKNOWN else known


def _refuse_idle(spec: ModelSpec, model: Any) -> None:
    """Refuse options that would change nothing in this model and yet look like another one."""
    recipe, tokenizer, static = spec.loading, model.tokenizer, transformer_of(model) is None
    requests = {
        "attention": static and recipe.causal is not None,
        "pooling": bool(recipe.pooling) and pooling_of(model) is None,
        "max_tokens": static and spec.max_tokens is not None,
        "bos": recipe.add_bos and getattr(tokenizer, "bos_token_id", None) is None,
        "eos": recipe.add_eos and getattr(tokenizer, "eos_token_id", None) is None,
    }
    if idle := [name for name, wrong in requests.items() if wrong]:
        raise BadChoice(f"{spec.name} has no part that {idle[0]}= could change. Leave {idle[0]}= out.")
    room = 0 if static else tokenizer.num_special_tokens_to_add()
    if spec.max_tokens is not None and spec.max_tokens <= room:
        raise BadChoice(
            f"max_tokens={spec.max_tokens} leaves no room for any number: the tokenizer of {spec.name} puts {room} "
            f"tokens of its own around each text. Give more than {room}."
        )


def _refuse_without(spec: ModelSpec, model: Any) -> None:
    """Refuse a model whose loader dropped a part without a word: nomic's experts, where their code did not run."""
    part = spec.loading.needs_parameter
    if part and not any(part in name for name, _ in model.named_parameters()):
        raise ModelUnavailable(f"{spec.name} is not run: it was loaded without its part {part!r}.")


def _randomise(spec: ModelSpec, model: Any, seed: int) -> None:
    """Draw all weights anew; refuse a model of which some cannot be drawn, or whose own program fails at it."""
    try:
        undrawn = draw_weights(model, seed)
    except Exception as error:
        logging.getLogger(__name__).info("could not draw weights for %s", spec.name, exc_info=True)
        fault = _machine_fault(spec, error)
        raise fault or _undrawable(spec, f"drawing them failed, {reason_of(error).rstrip('.')}") from error
    if undrawn:
        raise _undrawable(spec, f"its program does not say how {undrawn[0]!r} begins")


def _undrawable(spec: ModelSpec, why: str) -> ModelUnavailable:
    return ModelUnavailable(f"{spec.name} cannot be given random weights: {why}. Leave weights=random out.")


def _machine_fault(spec: ModelSpec, error: Exception) -> Exception | None:
    if is_lost(error):
        return AcceleratorLost("The graphics card no longer responds.")
    if is_out_of_memory(error):
        return ModelUnavailable(f"{spec.name} does not fit into the memory of this machine. Choose a smaller model.")
    return None


@contextlib.contextmanager
def described_faults(spec: ModelSpec) -> Iterator[None]:
    """Raise AcceleratorLost or ModelUnavailable where the machine fails ``spec`` inside the block."""
    try:
        yield
    except Exception as error:
        if (fault := _machine_fault(spec, error)) is not None:
            raise fault from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Return True where a processor or graphics card had no room left."""
    if isinstance(error, RuntimeError):
        return type(error).__name__ == "OutOfMemoryError" or any(words in str(error) for words in _NO_ROOM)
    return isinstance(error, MemoryError)


def is_lost(error: BaseException) -> bool:
    """Return True where a graphics card fails for good: every later call in this process would fail too."""
    named = any(words in str(error) for words in _LOST)
    return named and isinstance(error, RuntimeError) and not is_out_of_memory(error)


def _register_shims() -> None:
    """Teach transformers ``llama_bidirec``: Llama that reads in both directions.

    The class in nvidia's repositories breaks on transformers 5; a class registered here wins over it.
    """
    from transformers import AutoConfig, AutoModel, LlamaConfig, LlamaModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if "llama_bidirec" in CONFIG_MAPPING:
        return

    class LlamaBidirecConfig(LlamaConfig):  # type: ignore[no-untyped-call]
        model_type = "llama_bidirec"

        def __post_init__(self, **rest: Any) -> None:
            super().__post_init__(**rest)  # type: ignore[no-untyped-call]
            self.is_causal = False

    class LlamaBidirecModel(LlamaModel):  # type: ignore[no-untyped-call]
        config_class = LlamaBidirecConfig

    AutoConfig.register("llama_bidirec", LlamaBidirecConfig)
    AutoModel.register(LlamaBidirecConfig, LlamaBidirecModel)


@contextlib.contextmanager
def _no_network() -> Iterator[None]:
    """Keep the libraries from asking the hub while a folder is loaded: without it, a dead network costs minutes."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _reported() -> Iterator[list[Any]]:
    """Collect the load reports that transformers would only log."""
    from transformers import modeling_utils

    library: Any = modeling_utils
    original, reports = library.log_state_dict_report, []

    def keep(**details: Any) -> None:
        reports.append(details["loading_info"])
        original(**details)

    library.log_state_dict_report = keep
    try:
        yield reports
    finally:
        library.log_state_dict_report = original


def _summary(reports: list[Any], model: Any, folder: Path) -> LoadReport:
    """Return what was made up or left out of that which a vector passes through: heads and poolers are no loss."""
    missing = {str(name) for info in reports for name in info.missing_keys}
    missing |= {str(item[0]) for info in reports for item in info.mismatched_keys}
    ignored = {str(name) for info in reports for name in info.unexpected_keys}
    transformer = transformer_of(model)
    if transformer is None or not (missing or ignored):
        return LoadReport(tuple(sorted(missing)), tuple(sorted(ignored)))
    architecture = _architecture_of(transformer.auto_model)
    parts = {name.partition(".")[0] for name in transformer.auto_model.state_dict()}
    files = weight_files(folder / modules_of(folder)[0])
    own = architecture.own_names(name for file in files for name in read_header(file))
    left_out = {own.get(name, name) for name in ignored if name in own or name in own.values()}
    left_out = {name for name in left_out if name.partition(".")[0] in parts}  # the rest lies outside the base
    return LoadReport(*(tuple(sorted(filter(architecture.passes, names))) for names in (missing, left_out)))
