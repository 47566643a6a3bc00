"""A loaded model with LoRA layers in it: what is adapted, what a training step does, how well it separates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from numembed.core.arrays import Tensor
from numembed.core.errors import BadChoice
from numembed.models.adapters.recipe import Recipe
from numembed.models.adapters.saved import Snapshot
from numembed.models.loading.loader import load, transformer_of
from numembed.models.losses import contrastive_loss
from numembed.models.spec import ModelSpec
from numembed.sequences.sets import SequenceSet

IN_LAYER = re.compile(r"\.\d+\.(.+)")  # a name inside one of the numbered layers
_PEFT = "base_model.model."  # before every name in PEFT's files
_NOT_ADAPTED = re.compile(r"(^|\.)(pooler|router|gate|vision\w*|audio\w*|lm_head)(\.|$)")
_LARGEST_GRADIENT = 1.0  # longer ones are cut
_EVALUATED_AT_ONCE = 8


def targets_in(transformer: Any, recipe: Recipe) -> tuple[str, ...]:
    """Return what LoRA adapts: the linear layers inside the numbered layers of a transformer, by their names there.

    Never the pooler, an output head, or what chooses between experts; the table of token vectors where the recipe asks
    for it. Raises BadChoice where the recipe names others.
    """
    import torch

    inside = {
        match[1]: None
        for name, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear) and (match := IN_LAYER.search(name)) and not _NOT_ADAPTED.search(name)
    }
    for wanted in recipe.targets:
        if not any(_ends(name, wanted) for name in inside):
            known = ", ".join(dict.fromkeys(name.rpartition(".")[2] for name in inside))
            raise BadChoice(f"The model has no linear layer called {wanted[:80]!r} to adapt. It has: {known[:400]}.")
    chosen = [name for name in inside if not recipe.targets or any(_ends(name, wanted) for wanted in recipe.targets)]
    if not chosen:
        raise BadChoice("The model has no linear layers that LoRA can adapt. Choose another one.")
    if recipe.embeddings:
        table = transformer.get_input_embeddings()
        chosen += [name for name, module in transformer.named_modules() if module is table]
    return tuple(chosen)


class AdaptedModel:
    """A loaded base with LoRA layers in it, and one training step over it."""

    def __init__(self, spec: ModelSpec, recipe: Recipe, folder: Path, device: str) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        self.spec, self.recipe, self.device = spec, recipe, device
        self._saves_memory = False
        self._before: float | None = None
        loaded = replace(spec, dtype="bfloat16" if device == "cuda" else "float32")
        self.model, _ = load(loaded, folder, device=device)
        holder = transformer_of(self.model)
        if holder is None:
            raise BadChoice(f"{spec.name} has no layers, only a table of token vectors: LoRA has nothing to adapt.")
        self.model.requires_grad_(False)
        transformer = holder.auto_model
        self.targets = targets_in(transformer, recipe)
        config = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(self.targets))  # type: ignore[arg-type]
        inject_adapter_in_model(config, transformer)
        self.factors: dict[str, Any] = {}
        for name, weight in transformer.named_parameters():
            if ".lora_" in name:
                weight.data = weight.data.float()
                self.factors[_PEFT + name.replace(".default", "")] = weight.requires_grad_()
        if device == "cuda":
            self.save_memory()
        self._loss = self._losses()

    def save_memory(self) -> None:
        """Let layers keep nothing but their inputs; they do so in the training mode alone, here without dropout."""
        for part in self.model.modules():
            if type(part).__name__ == "Dropout":
                part.p = 0.0
            elif isinstance(getattr(part, "attention_dropout", None), float):
                part.attention_dropout = 0.0
        transformer_of(self.model).auto_model.activation_checkpointing_enable(
            activation_checkpointing_kwargs={"use_reentrant": False}
        )
        self._saves_memory = True
        self.model.train()

    def begin(self, seed: int, snapshot: Snapshot | None, step: int) -> None:
        """Set the factors and the optimiser: drawn by ``seed``, or as they were left after ``step``."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.AdamW(list(self.factors.values()), lr=self.recipe.learning_rate)
        with torch.no_grad():
            for name, weight in self.factors.items():
                drawn = _drawn(name, weight.shape, generator)
                weight.copy_(drawn if snapshot is None else torch.from_numpy(snapshot.factors[name]))
                if snapshot is not None:
                    moments = {
                        kind: torch.from_numpy(snapshot.moments[f"{name}.{kind}"]).to(weight.device)
                        for kind in ("exp_avg", "exp_avg_sq")
                    }
                    self.optimiser.state[weight] = {"step": torch.tensor(float(step)), **moments}

    def step(self, batch: SequenceSet, step: int) -> float:
        """Return the loss of ``batch`` and let the factors follow its gradient; NaN where that is no number."""
        import torch

        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * self.recipe.pace(step)
        self.model.train(self._saves_memory)  # validation has left this mode
        self.optimiser.zero_grad()
        with self._autocast():
            vectors = self._vectors(batch.texts)
        loss = self._loss(vectors.float(), batch.labels)
        loss.backward()
        length = torch.nn.utils.clip_grad_norm_(self.factors.values(), _LARGEST_GRADIENT)
        if not torch.isfinite(loss.detach() + length):
            return math.nan
        self.optimiser.step()
        return float(loss.detach())

    def silhouette(self) -> float:
        """Return the silhouette of the reserved windows, NaN where a vector is no number."""
        from sklearn.metrics import silhouette_score

        windows = self.recipe.split.evaluations["reserved"]
        with self._autocast():
            vectors = self.model.encode(
                list(windows.texts), prompt=self.spec.prompt, batch_size=_EVALUATED_AT_ONCE, show_progress_bar=False
            )
        if not np.isfinite(vectors).all():
            return math.nan
        return float(silhouette_score(np.asarray(vectors, dtype=np.float64), windows.labels))

    def before(self) -> float:
        """Return the silhouette of the base, measured once, while the update is zero."""
        if self._before is None:
            self._before = self.silhouette()
        return self._before

    def snapshot(self) -> Snapshot:
        """Return a copy of the factors and of the optimiser's moments."""
        factors = {name: _array(weight) for name, weight in self.factors.items()}
        moments = {
            f"{name}.{kind}": _array(self.optimiser.state[weight][kind])
            for name, weight in self.factors.items()
            for kind in ("exp_avg", "exp_avg_sq")
        }
        return Snapshot(factors, moments)

    def _vectors(self, texts: Sequence[str]) -> Any:
        read = self.model.preprocess(list(texts), prompt=self.spec.prompt or None)
        read = {name: part.to(self.device) if hasattr(part, "to") else part for name, part in read.items()}
        return self.model(read)["sentence_embedding"]

    def _losses(self) -> Callable[[Any, Any], Any]:
        import torch

        temperature = self.recipe.temperature
        if self.recipe.loss == "contrastive":
            tensor = partial(torch.tensor, device=self.device)
            return lambda vectors, labels: contrastive_loss(vectors, tensor(labels), temperature)
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

        pairs = MultipleNegativesRankingLoss(self.model, scale=1 / temperature)
        loss = pairs.compute_loss_from_embeddings
        return lambda vectors, labels: loss([vectors[0::2].float(), vectors[1::2].float()], labels)

    def _autocast(self) -> Any:
        import torch

        narrow = self.device == "cuda" or self.recipe.numbers == "bfloat16"
        return torch.autocast(self.device, torch.bfloat16) if narrow else nullcontext()


def _drawn(name: str, shape: Sequence[int], generator: Any) -> Any:
    """Return what a factor begins with, as in PEFT: the update is zero, and one of the two factors is random."""
    import torch

    if name.endswith("lora_embedding_B"):
        return torch.randn(*shape, generator=generator)
    drawn = torch.zeros(*shape)
    if ".lora_A." in name:
        torch.nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
    return drawn


def _array(tensor: Any) -> Tensor:
    return np.array(tensor.detach().float().cpu().numpy())


def _ends(name: str, wanted: str) -> bool:
    return name == wanted or name.endswith(f".{wanted}")
