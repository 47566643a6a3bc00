"""The vectors of all texts that the variants of a stress test need: read or encoded together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar

import numpy as np

from numembed.core.arrays import Matrix
from numembed.core.errors import CheckFailed, ModelUnavailable, NonFiniteVectors, RemoteFailed, TextFailed, TooLarge
from numembed.core.settings import Settings
from numembed.models.embedding import reduced
from numembed.models.spec import ModelSpec
from numembed.sequences.perturbations.trials import Trial
from numembed.sequences.sets import IntegerSequence, SequenceSet


class VectorSource(Protocol):
    """One model and what gives its vectors."""

    @property
    def spec(self) -> ModelSpec:
        """The model, resolved."""

    @property
    def settings(self) -> Settings:
        """What secrets are known."""

    @property
    def vectors(self) -> Callable[[SequenceSet, ModelSpec], Matrix]:
        """Return (n, d): what is stored is read, what is missing encoded."""


Source = TypeVar("Source", bound=VectorSource)


@dataclass(frozen=True, eq=False)
class TrialVectors(Generic[Source]):
    """The vectors of all texts that any variant needs, by prompt and text; a baseline's are made for each set."""

    context: Source
    rows: Mapping[tuple[str, str], Matrix]
    refused: Mapping[tuple[str, str], str]

    def matrix(self, sequences: SequenceSet, *, prompt: str, precision: str) -> Matrix:
        """Return (n, d), in the model's width; raise TooLarge with the sentence of a text that has no vector."""
        spec = self.context.spec
        if spec.is_baseline:
            return self.context.vectors(sequences, spec)
        wanted = [(prompt, text) for text in sequences.texts]
        for one in wanted:
            if one in self.refused:
                raise TooLarge(self.refused[one])
        full = np.stack([self.rows[one] for one in wanted])
        return reduced(full, dimensions=spec.dimensions, precision=precision)


def texts_by_prompt(prompt: str, plains: Sequence[SequenceSet], tests: Sequence[Trial]) -> dict[str, list[str]]:
    """Return the texts that a model with ``prompt`` encodes for all of these, each once, by the prompt before them."""
    wanted = {prompt: [text for one in (*plains, *(trial.sequences for trial in tests)) for text in one.texts]}
    for trial in tests:
        if trial.change is not None and trial.change.field == "prompt":
            wanted.setdefault(trial.change.value, []).extend(trial.sequences.texts)
    return {before: list(dict.fromkeys(texts)) for before, texts in wanted.items()}


def sets_to_read(
    spec: ModelSpec, plains: Sequence[SequenceSet], tests: Sequence[Trial]
) -> Iterator[tuple[ModelSpec, SequenceSet]]:
    """Yield the texts of each prompt with the model that has it; none of a baseline, which stores nothing."""
    if not spec.is_baseline:
        for prompt, texts in texts_by_prompt(spec.prompt, plains, tests).items():
            yield replace(spec.stored, prompt=prompt), _set_of(texts)


def _set_of(texts: Sequence[str]) -> SequenceSet:
    nobody = IntegerSequence("", 0, ())  # only the texts count
    return SequenceSet((nobody,) * len(texts), written=tuple(texts))


def fetched(context: Source, plains: Sequence[SequenceSet], planned: Sequence[Sequence[Trial]]) -> TrialVectors[Source]:
    """Read or encode the texts of all variants, those of one prompt together: many texts fill batches best.

    Raises what the model raises where not even the plain texts can be read with its own prompt.
    """
    rows: dict[tuple[str, str], Matrix] = {}
    refused: dict[tuple[str, str], str] = {}
    if context.spec.is_baseline:
        return TrialVectors(context, rows, refused)
    tests = [trial for trials_of_one in planned for trial in trials_of_one]
    for spec, wanted in sets_to_read(context.spec, plains, tests):
        try:
            _read(context, spec, wanted.texts, rows, refused)
        except (CheckFailed, ModelUnavailable, RemoteFailed) as error:
            if spec.prompt == context.spec.prompt:
                raise
            refused |= {(spec.prompt, text): context.settings.redact(str(error)) for text in wanted.texts}
    return TrialVectors(context, rows, refused)


def _read(
    context: VectorSource,
    spec: ModelSpec,
    texts: Sequence[str],
    rows: dict[tuple[str, str], Matrix],
    refused: dict[tuple[str, str], str],
) -> None:
    """Put the vectors of ``texts`` into ``rows``; a text that the model cannot read is found by halving."""
    try:
        matrix = context.vectors(_set_of(texts), spec)
    except (TooLarge, NonFiniteVectors, TextFailed) as error:
        if len(texts) == 1:
            refused[spec.prompt, texts[0]] = context.settings.redact(str(error))
            return
        for half in (texts[: len(texts) // 2], texts[len(texts) // 2 :]):
            _read(context, spec, half, rows, refused)
        return
    rows |= {(spec.prompt, text): row for text, row in zip(texts, matrix, strict=True)}
