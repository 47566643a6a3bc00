"""Merged models in memory: the models side by side, one merged tensor, or all of them.

What a vector passes through and only one of the models has is refused. Names with and without the architecture's own in
front are the same name. Whole numbers and truth values (tables of positions) are kept from the first. Output heads and
poolers are mixed where all models have them in one shape, else kept from the first; a head that repeats the token
embedding, bit for bit, is tied to it and gets the merged embedding, so that it stays tied also where values are drawn
by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from numembed.core.arrays import Tensor
from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.progress import Progress, silent
from numembed.core.registry import Entry
from numembed.models.files.tensors import architecture_in, names_of, passed_through, shapes_of, tied_embedding
from numembed.models.merging.arcs import Gram, Shares
from numembed.models.merging.methods import MERGES, Scope, Space

_CHUNK = 1 << 18  # values added up at a time


@dataclass(frozen=True)
class Merge:
    """A merge as requested; :func:`checked` fills in what is left open."""

    method: str
    space: Space | Literal[""] = ""  # what is mixed; "": the first that the method knows
    scope: Scope = "tensor"  # one angle per tensor, or one for the whole model
    weights: tuple[float, ...] = ()  # of the parts; (): equal. Only their proportions count
    options: tuple[tuple[str, float], ...] = ()


def checked(merge: Merge, *, parts: int, has_base: bool) -> Merge:
    """Return ``merge`` with everything filled in; raises UnknownName and BadChoice, which say what the method takes."""
    entry = MERGES[merge.method]
    low, high = entry.facts["parts"]
    if not low <= parts <= (high or parts):
        wanted = f"exactly {low}" if low == high else f"at least {low}"
        many = "; use a soup or the Karcher mean for more" if high and parts > high else ""
        raise BadChoice(f"{entry.title} merges {wanted} model{'s' * (low > 1)}, got {parts}{many}.")
    _check_choice(entry, "space", merge.space or entry.facts["spaces"][0], entry.facts["spaces"])
    _check_choice(entry, "scope", merge.scope, entry.facts.get("scopes", ("tensor",)))
    space = merge.space or entry.facts["spaces"][0]
    if space == "task_vectors" and not has_base:
        raise BadChoice(f"{entry.title} of task vectors needs the base of all parts. Name it.")
    known = {option.name: option for option in entry.options}
    given = dict(merge.options)
    if unknown := sorted(set(given) - set(known)):
        raise BadChoice(f"{entry.title} has no option {unknown[0][:40]!r}. Known: {', '.join(known) or 'none'}.")
    options = tuple((name, option.parse(given.get(name, option.default))) for name, option in known.items())
    return replace(merge, space=space, weights=_checked_weights(entry, merge.weights, parts), options=options)


def merged(
    merge: Merge, parts: Sequence[Tensor], base: Tensor | None = None, *, gram: Gram | None = None, name: str = ""
) -> Tensor:
    """Return one merged tensor, of the first part's shape and type; ``merge`` is :func:`checked`.

    ``gram`` is computed where it is not given. Raises BadChoice for different shapes and ModelUnavailable for NaN.
    """
    entry, origin = MERGES[merge.method], base if merge.space == "task_vectors" else None
    check_shapes(name, *(tensor.shape for tensor in (*parts, *([base] if base is not None else []))))
    if not np.issubdtype(parts[0].dtype, np.floating):
        return parts[0].copy()
    more: dict[str, Any] = dict(merge.options)
    if entry.facts.get("weighted"):
        more["weights"] = np.array(merge.weights) / sum(merge.weights)
    sees = entry.facts.get("sees", "gram")
    if sees == "values":
        assert base is not None
        mixed = base + entry.function([part - base for part in parts], name=name, **more)
        return _finite(np.asarray(mixed, dtype=parts[0].dtype), name)
    if gram is None:
        gram = gram_of(parts, origin) if sees == "gram" else np.full((len(parts), len(parts)), np.nan)
    return combined(parts, entry.function(gram, **more), origin, name=name)


def combined(parts: Sequence[Tensor], shares: Shares, base: Tensor | None = None, *, name: str = "") -> Tensor:
    """Return Σ share · part, or base + Σ share · (part − base), added up in float64 and rounded once."""
    terms = [(part.reshape(-1), share) for part, share in zip(parts, shares.tolist(), strict=True)]
    if base is not None:
        terms.append((base.reshape(-1), 1 - sum(shares.tolist())))
    mixed = np.empty(parts[0].size, dtype=parts[0].dtype)
    for chunk in _chunks(mixed.size):
        total = np.zeros(mixed[chunk].size)
        for values, share in terms:
            if share:  # nothing of a part is nothing, also at the end of a path
                total += np.multiply(values[chunk], share, dtype=np.float64)  # not in the type of the values
        mixed[chunk] = total
    return _finite(mixed.reshape(parts[0].shape), name)


def gram_of(parts: Sequence[Tensor], base: Tensor | None = None) -> Gram:
    """Return the inner products (k, k) of the parts, or of the parts minus the base, in float64."""
    gram = np.zeros((len(parts), len(parts)))
    for chunk in _chunks(parts[0].size):
        rows = np.stack([part.reshape(-1)[chunk] for part in parts]).astype(np.float64)
        if base is not None:
            rows -= base.reshape(-1)[chunk]
        gram += rows @ rows.T
    return gram


def check_shapes(name: str, *shapes: tuple[int, ...]) -> None:
    """Raise BadChoice where the tensors called ``name`` differ in shape."""
    if len(set(shapes)) > 1:
        text = " and ".join("×".join(map(str, shape)) or "one number" for shape in dict.fromkeys(shapes))
        raise BadChoice(f"The models cannot be merged: {name[:120]!r} is {text}. Choose models of one architecture.")


@dataclass(frozen=True)
class Ingredients:
    """The parts of a merge and their base, laid side by side under the first part's names."""

    parts: tuple[Mapping[str, Tensor], ...]
    base: Mapping[str, Tensor] | None
    own_names: tuple[Mapping[str, str], ...]  # of each part, and of the base behind them: this name to its own
    mixed: tuple[str, ...]  # what a merge mixes
    kept: tuple[str, ...]  # what stays as it is in the first part
    tied: Mapping[str, str]  # output heads that follow an embedding, as far as the first part has them

    def read(self, name: str) -> tuple[list[Tensor], Tensor | None]:
        """Return the tensor of every part, and the base's."""
        each = [part[own[name]] for part, own in zip(self.parts, self.own_names, strict=False)]
        return each, None if self.base is None else self.base[self.own_names[-1][name]]


def ingredients(parts: Sequence[Mapping[str, Tensor]], base: Mapping[str, Tensor] | None = None) -> Ingredients:
    """Return the parts side by side; raises BadChoice where a tensor that counts is missing or has another shape."""
    models = (*parts, *([base] if base is not None else []))
    shapes, names, first = [shapes_of(model) for model in models], [names_of(model) for model in models], models[0]
    floats = {plain: stored for plain, stored in names[0].items() if shapes[0][stored][1]}
    tied = _tied_heads(models, names)
    counts = [passed_through(model) - _optional(model) for model in models]
    for number, model in enumerate(models[1:], start=1):
        label, of_first = _label(model, number, len(parts)), _label(first, 0, len(parts))
        _check_complete(label, [one for one in floats if one in counts[0] and one not in names[number]], of_first)
        more = [one for one in names[number] if one in counts[number] and one not in names[0]]
        _check_complete(of_first, [one for one in more if shapes[number][names[number][one]][1]], label)
    mixed = {}
    for plain, stored in floats.items():
        each = [shaped[known[plain]][0] for shaped, known in zip(shapes, names, strict=True) if plain in known]
        if plain in counts[0]:
            check_shapes(stored, *each)
        if stored not in tied and (plain in counts[0] or (len(each) == len(models) and len(set(each)) == 1)):
            mixed[plain] = stored
    own_names = [{stored: known[plain] for plain, stored in mixed.items()} for known in names]
    kept = tuple(name for name in shapes[0] if name not in mixed.values() and name not in tied)
    return Ingredients(tuple(parts), base, tuple(own_names), tuple(mixed.values()), kept, tied)


def _optional(model: Mapping[str, Tensor]) -> frozenset[str]:
    """Return the table of positions where files may hold one that is not used."""
    architecture = architecture_in(model)
    return frozenset({architecture.table} if architecture.optional_table else ())


def _check_complete(lacks: str, names: Sequence[str], has: str) -> None:
    if names:
        raise BadChoice(
            f"The models cannot be merged: {lacks} lacks {len(names)} of the tensors of {has}, the first is "
            f"{names[0][:120]!r}. Choose models of one architecture, saved the same way."
        )


def merger(
    merge: Merge, given: Ingredients, *, grams: Mapping[str, Gram] | None = None, progress: Progress = silent
) -> Callable[[str], Tensor]:
    """Return the function that gives one merged tensor by its name; a flat merge reads all parts once before."""
    merge = checked(merge, parts=len(given.parts), has_base=given.base is not None)
    whole: Gram | None = None
    if merge.scope == "flat":
        whole = flat(grams or grams_of(given, merge.space or "weights", progress=progress))

    def value_of(name: str) -> Tensor:
        if name in given.kept:
            return given.parts[0][name].copy()
        name = given.tied.get(name, name)
        each, base = given.read(name)
        gram = whole if whole is not None else (grams or {}).get(name)
        return merged(merge, each, base, gram=gram, name=name)

    return value_of


def grams_of(given: Ingredients, space: Space, *, progress: Progress = silent) -> dict[str, Gram]:
    """Return the inner products (k, k) of each tensor: of the weights, or of the task vectors."""
    grams = {}
    for number, name in enumerate(given.mixed):
        progress(number, len(given.mixed), "angles")
        each, base = given.read(name)
        grams[name] = gram_of(each, base if space == "task_vectors" else None)
    return grams


def flat(grams: Mapping[str, Gram]) -> Gram:
    """Return the inner products of the models as wholes: the sum over their tensors."""
    return np.asarray(sum(grams.values()), dtype=np.float64)


def _tied_heads(models: Sequence[Mapping[str, Tensor]], names: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return which of the first model's heads repeat its token embedding, as they do in every model that has them."""
    counts, shapes, tied = passed_through(models[0]), shapes_of(models[0]), {}
    for plain, stored in names[0].items():
        if plain in counts or not shapes[stored][1]:
            continue
        each = [(model, known[plain]) for model, known in zip(models, names, strict=True) if plain in known]
        repeats = [tied_embedding(model, own) for model, own in each]
        if None not in repeats:
            tied[stored] = str(repeats[0])
    return tied


def _label(model: Mapping[str, Tensor], number: int, parts: int) -> str:
    folder = getattr(model, "folder", None)
    place = "the base" if number == parts else f"model {number + 1}"
    return f"{place} ({folder.name[:60]})" if folder is not None else place


def _finite(tensor: Tensor, name: str) -> Tensor:
    values = tensor.reshape(-1)
    if not all(np.isfinite(values[chunk]).all() for chunk in _chunks(values.size)):
        raise ModelUnavailable(
            f"The merge of {name[:120]!r} is not finite: one of the models holds NaN or infinity, or the sum is too "
            "large. Leave that model out, or reduce its weight."
        )
    return tensor


def _check_choice(entry: Entry[Callable[..., Any]], what: str, got: str, allowed: Sequence[str]) -> None:
    if got not in allowed:
        raise BadChoice(f"{entry.title} takes the {what} {' or '.join(allowed)}, got {got[:40]!r}.")


def _checked_weights(entry: Entry[Callable[..., Any]], weights: tuple[float, ...], parts: int) -> tuple[float, ...]:
    if not weights:
        return (1.0,) * parts if entry.facts.get("weighted") else ()
    if not entry.facts.get("weighted"):
        raise BadChoice(f"{entry.title} takes no weights of its parts.")
    if len(weights) != parts or not all(0 <= weight < np.inf for weight in weights) or not sum(weights):
        raise BadChoice(f"{entry.title} takes one weight of 0 or more for each of {parts} models, not all 0.")
    return tuple(map(float, weights))


def _chunks(size: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, size, _CHUNK))
