"""What the stress tests found, in sentences made from the numbers: never more than the intervals allow."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, replace

from numembed.core.significance import LEVEL
from numembed.core.wording import decimal, p_text, percent, signed, span
from numembed.examinations.registry import Answer, Implementation, Row
from numembed.examinations.stress.compute import STILL, Stress, TrialResult, stress, stress_texts, variant_of
from numembed.examinations.stress.together import above_chance as above_chance
from numembed.examinations.stress.together import p_page, plain_p, smallest_plain, smallest_seen, told
from numembed.sequences.perturbations.terms import PERTURBATIONS

_ALL, _MOST = 0.9, 0.5  # shares of the score
_DOING = {  # how a sentence about it begins; others begin with their title
    "separator": "Using another separator ({})",
    "brackets": "Putting {} around the text",
    "leading_zeros": "Padding the numbers with zeros",
    "base": "Writing the numbers in {}",
    "number_words": "Writing the numbers as words",
    "last_digit_removed": "Removing the last digit",
    "first_digit_removed": "Removing the first digit",
    "digits_masked": "Masking all digits",
    "last_digit_masked": "Masking the last digit",
    "last_digits_only": "Keeping only the last digits",
    "order_shuffled": "Shuffling the order",
    "order_reversed": "Reversing the order",
    "order_sorted": "Sorting the numbers",
    "corrupted": "Corrupting {} of the numbers",
    "first_term": "Starting the windows {}",
    "interleaved": "Interleaving the windows",
    "magnitude_matched": "Matching the magnitude ({})",
    "length": "Using {} of each sequence",
    "prompt": "The prompt {}",
    "precision": "Keeping the vectors as {}",
    "distance": "Using the {} distance",
    "normalisation": "Normalising the vectors ({})",
    "kmeans_seed": "Another seed of KMeans ({})",
}
_FALLS = {  # what a fall says where the registry's meaning is about a score that stays
    "order_shuffled": "it lies in how one number follows another",
    "digits_masked": "it lies in the digits and not in how many there are",
    "last_digits_only": "last digits are not enough for it",
}
_SAME = "Nothing changes: the texts already have this form."
_NUMBERS = [
    "value",
    "change",
    "low",
    "high",
    "p",
    "p_holm",
    "chance",
    "p_chance",
    "z_within",
    "p_within",
    "null_sd",
    *("ari", "drift", "ratio", "repeated"),
]
_DIRECTIONS = {"falls": (-1,), "rises": (1,), "stays or rises": (1,), "changes": (-1, 1)}


def sure(one: TrialResult) -> bool:
    """Return whether the interval of one variant, looked at alone, leaves out 0."""
    return one.low is not None and one.high is not None and (one.low > 0 or one.high < 0)


def destroyed(stress: Stress, one: TrialResult) -> float | None:
    """Return the share of what the plain score has above chance that a variant takes away; None where there is none.

    >>> from dataclasses import fields
    >>> from numembed.examinations.stress.compute import Plain
    >>> bare = {field.name: None for field in fields(Plain)} | {"note": ""}
    >>> before = Plain(**bare | {"value": 0.6, "chance": -0.2, "p": 0.001})
    >>> destroyed(Stress(before, (), 0, "euclidean"), TrialResult("last_digit_removed", {}, value=0.2, change=-0.4))
    0.5
    """
    base = stress.plain
    if not above_chance(base) or base.value is None or base.chance is None or one.change is None:
        return None
    return -one.change / (base.value - base.chance)


def most_extreme(tried: Iterable[TrialResult]) -> TrialResult | None:
    """Return the variant with the largest change, or None where none has one."""
    known = [one for one in tried if one.change is not None]
    return max(known, key=lambda one: abs(one.change or 0), default=None)


def leader(stress: Stress) -> TrialResult | None:
    """Return what changes the score most, of those that may be believed together; of a score at chance, raises it most.

    Where texts of a set become equal, they get equal vectors whatever the model, so such variants are left aside.
    """
    return most_extreme(one for one in _moving(stress) if not one.repeated)


def _moving(stress: Stress) -> list[TrialResult]:
    """Return what changes the score beyond doubt; of a score at chance, what raises it."""
    above = above_chance(stress.plain)
    return [one for one in stress.tried if told(stress, one) and (above or (one.change or 0) > 0)]


def doing(one: TrialResult) -> str:
    """Return the beginning of a sentence about a variant."""
    title = PERTURBATIONS[one.perturbation].title
    return _DOING.get(one.perturbation, f"{title} ({{}})" if one.options else title).format(variant_of(one))


def headline(stress: Stress) -> str:
    """Return in one or two short sentences what moves the score most."""
    if stress.plain.value is None:
        return "There is no plain score to compare with."
    first, merged = leader(stress), any(one.repeated for one in _moving(stress))
    none = "Apart from changes that make texts equal, none" if merged else "None of the changes"
    if above_chance(stress.plain):
        return _effect(stress, first) if first else f"{none} has a statistically significant effect on the score."
    inside = stress.plain.p_within
    start = "The score is no better than chance before anything is changed"
    if inside is not None and inside <= LEVEL:
        start = f"Over all windows t{start[1:]} (within windows {p_text(inside)})"
    start += ", so there is little to lose."
    if first is None or first.change is None or first.value is None:
        return f"{start} {none} raises it significantly."
    return f"{start} {doing(first)} raises it by {decimal(first.change)}, to {decimal(first.value)}."


def evidence(stress: Stress) -> str:
    """Return the numbers behind the headline."""
    base, first = stress.plain, leader(stress)
    if base.value is None:
        return base.note
    where = f", on {stress.designs} redrawn designs" if stress.designs else ""
    shuffled = f"shuffled over all windows {decimal(base.chance)} (adjusted {p_text(plain_p(base))})"
    sentence = f"Before: silhouette {decimal(base.value)}, {shuffled}."
    tests = sum(one.p is not None for one in stress.tried)
    if first is None:
        return f"{sentence} All {tests} changes are judged together{where}, by Holm's rule."
    after = f"After: {decimal(first.value)}, a {_numbers(first)}."
    return (
        f"{sentence} {after} All {tests} changes are judged together{where} (Holm's {p_text(p_page(stress, first))})."
    )


def sentence_of(stress: Stress) -> str:
    """Return what was found in a few sentences: the headline and its numbers."""
    return f"{headline(stress)} {evidence(stress)}"


def effect_of(stress: Stress, one: TrialResult) -> str:
    """Return what was found with one variant."""
    if one.note:
        return one.note
    if one.same:
        return _SAME
    if PERTURBATIONS[one.perturbation].facts.get("other_families"):
        return _control(stress, one)
    if one.perturbation == "kmeans_seed":
        return _seeds(stress)
    if one.change is None or stress.plain.value is None:
        return f"The score is {decimal(one.value)}; there is no plain score to compare it with."
    if one.change == 0 and one.ratio is not None and one.ratio < STILL:
        return f"{doing(one)} changes nothing: every vector stays the same."
    numbers = f"from {decimal(stress.plain.value)} to {decimal(one.value)}, a {_numbers(one)}"
    parts = [f"{_alone(stress, one)} The silhouette goes {numbers}."]
    if one.repeated and sure(one):
        parts.append(
            f"{one.repeated} more texts than before are equal to another one, and equal texts get equal vectors from "
            "any model: so this says little about this one."
        )
    parts += _inside(stress, one)
    if one.ratio is not None:
        parts.append(f"On average it moves a vector {_times(one)} as far as the nearest one of its family lies.")
    return " ".join(parts)


def displacement_sentence(stress: Stress) -> str:
    """Return which kinds of change move the vectors farthest and least, each by its strongest variant."""
    known = stress.farthest
    if not known:
        return "No distance can be given: it needs families of several sequences, and vectors that depend on one text."
    least, most = known[0], known[-1]
    far = sum((one.ratio or 0) > 1 for one in known)
    return (
        f"{doing(most)} moves the vectors farthest: on average {_times(most)} as far as the nearest one of the same "
        f"family (its nearest relative) lies. {doing(least)} moves them least, {_times(least)}. {far} of {len(known)} "
        "kinds of change move a vector farther than that, on average."
    )


def _effect(stress: Stress, one: TrialResult) -> str:
    """Return what a change that is beyond doubt does to a score above chance, and what that means."""
    share, change = destroyed(stress, one) or 0.0, one.change or 0.0
    if change > 0:
        return f"{doing(one)} raises the score by {decimal(change)}{_claim(one, 1)}."
    least, most = _ends(stress, one)
    if share >= _ALL and least >= _MOST and (one.p_chance or 0) > LEVEL:
        return f"{doing(one)} destroys all of the score, at least {_percent(least)} of it{_claim(one, -1)}."
    verb = "destroys" if share >= _MOST else "costs"
    claim = _claim(one, -1) if share >= _MOST else ""
    interval = f" (95% interval {_percent(least)} to {_percent(most)})" if least < most else ""
    return f"{doing(one)} {verb} {_percent(share)} of the score{interval}{claim}."


def _ends(stress: Stress, one: TrialResult) -> tuple[float, float]:
    """Return the least and the largest share of the score that a variant may take away, by the interval; 0 without."""
    ends = (replace(one, change=end) for end in (one.high, one.low))
    least, most = (destroyed(stress, end) or 0.0 for end in ends)
    return least, most


def _percent(share: float) -> str:
    return percent(max(0.0, min(share, 1.0)))


def _alone(stress: Stress, one: TrialResult) -> str:
    if not told(stress, one):
        together = " when all changes are judged together" if sure(one) else ""
        return f"{doing(one)} does not change the score significantly{together}."
    if above_chance(stress.plain):
        return _effect(stress, one)
    if (one.change or 0) > 0:
        better = "" if (one.p_chance or 1) <= LEVEL else ", which is still no better than chance"
        return f"{doing(one)} raises a score that was no better than chance to {decimal(one.value)}{better}."
    return f"{doing(one)} lowers a score that was no better than chance before, so this means little."


def _claim(one: TrialResult, direction: int) -> str:
    """Return what the registry says that such a result would mean, where it speaks of such a result."""
    if direction < 0 and one.perturbation in _FALLS:
        return f": {_FALLS[one.perturbation]}"
    match = re.fullmatch(r"If the score ([^,]+), (.+)\.", PERTURBATIONS[one.perturbation].facts["meaning"])
    if match is None or one.repeated or direction not in _DIRECTIONS.get(match[1], ()):
        return ""
    return f": {match[2].split(';')[0]}"


def _numbers(one: TrialResult) -> str:
    interval = ""
    if one.low is not None and one.high is not None:
        interval = f" (95% interval {span(one.low, one.high, sign=True)})"
    return f"change of {signed(one.change or 0.0)}{interval}"


def _inside(stress: Stress, one: TrialResult) -> list[str]:
    """Return how well families are distinguished, shuffled within windows, for windows at other places."""
    if one.z_within is None or one.p_within is None or stress.plain.z_within is None or stress.plain.p_within is None:
        return []
    before = f"before: z {decimal(stress.plain.z_within)}, {p_text(stress.plain.p_within)}"
    after = f"z {decimal(one.z_within)}, {p_text(one.p_within)}"
    return [f"Families shuffled within windows, looked at alone: {after} ({before})."]


def _control(stress: Stress, one: TrialResult) -> str:
    numbers = f"(silhouette {decimal(one.value)}, chance {decimal(one.chance)}, {p_text(p_page(stress, one))})"
    if told(stress, one):
        known = "Gaps between the numbers, and numbers below 100, may be enough for that."
        return f"Primes are distinguished from composites that look like them {numbers}. {known}"
    return f"Primes were not distinguished from composites that look like them {numbers}."


def _seeds(stress: Stress) -> str:
    seeds = [one for one in stress.tried if one.perturbation == "kmeans_seed" and one.value is not None]
    values = [one.value for one in seeds if one.value is not None]
    agreements = [one.ari for one in seeds if one.ari is not None]
    words = (
        f"With {len(values)} seeds the silhouette of the KMeans clusters lies between {decimal(min(values))} and "
        f"{decimal(max(values))} (with the study's own: {decimal(stress.plain.kmeans)})"
    )
    if agreements:
        words += f", their agreement with the families (ARI) from {span(min(agreements), max(agreements))}"
    return words + "."


def _times(one: TrialResult) -> str:
    ratio = one.ratio or 0.0
    return f"{decimal(ratio, 2 if ratio < 0.995 else 1)} times"


def _small(text: str) -> str:
    return text[:1].lower() + text[1:]


def rows(answer: Answer[Stress]) -> list[Row]:
    """Return all numbers as rows: the plain score, then every variant."""
    return [plain_row(answer.found), *rows_of(answer.found)]


def rows_of(stress: Stress) -> list[Row]:
    """Return one flat row a variant, for tables and files; None where undefined."""
    rows = []
    for one in stress.tried:
        entry = PERTURBATIONS[one.perturbation]
        texts = {
            "perturbation": one.perturbation,
            "title": entry.title,
            "group": entry.facts["group"],
            "variant": variant_of(one),
            "options": one.options,
        }
        numbers = {name: getattr(one, name) for name in _NUMBERS} | {"ratios": list(one.ratios)}
        numbers |= {"p_page": p_page(stress, one), "smallest_seen": smallest_seen(stress, one)}
        note = one.note or (_SAME if one.same else "")
        rows.append(texts | numbers | {"note": note, "meaning": entry.facts["meaning"]})
    return rows


def plain_row(stress: Stress) -> Row:
    """Return everything about the score before anything is changed as one flat row."""
    judged = {"p_page": plain_p(stress.plain), "smallest_seen": smallest_plain(stress)}
    first = {"perturbation": "plain", "title": "Nothing changed", "designs": stress.designs}
    return first | {"distance": stress.distance} | asdict(stress.plain) | judged


_LISTS = ("tried", "perturbation", PERTURBATIONS)
IMPLEMENTATION = Implementation(Stress, stress, lambda answer: sentence_of(answer.found), rows, _LISTS, stress_texts)
