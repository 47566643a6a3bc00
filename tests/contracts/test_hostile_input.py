"""Hostile input, parser by parser: each is refused in a sentence or taken as it was meant, which the tables say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from numembed.core.errors import NumembedError
from numembed.core.settings import read_settings
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.merge_experiment.save_model import model_name
from numembed.models.catalogue.names import model, reference_of
from numembed.paper.protocol import paper_study
from numembed.runs.kinds import kind_called
from numembed.sequences.families.family import family
from numembed.sequences.sets import TextFormat, numbers_in
from numembed.studies.study import Study
from ui.shared.study_choice import read_address

DEEP, HALF = "[" * 100_000, "\ud800"
PLAIN = {"families": ["primes"], "models": ["last_digits"]}
STRANGE = (None, True, -1, 0.5, 10**30, "", "x", HALF, "\x00", [], [HALF], [None], [[]], {}, {"a": 1}, float("nan"))
NUMBERS = (-1, 0.5, 1.0, 10**6, 10**30, True, None, "5", "٣", "５", HALF, [], [5], {}, float("inf"), float("nan"))

WHOLE = (
    *("", " ", "null", "true", "7", '"x"', "[]", "[{}]", "{", "}", "{}", "\x00", "\ufeff{}", HALF, "nan", "{'a': 1}"),
    *(DEEP, '{"a":' * 100_000, "9" * 5_000, '{"seed": ' + "9" * 5_000 + "}", " " * 30_000, '{"families": ["primes"]}'),
    *('{"models": ["last_digits"]}', '{"families": [], "models": []}', '{"families": null, "models": null}'),
    *('{"families": ["primes"], "models": ["last_digits"], "__class__": "x"}', '{"\\ud800": 1}', "<study/>"),
    json.dumps(PLAIN | {"query": HALF}),
    json.dumps(PLAIN | {"models": ['all-MiniLM-L6-v2 prompt="\\ud800"']}),
    json.dumps(PLAIN | {"models": ["last_digits"] * 25}) + "x",
)
FIELDS: dict[str, tuple[Any, ...]] = {
    "families": (*STRANGE, "primes", ["nothing"], ["primes", 7], [DEEP[:600]]),
    "models": (*STRANGE, "last_digits", ["nothing"], ["last_digits", 7], [DEEP[:600]]),
    "per_family": (*NUMBERS, 0, 2_001),
    "length": (*NUMBERS, 0, 2_001),
    "first_window": (*NUMBERS, 100_001),
    "max_chars": (*NUMBERS, 0, 20_001),
    "seed": (*NUMBERS[:3], *NUMBERS[4:], 2**31),
    "designs": (*NUMBERS, 201),
    "separator": (*STRANGE[:6], *STRANGE[7:-1], "0", "-", "−", "٣", "x" * 21, "\u200b", "\u202e", "\r"),
    "distance": (*STRANGE, "Euclidean", "manhattan"),
    "matched": (*(one for one in STRANGE if one != []), "length", ["nothing"]),
    "examine": (*(one for one in STRANGE if one != []), "maps", ["nothing"]),
    "query": (*(one for one in STRANGE if one not in ("", "x", "\x00")), "x" * 2_001),
    "despite_checks": (*(one for one in STRANGE if one is not True), "true", 1),
}
FAMILIES = (
    *("", " ", ":", "primes:", "primes:k=1", "multiples:", "multiples:k", "multiples:k=", "multiples:k=0"),
    *("multiples:k=1,k=2", "multiples:k=1e3", "multiples:k=٣", "multiples:k=９", "multiples:j=1", "multiples:k=10001"),
    *("multiples:k=" + "9" * 30, "residues:modulus=3,remainder=5", "residues:modulus=0", "geometric:ratio=1"),
    *(HALF, "primes\x00", "\u202eprimes", "PRIMES;", "../primes", "__class__", "x" * 501, DEEP[:400]),
    *("random_uniform:seed=-1", "random_uniform:high=1", "primes,even", "primes even", "multiples:k={k}"),
)
MODELS = (
    *(
        "",
        " ",
        "\x00",
        HALF,
        "~nobody",
        "~root/models",
        "nothing",
        "owner/",
        "/\x00",
        "a/b/c",
        "a//b",
        "-a/b",
    ),
    *("owner/name@main", "owner/name@" + "g" * 40, "owner/..", "owner/a--b", "https://huggingface.co/owner/name/tree"),
    *("endpoint:\x00", "file:///\x00", "x" * 501, "owner/name\u202e", "ｏwner/name", "owner/name DIM=3", "owner/na me"),
    *(f"all-MiniLM-L6-v2 dim={value}" for value in ("0", "-1", "385", "1e2", "٣", "9" * 13, '"8"', "none")),
    *(f"all-MiniLM-L6-v2 max_tokens={value}" for value in ("0", "-1", "513", "x", "all", "9" * 20)),
    *(f"all-MiniLM-L6-v2 prompt={value}" for value in ("x", '"\\ud800"', '"\\q"', '"\\u12"', '"a\\udfffb"', '"')),
    *(f"all-MiniLM-L6-v2 weights={value}" for value in ("x", "random:", "random:-1", "random:٣", "random:1234567890")),
    *(f"all-MiniLM-L6-v2 precision={value}" for value in ("x", "FLOAT32", "int4", HALF)),
    *(f"all-MiniLM-L6-v2 dtype={value}" for value in ("x", "float64", "int8")),
    *(f"all-MiniLM-L6-v2 adapter={value}" for value in ("x", "a/b/c", '"\\ud800"', '"/\\u0000"', "~nobody/x", '"\\q"')),
    *(f"all-MiniLM-L6-v2 adapter=a/b scale={value}" for value in ("x", "nan", "inf", "-1", "2.1", "1e999", "0x1")),
    *("all-MiniLM-L6-v2 scale=1", "all-MiniLM-L6-v2 dim=3 dim=4", "last_digits dim=3", "endpoint:a dtype=float32"),
    *("all-MiniLM-L6-v2 bos=no", "all-MiniLM-L6-v2 pooling=max", "all-MiniLM-L6-v2 attention=none"),
)
EXPERIMENTS = (
    *("", "null", "[]", "{}", "7", DEEP, HALF, '{"ladder": 7}', '{"ladder": null}', '{"ladder": []}', " " * 30_000),
    *('{"ladder": {"\\ud800": 1}}', '{"ladder": {"base": 7}}', '{"ladder": {"base": "\\ud800"}}'),
    *('{"ladder": {"base": "nothing"}}', '{"ladder": {"recipe": 7}}', '{"ladder": {"recipe": {"x": 1}}}'),
)
SAVINGS = ("", "null", "[]", "{}", DEEP, HALF, '{"saving": 7}', '{"saving": []}', '{"saving": {"name": "\\ud800"}}')
NAMES = ("", ".", "..", "a/b", "a\\b", "/a", "a.", "-a", "a b", "a\x00", HALF, "ä", "x" * 200, "~", "a\n.")
SEPARATORS = ("", "0", "1, ", "-", "−", "²", "٣", "\x00", "\r", "\u200b", "\u202e", HALF, "\ud83d", "x" * 21)
LONG_NUMBERS = ("9" * 4_001, "-" + "9" * 5_000, "1, " + "1" * 10_000)
TOML = (
    *("[", "x = 1", "endpoints = 7", "[endpoints]\na = 7", "[endpoints.a]\nurl = 7", '[endpoints.a]\nurl = "x"'),
    *(
        '[endpoints.a]\nurl = "file:///etc"',
        '[endpoints.a]\nurl = "http://u:p@h"',
        '[endpoints."a b"]\nurl = "http://h"',
    ),
    *('[endpoints.a]\nurl = "http://h"\nbatch_texts = 0', '[endpoints.a]\nurl = "http://h"\ntimeout_seconds = nan'),
    *('[endpoints.a]\nurl = "http://h"\nkind = "x"', '[endpoints.a]\nurl = "http://h"\nconcurrency = true'),
    *('[remote_code."a/b"]\ncode = "x"', '[remote_code."a/b"]\ncode = "a/b@1"\nfiles = {}', "a = " + DEEP[:5_000]),
)


def _operator(text: str) -> Any:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "operator.toml").write_text(text)
        return read_settings({"NUMEMBED_HOME": name})


def _refused() -> Iterator[tuple[str, Callable[[Any], Any], Any]]:
    yield from (("study", Study.from_json, text) for text in WHOLE)
    for field, values in FIELDS.items():
        yield from ((f"study {field}", Study.from_dict, PLAIN | {field: value}) for value in values)
    yield from (("family", family, text) for text in FAMILIES)
    yield from (("model", model, text) for text in MODELS)
    yield from (("merging experiment", MergeExperiment.from_json, text) for text in EXPERIMENTS)
    yield from (("job", kind_called("saving").read, text) for text in SAVINGS)
    yield from (("job of study", kind_called("study").read, text) for text in WHOLE[:12])
    yield from (("name", model_name, text) for text in NAMES)
    yield from (("separator", TextFormat, text) for text in SEPARATORS)
    yield from (("numbers", numbers_in, text) for text in LONG_NUMBERS)
    yield from (("operator.toml", _operator, text) for text in TOML)


ROWS = tuple(_refused())


@pytest.mark.parametrize(("read", "value"), [row[1:] for row in ROWS], ids=[f"{r[0]} {r[2]!r}"[:60] for r in ROWS])
def test_it_is_refused_in_a_sentence(read: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(NumembedError) as raised:
        read(value)
    assert len(str(raised.value)) > 20 and str(raised.value).encode() and "\x00" not in str(raised.value)


ACCEPTED: tuple[tuple[Callable[[Any], Any], Any, Any], ...] = (  # and what it means
    (lambda text: Study.from_json(text).families, json.dumps(PLAIN | {"families": ["primes"] * 60}), ("primes",)),
    (lambda text: Study.from_json(text).query, json.dumps(PLAIN | {"query": "\U0001f600\x00"}), "\U0001f600\x00"),
    (lambda text: Study.from_dict(PLAIN | {"separator": text}).text_format.separator, "x", "x"),
    (lambda text: family(text).reference, "primes\n", "primes"),
    (lambda text: family(text).reference, "residues: remainder=3 , modulus=4", "residues:remainder=3"),
    (lambda text: reference_of(model(text)), " “last_digits” ", "last_digits"),
    (lambda text: model(text).prompt, 'all-MiniLM-L6-v2 prompt="\\ud83d\\ude00"', "\U0001f600"),
    (lambda text: model(text).prompt, 'all-MiniLM-L6-v2 prompt="dim=3 \\n"', "dim=3 \n"),
    (lambda text: model(text).weights.path.rpartition("/")[2], "../x/y", "y"),
    (model_name, " my-model ", "my-model"),
    (numbers_in, "٣, 7, -11, 1e3", [7, -11, 1, 3]),
    (lambda text: _operator(text).endpoints["a"].url, '[endpoints.a]\nurl = "http://h/"', "http://h"),
)


@pytest.mark.parametrize(("read", "value", "meant"), ACCEPTED, ids=[repr(row[1])[:60] for row in ACCEPTED])
def test_it_is_taken_as_it_was_meant(read: Callable[[Any], Any], value: Any, meant: Any) -> None:
    assert read(value) == meant


LINKS: tuple[dict[str, list[str]], ...] = (
    *({name: [value]} for name in ("per_family", "length", "seed") for value in ("", "-1", "٣", "1e3", HALF, "9" * 30)),
    *({name: [value]} for name in ("models", "families", "matched") for value in ("", HALF, "\x00", DEEP, "x" * 501)),
    {"models": ['all-MiniLM-L6-v2 prompt="\\ud800"']},
    {"models": ["~root"]},
    {"families": ["primes"] * 100, "models": ["last_digits"] * 100, "x" * 1_000: [HALF]},
    {"__class__": ["x"]},
    {HALF: [HALF]},
    {"query": [HALF]},
    {"separator": [HALF]},
    {"distance": ["x", "manhattan"]},
)


@pytest.mark.parametrize("query", LINKS, ids=[ascii(query)[:60] for query in LINKS])
def test_what_is_not_understood_of_a_link_is_said(query: dict[str, list[str]]) -> None:
    study, notes = read_address(query)
    assert notes and all(note.encode() for note in notes)
    assert study == paper_study() or len(query) > 1


def test_the_tables_are_long() -> None:
    assert len(ROWS) + len(ACCEPTED) + len(LINKS) >= 300
