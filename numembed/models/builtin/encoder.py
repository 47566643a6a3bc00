"""A small encoder of numbers, trained from nothing on this machine: contrastively, on families beside the paper's.

BERT's architecture with four layers of 128, mean pooling and vectors of unit length. It learns only which windows
are of one family. On a processor the same seed gives the same weights, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numembed.core.progress import Progress, silent
from numembed.models.builtin.files import PAD, vocabulary, write_parts, write_weights
from numembed.models.loading.devices import one_thread
from numembed.models.losses import contrastive_loss
from numembed.sequences.splits import Split, apart_at, split_called, training_batch

WIDTH, LAYERS, HEADS, INNER = 128, 4, 4, 512
MAX_TOKENS = 256  # positions; those that no training text reached are zero
_CLIPPED = 1.0  # length of the longest gradient


@dataclass(frozen=True)
class EncoderRecipe:
    """How the encoder is trained; the settings were chosen by the split's reserved windows alone."""

    seed: int = 0
    steps: int = 300
    warmup: int = 20
    learning_rate: float = 1e-3  # falls in a straight line
    temperature: float = 0.1
    batch: int = 24  # sequences in a step
    apart: tuple[float, float] = (2.0, 5_000.0)  # they begin this near one another, at first and at the end
    shortest: int = 20  # terms of a sequence
    longest: int = 50

    @property
    def split(self) -> Split:
        """The twelve families of the usual split, in windows as long as those of the paper."""
        return replace(split_called("others"), shortest=self.shortest, longest=self.longest)


def train_encoder(recipe: EncoderRecipe, folder: Path, *, progress: Progress = silent) -> None:
    """Train the encoder and write it into the empty ``folder``; ``progress`` counts the steps and may raise Cancelled.

    The random numbers of the rest of the process stay as they were.
    """
    import torch

    write_parts(folder, pooling="mean", width=WIDTH, max_tokens=MAX_TOKENS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = _model()
    with one_thread():  # the order in which numbers are added, and so the last bit, would change with their count
        _train(model, recipe, _reader(folder), progress)
    write_weights(folder, model)
    progress(recipe.steps, recipe.steps, "build")


def _train(model: Any, recipe: EncoderRecipe, read: Any, progress: Progress) -> None:
    import torch

    split = recipe.split
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate)
    for step in range(1, recipe.steps + 1):
        progress(step - 1, recipe.steps, "build")
        pace = min(1.0, step / recipe.warmup) * (1 - (step - 1) / recipe.steps)
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * pace
        apart = apart_at(step, recipe.steps, recipe.apart)
        batch = training_batch(split, size=recipe.batch, seed=recipe.seed, step=step, apart=apart)
        loss = contrastive_loss(_vectors(model, *read(batch.texts)), torch.tensor(batch.labels), recipe.temperature)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIPPED)
        optimiser.step()


def _model() -> Any:
    """Return BERT with random weights; its table of positions begins at zero, so that one never reached stays there."""
    import torch
    from transformers import BertConfig, BertModel

    known = vocabulary()
    config = BertConfig(
        vocab_size=len(known),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=INNER,
        max_position_embeddings=MAX_TOKENS,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=known[PAD],
    )
    model = BertModel(config, add_pooling_layer=False)
    with torch.no_grad():
        model.embeddings.position_embeddings.weight.zero_()
    return model


def _reader(folder: Path) -> Any:
    """Return what turns texts into token numbers and where they are real, both (texts, tokens)."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)

    def read(texts: tuple[str, ...]) -> Any:
        tokens = tokenizer(list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        return tokens["input_ids"], tokens["attention_mask"]

    return read


def _vectors(model: Any, ids: Any, real: Any) -> Any:
    """Return the mean of each text's token vectors (texts, width)."""
    hidden = model(input_ids=ids, attention_mask=real).last_hidden_state
    weights = real[:, :, None].float()
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
