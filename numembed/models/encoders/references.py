"""Reference vectors: what a model makes of three fixed texts, kept at its first good load and compared at later ones.

They show what no statement of its makers shows: that it computes something else than before. They are kept by the
model's content and recipe; the versions of the libraries stand beside them, so that an upgrade is compared too.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from numembed.core.arrays import Matrix
from numembed.core.errors import AcceleratorLost, CheckFailed, reason_of
from numembed.core.serialization import as_plain, canonical_json, from_plain
from numembed.models.encoders.checks import TOGETHER
from numembed.models.encoders.interface import REFERENCE, CheckedEncoder, Finding, ModelCheck
from numembed.models.spec import ModelSpec

LONG = "The quick brown fox jumps over the lazy dog. " + " ".join(
    f"After {n} comes {n + 1}, and {n} times {n} is {n * n}." for n in range(1, 80)
)
"""What the longest text is the beginning of; a word is at least one token."""
LONGEST_TOKENS = 600
COORDINATES = 16  # kept of each vector, spread over its width
LARGE = 1_000_000_000  # parameters; above it 600 tokens take a processor too long to be read at every load
_NO_LENGTH = 1e-6  # of the coordinates of a vector of length 1: below it their direction says nothing
_LIBRARIES = ("transformers", "sentence-transformers", "torch", "tokenizers")
SHIPPED = Path(__file__).with_name("references.json")
_COMMAND = "python -m numembed check"
_TEXTS_DIGEST = hashlib.sha256(canonical_json([*TOGETHER, LONG, LONGEST_TOKENS]).encode()).hexdigest()


@dataclass(frozen=True)
class Tolerance:
    """What rounding may change: another processor, batch, number of threads or kernel of attention.

    Seen at most, without a fault: 3e-12, 1e-6 and 1e-6 in float32; 3e-4, 1e-2 and 5e-3 in bfloat16.
    """

    least_cosine: float  # of a text's vector with the recorded one
    apart: float  # by which the cosine between two texts may move
    stretch: float  # by which a vector's length may grow or shrink, as a share


_FULL, _HALF = Tolerance(0.999, 0.001, 0.01), Tolerance(0.99, 0.03, 0.1)


@dataclass(frozen=True)
class Reference:
    """What is kept of the vectors of three texts: two lists of numbers and about 600 tokens of words and numbers."""

    texts: str  # digest of the texts; of others, nothing can be compared
    dimension: int
    tokens: tuple[int, ...]  # that the model read of each
    lengths: tuple[float, ...]
    cosines: tuple[float, ...]  # between the first and second, first and third, second and third
    coordinates: tuple[tuple[float, ...], ...]  # some of each vector, scaled to length 1
    recorded: str  # the day
    versions: Mapping[str, str]  # of the libraries
    device: str

    @property
    def made(self) -> str:
        """When and with what it was made, in words."""
        return f"on {self.recorded} with {_listed(self.versions)} ({self.device})"


def long_text(tokenizer: Any) -> str:
    """Return a text of about 600 tokens by a model's own tokenizer, whatever the model's limit is."""
    if callable(tokenizer):
        count = len(tokenizer(LONG, truncation=False, verbose=False)["input_ids"])
    else:  # a static model's
        count = len(tokenizer.encode(LONG).ids)
    words = LONG.split(" ")
    return " ".join(words[: len(words) * LONGEST_TOKENS // max(count, LONGEST_TOKENS)])


def measured(encoder: CheckedEncoder, together: Matrix) -> Reference:
    """Return the reference of a loaded model; ``together`` are its vectors of ``TOGETHER``, of one batch."""
    longest = long_text(encoder.model.tokenizer)
    vectors = np.concatenate([together, encoder.encode([longest])]).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    units = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None]
    places = np.unique(np.linspace(0, units.shape[1] - 1, COORDINATES).round().astype(int))
    return Reference(
        texts=_TEXTS_DIGEST,
        dimension=units.shape[1],
        tokens=tuple(map(len, encoder.token_ids([*TOGETHER, longest]))),
        lengths=_rounded(lengths),
        cosines=_rounded([units[one] @ units[other] for one, other in combinations(range(3), 2)]),
        coordinates=tuple(map(_rounded, units[:, places])),
        recorded=datetime.now(UTC).date().isoformat(),
        versions={library: importlib.metadata.version(library) for library in _LIBRARIES},
        device=encoder.device,
    )


def differences(known: Reference, now: Reference, *, dtype: str) -> str:
    """Return in words where two references of one model differ by more than rounding; "" where they agree."""
    allowed = _FULL if dtype == "float32" else _HALF
    if known.dimension != now.dimension:
        return f"{now.dimension:,} dimensions instead of {known.dimension:,}"
    cosine = min(map(_cosine, known.coordinates, now.coordinates))
    apart = max(abs(one - other) for one, other in zip(known.cosines, now.cosines, strict=True))
    stretch = max(abs(one / max(other, _NO_LENGTH) - 1) for one, other in zip(now.lengths, known.lengths, strict=True))
    told = []
    if cosine < allowed.least_cosine or apart > allowed.apart:
        told.append(f"lowest cosine {cosine:.4f}, and cosines between two texts moved by up to {apart:.4f}")
    if stretch > allowed.stretch:
        told.append(f"lengths such as {now.lengths[0]:.3g} instead of {known.lengths[0]:.3g}")
    if told and known.tokens != now.tokens:
        told.append(f"it reads {now.tokens[-1]:,} tokens of the longest instead of {known.tokens[-1]:,}")
    return ", ".join(told)


def compare(
    encoder: CheckedEncoder, together: Matrix, *, home: Path, good: bool, requested: bool = False
) -> Finding | None:
    """Return what the comparison with the kept reference says; where there is none, a ``good`` model's is kept now.

    None for random weights, which are a control. A model of more than a billion parameters on a processor is compared
    on request only.
    """
    spec = encoder.spec
    if spec.loading.random_seed is not None:
        return None
    if encoder.device == "cpu" and encoder.parameters > LARGE and not requested:
        return Finding(REFERENCE, None, f"Its reference vectors were not compared. {_ON_REQUEST}")
    known = known_reference(spec, home)
    if known is None and not good:
        return Finding(REFERENCE, None, _NONE_YET)
    try:
        now = measured(encoder, together)
    except AcceleratorLost:
        raise
    except Exception as error:  # whatever a model's own code raises for a long text
        logging.getLogger(__name__).info("no reference vectors of %s", spec.name, exc_info=True)
        return _unreadable(known, reason_of(error))
    return _first(spec, now, home) if known is None else _compared(known, now, spec.dtype)


def checked_again(encoder: CheckedEncoder, home: Path, *, accept: bool) -> ModelCheck:
    """Return the check of a loaded model with its reference compared, however large it is.

    With ``accept`` its present vectors become the reference first. Raises CheckFailed where something else is wrong
    with it, OSError where they cannot be kept.
    """
    others = ModelCheck(tuple(finding for finding in encoder.check.findings if finding.name != REFERENCE))
    together = encoder.encode(list(TOGETHER))
    if accept and not others.ok:
        raise CheckFailed(f"The vectors of {encoder.spec.name} are not accepted: its check failed. {others.sentence}")
    if accept:
        keep_reference(encoder.spec, measured(encoder, together), home)
    finding = compare(encoder, together, home=home, good=others.ok, requested=True)
    return ModelCheck((*others.findings, *([finding] if finding else [])))


def known_reference(spec: ModelSpec, home: Path) -> Reference | None:
    """Return the reference that was kept on this machine, else the one that comes with the program, else None.

    A file that is damaged, or was made of other texts, counts as none.
    """
    if not spec.resolved:
        return None
    return _read(_file(spec, home)) or shipped_references().get(spec.stored.content_key)


def keep_reference(spec: ModelSpec, reference: Reference, home: Path) -> None:
    """Write the reference of a model, whole or not at all; raises OSError."""
    file = _file(spec, home)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(sealed(reference), encoding="utf-8")
        os.replace(draft, file)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def told_reference(spec: ModelSpec, home: Path, *, parameters: float = 0) -> str:
    """Return what is known of a model's reference, for its card."""
    known = known_reference(spec, home)
    large = parameters > LARGE
    if known is None:
        return f"{_NONE}: {_LATER}. {_ON_REQUEST}" if large else _NONE_YET
    recorded = f"Reference vectors were recorded {known.made}."
    return f"{recorded} {_ON_REQUEST if large else _EACH_LOAD}"


@functools.cache
def shipped_references() -> Mapping[str, Reference]:
    """Return the references that come with the program, by content key."""
    plain = json.loads(SHIPPED.read_text(encoding="utf-8")) if SHIPPED.is_file() else {}
    read = {key: _opened(json.dumps(sealed_one)) for key, sealed_one in plain.items()}
    return {key: reference for key, reference in read.items() if reference}


def sealed(reference: Reference) -> str:
    """Return a reference as the text of its file, with a checksum."""
    plain = as_plain(reference)
    return json.dumps({"reference": plain, "sha256": _digest(plain)}, indent=1)


_NONE = "It has no reference vectors yet"
_LATER = "the vectors of three fixed texts, with which later loads are compared"
_NONE_YET = f"{_NONE}: {_LATER}. They are recorded at its first load without a fault."
_EACH_LOAD = "At each load, the same three texts must give the same vectors."
_ON_REQUEST = (
    "With more than a billion parameters and without a graphics card, they are recorded and compared on request only: "
    f"{_COMMAND} MODEL."
)


def _first(spec: ModelSpec, now: Reference, home: Path) -> Finding:
    try:
        keep_reference(spec, now, home)
    except OSError as error:
        why = f"could not be recorded here ({error.strerror or reason_of(error)}), so later loads are not compared"
        return Finding(REFERENCE, None, f"Its vectors of three fixed texts {why}.")
    return Finding(
        REFERENCE, None, "Its vectors of three fixed texts were recorded; later loads are compared with them."
    )


def _compared(known: Reference, now: Reference, dtype: str) -> Finding:
    differ = differences(known, now, dtype=dtype)
    if not differ:
        return Finding(REFERENCE, True, f"Its vectors of three fixed texts are those recorded {known.made}.")
    sentence = f"Its vectors of three fixed texts differ from those recorded {known.made}: {differ}."
    return Finding(REFERENCE, False, f"{sentence} {_advice(known, now)}")


def _advice(known: Reference, now: Reference) -> str:
    changed = [name for name, version in now.versions.items() if known.versions.get(name) != version]
    accept = f"If the new vectors are right, accept them: {_COMMAND} MODEL --accept."
    if changed:
        news = _listed({name: now.versions[name] for name in changed})
        return f"Now it runs with {news}, which compute something else. Install the recorded versions again. {accept}"
    where = f", but it was recorded on {known.device} and runs on {now.device}" if known.device != now.device else ""
    return (
        f"Its files and the libraries' versions are the same{where}: something computes differently here. Install the "
        f"libraries again and load it once more. {accept}"
    )


def _unreadable(known: Reference | None, reason: str) -> Finding:
    sentence = f"A text of about {LONGEST_TOKENS} tokens gave no vector: {reason.rstrip('.')}."
    if known is None:
        return Finding(REFERENCE, None, f"{sentence} So nothing was recorded to compare later loads with.")
    return Finding(REFERENCE, False, f"{sentence} It did when its reference was recorded {known.made}.")


def _file(spec: ModelSpec, home: Path) -> Path:
    return home / "references" / f"{spec.stored.content_key}.json"


def _read(file: Path) -> Reference | None:
    try:
        return _opened(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _opened(text: str) -> Reference | None:
    """Return what :func:`sealed` wrote; None for anything else."""
    try:
        plain = json.loads(text)
        if plain["sha256"] != _digest(plain["reference"]):
            return None
        reference = from_plain(Reference, plain["reference"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return reference if reference.texts == _TEXTS_DIGEST else None


def _digest(plain: Any) -> str:
    return hashlib.sha256(canonical_json(plain).encode()).hexdigest()


def _rounded(values: Sequence[float] | Matrix) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = [float(np.linalg.norm(values)) for values in (one, other)]
    if max(lengths) < _NO_LENGTH:
        return 1.0
    return float(np.dot(one, other)) / max(lengths[0] * lengths[1], _NO_LENGTH**2)


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
