"""Any input at all, half characters among it: every parser answers with a value or in a sentence."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from numembed.core.errors import NumembedError
from numembed.core.settings import read_settings
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.models.catalogue.names import model, reference_of
from numembed.models.catalogue.options import OPTIONS
from numembed.runs.kinds import JOB_KINDS
from numembed.sequences.families.family import FAMILIES, family
from numembed.studies.study import Study
from ui.shared.study_choice import read_address

FIELDS = tuple(Study(("primes",), (model("last_digits"),)).as_dict())
KNOWN = ("primes", "last_digits", "all-MiniLM-L6-v2", 'all-MiniLM-L6-v2 prompt="\\ud800"', "cosine", "number-lm", "{}")
_ENTRIES = [field.name for field in dataclasses.fields(MergeExperiment)]
texts = some.text(some.characters(exclude_categories=()), max_size=12) | some.sampled_from(KNOWN)
values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | texts,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
few = settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def _read(parser: Callable[[Any], Any], value: Any) -> Any:
    """Return what comes out; None after a sentence, which must be writable."""
    try:
        return parser(value)
    except NumembedError as error:
        _ = str(error).encode()
        return None


@few
@given(some.dictionaries(some.sampled_from(FIELDS) | texts, values, max_size=4), some.booleans())
def test_studies(plain: dict[str, Any], right: bool) -> None:
    plain = ({"families": ["primes"], "models": ["last_digits"]} if right else {}) | plain
    for parser, value in ((Study.from_dict, plain), (Study.from_json, json.dumps(plain))):
        if (study := _read(parser, value)) is not None:
            assert Study.from_json(study.to_json()).key == study.key and study.to_json().encode()


@few
@given(texts | values.map(json.dumps))
def test_json_of_studies_experiments_and_jobs(text: str) -> None:
    _read(Study.from_json, text)
    _read(MergeExperiment.from_json, text)
    for kind in JOB_KINDS.values():
        _read(kind.read, text)


@few
@given(some.dictionaries(some.sampled_from(_ENTRIES) | texts, values, max_size=3))
def test_merging_experiments(plain: dict[str, Any]) -> None:
    for entry in ("ladder", "saving"):
        for kind in JOB_KINDS.values():
            _read(kind.read, json.dumps({entry: plain}))
    _read(JOB_KINDS["saving"].read, json.dumps({"saving": {"name": "a", "candidate": "b", "experiment": plain}}))


@few
@given(some.sampled_from(list(OPTIONS)), texts, some.booleans())
def test_names_of_models_and_their_options(option: str, text: str, quoted: bool) -> None:
    value = json.dumps(text) if quoted else text
    for name in (text, f"all-MiniLM-L6-v2 {option}={value}", f"owner/name {option}={value}", f"endpoint:{text}"):
        if (spec := _read(model, name)) is not None:
            assert model(reference_of(spec)).weights == spec.weights and (reference_of(spec) + spec.name).encode()


@few
@given(some.sampled_from(FAMILIES.names), texts, texts)
def test_families(name: str, option: str, value: str) -> None:
    for reference in (option, f"{name}:{option}", f"{name}:{option}={value}", f"multiples:k={value}"):
        if (one := _read(family, reference)) is not None:
            assert family(one.reference) == one


@few
@given(some.dictionaries(some.sampled_from(FIELDS) | texts, some.lists(texts, min_size=1, max_size=3), max_size=4))
def test_links(query: dict[str, list[str]]) -> None:
    study, notes = read_address(query)
    assert study.to_json().encode() and all(note.encode("utf-8", "replace") for note in notes)


@few
@given(text=some.text(max_size=60) | some.sampled_from(["[endpoints.a]\nurl = ", "[remote_code.a]\n"]), value=values)
def test_operators_files(tmp_path: Path, text: str, value: Any) -> None:
    (tmp_path / "operator.toml").write_text(f"{text}{json.dumps(value)}\n", encoding="utf-8")
    _read(read_settings, {"NUMEMBED_HOME": str(tmp_path)})
