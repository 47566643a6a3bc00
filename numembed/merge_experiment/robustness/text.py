"""What robustness across merges shows, in sentences made from its numbers: never more than the intervals allow.

"Holds up better" is a comparison only: the score falls less, or rises more.
"""

from __future__ import annotations

from collections.abc import Sequence

from numembed.core.significance import LEVEL
from numembed.core.wording import decimal, listed, p_text, plural, signed, span
from numembed.merge_experiment.robustness.results import (
    CHANGES,
    LINE,
    ROWS,
    Change,
    Robustness,
    RobustnessDifference,
)

AT_EQUAL = "the straight line at equal retention"
_TITLES = dict(ROWS) | {LINE: AT_EQUAL}
_KIND = "kind of change"
_MOST = 2  # pairs in the answer; a sentence for each follows it


def row_title(row: str) -> str:
    """Return what tables and figures call a row of models."""
    title = ROWS[row].removeprefix("the ")
    return title[:1].upper() + title[1:]


def group_title(group: str) -> str:
    """Return what tables and figures call a kind of change."""
    return CHANGES[group][:1].upper() + CHANGES[group][1:]


def sentences_of(found: Robustness) -> tuple[str, ...]:
    """Return the answer in one sentence, what it needs to be read rightly, and then a sentence for each pair."""
    if not found.groups:
        return ("No change of the texts could be scored for all named models.",)
    pairs = list(dict.fromkeys((one.a, one.b) for one in found.differences))
    by_pair = [[one for one in found.differences if (one.a, one.b) == pair] for pair in pairs]
    return (_answer(found, by_pair), *_caveats(found), *map(_of_pair, by_pair))


def answer(found: Robustness) -> str:
    """Return the answer in one sentence."""
    return found.sentences[0] if found.sentences else ""


def _answer(found: Robustness, by_pair: Sequence[Sequence[RobustnessDifference]]) -> str:
    kinds = plural(len(found.groups), _KIND, "kinds of change")
    if not by_pair:
        return f"There are no two named models to compare under {kinds}."
    parts = [part for pair in by_pair if (part := _findings(pair))]
    if not parts:
        many = plural(len(by_pair), "pair")
        return f"No difference in robustness was seen: {many} of models were compared under {kinds}."
    seen = [sum(one.distinguishable for one in pair) for pair in by_pair]
    rest, told = sum(map(len, by_pair)) - sum(seen), sum([count for count in seen if count][:_MOST])
    more = [f"{plural(sum(seen) - told, 'more difference')} {_are(sum(seen) - told)} listed below"]
    text = "; ".join([*parts[:_MOST], *(more if sum(seen) > told else [])])
    ending = f". For the other {plural(rest, 'comparison')} no difference was seen" if rest else ""
    return f"{text[:1].upper()}{text[1:]}{ending}."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _findings(pair: Sequence[RobustnessDifference]) -> str:
    """Return the significant differences of a pair in words, "" where there are none."""
    seen = [one for one in pair if one.distinguishable]
    if not seen:
        return ""
    better = [CHANGES[one.group] for one in seen if one.difference > 0]
    worse = [CHANGES[one.group] for one in seen if one.difference < 0]
    kinds = plural(len(pair), _KIND, "kinds of change")
    sides = [
        f"{how} than {_TITLES[pair[0].b]} under {len(names)} of {kinds} ({listed(names)})"
        for how, names in (("better", better), ("worse", worse))
        if names
    ]
    return f"{_TITLES[pair[0].a]} holds up {' and '.join(sides)}{_these(seen)}"


def _these(differences: Sequence[RobustnessDifference]) -> str:
    """Return the restriction of differences that are not over seeds."""
    return "" if all(one.seeds for one in differences) else ", for these adapters"


def _of_pair(pair: Sequence[RobustnessDifference]) -> str:
    """Return what was found about one pair, with the numbers of its largest difference."""
    first, seen = pair[0], _findings(pair)
    known = [one for one in pair if one.low <= one.high]
    names = f"{_TITLES[first.a]} and {_TITLES[first.b]}"
    if not known:
        return f"{names[:1].upper()}{names[1:]} cannot be compared: an interval needs more sequences."
    largest = max((one for one in known if one.distinguishable or not seen), key=lambda one: abs(one.difference))
    numbers = f"{signed(largest.difference, 3)} ({span(largest.low, largest.high, 3, sign=True)})"
    where = f"The largest difference of the change, {numbers}, is under {CHANGES[largest.group]}"
    kinds = plural(len(pair), _KIND, "kinds of change")
    text = seen or f"between {names} no difference was seen under {kinds}{_these(pair)}"
    return f"{text[:1].upper()}{text[1:]}. {where}."


def _caveats(found: Robustness) -> tuple[str, ...]:
    """Return sentences without which the answer may mislead: scores that have nothing to lose."""
    compared = {row for one in found.differences if one.distinguishable for row in (one.a, one.b)}
    low = [
        f"{ROWS[row]} ({decimal(_mean_before(found, row))}, {p_text(min(ps))})"
        for row in found.rows
        if row in compared and (ps := [one.p for one in found.of(row) if one.p == one.p]) and min(ps) > LEVEL
    ]
    if not low:
        return ()
    return (
        f"Before any change no more than chance was seen for {listed(low)}: a score at chance has little to lose, so "
        "holding up better may mean no more than that.",
    )


def _mean_before(found: Robustness, row: str) -> float:
    own = [one.before for one in found.of(row)]
    return sum(own) / len(own)


def change_text(one: Change) -> str:
    """Return a change with its interval."""
    return f"{signed(one.mean, 3)} ({span(one.low, one.high, 3, sign=True)})"
