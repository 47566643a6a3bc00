"""Robustness across merges, constructed: what truly holds up better is said, noise is not, and what has seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from numembed.core.significance import holm
from numembed.merge_experiment.comparisons import estimated
from numembed.merge_experiment.robustness.comparisons import PAIRS, changes_of, differences_of
from numembed.merge_experiment.robustness.results import CHANGES, LINE, Robustness
from numembed.merge_experiment.robustness.rows import change_rows, difference_rows, left_out, variant_rows
from tests.merge_experiment.robustness.cases import VARIANTS, measured, robustness_from

pytestmark = pytest.mark.slow
_LORA_LOSES = {("lora", "digits"): 0.3, ("lora", "order"): 0.3}


@pytest.fixture(scope="module")
def found() -> Robustness:
    return robustness_from(measured(_LORA_LOSES))


def test_what_truly_holds_up_better_is_said_with_its_kinds(found: Robustness) -> None:
    first, *rest = found.sentences
    assert first.startswith(
        "SLERP to the base holds up better than LoRA under 2 of 6 kinds of change (digits and order); the soup holds "
        "up better than LoRA under 2 of 6 kinds of change (digits and order), for these adapters; 1 more difference is "
        "listed below. For the other 37 comparisons"
    )
    seen = {(one.a, one.b, one.group) for one in found.differences if one.distinguishable}
    assert all("lora" in pair[:2] and pair[2] in ("digits", "order") for pair in seen)
    assert len(seen) == 5 and first.endswith(" comparisons no difference was seen.")
    assert rest[0].startswith("Between SLERP to the base and the straight line at equal retention no difference was")
    assert len(rest) == len(PAIRS)


@pytest.mark.parametrize("world", [1, 2])
def test_of_noise_nothing_is_said(world: int) -> None:
    found = robustness_from(measured({}, world=world, noise=0.6))
    assert found.sentences[0] == (
        "No difference in robustness was seen: 7 pairs of models were compared under 6 kinds of change."
    )
    assert not any(one.distinguishable for one in found.differences)
    assert all("holds up" not in sentence for sentence in found.sentences)


def test_the_sentence_follows_the_adjusted_p_of_all_pairs_and_kinds(found: Robustness) -> None:
    assert len(found.differences) == len(PAIRS) * len(CHANGES) == 42
    assert [one.p_holm for one in found.differences] == list(holm([one.p for one in found.differences]))
    alone = [one for one in found.differences if one.p <= 0.05 < one.p_holm]
    assert alone and not any(one.distinguishable for one in alone)


def test_seeds_count_where_both_sides_have_their_own_and_not_beside_the_soup_of_all(found: Robustness) -> None:
    over = {(one.a, one.b): one.over for one in found.differences}
    of_seeds = "3 seeds and 24 sequences"
    assert over["slerp_base", LINE] == over["slerp_base", "lora"] == over["lora", "base"] == of_seeds
    assert {over[pair] for pair in (("soup", "lora"), ("slerp_base", "soup"), ("soup", "base"))} == {"24 sequences"}
    one = next(one for one in found.differences if (one.a, one.b, one.group) == ("slerp_base", "lora", "digits"))
    (of_sequences, n), (seeds, k) = one.errors
    assert (n, k) == (23, 2) and one.seeds == 3 and one.sequences == 24
    from scipy.special import stdtrit

    wide = math.hypot(stdtrit(n, 0.975) * of_sequences, stdtrit(k, 0.975) * seeds)
    assert one.high - one.difference == pytest.approx(wide), "the errors are those of the interval"
    soup = next(one for one in found.differences if (one.a, one.b) == ("soup", "lora"))
    assert len(soup.errors) == 1 and math.isnan(soup.seed_sd)


def test_a_difference_is_paired_seed_by_seed_and_a_perturbation_counts_once(found: Robustness) -> None:
    models = measured(_LORA_LOSES)
    by = {(one.row, one.seed): one for one in models}
    texts = [one.whole[:2].mean(axis=0) / 2 + one.whole[2] / 2 for one in models]  # two forms of one, one of another
    moved = dict(zip(by, texts, strict=True))
    gaps = [moved["slerp_base", seed] - moved["lora", seed] for seed in range(3)]
    expected = estimated([float(one[0]) for one in gaps], [one[1:] for one in gaps])
    one = next(one for one in found.differences if (one.a, one.b, one.group) == ("slerp_base", "lora", "text"))
    assert (one.difference, one.low, one.high, one.p) == pytest.approx(expected)
    change = next(one for one in found.changes if (one.row, one.group) == ("base", "text"))
    assert change.mean == pytest.approx(float(moved["base", None][0]))
    assert changes_of(models[:1], VARIANTS) == tuple(one for one in found.changes if one.row == "base")


def test_a_seed_without_its_partner_is_not_compared() -> None:
    models = [one for one in measured({}) if (one.row, one.seed) != (LINE, 1)]
    pair = [one for one in differences_of(models, VARIANTS) if one.b == LINE]
    assert {one.over for one in pair} == {"24 sequences"}


def test_equal_models_differ_by_nothing_and_a_score_at_chance_is_told(found: Robustness) -> None:
    models = list(measured({}))
    same = [replace(one, row=LINE) if one.row == "slerp_base" else one for one in models if one.row != LINE]
    twins = differences_of([*same, *(one for one in models if one.row == "slerp_base")], VARIANTS)
    assert all((one.difference, one.p, one.distinguishable) == (0, 1, False) for one in twins if one.b == LINE)
    weak = robustness_from(measured(_LORA_LOSES), p={"lora": 0.4})
    assert weak.sentences[1].startswith("Before any change no more than chance was seen for LoRA (0.")
    assert not any("at chance" in sentence for sentence in found.sentences)


def test_nothing_to_compare_is_a_sentence() -> None:
    only = robustness_from(measured({})[:1])
    assert only.sentences == ("There are no two named models to compare under 6 kinds of change.",)
    nothing = replace(only, variants=tuple(replace(one, note="why") for one in VARIANTS))
    from numembed.merge_experiment.robustness.text import sentences_of

    assert sentences_of(nothing) == ("No change of the texts could be scored for all named models.",)


def test_rows_hold_every_number(found: Robustness) -> None:
    assert len(change_rows(found)) == 5 * 6 and len(difference_rows(found)) == 42
    least = [found.smallest_seen(one) for one in found.differences]
    assert all(seen and seen > (one.high - one.low) / 2 for seen, one in zip(least, found.differences, strict=True))
    assert [row["smallest_seen"] for row in difference_rows(found)] == least
    rows = variant_rows(found)
    assert len(rows) == len(found.models) * len(VARIANTS) and rows[0]["variant"] == "space"
    row = next(row for row in rows if row["perturbation"] == "order_reversed")
    assert row["change"] == pytest.approx(row["after"] - row["before"]) and row["change_of"] == "Order"
    lacking = replace(VARIANTS[3], note="Texts become equal.")
    cut = tuple(replace(one, after=one.after[:3] + one.after[4:]) for one in found.models)
    partly = replace(found, variants=(*VARIANTS[:3], lacking, *VARIANTS[4:]), models=cut)
    rows = variant_rows(partly)
    assert rows[3]["after"] is None and rows[3]["note"] and np.isfinite(rows[4]["after"])
    assert left_out(partly) == ["Left out: last digit removed. Texts become equal."]
    assert partly.groups == ("text", "order", "place", "data", "model")
