"""All sentences of a page together: on noise they claim no more than one test may."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.noise import NOISE, STUDY, drawn, share_and_interval
from numembed.analysis.labels import kmeans
from numembed.core.serialization import as_plain, from_plain
from numembed.core.significance import Judged, holm, judged
from numembed.examinations.clusters import together
from numembed.examinations.clusters.compute import Explanation, explain
from numembed.examinations.clusters.grouping import Factor, Grouping, Way
from numembed.examinations.clusters.rows import agreement_rows, alike_rows, share_rows
from numembed.examinations.clusters.text import matched_sentence, nearest_sentence, sentence_of, ways_sentence
from numembed.examinations.generalisation.result import Far, Generalisation, Probe
from numembed.examinations.generalisation.text import near_sentence, single_sentence, verdict


def _explained(seed: int) -> Explanation:
    matrix = drawn(seed)(STUDY.sequences, NOISE)
    return explain(matrix, STUDY.sequences, kmeans(matrix, STUDY.sequences.labels, seed=seed), seed=seed)


@pytest.fixture(scope="module")
def of_noise() -> list[Explanation]:
    return [_explained(seed) for seed in range(12)]


def _claiming(of_noise: list[Explanation]) -> int:
    return sum(any(one.sure for one in together.tests_of(found).values()) for found in of_noise)


@pytest.mark.slow
def test_noise_seldom_makes_any_sentence_of_explain_claim_something(
    of_noise: list[Explanation], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _claiming(of_noise) <= 2, "one page in twenty by chance, and room for the luck of the draws"
    monkeypatch.setattr(together, "judged", lambda tests: tuple(Judged(p, least) for p, least in tests))
    assert _claiming(of_noise) >= 4, "without the adjustment many a page claims something: so this test can fail"


@pytest.mark.slow
def test_every_row_of_explain_has_the_p_that_its_sentence_goes_by(of_noise: list[Explanation]) -> None:
    found = of_noise[0]
    rows = [*agreement_rows(found), *share_rows(found), *alike_rows(found)]
    ps = [row["p"] for row in rows if not math.isnan(row["p"])]
    assert [row["p_page"] for row in rows if not math.isnan(row["p"])] == pytest.approx(holm(ps))
    assert len(ps) == len(found.agreements) + 2 + 3


@pytest.mark.slow
def test_tests_that_are_each_just_below_the_level_claim_nothing_together(of_noise: list[Explanation]) -> None:
    found = replace(
        of_noise[0],
        agreements=tuple(replace(one, p=0.04) for one in of_noise[0].agreements),
        same_family=replace(of_noise[0].same_family, p=0.04),
        same_window=replace(of_noise[0].same_window, p=0.04),
        matched_p=0.04,
    )
    assert "follow none of these attributes" in sentence_of("m", found)
    assert nearest_sentence(found).count("not significantly more than by chance") == 2
    assert "not significantly more than by chance" in matched_sentence(found)


@pytest.mark.slow
def test_other_ways_of_grouping_claim_only_what_the_page_has_found(of_noise: list[Explanation]) -> None:
    sure, nothing = Factor(0.5, 0.5, 0.001), Factor(0.0, 0.0, 0.9)
    ways = Grouping((Way("ward", 4, 0, sure, nothing, "family", sure, 0.2),), (), 4, 50, 0, math.nan)
    assert ways_sentence(ways) == "Every way of grouping follows the family better than chance, and none the window."
    quiet = next(found for found in of_noise if not _claiming([found]))
    assert ways_sentence(ways, quiet).startswith("None of 1 ways")
    found = replace(quiet, same_family=replace(quiet.same_family, p=0.0001))
    assert ways_sentence(ways, found) == ways_sentence(ways)


def test_what_cannot_reach_the_level_alone_does_not_count() -> None:
    assert [one.p for one in judged([(0.02, 0.001), (0.3, 0.2), (0.9, 0.06)])] == [0.02, 0.3, 0.9]
    assert [one.few for one in judged([(0.02, 0.001), (0.3, 0.2), (0.9, 0.001)])] == [False, True, False]


def _probe(name: str, p: float, least_p: float = 0.003) -> Probe:
    return Probe(name, 6, 0.3, 7, 24, 0.1, 0.5, 0.17, 0.05, 0.3, p, math.nan, least_p, "", math.nan, 0, "")


def _generalisation(near: float, far: float, single: float, families: float = 0.0) -> Generalisation:
    names = ("nearest_centroid", "nearest_neighbour", "linear_probe")
    nears, fars = (tuple(replace(_probe(n, p), p_holm=holm([p] * 3)[0] or 0) for n in names) for p in (near, far))
    alone = replace(_probe("parity", single), p_holm=single, p_families=families)
    return Generalisation(6, 4, nears, (Far(1_000, 6, (), fars),), (_probe("growth", math.nan),), (alone,))


def test_near_and_far_are_judged_together_as_the_verdict_joins_them() -> None:
    each = _generalisation(near=0.9, far=0.01, single=0.02)
    assert each.far[0].probes[0].p_holm <= 0.05, "alone it would be claimed"
    assert verdict("m", each).startswith("There is no evidence that m knows the families")
    assert single_sentence(each.single).startswith("None of these is predicted better than chance")
    clear = _generalisation(near=0.0005, far=0.9, single=0.9)
    assert verdict("m", clear).startswith(
        "With m, every classifier names the families better than chance in held-out windows of the study; for"
    )
    assert "better than chance (p 0.004)" in near_sentence(clear).replace("\N{NO-BREAK SPACE}", " ")  # of 8 tests


def test_a_property_is_told_from_the_family_by_the_same_adjustment() -> None:
    assert single_sentence(_generalisation(0.9, 0.9, 0.001, families=0.001).single).startswith("Predicted better")
    assert "perhaps only because the family is" in single_sentence(_generalisation(0.9, 0.9, 0.001, 0.02).single)


def test_an_answer_of_an_older_version_is_judged_when_it_is_read() -> None:
    found = _generalisation(near=0.002, far=0.01, single=0.02, families=0.9)
    plain = json.loads(json.dumps(as_plain(found), allow_nan=False))
    for one in (*plain["near"], *plain["far"][0]["probes"], *plain["unseen"], *plain["single"]):
        for field in ("p_page", "least_page", "p_families_page", "p_exchange"):
            del one[field]
    read = from_plain(Generalisation, plain)
    assert as_plain(read) == as_plain(found) and read.near[0].p_page == pytest.approx(8 * 0.002)


def test_the_interval_of_a_share_is_clopper_and_pearsons() -> None:
    assert share_and_interval(0, 100) == pytest.approx((0, 0, 0.0362), abs=1e-4)
    assert share_and_interval(8, 150) == pytest.approx((0.0533, 0.0233, 0.1024), abs=1e-3)
    assert np.isclose(share_and_interval(5, 5)[1], 0.4782, atol=1e-3) and share_and_interval(5, 5)[2] == 1
