"""The paper's claims: word for word, right on Table 2, and silent where the numbers hold nothing."""

from __future__ import annotations

import csv
import itertools
import json
import math
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.inference.estimates import MOST_DEALS, Estimate, difference, rank_correlation
from numembed.analysis.metrics import davies_bouldin, silhouette
from numembed.analysis.scores import score_all
from numembed.cli import main
from numembed.core.settings import Settings
from numembed.figures.paper import score_figure, size_figure, standing_figure
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.paper.claims import CLAIMS, judged
from numembed.paper.comparison import (
    CHANCE,
    DIGITS_KMEANS,
    REDRAWN_SD,
    baseline_levels,
    facts_of_line,
    figure_number,
    model_rows,
    own_line,
    own_results,
    size_of,
)
from numembed.paper.protocol import paper_study
from numembed.paper.published import TABLE_1, TABLE_2, PublishedScore
from numembed.paper.verdicts import FAILS, FEW, HOLDS, OPEN, WORDS, Verdict
from numembed.studies.keys import result_key
from numembed.studies.results import ModelResult, ResultStore

GOLDEN = Path(__file__).parents[1] / "golden"
JUDGE = {claim.name: claim.judge for claim in CLAIMS}
TABLES = 200
MOST_FALSE = 0.08

Rng = np.random.Generator
Lines = list[PublishedScore]


# words


def test_every_quotation_stands_in_the_paper_in_that_section() -> None:
    golden = tomllib.loads((GOLDEN / "quotations.toml").read_text(encoding="utf-8"))
    assert list(golden) == [claim.name for claim in CLAIMS] and len(CLAIMS) >= 8
    for claim in CLAIMS:
        assert claim.quotation in golden[claim.name]["sentence"], claim.name
        assert claim.section == golden[claim.name]["section"]


def test_every_claim_asks_says_its_test_and_how_it_is_computed() -> None:
    for claim in CLAIMS:
        assert claim.question.endswith("?") and claim.test.endswith(".") and claim.computed.endswith(".")
    assert len({claim.quotation for claim in CLAIMS}) == len(CLAIMS)


def test_table_1_is_transcribed_word_for_word() -> None:
    with (GOLDEN / "table1.csv").open(encoding="utf-8", newline="") as opened:
        assert [list(astuple(line)) for line in TABLE_1] == list(csv.reader(opened))[1:]
    assert len(TABLE_1) == 12, "Qwen3's three sizes share one line"


# Table 2


def test_what_table_2_says_of_each_claim() -> None:
    assert {claim.name: verdict.word for claim, verdict in zip(CLAIMS, judged(TABLE_2), strict=True)} == {
        "size_trend": HOLDS, "monotonic": FAILS, "backbone": HOLDS, "qwen": FAILS, "best_model": OPEN, "slerp": OPEN,
        "souping": OPEN, "lora": OPEN, "kmeans_other": OPEN, "kmeans_small": HOLDS, "above_half": HOLDS,
        "negative": OPEN, "surface": OPEN,
    }  # fmt: skip


def test_the_numbers_of_table_2() -> None:
    trend, pairs, kinds = (JUDGE[name](TABLE_2) for name in ("size_trend", "monotonic", "backbone"))
    assert (trend.value, trend.low, trend.high) == pytest.approx((0.736, 0.269, 0.923), abs=0.001)
    assert "no link can be told" in trend.detail, "kind and size go together"
    assert "21 of 91 pairs" in pairs.sentence and "in 11 by more" in pairs.sentence
    assert (kinds.value, kinds.p) == pytest.approx((0.272, 2 / 1001), abs=0.001)
    best = JUDGE["best_model"](TABLE_2)
    assert best.value == pytest.approx(0.0066) and best.low is not None and best.low < 0
    assert "In 4 both scores are equal" in JUDGE["kmeans_other"](TABLE_2).detail
    assert "above 14 of 14 models" in JUDGE["surface"](TABLE_2).sentence
    assert "4 of 14 scores are negative, 4 of them" in JUDGE["negative"](TABLE_2).sentence
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
    return verdict.word != OPEN or "cannot be told" not in verdict.sentence


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
    *[(name, make, _asserts) for name in ("lora", "kmeans_other", "negative", "surface")
      for make in (_shuffled, _redrawn)],
]  # fmt: skip


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
            assert ("cannot be told" in verdict.sentence) == (verdict.word == OPEN), verdict
            if claim.name in ("size_trend", "backbone", "best_model") and verdict.low is not None:
                inside = verdict.low <= 0 <= (verdict.high or 0)
                assert inside == (verdict.word == OPEN)


def test_effects_that_are_there_are_found() -> None:
    lines = sorted(TABLE_2, key=size_of)
    steep = [replace(line, silhouette_families=0.05 * i, silhouette_kmeans=0.7) for i, line in enumerate(lines)]
    flat = [replace(line, silhouette_families=0.9) for line in lines]
    best = [replace(line, silhouette_families=0.9 if "8B" in line.model else 0.1) for line in lines]
    assert [JUDGE[name](steep).word for name in ("size_trend", "kmeans_small")] == [HOLDS, HOLDS]
    assert JUDGE["above_half"](flat).word == FAILS and JUDGE["best_model"](best).word in (HOLDS, OPEN)
    wide = [replace(line, silhouette_families=float(i)) for i, line in enumerate(lines)]
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


# estimates


def test_the_rank_correlation_is_scipys() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    for ties in (100, 4):
        first, second = rng.integers(0, ties, 20).tolist(), rng.integers(0, ties, 20).tolist()
        assert rank_correlation(first, second).value == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]) == Estimate(0.0, -1.0, 1.0, 1.0)
    assert rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]).sign == 1


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 6, pytest.param(7, marks=pytest.mark.slow)])
def test_the_p_of_few_pairs_is_that_of_all_orders(n: int, ties: bool) -> None:
    from scipy.stats import permutation_test, spearmanr

    rng = np.random.default_rng(n)
    for _ in range(3):
        first, second = rng.normal(size=n), rng.integers(0, 3, n) if ties else rng.normal(size=n)
        found = rank_correlation(first.tolist(), second.tolist())
        exact = permutation_test(
            (first,), lambda one, other=second: abs(spearmanr(one, other).statistic), permutation_type="pairings",
            n_resamples=np.inf, alternative="greater",
        )  # fmt: skip
        assert found.p == pytest.approx(exact.pvalue)


def test_a_perfect_order_of_few_is_no_certainty() -> None:
    for order, sign in (([1, 2, 3, 4, 5], 1), ([5, 4, 3, 2, 1], -1)):
        found = rank_correlation([1, 2, 3, 4, 5], order)
        assert found.value == pytest.approx(sign) and found.p == pytest.approx(2 / 120)
        assert found.high - found.low > 0.5 and found.sign == sign
    assert rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]).told == (
        "+1.00, 95% interval +0.13 to +1.00, p\u00a00.017"
    )
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).sign == 0, "p cannot be below 2 in 24"


@pytest.mark.parametrize("n", [4, 5, 6, 7])
def test_no_more_than_one_order_in_twenty_of_few_is_called_a_link(n: int) -> None:
    found = [rank_correlation(range(n), order) for order in itertools.permutations(range(n))]
    assert np.mean([one.sign != 0 for one in found]) <= 0.05
    assert all(one.p <= 0.05 for one in found if one.sign) and all(one.low <= one.value <= one.high for one in found)


@pytest.mark.parametrize("n", [5, 6, 8, 14])
def test_the_interval_of_a_rank_correlation_covers_the_truth(n: int) -> None:
    rng, true = np.random.default_rng(5), 6 / math.pi * math.asin(0.7 / 2)  # Pearson 0.7
    inside = 0
    for _ in range(400):
        first, rest = rng.normal(size=(2, n))
        found = rank_correlation(first.tolist(), (0.7 * first + math.sqrt(1 - 0.49) * rest).tolist())
        inside += found.low <= true <= found.high
    assert inside / 400 >= 0.92


def test_the_difference_has_the_exact_permutation_p_of_scipy() -> None:
    from scipy.stats import permutation_test

    rng = np.random.default_rng(0)
    for size in (3, 4, 7):
        first, second = rng.normal(0.8, 1, size), rng.normal(0, 1, 14 - size)
        exact = permutation_test((first, second), lambda a, b: a.mean() - b.mean(), n_resamples=np.inf)
        assert difference(first.tolist(), second.tolist()).p == pytest.approx(exact.pvalue)


def test_the_interval_holds_just_the_shifts_that_the_test_does_not_reject() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(1, 1, 5).tolist(), rng.normal(0, 1, 9).tolist()
    found = difference(first, second)
    for shift, rejected in ((found.low - 0.01, True), (found.low + 0.01, False), (found.high - 0.01, False),
                            (found.high + 0.01, True)):  # fmt: skip
        assert (difference([value - shift for value in first], second).p <= 0.05) == rejected


@pytest.mark.parametrize(("size", "n"), [(4, 14), (12, 40)], ids=["exact", "sampled"])
def test_the_interval_covers_the_truth_19_times_in_20(size: int, n: int) -> None:
    assert (math.comb(n, size) > MOST_DEALS) == (n == 40)
    rng, inside, tries = np.random.default_rng(4), 0, 300 if n == 14 else 60
    for _ in range(tries):
        found = difference(rng.normal(0.5, 1, size).tolist(), rng.normal(0, 1, n - size).tolist())
        inside += found.low <= 0.5 <= found.high
    assert 0.91 <= inside / tries <= 0.99 + 0.01 * (n == 40)


def test_groups_too_small_for_an_interval_say_so() -> None:
    found = difference([1.0], [2.0, 3.0, 4.0])
    assert math.isinf(found.low) and math.isinf(found.high) and found.sign == 0 and "no interval" in found.told


# levels


def test_the_baselines_are_those_of_scikit_learn() -> None:
    sequences = paper_study("last_digits").sequences
    found = {level.name: level for level in baseline_levels()}
    assert baseline_levels()[0].name == "Last digits" and found["Last digits"].silhouette == pytest.approx(
        0.645, abs=0.001
    )
    for name in ("last_digits", "first_differences", "digit_counts", "log_magnitude", "string_length"):
        matrix, level = BASELINES[name].function(sequences.texts), found[BASELINES[name].title]
        assert level.silhouette == pytest.approx(silhouette(matrix, sequences.labels), abs=1e-4)
        assert level.davies_bouldin == pytest.approx(davies_bouldin(matrix, sequences.labels), rel=1e-3)


def test_what_kmeans_makes_of_digits_is_as_told() -> None:
    sequences = paper_study("digit_counts").sequences
    scores, _ = score_all(
        BASELINES["digit_counts"].function(sequences.texts), sequences.labels, model="", permutations=9
    )
    assert scores[2].value == pytest.approx(DIGITS_KMEANS, abs=0.005)


@pytest.mark.slow
def test_the_bundled_models_chance_level_is_as_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--models", "all-MiniLM-L6-v2", "--json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    low, high = CHANCE.silhouette_band
    assert (first["chance_mean"], first["chance_low"], first["chance_high"]) == pytest.approx(
        (CHANCE.silhouette, low, high), abs=0.005
    )


# what was run here


def store_as_run(settings: Settings, *lines: PublishedScore) -> None:
    """Put results with the numbers of ``lines`` where a run would have left them."""
    names = {row.paper_name or row.name: row.name for row in CATALOGUE.values()}
    study = paper_study("last_digits")
    scored, clusters = score_all(
        BASELINES["last_digits"].function(study.sequences.texts), study.sequences.labels, model="", permutations=9
    )
    with ResultStore(settings.app_db) as results:
        for line in lines:
            spec = model(names[line.model])
            values = astuple(line)[1:5]
            scores = [
                replace(score, model=spec.name, value=value) for score, value in zip(scored, values, strict=False)
            ]
            found = ModelResult(spec, 10, (*scores, *scored[4:]), clusters)
            results.put_model_result(result_key(study, spec), found)


def test_own_runs_are_found_under_the_papers_names(settings: Settings) -> None:
    pinned = [line for line in TABLE_2 if (row := facts_of_line(line)) is not None and model(row.name).resolved]
    assert len(pinned) >= 2
    store_as_run(settings, *pinned)
    with ResultStore(settings.app_db) as results:
        own = [own_line(result) for result in own_results(results)]
    assert [replace(line, chance_low=None, chance_high=None) for line in own] == pinned
    assert all(line.chance_low is not None and line.redrawn_sd is None for line in own)


def test_negative_scores_are_held_against_the_chance_level_of_their_own_run() -> None:
    own = [replace(line, silhouette_families=-0.10, chance_low=-0.09, chance_high=0.0) for line in TABLE_2[:3]]
    told = JUDGE["negative"](own)
    assert told.sentence.startswith("3 of 3 scores are negative, 0 of them where shuffled families score, too. Chance")
    assert CHANCE.name not in told.sentence and "its own vectors" in told.detail and told.low is None
    assert "3 of 3 scores are negative, 1 of them" in JUDGE["negative"](
        [*own[:2], replace(own[2], chance_low=-0.2)]
    ).sentence  # fmt: skip
    mixed = JUDGE["negative"]([*own[:2], replace(own[2], chance_low=None, chance_high=None)])
    assert "3 of 3 scores are negative, 1 of them" in mixed.sentence and "Those without" in mixed.detail


def test_gaps_of_own_runs_are_held_against_their_own_redrawn_windows() -> None:
    lines = sorted(TABLE_2, key=size_of)
    wide = [replace(line, silhouette_families=0.3 - 0.1 * (i == 0), redrawn_sd=0.5) for i, line in enumerate(lines)]
    narrow = [replace(line, silhouette_families=0.03 * (i == 0), redrawn_sd=0.0005) for i, line in enumerate(lines)]
    assert JUDGE["monotonic"](TABLE_2).word == FAILS == JUDGE["monotonic"](narrow).word
    assert JUDGE["monotonic"](wide).word == OPEN and JUDGE["above_half"](wide).word == OPEN
    assert "by more than redrawing the windows explains." in JUDGE["monotonic"](narrow).sentence
    plain_best = JUDGE["best_model"](TABLE_2)
    own_best = JUDGE["best_model"]([replace(line, redrawn_sd=0.0005) for line in TABLE_2])
    assert plain_best.word == OPEN and own_best.word == HOLDS and "measured here" in own_best.detail


def test_the_command_prints_every_claim_with_its_verdicts(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper", "--json"]) == 0
    rows = [json.loads(line, parse_constant=pytest.fail) for line in capsys.readouterr().out.splitlines()]
    models = [row for row in rows if row["part"] == "model"]
    assert [row["model"] for row in models] == [line.model for line in TABLE_2]
    assert [row["paper_silhouette_families"] for row in models] == [line.silhouette_families for line in TABLE_2]
    assert {row["silhouette_families"] for row in models} == {row["inside"] for row in models} == {None}
    rows = [row for row in rows if row["part"] == "claim"]
    assert [row["name"] for row in rows] == list(JUDGE)
    assert [row["table_2"]["word"] for row in rows] == [verdict.word for verdict in judged(TABLE_2)]
    assert {row["here"]["word"] for row in rows} == {FEW}
    assert main(["paper"]) == 0
    told = capsys.readouterr().out
    assert all(claim.question in told and claim.quotation in told for claim in CLAIMS)


@pytest.mark.parametrize(("away", "inside"), [(0.0, True), (0.5, False)])
def test_our_value_stands_beside_the_papers(settings: Settings, away: float, inside: bool) -> None:
    line = next(one for one in TABLE_2 if (row := facts_of_line(one)) is not None and model(row.name).resolved)
    store_as_run(settings, line)
    with ResultStore(settings.app_db) as results:
        (own,) = own_results(results)
    values = tuple(line.silhouette_families + away + shift for shift in (-0.01, 0.0, 0.01))
    row = next(one for one in model_rows([replace(own, designs={"silhouette families": values})]) if one["designs"])
    assert row["model"] == line.model and row["inside"] is inside and row["designs"] == 3
    assert row["silhouette_families"] == line.silhouette_families == row["paper_silhouette_families"]
    assert row["difference"] == 0 and row["redrawn_low"] < values[1] < row["redrawn_high"]
    assert model_rows([own])[0].keys() == row.keys() and len(model_rows([own])) == len(TABLE_2)


def test_the_claims_need_nothing_heavy(home: Path) -> None:
    script = (
        "import sys\nfrom numembed.paper.claims import judged\nfrom numembed.paper.published import TABLE_2\n"
        "judged(TABLE_2)\n"
        "print([name for name in ('torch', 'sklearn', 'scipy', 'pandas', 'plotly') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.strip() == "[]"


# pictures


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_figures_hold_every_number_and_only_explicit_colours(theme: str) -> None:
    floor = baseline_levels()[0]
    first = score_figure(TABLE_2, "silhouette", floor=floor, theme=theme)
    second = score_figure(TABLE_2, "davies_bouldin", floor=floor, theme=theme)
    own = [replace(TABLE_2[5], silhouette_families=0.2), PublishedScore("all-MiniLM-L6-v2", -0.09, 3.1, 0.23, 1.2)]
    sizes, standing = size_figure(TABLE_2, floor=floor, theme=theme), standing_figure(TABLE_2, own, floor=floor)
    drawn = sorted(x for trace in first.data for x in trace.x)
    assert drawn == sorted(value for line in TABLE_2 for value in (line.silhouette_families, line.silhouette_kmeans))
    assert len([x for trace in second.data for x in trace.x]) == 28
    assert sorted(y for trace in sizes.data for y in trace.y) == sorted(line.silhouette_families for line in TABLE_2)
    assert [len(trace.x) for trace in standing.data] == [15, 2]
    for figure in (first, second, sizes, standing):
        assert "#00000" not in figure.to_json() and figure.layout.template.layout.to_plotly_json() == {}
        assert any(shape.type == "rect" for shape in figure.layout.shapes)
        assert {note.text for note in figure.layout.annotations} & {"last digits", "last digits, no model"}


def test_kinds_are_told_by_shape_as_well_as_by_colour() -> None:
    figure = score_figure(TABLE_2, "silhouette", floor=baseline_levels()[0])
    looks = {(trace.marker.color, trace.marker.symbol.removesuffix("-open")) for trace in figure.data if len(trace.x)}
    assert len(looks) == len({color for color, _ in looks}) == len({symbol for _, symbol in looks}) == 5
