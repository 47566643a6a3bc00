"""What was found about a model's clusters, in sentences that claim no more than the shuffles allow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from numembed.analysis.clusters.agreement import Agreement
from numembed.analysis.clusters.attributes import ATTRIBUTES, family_title
from numembed.analysis.clusters.clusterers import CLUSTERERS
from numembed.analysis.clusters.null_reference import REFERENCES
from numembed.core.significance import LEVEL, Judged
from numembed.core.wording import decimal, listed, p_text, percent, signed
from numembed.examinations.clusters.compute import Explanation, tree_members
from numembed.examinations.clusters.grouping import FACTORS, Grouping, Way
from numembed.examinations.clusters.together import (
    AGREES,
    HOLDS,
    MATCHED,
    NEAREST,
    followed,
    found_of,
    of_way,
    tests_of,
)
from numembed.examinations.registry import Answer
from numembed.sequences.sets import SequenceSet

_NAMED = 3  # attributes in a sentence
_FEW = "there are too few sequences to tell whether that is more than by chance"


def sentence(answer: Answer[Grouping]) -> str:
    """Return what the clusters follow, what makes the vectors differ, and whether other ways of grouping agree."""
    text, explanation = grouping_sentence(answer.found, answer.explanation), answer.explanation
    if explanation is None:
        return text
    return f"{sentence_of(answer.model, explanation)} {shares_sentence(explanation)} {text}"


def sentence_of(name: str, result: Explanation) -> str:
    """Return in one or two sentences what the clusters follow, claiming no more than the shuffles allow."""
    sure, groups = followed(result), f"the groups that KMeans finds in {name}"
    known = [one for (kind, _), one in tests_of(result).items() if kind == AGREES and not math.isnan(one.p)]
    if known and not sure and all(len(known) * one.least_p > LEVEL for one in known):
        return f"There are too few sequences to tell what {groups} follow."
    tail, groups = _family_tail(result, sure), f"T{groups[1:]}"
    if not sure:
        return f"{groups} follow none of these attributes better than chance.{tail}"
    if len(sure) == 1:
        title = ATTRIBUTES[sure[0].attribute].title.lower()
        return f"{groups} follow the {title} better than chance (ARI {signed(sure[0].ari)}).{tail}"
    named = [f"the {ATTRIBUTES[one.attribute].title.lower()} (ARI {signed(one.ari)})" for one in sure[:_NAMED]]
    named += [f"{len(sure) - _NAMED} more"] if len(sure) > _NAMED else []
    return f"{groups} follow these better than chance: {listed(named)}.{tail}"


def _family_tail(result: Explanation, sure: Sequence[Agreement]) -> str:
    """Return how the clusters agree with the families, or "" where that was said or is undefined."""
    family = next((one for one in result.agreements if one.attribute == "family"), None)
    if family is None or math.isnan(family.ari) or family in sure[:_NAMED]:
        return ""
    if tests_of(result)[AGREES, "family"].few:
        return " Whether they follow the families, so few sequences cannot tell."
    how = "better than chance too" if family in sure else "no better than chance"
    return f" With the families they agree {how} (ARI {signed(family.ari)})."


def shares_sentence(result: Explanation) -> str:
    """Return in two sentences what makes the vectors differ beyond chance, and how much of it is what."""
    shares = {share.name: share for share in result.shares}
    if not {"family", "window", "rest"} <= set(shares) or math.isnan(shares["family"].p):
        return "The variance of the vectors cannot be divided here. That needs several families and windows."
    family, window = (f"{percent(shares[name].share)}{_by_chance(result, name)}" for name in ("family", "window"))
    return (
        f"{_shares_head(_standing(result))}. Of the variance the family explains {family}, the window "
        f"{window}, and {percent(shares['rest'].share)} is explained by neither."
    )


def _standing(result: Explanation) -> dict[str, str]:
    """Return "more", "no more" or "few" (too few to tell) for family and window."""
    known = {name: one for (kind, name), one in tests_of(result).items() if kind == HOLDS and not math.isnan(one.p)}
    return {name: "more" if one.sure else "few" if one.few else "no more" for name, one in known.items()}


def _shares_head(standing: dict[str, str]) -> str:
    """Return what may be said of family and window, or of the family where the window is undefined."""
    than, few = "of the variance than chance", "cannot be determined from so few sequences"
    names = sorted(standing, key=lambda name: ("more", "no more", "few").index(standing[name]))
    match [standing[name] for name in names]:
        case ["few"]:
            return f"Whether the family explains more {than} {few}"
        case ["more"]:
            return f"The family explains more {than}"
        case [_]:
            return f"The family was not seen to explain more {than}"
        case ["few", "few"]:
            return f"Whether family or window explains more {than} {few}"
        case ["more", "more"]:
            return f"Both family and window explain more {than}"
        case ["no more", "no more"]:
            return f"Neither the family nor the window was seen to explain more {than}"
        case [how, "few"]:
            seen = "explains" if how == "more" else "was not seen to explain"
            return f"The {names[0]} {seen} more {than}; whether the {names[1]} does {few}"
    return f"The {names[0]} explains more {than}; for the {names[1]} this was not seen"


def _by_chance(result: Explanation, name: str) -> str:
    """Return the share that a factor would hold on average, were it shuffled among what shares the other factor."""
    other = "window" if name == "family" else "family"
    classes = {one.attribute: one.classes for one in result.agreements}
    freedom = len(result.silhouettes) - classes.get(other, 1)
    if name not in classes or freedom < 1:
        return ""
    left = 1 - next(share.share for share in result.shares if share.name == other)
    return f" ({percent(left * (classes[name] - 1) / freedom)} by chance)"


def matched_sentence(result: Explanation) -> str:
    """Return in one sentence how many sequences lie in the group that stands for their family, beside chance."""
    if result.matched != result.matched or len(result.counts[0]) < 2:
        return "Groups can be assigned to families only where there are at least two families."
    beside = _beside(tests_of(result)[MATCHED, "family"], result.matched_chance, "would")
    best = "With the best pairing of groups and families"
    return f"{best}, {percent(result.matched)} of the sequences match; {beside}."


def _beside(test: Judged, chance: float, would: str) -> str:
    """Return how a share lies beside chance."""
    if test.sure:
        return f"by chance {percent(chance)} {would}"
    if test.few:
        return f"{_FEW} ({percent(chance)})"
    return f"not significantly more than by chance ({percent(chance)}, {p_text(test.p)})"


def nearest_sentence(result: Explanation) -> str:
    """Return in one or two sentences how many nearest neighbours share family and window, beside chance."""
    texts, tests = [], tests_of(result)
    for alike, what, short in ((result.same_family, "the same family", "family"), (result.same_window, "", "window")):
        if alike.share != alike.share:
            if what:
                texts.append(f"Whether nearest neighbours are of {what} cannot be determined here: it {alike.note}.")
            continue
        share = f"{percent(alike.share)} of the nearest neighbours are of {what or f'the same {short}'}"
        texts.append(f"{share}; {_beside(tests[NEAREST, short], alike.chance, 'would be')}.")
    return " ".join(texts)


def tree_sentence(result: Explanation, sequences: SequenceSet) -> str:
    """Return in one or two sentences which families lie closest, and whether the families differ at all."""
    titles = [family_title(name) for name in sequences.families]
    if not result.tree:
        return "A tree of families needs at least two of them."
    members = tree_members(result)
    one, other, _ = result.tree[0]
    text = f"The centres of {titles[one]} and {titles[other]} lie closest together"
    if len(titles) == 2:
        text = f"There are two families only: {titles[0]} and {titles[1]}"
    few = min((members[child] for child in result.tree[-1][:2]), key=len)
    if len(titles) > 2 and len(few) == 1:
        text += f"; {titles[few[0]]} joins the others last"
    standing = _standing(result).get("family")
    if standing == "few":
        text += ". There are too few sequences to tell whether the families differ, so the tree may be chance"
    elif standing == "no more":
        p = p_text(tests_of(result)[HOLDS, "family"].p)
        text += f". No difference between the families was seen ({p}), so the tree may be chance"
    return text + "."


def grouping_sentence(grouping: Grouping, explanation: Explanation | None = None) -> str:
    """Return in three sentences whether ways and seeds agree, and whether any groups stand out."""
    texts = ways_sentence(grouping, explanation), seeds_sentence(grouping), steps_sentence(grouping)
    return " ".join(filter(None, texts))


def ways_sentence(grouping: Grouping, explanation: Explanation | None = None) -> str:
    """Return in one sentence what the ways of grouping follow, claiming no more than the shuffles allow.

    With an ``explanation`` they are judged together with all tests of its page.
    """
    ways = [way for way in grouping.ways if way.family.ari == way.family.ari or way.window.ari == way.window.ari]
    if not ways:
        return "No way of grouping finds groups that could follow family or window here."
    found = None if explanation is None else found_of(explanation)
    sure = [_followed(way, found) for way in ways]
    counts = {name: sum(name in own for own in sure) for name in FACTORS}
    every = "Every way of grouping" if len(ways) == len(grouping.ways) else "Every way that finds groups here"
    match [name for name in FACTORS if counts[name]]:
        case []:
            return f"None of {len(ways)} ways of grouping follows the family or the window better than chance."
        case [name] if counts[name] == len(ways):
            return f"{every} follows the {name} better than chance, and none the {FACTORS[FACTORS.index(name) - 1]}."
        case [_, _] if set(counts.values()) == {len(ways)}:
            return f"{every} follows both family and window better than chance."
    texts = [_count(count, f"the {name}") for name, count in counts.items() if count]
    texts += [_count(sure.count(()), "neither")] if () in sure else []
    return f"Of {len(ways)} ways of grouping, {listed(texts)} better than chance."


def _count(ways: int, what: str) -> str:
    return f"{ways} follow{'s' * (ways == 1)} {what}"


def seeds_sentence(grouping: Grouping) -> str:
    """Return in one sentence how far KMeans depends on its seed, with as many groups as families."""
    step = next((step for step in grouping.steps if step.k == grouping.families), None)
    if step is None or step.stability != step.stability or grouping.seeds < 2:
        return ""
    if step.answers == 1:
        return f"With {step.k} groups, {grouping.seeds} seeds of KMeans all give the same answer."
    return (
        f"With {step.k} groups, {grouping.seeds} seeds of KMeans give {step.answers} different answers; two of them "
        f"agree to {decimal(step.stability)} on average, where 1 is the same answer."
    )


def steps_sentence(grouping: Grouping) -> str:
    """Return in one sentence whether any number of groups stands out from vectors without groups."""
    step = next((step for step in grouping.steps if step.k == grouping.best), None)
    if step is None or grouping.best_p != grouping.best_p:
        return ""
    first, last = grouping.steps[0].k, grouping.steps[-1].k
    if grouping.best_p > LEVEL:
        return f"No number of groups from {first} to {last} stands out from shapeless vectors of the same spread."
    return (
        f"{step.k} groups stand out furthest from {REFERENCES} sets of shapeless vectors of the same spread, as one "
        f"such set in {REFERENCES + 1} would by chance: their silhouette is {signed(step.silhouette)}, and at most "
        f"{signed(step.noise_high)} there."
    )


def most_of(way: Way) -> str:
    """Return the title of the attribute that a way agrees with most, or ""."""
    return ATTRIBUTES[way.attribute].title if way.attribute else ""


def title_of(way: Way) -> str:
    """Return the clusterer's name as people read it."""
    return CLUSTERERS[way.name].title


def _followed(way: Way, found: Mapping[str, float] | None) -> tuple[str, ...]:
    """Return which of family and window a way agrees with above chance."""
    factors = [(name, getattr(way, name)) for name in FACTORS]
    return tuple(name for name, one in factors if of_way(one, name, found) <= LEVEL and one.ari > 0)
