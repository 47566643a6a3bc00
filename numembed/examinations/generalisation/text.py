"""How far a model's knowledge of the families reaches, in sentences that claim no more than the tests allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from numembed.analysis.probes import CLASSIFIERS
from numembed.core.wording import listed, p_text, percent
from numembed.examinations.generalisation.compute import far_texts, generalisation
from numembed.examinations.generalisation.result import Far, Generalisation, Probe
from numembed.examinations.registry import Answer, Implementation, Row
from numembed.models.baselines import BASELINES

_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = (
    *("", "first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
_SIMPLE = {
    "char_ngrams": "Counting runs of characters",
    "last_digits": "Counting last digits",
    "first_differences": "Counting the steps between neighbours",
    "digit_counts": "Counting digits",
    "log_magnitude": "The size of the numbers alone",
    "string_length": "The length of the text alone",
}


def verdict(name: str, generalisation: Generalisation) -> str:
    """Return the answer in one or two sentences: where the model names the families better than chance, and where not.

    It is claimed of a place where one of the classifiers does, after the adjustment for all tests of the page.
    """
    places = {"held-out windows of the study": generalisation.near}
    places |= {f"windows from term {one.start:,} on": one.probes for one in generalisation.far}
    answered = {place: probes for place, probes in places.items() if any(probe.testable for probe in probes)}
    if not answered:
        return f"Too few families or windows to tell whether {name} knows more than these sequences."
    sure = [place for place, probes in answered.items() if any(probe.sure for probe in probes)]
    rest = [place for place in answered if place not in sure]
    beaten = all(probe.baseline_value > probe.value for probes in answered.values() for probe in probes)
    tail = " In each of these tests some simple count names more of them correctly." if beaten else ""
    if not sure:
        return f"There is no evidence that {name} knows the families beyond the sequences it was shown.{tail}"
    but = f"; for {listed(rest)} this was not seen" if rest else ""
    how = "every" if all(probe.sure for place in sure for probe in answered[place]) else "at least one"
    return f"With {name}, {how} classifier names the families better than chance in {listed(sure)}{but}.{tail}"


def near_sentence(generalisation: Generalisation) -> str:
    """Return how windows that were held out were named."""
    first, *rest = generalisation.near
    if math.isnan(first.p):
        return f"This cannot be tested here: {first.note}."
    w = generalisation.windows
    shown = f"From {_COUNTS[w - 1]} window{'s' * (w > 2)}" if w <= 12 else "From the other windows"
    held_out = f"the {_ORDINALS[w]}" if w <= 12 else "those held out"
    text = f"{shown}, nearest centroid names the family of {held_out} in {_result(first)} {simple(first)}"
    return text.strip() + _others(rest)


def far_sentence(far: Far) -> str:
    """Return how windows far away were named."""
    where = f"from term {far.start:,} on"
    if not far.probes:
        return f"Windows {where} cannot be tested: {far.note}."
    first, *rest = far.probes
    text = f"Of windows {where}, nearest centroid names {_result(first)} {simple(first)}"
    return text.strip() + _others(rest) + _left_out(far)


def unseen_sentence(probe: Probe) -> str:
    """Return how one attribute was named of families that were held out."""
    if math.isnan(probe.p):
        return f"{probe.title}: cannot be tested here ({_because(probe.note)})."
    return f"{probe.title}: for unseen families, the probe gets {_share(probe)} {simple(probe)}".strip()


def single_sentence(result: Sequence[Probe]) -> str:
    """Return which attributes can be read off held-out windows, which perhaps through the family only, which not."""
    known = [probe for probe in result if not math.isnan(probe.p)]
    if not known:
        return "None of these can be tested here."
    places = {
        "Predicted better than chance": [one for one in known if one.beyond_families],
        "Predicted, but perhaps only because the family is (confounded)": [
            one for one in known if one.sure and not one.beyond_families
        ],
        "Not better than chance": [one for one in known if not one.sure and one.testable],
        "Too few sequences to tell": [one for one in known if not one.sure and not one.testable],
    }
    named = {place: probes for place, probes in places.items() if probes}
    if list(named) == ["Not better than chance"]:
        return f"None of these is predicted better than chance: {_numbers(known)}."
    return " ".join(f"{place}: {_numbers(probes)}." for place, probes in named.items())


def simple(probe: Probe) -> str:
    """Return what the best baseline gets, or ""."""
    if not probe.baseline:
        return ""
    title = _SIMPLE.get(probe.baseline) or f"The baseline {BASELINES[probe.baseline].title}"
    return f"{title} gets {percent(probe.baseline_value)}."


def _result(probe: Probe) -> str:
    cases = f"{probe.right:,} of {probe.total:,} cases ({percent(probe.value)})"
    return f"{cases}; guessing gets {percent(probe.chance)}{_judged(probe)}."


def _share(probe: Probe) -> str:
    return f"{percent(probe.value)} right; with shuffled classes {percent(probe.chance)}{_judged(probe)}."


def _judged(probe: Probe) -> str:
    if probe.sure:
        return f": better than chance ({p_text(probe.p_told)})"
    if not probe.testable:
        return f": too few families to tell, because even 100% would give {p_text(_least(probe))}"
    return f": no better than chance ({p_text(probe.p_told)})"


def _least(probe: Probe) -> float:
    return probe.least_p if math.isnan(probe.least_page) else probe.least_page


def _others(rest: Sequence[Probe]) -> str:
    texts = [f"{probe.title.lower()} {percent(probe.value)} ({_mark(probe)})" for probe in rest]
    return f" The others: {', '.join(texts)}." if texts else ""


def _mark(probe: Probe) -> str:
    return f"{'better than chance, ' if probe.sure else ''}{p_text(probe.p_told)}"


def _numbers(probes: Sequence[Probe]) -> str:
    return ", ".join(
        f"{p.title.lower()} {percent(p.value)} (shuffled {percent(p.chance)}, {p_text(p.p_told)})" for p in probes
    )


def _left_out(far: Far) -> str:
    if not far.left_out:
        return ""
    return f" Left out: {_reasons(far)}."


def _reasons(far: Far) -> str:
    return "; ".join(f"{title} ({reason})" for title, reason in far.left_out)


def _because(note: str) -> str:
    return note if note.startswith(("no other", "all ", "needs")) else f"it {note}"


def rows(answer: Answer[Generalisation]) -> list[Row]:
    """Return all numbers as rows; ``part`` says what each belongs to."""
    result = answer.found
    parts = [("near windows", result.near), *((f"from term {far.start:,}", far.probes) for far in result.far)]
    parts += [("unseen families", result.unseen), ("one attribute", result.single)]
    first: Row = {"part": "sequences", "families": result.families, "windows": result.windows}
    probed = ({"part": part} | asdict(probe) for part, probes in parts for probe in probes)
    return [first, *map(_far_row, result.far), *probed]


def _far_row(far: Far) -> Row:
    numbers = {"start": far.start, "families": far.families, "left_out": _reasons(far), "note": far.note}
    return {"part": f"from term {far.start:,}"} | numbers


IMPLEMENTATION = Implementation(
    Generalisation,
    generalisation,
    lambda answer: verdict(answer.model, answer.found),
    rows,
    lists=("near", "name", CLASSIFIERS),
    texts=far_texts,
)
