from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from numembed.core.errors import BadChoice, NumembedError, TooLarge, UnknownName
from numembed.core.settings import LIMITS
from numembed.sequences.families.family import Family, family, whole_number
from numembed.sequences.families.sieves import SHORTEST


@pytest.mark.parametrize(
    ("spelling", "reference", "title", "options"),
    [
        ("primes", "primes", "Primes", ()),
        (" primes ", "primes", "Primes", ()),
        ("multiples", "multiples", "Multiples of 3", (("k", 3),)),
        ("multiples:k=3", "multiples", "Multiples of 3", (("k", 3),)),
        ("multiples:k=007", "multiples:k=7", "Multiples of 7", (("k", 7),)),
        ("residues:remainder=1,modulus=4", "residues", "Residues 1 mod 4", (("modulus", 4), ("remainder", 1))),
        (
            "residues: remainder = 2 , modulus = 5",
            "residues:modulus=5,remainder=2",
            "Residues 2 mod 5",
            (("modulus", 5), ("remainder", 2)),
        ),
        (
            "geometric:first=4",
            "geometric:first=4",
            "Geometric from 4, ratio 5",
            (("ratio", 5), ("first", 4)),
        ),
        ("random_sorted:seed=1", "random_sorted:seed=1", "Random sorted (seed 1)", (("seed", 1),)),
    ],
)
def test_every_spelling_has_one_reference(
    spelling: str, reference: str, title: str, options: tuple[tuple[str, int], ...]
) -> None:
    assert family(spelling) == Family(reference, reference.partition(":")[0], title, options)
    assert family(reference) == family(spelling)


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("prims", UnknownName, "Did you mean 'primes'"),
        ("", UnknownName, "No family is called ''"),
        ("<img src=x onerror=alert(1)>", UnknownName, "No family is called"),
        ("primes:k=3", BadChoice, "Primes has no options"),
        ("multiples:", BadChoice, "for example 'multiples:k=3'"),
        ("multiples:m=3", BadChoice, "got 'm=3'"),
        ("multiples:k=3,k=4", BadChoice, "given once"),
        ("multiples:k=three", BadChoice, "got 'k=three'"),
        ("multiples:k=1_0", BadChoice, "got 'k=1_0'"),
        ("multiples:k=٣", BadChoice, "whole number"),
        ("multiples:k=3.5", BadChoice, "whole number"),
        ("multiples:k=0", BadChoice, "from 1 to 10,000, got 0"),
        ("multiples:k=-3", BadChoice, "from 1 to 10,000, got -3"),
        ("multiples:k=" + "9" * 300, BadChoice, "whole number"),
        ("multiples:k=3;drop", BadChoice, "whole number"),
        ("residues:modulus=4,remainder=4", BadChoice, "smaller than its modulus, got 4 mod 4"),
        ("residues:modulus=2,remainder=3", BadChoice, "got 3 mod 2"),
        ("x" * (LIMITS.reference_chars + 1), BadChoice, "at most 500 characters, got 501"),
        (None, BadChoice, "named by text"),
    ],
)
def test_what_names_no_family_is_refused_in_words(reference: str, error: type[NumembedError], words: str) -> None:
    with pytest.raises(error) as caught:
        family(reference)
    assert words in str(caught.value)
    assert "x" * 81 not in str(caught.value) and "9" * 81 not in str(caught.value)


def test_a_family_shows_its_facts() -> None:
    one = family("recaman")
    assert (one.oeis, one.group, one.last_term) == ("A005132", "paper", 4_000_000)
    assert one.summary.startswith("Begin at 0")


@pytest.mark.parametrize(("start", "count"), [(-1, 5), (0, -1), (True, 5), (0, 2.0), ("0", 5), (None, 5)])
def test_terms_take_whole_numbers_from_zero(start: int, count: int) -> None:
    with pytest.raises(BadChoice):
        family("primes").terms(start, count)


def test_terms_beyond_any_limit_are_refused_whatever_their_size() -> None:
    with pytest.raises(TooLarge, match="Squares: terms up to a number of more than 18 digits were requested"):
        family("squares").terms(10**5000, 1)
    with pytest.raises(TooLarge, match="at most 4,000,000"):
        family("squares").terms(0, 10**9)


def test_the_refusal_names_the_limit_its_reason_and_a_way_out() -> None:
    with pytest.raises(TooLarge) as caught:
        family("factorials").terms(1_460, 50)
    assert str(caught.value) == (
        "Factorials: terms up to 1,509 were requested, but they are available up to term 1,463, counted from 0: "
        "later ones have more than 4,000 digits. Choose earlier windows or shorter sequences."
    )


def test_geometric_progressions_end_by_their_own_options() -> None:
    assert family("geometric:ratio=2").last_term == family("powers_of_2").last_term
    assert family("geometric:ratio=10").terms(3_999, 1) == (10**3_999,)
    with pytest.raises(TooLarge):
        family("geometric:ratio=10").terms(4_000, 1)


def test_numpy_integers_are_whole_numbers_and_truth_values_are_not() -> None:
    assert type(whole_number("It", np.int64(3), low=1)) is int
    with pytest.raises(BadChoice, match="It is a whole number from 1, got 'True'"):
        whole_number("It", True, low=1)
    with pytest.raises(BadChoice, match="It is at least 1, got 0"):
        whole_number("It", 0, low=1)
    with pytest.raises(TooLarge, match="It is at most 9, got a number of more than 18 digits"):
        whole_number("It", 10**5000, low=1, high=9)


def test_values_agree_with_sympy() -> None:
    import sympy

    assert family("primes").terms(0, 3_000) == tuple(sympy.primerange(2, sympy.prime(3_001)))
    divisor_functions = {
        "totient": sympy.totient,
        "divisor_counts": sympy.divisor_count,
        "divisor_sums": sympy.divisor_sigma,
    }
    for name, function in divisor_functions.items():
        assert family(name).terms(0, 300) == tuple(function(n) for n in range(1, 301))
        for far in (16_380, 10**8, 10**9 - 8):  # across a stretch, and at the end
            assert family(name).terms(far, 8) == tuple(function(n) for n in range(far + 1, far + 9))
    for name, function in {
        "fibonacci": sympy.fibonacci,
        "lucas": sympy.lucas,
        "catalan": sympy.catalan,
        "bell": sympy.bell,
        "factorials": sympy.factorial,
    }.items():
        assert family(name).terms(200, 5) == tuple(function(n) for n in range(200, 205))


def test_large_partition_numbers_are_exact() -> None:
    assert family("partitions").terms(200, 1) == (3_972_999_029_388,)  # MacMahon
    assert family("partitions").terms(1_000, 1) == (24_061_467_864_032_622_473_692_149_727_991,)


@pytest.mark.parametrize("name", ["primes", "composites"])
@pytest.mark.parametrize("index", [500_000, 999_950, 1_000_000, 50_000_000])
def test_far_primes_and_composites_are_those_of_sympy(name: str, index: int) -> None:
    import sympy

    nth = {"primes": sympy.prime, "composites": sympy.composite}[name]
    terms = family(name).terms(index, 100)
    assert (terms[0], terms[99]) == (nth(index + 1), nth(index + 100))


def test_sieves_agree_with_factorisation_across_stretches() -> None:
    import sympy

    limit = 8 * SHORTEST  # stretches end at 1, 3 and 7 times the shortest
    exponents = {n: sorted(sympy.factorint(n).values()) for n in range(1, limit + 2)}
    expected = {
        "primes": [n for n in range(1, limit) if exponents[n] == [1]],
        "composites": [n for n in range(1, limit) if sum(exponents[n]) > 1],
        "twin_primes": [n for n in range(1, limit) if exponents[n] == exponents[n + 2] == [1]],
        "semiprimes": [n for n in range(1, limit) if sum(exponents[n]) == 2],
        "squarefree": [n for n in range(1, limit) if max(exponents[n], default=1) == 1],
    }
    for name, numbers in expected.items():
        assert list(family(name).terms(0, len(numbers))) == numbers


def test_members_by_their_definitions() -> None:
    def is_happy(n: int) -> bool:
        seen: set[int] = set()
        while n not in seen:
            seen.add(n)
            n = sum(int(digit) ** 2 for digit in str(n))
        return n == 1

    assert family("happy").terms(0, 143) == tuple(n for n in range(1, 1_001) if is_happy(n))
    assert family("palindromes").terms(0, 1_099) == tuple(n for n in range(100_000) if str(n) == str(n)[::-1])[:1_099]
    assert family("evil").terms(0, 500) == tuple(n for n in range(1_000) if bin(n).count("1") % 2 == 0)
    powers = sorted({1} | {b**e for b in range(2, 1_000) for e in range(2, 20) if b**e < 10**6})
    assert family("perfect_powers").terms(0, len(powers)) == tuple(powers)
    assert family("twin_primes").terms(0, 35)[-1] == 881  # 35 pairs below 1,000


def test_recaman_by_its_rule_written_with_a_set() -> None:
    terms, seen = [0], {0}
    for step in range(1, 5_000):
        back = terms[-1] - step
        terms.append(back if back > 0 and back not in seen else terms[-1] + step)
        seen.add(terms[-1])
    assert family("recaman").terms(0, 5_000) == tuple(terms)


def test_lucky_numbers_by_their_sieve() -> None:
    left, rank = list(range(1, 5_000, 2)), 1
    while left[rank] <= len(left):
        left = [n for place, n in enumerate(left, 1) if place % left[rank]]
        rank += 1
    assert family("lucky").terms(0, len(left)) == tuple(left)
    assert family("lucky").terms(100, 50) == tuple(left[100:150])


def test_random_controls_differ_by_seed_and_keep_their_kind() -> None:
    for name in ("random_uniform", "random_sorted", "random_primelike"):
        assert family(name).terms(50, 50) != family(f"{name}:seed=1").terms(50, 50)
    uniform = family("random_uniform:high=6").terms(0, 6_000)
    assert set(uniform) == {1, 2, 3, 4, 5, 6}
    assert all(abs(uniform.count(face) - 1_000) < 150 for face in range(1, 7))  # 5 standard deviations
    assert set(np.diff(family("random_sorted").terms(0, 20_000))) == set(range(1, 13))


def test_random_controls_are_the_same_for_ever() -> None:
    assert family("random_uniform").terms(0, 8) == (42, 171, 327, 975, 651, 282, 763, 526)
    assert family("random_sorted:seed=7").terms(10_000, 4) == (65134, 65139, 65148, 65149)
    assert family("random_primelike").terms(0, 12) == (2, 3, 5, 7, 9, 11, 13, 15, 17, 19, 23, 27)


def test_the_prime_like_control_is_as_dense_as_the_primes() -> None:
    numbers = family("random_primelike:seed=3").terms(0, 60_000)
    assert numbers[:4] == (2, 3, 5, 7)
    assert all(number % 2 for number in numbers[1:])
    assert abs(numbers[-1] / family("primes").terms(59_999, 1)[0] - 1) < 0.02


def test_near_families_need_no_sympy() -> None:
    code = (
        "import sys\nfrom numembed.sequences.families.family import FAMILIES, family\n"
        "for entry in FAMILIES:\n"
        "    if entry.facts['group'] == 'paper': family(entry.name).terms(0, 200)\n"
        "family('primes').terms(500_000, 50)\n"
        "print([name for name in ('sympy', 'scipy', 'sklearn', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
