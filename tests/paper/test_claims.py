"""The paper's claims: word for word, right on Table 2, and silent where the numbers hold nothing."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from numembed.paper import comparison
from numembed.paper.claims import CLAIMS, judged
from numembed.paper.comparison import (
    REDRAWN_SD,
    facts_of_line,
    figure_number,
    size_of,
)
from numembed.paper.judging import FAILS, FEW, HOLDS, OPEN, WORDS, Verdict
from numembed.paper.published import TABLE_1, TABLE_2, PublishedScore

GOLDEN = Path(__file__).parents[1] / "golden"
JUDGE = {claim.name: claim.judge for claim in CLAIMS}
UNTESTED = ("tsne_distinct", "tsne_elongated", "stable", "higher_order")  # by scores alone
TABLES = 200
MOST_FALSE = 0.08
Rng = np.random.Generator
Lines = list[PublishedScore]


# words


def test_every_quotation_is_in_the_paper_in_that_section() -> None:
    golden = tomllib.loads((GOLDEN / "quotations.toml").read_text(encoding="utf-8"))
    assert list(golden) == [claim.name for claim in CLAIMS] and len(CLAIMS) >= 8
    for claim in CLAIMS:
        assert claim.quotation in golden[claim.name]["sentence"], claim.name
        assert claim.section == golden[claim.name]["section"]


def test_every_claim_has_its_question_its_test_and_its_computation() -> None:
    for claim in CLAIMS:
        assert claim.question.endswith("?") and claim.test.endswith(".") and claim.computed.endswith(".")
    assert len({claim.quotation for claim in CLAIMS}) == len(CLAIMS)


def test_table_1_is_transcribed_word_for_word() -> None:
    with (GOLDEN / "table1.csv").open(encoding="utf-8", newline="") as opened:
        assert [list(astuple(line)) for line in TABLE_1] == list(csv.reader(opened))[1:]
    assert len(TABLE_1) == 12, "Qwen3's three sizes share one line"


# Table 2


def test_the_verdict_of_table_2_on_each_claim() -> None:
    assert {claim.name: verdict.word for claim, verdict in zip(CLAIMS, judged(TABLE_2), strict=True)} == {
        "size_trend": HOLDS,
        "monotonic": FAILS,
        "backbone": HOLDS,
        "qwen": FAILS,
        "best_model": OPEN,
        "slerp": OPEN,
        "souping": OPEN,
        "lora": OPEN,
        "kmeans_other": OPEN,
        "kmeans_small": HOLDS,
        "above_half": HOLDS,
        "negative": OPEN,
        "surface": OPEN,
        "qwen_large": OPEN,
        "qwen_small": HOLDS,
        "small_models": HOLDS,
        "tsne_distinct": OPEN,
        "tsne_elongated": OPEN,
        "scaling": OPEN,
        "stable": OPEN,
        "higher_order": OPEN,
    }


def test_the_numbers_of_table_2() -> None:
    trend, pairs, kinds = (JUDGE[name](TABLE_2) for name in ("size_trend", "monotonic", "backbone"))
    assert (trend.value, trend.low, trend.high) == pytest.approx((0.736, 0.269, 0.923), abs=0.001)
    assert "no link can be shown" in trend.detail, "kind and size go together"
    assert "21 of 91 pairs" in pairs.sentence and "in 11 by more" in pairs.sentence
    assert (kinds.value, kinds.p) == pytest.approx((0.272, 2 / 1001), abs=0.001)
    best = JUDGE["best_model"](TABLE_2)
    assert best.value == pytest.approx(0.0066) and best.low is not None and best.low < 0
    assert "In 4 models both scores are equal" in JUDGE["kmeans_other"](TABLE_2).detail
    assert "higher than all 14 models" in JUDGE["surface"](TABLE_2).sentence
    assert "4 of 14 scores are negative, all of them in the range" in JUDGE["negative"](TABLE_2).sentence
    assert "without LoRA" in JUDGE["souping"](TABLE_2).detail


def test_every_line_has_its_facts_and_its_figure() -> None:
    assert all(size_of(line) > 0 and facts_of_line(line) is not None for line in TABLE_2)
    assert [figure_number(line) for line in TABLE_2] == list(range(3, 17))


# nothing to find: no effect is claimed


def _shuffled(rng: Rng) -> Lines:
    """Table 2 with its scores dealt out to the models at random: no model has anything to do with its score."""
    order = rng.permutation(len(TABLE_2))
    return [replace(TABLE_2[i], model=line.model) for i, line in zip(order, TABLE_2, strict=True)]


def _redrawn(rng: Rng, true: list[float] | None = None) -> Lines:
    """All models equally good, or as good as told, but for what redrawing the windows moves."""
    values = np.full(len(TABLE_2), 0.5) if true is None else np.array(true)
    return [
        replace(line, silhouette_families=float(value), davies_bouldin_families=float(2 - value))
        for line, value in zip(TABLE_2, values + rng.normal(0, REDRAWN_SD, len(values)), strict=True)
    ]


def _rising(rng: Rng) -> Lines:
    """A trend that is truly monotonic in size, with narrow steps, but for what redrawing moves."""
    order = sorted(size_of(line) for line in TABLE_2)
    return _redrawn(rng, [0.01 * order.index(size_of(line)) for line in TABLE_2])


def _asserts(verdict: Verdict) -> bool:
    """Whether a verdict or any of its sentences says that there is something."""
    return verdict.word != OPEN or "cannot be determined" not in verdict.sentence


def _says_higher_or_lower(verdict: Verdict) -> bool:
    return verdict.sentence.startswith(("SLERP models score", "Souped models score"))


NULLS: list[tuple[str, Callable[[Rng], Lines], Callable[[Verdict], bool]]] = [
    ("size_trend", _shuffled, _asserts),
    ("backbone", _shuffled, _asserts),
    ("kmeans_small", _shuffled, _asserts),
    ("slerp", _shuffled, lambda verdict: _asserts(verdict) or _says_higher_or_lower(verdict)),
    ("souping", _shuffled, lambda verdict: _asserts(verdict) or _says_higher_or_lower(verdict)),
    ("monotonic", _shuffled, lambda verdict: verdict.word == HOLDS),
    ("monotonic", _redrawn, _asserts),
    ("monotonic", _rising, lambda verdict: verdict.word == FAILS),
    ("qwen", _shuffled, lambda verdict: verdict.word == HOLDS),
    ("qwen", _redrawn, _asserts),
    ("best_model", _redrawn, _asserts),
    ("above_half", _redrawn, _asserts),
    *[
        (name, make, _asserts)
        for name in ("lora", "kmeans_other", "negative", "surface", *UNTESTED, "scaling")
        for make in (_shuffled, _redrawn)
    ],
    ("qwen_large", _redrawn, _asserts),
    ("qwen_small", _redrawn, _asserts),
    ("small_models", _shuffled, _asserts),
]


def test_every_claim_is_tried_on_tables_that_hold_nothing() -> None:
    assert {name for name, _, _ in NULLS} == set(JUDGE)


@pytest.mark.parametrize(("name", "make", "claims_too_much"), NULLS, ids=[f"{n}-{m.__name__}" for n, m, _ in NULLS])
def test_sentences_never_claim_more_than_the_interval_allows(
    name: str, make: Callable[[Rng], Lines], claims_too_much: Callable[[Verdict], bool]
) -> None:
    rng = np.random.default_rng(1)
    wrong = [claims_too_much(JUDGE[name](make(rng))) for _ in range(TABLES)]
    assert np.mean(wrong) <= MOST_FALSE


@pytest.mark.parametrize("make", [_shuffled, _redrawn, _rising])
def test_the_word_the_sentence_and_the_interval_agree(make: Callable[[Rng], Lines]) -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        table = make(rng)
        for claim in CLAIMS:
            verdict = claim.judge(table)
            assert verdict.word in WORDS and verdict.sentence.endswith(".")
            assert ("cannot be determined" in verdict.sentence) == (verdict.word == OPEN), verdict
            if claim.name == "best_model" and verdict.low is not None:
                assert (verdict.low <= 0 <= (verdict.high or 0)) == (verdict.word == OPEN)
            said = {one.word for one in verdict.metrics}
            assert not said or verdict.word == (said.pop() if len(said) == 1 else FAILS if FAILS in said else OPEN)
            for one in verdict.metrics:
                assert (one.word == OPEN) == (one.p_adjusted > 0.05 or one.low is None or one.low <= 0 <= one.high)


def test_effects_that_are_there_are_found() -> None:
    lines = sorted(TABLE_2, key=size_of)
    steep = [replace(line, silhouette_families=0.05 * i, silhouette_kmeans=0.7) for i, line in enumerate(lines)]
    flat = [replace(line, silhouette_families=0.9) for line in lines]
    best = [replace(line, silhouette_families=0.9 if "8B" in line.model else 0.1) for line in lines]
    assert [JUDGE[name](steep).word for name in ("size_trend", "kmeans_small")] == [HOLDS, HOLDS]
    assert JUDGE["above_half"](flat).word == FAILS and JUDGE["best_model"](best).word in (HOLDS, OPEN)
    wide = [
        replace(line, silhouette_families=float(i), davies_bouldin_families=float(-i)) for i, line in enumerate(lines)
    ]
    assert JUDGE["monotonic"](wide).word == HOLDS
    turned = [replace(line, silhouette_families=-float(i)) for i, line in enumerate(lines)]
    assert [JUDGE[name](turned).word for name in ("size_trend", "monotonic", "best_model")] == [FAILS] * 3
    won = [
        replace(line, silhouette_families=0.9, davies_bouldin_families=0.1) if "Qwen" in line.model else line
        for line in TABLE_2
    ]
    assert JUDGE["qwen"](won).word == HOLDS


@pytest.mark.parametrize("count", range(len(TABLE_2)))
def test_a_few_lines_give_a_verdict_or_say_what_is_missing(count: int) -> None:
    for verdict in judged(TABLE_2[:count]):
        assert verdict.word in WORDS and verdict.sentence
        if count < 2:
            assert verdict.word == FEW
    if count == 2:
        assert JUDGE["slerp"](TABLE_2[:2]).word == FEW == JUDGE["size_trend"](TABLE_2[:2]).word


# the spread of redrawn windows


def test_a_verdict_flips_at_the_spread_that_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    tables = [list(TABLE_2), *(make(rng) for make in (_shuffled, _redrawn, _rising) for _ in range(10))]
    seen = 0
    for table in tables:
        for name in ("monotonic", "qwen", "best_model", "above_half", "qwen_large", "qwen_small"):
            verdict = JUDGE[name](table)
            assert (verdict.flips_at is None) == (verdict.spread == "")
            if verdict.flips_at is None:
                continue
            assert (verdict.flips_at > REDRAWN_SD) == (verdict.word != OPEN)
            with monkeypatch.context() as other:
                other.setattr(comparison, "REDRAWN_SD", 0.999 * verdict.flips_at)
                assert JUDGE[name](table).word != OPEN, name
                other.setattr(comparison, "REDRAWN_SD", 1.001 * verdict.flips_at)
                assert JUDGE[name](table).word == OPEN, name
            seen += 1
    assert seen > 60


def test_each_verdict_that_assumes_a_spread_prints_where_it_would_flip() -> None:
    found = {claim.name: verdict for claim, verdict in zip(CLAIMS, judged(TABLE_2), strict=True)}
    at = {name: verdict.flips_at for name, verdict in found.items() if verdict.spread}
    assert at == pytest.approx(
        {
            "monotonic": 0.0426,
            "qwen": 0.0536,
            "best_model": 0.0016,
            "above_half": 0.0651,
            "qwen_large": 0.0073,
            "qwen_small": 0.0462,
        },
        abs=1e-4,
    )
    assert "It holds under any spread of redrawn windows (SD) below 0.065" in found["above_half"].spread
    measured = [replace(line, redrawn_sd=0.01) for line in TABLE_2]
    assert {verdict.spread for verdict in judged(measured)} == {""}, "nothing is assumed of what was measured"


def test_the_printed_sentence_and_the_tie_are_both_told_of_the_best_model() -> None:
    best, large = JUDGE["best_model"](TABLE_2), JUDGE["qwen_large"](TABLE_2)
    assert best.as_printed is True and "As printed it is true" in best.sentence and "first in all four" in best.sentence
    assert best.word == OPEN and "may reverse such a gap" in best.sentence
    assert (
        large.as_printed is False
        and "GritLM-7B and e5-mistral-7b-instruct against Qwen3 Embedding(4B)" in large.sentence
    )
    second = [replace(line, davies_bouldin_kmeans=1.0) if "e5-m" in line.model else line for line in TABLE_2]
    assert JUDGE["best_model"](second).as_printed is False
    assert "first in 3 of four columns" in JUDGE["best_model"](second).sentence


def test_claims_about_metrics_are_tested_on_both_with_p_adjusted() -> None:
    for name in ("size_trend", "backbone", "kmeans_small"):
        verdict = JUDGE[name](TABLE_2)
        assert [one.metric for one in verdict.metrics] == ["silhouette", "davies_bouldin"]
        assert all(one.word == HOLDS and one.p <= one.p_adjusted <= 0.05 for one in verdict.metrics), name
        assert any(one.p < one.p_adjusted for one in verdict.metrics)
        assert "in both metrics" in verdict.sentence and "Davies–Bouldin" in verdict.sentence
    mixed = [replace(line, davies_bouldin_families=2.0 + 0.1 * (i % 2)) for i, line in enumerate(TABLE_2)]
    verdict = JUDGE["size_trend"](mixed)
    assert [one.word for one in verdict.metrics] == [HOLDS, OPEN] and verdict.word == OPEN
    assert "By the silhouette: larger models score higher" in verdict.sentence


def test_stability_is_tested_once_windows_of_enough_models_were_redrawn() -> None:
    steady = [replace(line, redrawn_sd=0.1 / (1 + i)) for i, line in enumerate(sorted(TABLE_2, key=size_of))]
    assert JUDGE["stable"](steady).word == HOLDS and "vary less" in JUDGE["stable"](steady).sentence
    assert JUDGE["stable"]([replace(line, redrawn_sd=0.02) for line in TABLE_2]).word == OPEN
