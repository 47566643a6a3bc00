from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import settings as how
from hypothesis import strategies as st

from numembed.core.errors import BadChoice, ModelUnavailable, NumembedError, TooLarge, UnknownName
from numembed.core.settings import LIMITS
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.paper.protocol import PAPER_FAMILIES, paper_study
from numembed.sequences import kept
from numembed.sequences.families.family import FAMILIES
from numembed.sequences.sets import TextFormat
from numembed.studies.study import Study, redrawings


def _study(*models: str, per_family: int = 3) -> Study:
    return Study(("even", "primes"), tuple(map(model, models or ("last_digits",))), per_family=per_family, length=10)


references = st.one_of(
    st.sampled_from([*BASELINES.names, *(row.name for row in CATALOGUE.values() if not row.refused)]),
    st.sampled_from(["owner/name", "owner/name@" + "0a" * 20, "/models/one", "/models/two words", "/models/ünï"]),
)
separators = st.text(min_size=1, max_size=20).filter(lambda text: _is_separator(text))
studies = st.fixed_dictionaries(
    {
        "families": st.lists(
            st.sampled_from([*FAMILIES.names, "multiples:k=7", "residues:modulus=5,remainder=2"]), min_size=1
        ),
        "models": st.lists(references, min_size=1, max_size=8),
    },
    optional={
        "per_family": st.integers(1, 50),
        "length": st.integers(1, 100),
        "first_window": st.integers(0, 20),
        "separator": separators,
        "max_chars": st.integers(1, LIMITS.text_chars),
        "distance": st.sampled_from(["euclidean", "cosine"]),
        "seed": st.integers(0, 2**31 - 1),
    },
)


def _is_separator(text: str) -> bool:
    try:
        return bool(TextFormat(text))
    except BadChoice:
        return False


@given(plain=studies)
def test_a_study_comes_back_from_its_json(plain: dict[str, Any]) -> None:
    try:
        study = Study.from_dict(plain)
    except TooLarge:
        assume(False)
    again = Study.from_json(study.to_json())
    assert again == study and again.key == study.key and again.as_dict() == study.as_dict()
    assert study.as_dict() | plain | {"families": list(study.families), "models": study.as_dict()["models"]} == (
        study.as_dict()
    )


def test_equal_studies_have_equal_keys_and_others_not() -> None:
    usual = _study()
    assert _study().key == usual.key and Study(("even", "even", " primes"), usual.models, 3, 10) == usual
    others = [
        replace(usual, families=("primes", "even")),
        replace(usual, models=(model("digit_counts"),)),
        replace(usual, per_family=4),
        replace(usual, length=11),
        replace(usual, first_window=1),
        replace(usual, text_format=TextFormat(" ")),
        replace(usual, text_format=TextFormat(max_chars=99)),
        replace(usual, distance="cosine"),
        replace(usual, seed=1),
    ]
    assert len({usual.key, *(other.key for other in others)}) == 10


def test_a_model_named_twice_counts_once() -> None:
    assert [spec.name for spec in _study("last_digits", "digit_counts", "last_digits").models] == [
        "Last digits",
        "Digits",
    ]


def test_the_papers_study() -> None:
    study = paper_study()
    assert study.families == PAPER_FAMILIES and len(study.sequences) == 24 and study.length == 50
    assert study.models[0].name == "all-MiniLM-L6-v2" and len(study.models) == 1 + len(BASELINES)
    assert [spec.name for spec in paper_study("last_digits").models] == ["Last digits"]


GOOD: dict[str, Any] = {"families": ["even", "primes"], "models": ["last_digits"]}
BAD: list[tuple[dict[str, Any], type[NumembedError], str]] = [
    ({"familes": ["even"]}, BadChoice, "A study has no entry 'familes'. Known: families, models"),
    ({"x" * 10_000: 1}, BadChoice, "A study has no entry 'xxx"),
    ({"families": "even"}, BadChoice, "A study needs families: a list of names"),
    ({"families": None}, BadChoice, "needs families"),
    ({"families": [5]}, BadChoice, "needs families"),
    ({"families": []}, BadChoice, "at least one family, got none"),
    ({"families": ["evn"]}, UnknownName, "Did you mean 'even'"),
    ({"families": ["<b>even</b>"]}, UnknownName, "No family is called '<b>even</b>'"),
    ({"families": ["\ud800"]}, UnknownName, "No family is called"),
    ({"families": [f"multiples:k={n}" for n in range(2, 90)]}, TooLarge, "number of families is at most 60"),
    ({"models": []}, BadChoice, "at least one model. Choose one"),
    ({"models": {"a": 1}}, BadChoice, "A study needs models: a list of names"),
    ({"models": ["../../etc/passwd/../x", "owner/../x"]}, BadChoice, "is not a model name"),
    ({"models": [f"owner/name{n}" for n in range(1_000)]}, TooLarge, "at most 24 models"),
    ({"models": ["/one/name", "/two/name"]}, BadChoice, "Two models are called 'name'. Rename one"),
    ({"models": ["/models/\ud800"]}, BadChoice, "no control characters"),
    ({"models": ["EmbeddingGemma-2"]}, ModelUnavailable, "is not run here"),
    ({"per_family": -1}, BadChoice, "at least 1, got -1"),
    ({"per_family": 10**6}, TooLarge, "at most 2,000, got 1,000,000"),
    ({"per_family": 10**400}, TooLarge, "at most 2,000"),
    ({"per_family": 2.5}, BadChoice, "whole number"),
    ({"per_family": "4"}, BadChoice, "whole number"),
    ({"per_family": True}, BadChoice, "whole number"),
    ({"per_family": None}, BadChoice, "whole number"),
    ({"per_family": math.inf}, BadChoice, "whole number"),
    ({"per_family": [1]}, BadChoice, "whole number"),
    ({"length": -5}, BadChoice, "The number of terms per sequence is at least 1, got -5"),
    ({"length": 10**9}, TooLarge, "terms per sequence is at most"),
    ({"length": 2_000, "per_family": 2_000}, TooLarge, "terms in all is at most"),
    ({"families": list(FAMILIES.names[:30]), "per_family": 2_000, "length": 1}, TooLarge, "sequences in all"),
    ({"first_window": 10**9}, TooLarge, "first window is at most"),
    ({"families": ["factorials"], "first_window": 1_000}, TooLarge, "Factorials: terms up to"),
    ({"separator": ", " * 500_000}, BadChoice, "1 to 20 characters, got 1,000,000 characters"),
    ({"separator": ""}, BadChoice, "1 to 20 characters, got 0"),
    ({"separator": 5}, BadChoice, "1 to 20 characters, got no text"),
    ({"separator": "0"}, BadChoice, "no digits"),
    ({"separator": "\ud800"}, BadChoice, "control characters"),
    ({"max_chars": 0}, BadChoice, "at least 1"),
    ({"max_chars": 10**9}, TooLarge, "at most 20,000"),
    ({"distance": "manhattan"}, BadChoice, "one of euclidean, cosine, got 'manhattan'"),
    ({"distance": ["cosine"]}, BadChoice, "one of euclidean, cosine"),
    ({"seed": -1}, BadChoice, "from 0 to 2,147,483,647, got -1"),
    ({"seed": 2**31}, BadChoice, "from 0 to"),
    ({"seed": 1.0}, BadChoice, "whole number"),
    ({"seed": math.nan}, BadChoice, "whole number"),
]


@pytest.mark.parametrize(("change", "error", "sentence"), BAD, ids=[str(change)[:40] for change, _, _ in BAD])
def test_a_study_that_cannot_be_is_refused_before_anything_is_computed(
    change: dict[str, Any], error: type[NumembedError], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "make_sequences", lambda *_, **__: pytest.fail("computed"))
    with pytest.raises(error) as caught:
        Study.from_dict(GOOD | change)
    assert type(caught.value) is error and sentence in str(caught.value) and len(str(caught.value)) < 1_200
    assert "\n" not in str(caught.value) and str(caught.value).encode()
    if len(text := json.dumps(GOOD | change)) < LIMITS.study_chars:
        with pytest.raises(error):
            Study.from_json(text)


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("", BadChoice, "not JSON"),
        ("{", BadChoice, "not JSON"),
        ("[]", BadChoice, "not a JSON object"),
        ("3", BadChoice, "not a JSON object"),
        ("null", BadChoice, "not a JSON object"),
        ("[" * 19_000, BadChoice, "not JSON"),
        ('{"families":' + "[" * 9_000 + "]" * 9_000 + "}", BadChoice, "This is no study|A study needs"),
        ('{"seed":' + "9" * 5_000 + "}", BadChoice, "not JSON"),
        ("{}", BadChoice, "A study needs families"),
        (" " * 20_001, TooLarge, "at most 20,000 characters, got 20,001"),
        ("\x00", BadChoice, "not JSON"),
        (json.dumps(GOOD | {"separator": ", " * 500_000}), TooLarge, "at most 20,000 characters"),
    ],
)
def test_a_text_that_is_no_study_is_refused(text: str, error: type[NumembedError], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        Study.from_json(text)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@how(max_examples=200)
@given(change=st.dictionaries(st.sampled_from([*_study().as_dict(), "other"]), anything, min_size=1, max_size=4))
def test_whatever_a_link_says_it_is_a_study_or_a_sentence(change: dict[str, Any]) -> None:
    try:
        study = Study.from_json(json.dumps(GOOD | change))
    except NumembedError:
        return
    assert Study.from_json(study.to_json()) == study


@given(st.permutations(["consecutive", "primes", "multiples", "multiples:k=7", "multiples:k=10", "random_sorted"]))
@how(max_examples=15)
def test_the_order_of_names_decides_no_row(names: list[str]) -> None:
    named = Study(tuple(names), (model("last_digits"),), per_family=2, length=4)
    ordered = ("consecutive", "primes", "multiples", "multiples:k=7", "multiples:k=10", "random_sorted")
    assert named.families == tuple(names) and named.sequences.families == ordered
    assert named.sequences.digest == Study(ordered, named.models, per_family=2, length=4).sequences.digest
    assert [one.digest for one in redrawings(named, 2)] == [
        one.digest for one in redrawings(replace(named, families=ordered), 2)
    ]


def test_the_papers_families_come_first_in_their_order() -> None:
    assert paper_study().sequences.families == PAPER_FAMILIES
    mixed = Study(("squares", *PAPER_FAMILIES[::-1]), (model("last_digits"),))
    assert mixed.sequences.families == (*PAPER_FAMILIES, "squares")
