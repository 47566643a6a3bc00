"""The check of each loaded model: a few texts show whether it is as its makers say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from numembed.core.arrays import Matrix
from numembed.models.catalogue.entries import Row
from numembed.models.encoders.interface import REFERENCE, CheckedEncoder, Comparison, Finding, ModelCheck
from numembed.models.encoders.makers import kept_dimensions, makers_findings
from numembed.models.files.folders import read_json
from numembed.models.loading.loader import pooling_of, transformer_of

TOGETHER = ("2, 4, 6, 8", "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377")  # in one batch
_SHORT = ("2, 4, 6", "3, 5, 7", "1, 8")
_LAST_DIGITS = tuple(start + end for start in ("1, 2, 3, 4, ", "7 7 7 ", "12, ") for end in "0123456789")
TEXTS = (*TOGETHER, *_SHORT, *_LAST_DIGITS)
"""All that a model reads while it is checked."""
_OF_WEIGHTS = ("adapter", "merge", "base")  # findings about what has changed a model's weights
_AS_BEFORE = "Its attention was checked when its base was loaded."
_UNVERIFIED = (
    "The adapter does not say which model it was trained on in a way that can be verified: its names and shapes fit "
    "this base."
)
_FEELS = 1e-5  # relative change of a token's vector that no rounding makes


def check_model(encoder: CheckedEncoder, facts: Row | None, compare: Comparison | None = None) -> ModelCheck:
    """Return what a few texts tell about a model that was just loaded; ``facts`` are its makers' where known.

    ``compare`` holds its vectors of ``TOGETHER`` against its reference, knowing whether all else is right.
    """
    checks: tuple[Callable[[CheckedEncoder, Row | None], Finding | None], ...] = (
        _weights,
        _swapped,
        _adapted_base,
        _needed_part,
        _wanted_tokens,
        _last_token,
        _attention,
        _pooling,
    )
    findings = [check(encoder, facts) for check in checks]
    vectors = encoder.encode(list(TOGETHER))
    findings += [_batches(encoder, vectors), *_vectors(encoder, facts, vectors)]
    findings += [Finding(*found) for found in makers_findings(encoder.spec, encoder.folder, encoder.model)]
    check = ModelCheck(tuple(finding for finding in findings if finding is not None))
    reference = compare(encoder, vectors, good=check.ok) if compare is not None else None
    return replace(check, findings=(*check.findings, reference)) if reference is not None else check


def check_related(encoder: CheckedEncoder, known: CheckedEncoder) -> ModelCheck:
    """Return the check of a model that took the place of ``known`` in memory.

    How it reads is the same where only the weights are others, so it is not looked at again: that took as long as a
    fifth of a small run. Another prompt, or a finding that was wrong, and everything is.
    """
    if encoder.spec.weights == known.spec.weights or encoder.spec.prompt != known.spec.prompt or not known.check.ok:
        return check_model(encoder, encoder.facts)
    weights, changed, base = (check(encoder, encoder.facts) for check in (_weights, _swapped, _adapted_base))
    if changed is not None:
        changed = replace(changed, sentence=f"{changed.sentence} {_AS_BEFORE}")
    vectors = _vectors(encoder, encoder.facts, encoder.encode(list(TOGETHER)))
    assert weights is not None
    repeated = {weights.name, REFERENCE, *_OF_WEIGHTS, *(finding.name for finding in vectors)}
    same = [finding for finding in known.check.findings if finding.name not in repeated]
    return ModelCheck((weights, *filter(None, (changed, base)), *same, *vectors))


def _vectors(encoder: CheckedEncoder, facts: Row | None, vectors: Matrix) -> list[Finding]:
    normalizes = any(type(module).__name__ == "Normalize" for module in encoder.model)
    unit: bool | None = (facts.normalizes if facts else None) or normalizes
    dimension = facts.dimension if facts else None
    if kept := kept_dimensions(encoder.model):  # of vectors of length 1, only a part
        unit, dimension = None, dimension and min(dimension, kept[0])
    return check_vectors(vectors, dimension=dimension, unit=unit)


def check_vectors(vectors: Matrix, *, dimension: int | None, unit: bool | None) -> list[Finding]:
    """Return what the vectors themselves tell: finite (else encode has raised), as wide and as long as stated."""
    width, findings = vectors.shape[1], _degenerate(vectors)
    stated = "as stated" if dimension == width else f"but {dimension} are stated"
    sentence = f"A vector has {width} dimensions" + (f", {stated}." if dimension else ".")
    findings.append(Finding("dimension", None if dimension is None else dimension == width, sentence))
    lengths = np.linalg.norm(vectors, axis=1)
    is_unit = bool(np.abs(lengths - 1).max() < 0.02)
    sentence = "All vectors have length 1." if is_unit else f"Vectors have lengths such as {lengths[0]:.3g}, not 1."
    findings.append(Finding("unit length", is_unit if unit else None, sentence))
    return findings


def _degenerate(vectors: Matrix) -> list[Finding]:
    """Return what is wrong with vectors that tell no text from another; [] where they do."""
    largest = float(np.abs(vectors).max())
    if largest == 0:
        return [Finding("zero", False, "All its vectors are zero, so they say nothing about any text.")]
    if len(vectors) > 1 and float(np.ptp(vectors, axis=0).max()) <= _FEELS * largest:
        same = "All texts get the same vector, so no sequence can be told from another. Its weights may be damaged, or"
        return [Finding("same", False, f"{same} its vector is made from a token that sees nothing of the text.")]
    return []


def _weights(encoder: CheckedEncoder, facts: Row | None) -> Finding:
    missing, ignored, seed = encoder.report.missing, encoder.report.ignored, encoder.spec.loading.random_seed
    if seed is not None:  # nothing that was read is left, but what was built must be what the files are made for
        sentence = f"All its weights were drawn at random with seed {seed}, as requested."
        other = f"{len(ignored)} weights in its files do not fit the built model, so it has another architecture"
        return Finding("weights", not ignored, f"{other} ({_some(ignored)})." if ignored else sentence)
    if missing:
        sentence = f"{len(missing)} of its weights were not in the files and were initialised at random"
        return Finding("weights", False, f"{sentence} ({_some(missing)}).")
    if ignored:
        sentence = f"{len(ignored)} weights in its files were not loaded, so the model is incomplete"
        return Finding("weights", False, f"{sentence} ({_some(ignored)}).")
    return Finding("weights", True, "All weights were loaded from the files.")


def _swapped(encoder: CheckedEncoder, facts: Row | None) -> Finding | None:
    """How much of the base an adapter or a merge has changed."""
    swapper, weights = encoder.swapper, encoder.spec.weights
    what = weights.change
    if swapper is None or not what:
        return None
    if not swapper.changed:
        return Finding(what, False, f"Its {what} changes no weights that affect a vector.")
    sentence = f"Its {what} changes {swapper.changed} of {swapper.tensors} weight tensors."
    if swapper.lost:
        sentence += f" Rounding to {encoder.spec.dtype} loses {swapper.lost:.0%} of the change; dtype=float32 keeps it."
    return Finding(what, True, sentence)


def _adapted_base(encoder: CheckedEncoder, facts: Row | None) -> Finding | None:
    """Whether the adapters say which model they were trained on, and can be believed."""
    if encoder.swapper is None or encoder.swapper.is_verified(encoder.spec.weights):
        return None
    return Finding("base", None, _UNVERIFIED)


def _needed_part(encoder: CheckedEncoder, facts: Row | None) -> Finding | None:
    part = encoder.spec.loading.needs_parameter
    if not part:
        return None
    there = any(part in name for name, _ in encoder.model.named_parameters())
    sentence = f"Its part {part!r} is present." if there else f"Its part {part!r} is missing, so its vectors are noise."
    return Finding("parts", there, sentence)


def _wanted_tokens(encoder: CheckedEncoder, facts: Row | None) -> Finding | None:
    """What the tokenizer's own settings ask for must be there: transformers 5 believes tokenizer.json alone."""
    wishes, tokenizer = read_json(encoder.folder / "tokenizer_config.json"), encoder.model.tokenizer
    if transformer_of(encoder.model) is None:
        return None
    (ids,) = encoder.token_ids(_SHORT[:1])
    wanted = (
        ("add_bos_token", "begin-of-text", tokenizer.bos_token_id, ids[0]),
        ("add_eos_token", "end-of-text", tokenizer.eos_token_id, ids[-1]),
    )
    lost = [name for wish, name, token, there in wanted if wishes.get(wish) is True and token not in (None, there)]
    if not lost:
        return None
    tokens = " and the ".join(lost)
    sentence = f"Its tokenizer is set to add the {tokens} token, but the installed libraries do not add it."
    return Finding("tokens", False, sentence)


def _last_token(encoder: CheckedEncoder, facts: Row | None) -> Finding | None:
    """The end-of-text token must end the text where the vector is read from the last token."""
    if _pooling_mode(encoder) != "lasttoken" and not (facts and facts.ends_with_eos):
        return None
    tokenizer = encoder.model.tokenizer
    ends = {ids[-1] for ids in encoder.token_ids(_SHORT)}
    special = ends <= set(tokenizer.all_special_ids)
    if len(ends) == 1 and special:
        token = tokenizer.convert_ids_to_tokens(ends.pop())
        return Finding("last token", True, f"Texts end with {token}, as required.")
    sentence = "Its makers end every text with an end-of-text token, but texts end without one here."
    if _pooling_mode(encoder) == "lasttoken":
        sentence = (
            "Its vector is read from the last token, but its texts end without the end-of-text token: only the last "
            "digit would decide."
        )
    return Finding("last token", False, sentence)


def _attention(encoder: CheckedEncoder, facts: Row | None) -> Finding | None:
    """Does the first position feel a change at the end? Then the model reads in both directions."""
    if transformer_of(encoder.model) is None:
        return None
    direction = direction_of(encoder)
    if direction is None:
        return Finding("attention", None, "The attention direction could not be determined.")
    expected = facts.attention if facts else ""
    if encoder.spec.loading.causal is not None:  # the requested reading
        expected = "causal" if encoder.spec.loading.causal else "bidirectional"
    words = {"causal": "It reads from left to right", "bidirectional": "It reads in both directions"}
    if expected not in words:
        return Finding("attention", None, words[direction] + ".")
    if direction == expected:
        return Finding("attention", True, words[direction] + ", as it should.")
    return Finding("attention", False, f"{words[direction]}, but it should be {expected}.")


def direction_of(encoder: CheckedEncoder) -> str | None:
    """Return "causal" or "bidirectional", None where no two texts show it."""
    split = dict(zip(_LAST_DIGITS, encoder.token_ids(_LAST_DIGITS), strict=True))
    for one, other in combinations(_LAST_DIGITS, 2):
        ids, others = split[one], split[other]
        if len(ids) == len(others) and ids != others and ids[0] == others[0]:
            first, second = (encoder.token_vectors(text)[0] for text in (one, other))
            change = np.linalg.norm(first - second) / max(float(np.linalg.norm(first)), 1e-12)
            return "bidirectional" if change > _FEELS else "causal"
    return None


def _pooling(encoder: CheckedEncoder, facts: Row | None) -> Finding | None:
    mode = _pooling_mode(encoder)
    if encoder.guessed_pooling:
        return Finding(
            "pooling",
            False,
            f"Its folder does not say how token vectors become one vector, so {mode or 'a guess'} was assumed. "
            "Choose the pooling: pooling=mean, pooling=cls or pooling=lasttoken.",
        )
    stated, asked = facts.pooling if facts else "", encoder.spec.loading.pooling
    if stated in ("mean", "cls", "lasttoken") and mode:
        sentence = f"One vector is made by {mode} pooling"
        if mode == stated:
            return Finding("pooling", True, f"{sentence}, as stated.")
        if mode == asked:  # another reading, which nobody takes for the model's own
            return Finding("pooling", None, f"{sentence}, as requested; its makers state {stated}.")
        return Finding("pooling", False, f"{sentence}, but {stated} is stated.")
    return None


def _batches(encoder: CheckedEncoder, together: Matrix) -> Finding:
    """The shortest text, which is padded in a batch, must have the vector that it has alone."""
    (padded,), alone = together[:1], encoder.encode([TOGETHER[0]])[0]
    cosine = float(padded @ alone / max(float(np.linalg.norm(padded) * np.linalg.norm(alone)), 1e-12))
    right = cosine > (1 - 1e-4 if encoder.spec.dtype == "float32" else 0.99)
    if right:
        return Finding("batches", True, "A text has the same vector alone and in a batch.")
    return Finding("batches", False, f"A text has a different vector in a batch (cosine {cosine:.4f}).")


def _pooling_mode(encoder: CheckedEncoder) -> str:
    pooling = pooling_of(encoder.model)
    return pooling.pooling_mode if pooling is not None and isinstance(pooling.pooling_mode, str) else ""


def _some(names: Sequence[str]) -> str:
    return names[0] + (" …" if len(names) > 1 else "")
