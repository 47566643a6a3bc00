from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.settings import LIMITS
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.entries import Row
from numembed.models.catalogue.names import BUNDLED, CATALOGUE, facts_of, model, reference_of
from numembed.models.spec import BaselineWeights, HubWeights, Loading, LocalWeights, ModelSpec, PackagedWeights

RUN = [row for row in CATALOGUE.values() if not row.refused and row.repo]  # those of our own: tests/models/test_scratch
REFUSED = [row for row in CATALOGUE.values() if row.refused]
COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize("row", RUN, ids=[row.name for row in RUN])
def test_a_row_is_found_by_its_name_its_repository_and_its_commit(row: Row) -> None:
    made = model(row.name)
    weights = HubWeights(row.mirror) if row.mirror else HubWeights(row.repo, row.revision)
    assert made == ModelSpec(row.name, weights, dtype=row.dtype, loading=row.loading)
    assert model(row.repo) == made and reference_of(made) == row.name and facts_of(made) == row
    if row.revision:
        assert model(f"{row.repo}@{row.revision}") == made and made.resolved is not bool(row.mirror)


@pytest.mark.parametrize("row", RUN, ids=[row.name for row in RUN])
def test_no_other_way_of_writing_a_row_loses_its_recipe(row: Row) -> None:
    """The hub takes an id in any case, and the paper has names of its own."""
    made = model(row.name)
    for name in (row.name.upper(), row.repo.lower(), row.repo.upper(), *([row.paper_name] if row.paper_name else [])):
        assert model(name) == made, name
    assert facts_of(replace(made, weights=HubWeights(row.repo.upper(), COMMIT))) == row


@pytest.mark.parametrize("row", RUN, ids=[row.name for row in RUN])
def test_another_commit_of_a_row_keeps_its_recipe(row: Row) -> None:
    made = model(f"{row.repo}@{COMMIT}")
    if not row.mirror:  # what lies at another commit of the original is not known to be in the mirror
        assert made.weights == HubWeights(row.repo, COMMIT) and made.loading == row.loading
    assert replace(model(reference_of(made)), name=made.name) == made


@pytest.mark.parametrize("row", REFUSED, ids=[row.name for row in REFUSED])
def test_a_row_that_cannot_run_is_refused_under_every_name(row: Row) -> None:
    for reference in (row.name, row.repo, f"{row.repo}@{row.revision}"):
        with pytest.raises(ModelUnavailable, match="is not run here"):
            model(reference)


def test_the_papers_models_are_all_run() -> None:
    assert len([row for row in RUN if row.paper_name]) == 14


OPTIONS_OF = {
    "all-MiniLM-L6-v2 dim=128": {"dimensions": 128},
    "all-MiniLM-L6-v2 precision=binary": {"precision": "binary"},
    "all-MiniLM-L6-v2 dim=64 precision=int8": {"dimensions": 64, "precision": "int8"},
    'all-MiniLM-L6-v2 prompt="query: "': {"prompt": "query: "},
    'all-MiniLM-L6-v2 prompt="say \\"dim=3\\"\\n" dim=5': {"prompt": 'say "dim=3"\n', "dimensions": 5},
    "all-MiniLM-L6-v2 max_tokens=32": {"max_tokens": 32},
    "all-MiniLM-L6-v2 dtype=float16": {"dtype": "float16"},
    "GritLM-7B prompt=embed": {"prompt": "<|embed|>\n"},
    "owner/name dim=3": {"dimensions": 3},
    "/models/with blank dim=3": {"dimensions": 3},
    "endpoint:cluster dim=3 precision=int8": {"dimensions": 3, "precision": "int8"},
    "gte-Qwen2-1.5B-instruct attention=causal": {"loading": Loading(add_eos=True, causal=True)},
    "owner/name attention=causal pooling=mean eos=yes": {"loading": Loading(causal=True, pooling="mean", add_eos=True)},
    "owner/name bos=yes": {"loading": Loading(add_bos=True)},
    "all-MiniLM-L6-v2 weights=random": {"loading": Loading(random_seed=0)},
    "owner/name dim=8 eos=yes weights=random:12": {"loading": Loading(add_eos=True, random_seed=12)},
}


@pytest.mark.parametrize("reference", OPTIONS_OF)
def test_options_follow_a_name(reference: str) -> None:
    made = model(reference)
    for field, value in OPTIONS_OF[reference].items():
        assert getattr(made, field) == value
    assert model(reference_of(made)) == made
    plain = model(reference.split(" ")[0] if "blank" not in reference else "/models/with blank")
    assert made.name != plain.name and made != plain
    if isinstance(made.weights, HubWeights) and made.resolved:
        assert (made.key == plain.key) is False
        only_reduced = made.stored.key == plain.key
        assert only_reduced is set(OPTIONS_OF[reference]).issubset({"dimensions", "precision"})


@given(prompt=st.text(max_size=60), dim=st.integers(1, 384), precision=st.sampled_from(["float32", "int8", "binary"]))
def test_every_prompt_survives_its_reference(prompt: str, dim: int, precision: str) -> None:
    spec = replace(model("all-MiniLM-L6-v2"), prompt=prompt, dimensions=dim, precision=precision)
    reference = reference_of(spec)
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in reference):
        return  # a control character that JSON does not write in letters is refused as a name
    assert replace(model(reference), name=spec.name) == spec


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("all-MiniLM-L6-v2 dim=0", "dim is a whole number from 1 to 384"),
        ("all-MiniLM-L6-v2 dim=385", "dim is a whole number from 1 to 384"),
        ("all-MiniLM-L6-v2 dim=1e3", "dim is a whole number"),
        ("all-MiniLM-L6-v2 dim=٣", "dim is a whole number"),
        ("all-MiniLM-L6-v2 max_tokens=1000000000", "max_tokens is a whole number from 1 to 256"),
        ("owner/name max_tokens=1000000000", "max_tokens is a whole number from 1 to 1,000,000"),
        ("all-MiniLM-L6-v2 precision=int4", "precision is one of float32, int8, binary"),
        ("all-MiniLM-L6-v2 attention=sideways", "attention is one of causal, bidirectional"),
        ("all-MiniLM-L6-v2 dtype=int8", "dtype is one of"),
        (
            "gte-Qwen2-7B-instruct dtype=float16",
            "does not fit into float16: its vectors collapse. Take float32, bfloat16",
        ),
        ("all-MiniLM-L6-v2 weights=none", "weights is random or random: and a seed of at most 9 digits, got 'none'"),
        ("last_digits weights=random", "is a baseline and takes no options such as weights"),
        ("endpoint:cluster weights=random", "weights is decided by its server"),
        ("all-MiniLM-L6-v2 dim=3 dim=4", "given twice"),
        ("all-MiniLM-L6-v2 prompt=query", "has no prompt called 'query': any text is written in quotes"),
        ("GritLM-7B prompt=query", "its own are embed"),
        ('all-MiniLM-L6-v2 prompt="\\x"', "cannot be read"),
        ("last_digits dim=3", "is a baseline and takes no options"),
        ("endpoint:cluster pooling=mean", "decided by its server"),
        ("all-MiniLM-L6-v2 trust=yes", "is not a model name. There is no option 'trust'. Options: adapter, scale"),
        ("all-MiniLM-L6-v2 DIM=128", "There is no option 'DIM'. Options:"),
        ("all-MiniLM-L6-v2 dim = 128", "Write dim= and its value without spaces around the ="),
        ("https://huggingface.co/intfloat/e5-small/tree/main", "Write intfloat/e5-small, without the address."),
        ("intfloat/e5-small@main", "After @ comes a commit: 40 characters"),
        ("~no-such-user/one", "of all homes only numembed's own, ~/, is read."),
        ("~root/one", "of all homes only numembed's own, ~/, is read."),
        ("owner/name remote_code=x/y", "is not a model name"),
    ],
)
def test_options_that_cannot_be_are_a_sentence(reference: str, sentence: str) -> None:
    with pytest.raises(BadChoice, match=re.escape(sentence)):
        model(reference)


@pytest.mark.parametrize("name", BASELINES.names)
def test_baselines_are_models_too(name: str) -> None:
    made = model(name)
    assert made.is_baseline and made.resolved and made.weights == BaselineWeights(name)
    assert reference_of(made) == name and model(reference_of(made)) == made


def test_a_hub_id_with_and_without_a_commit() -> None:
    assert model("BAAI/bge-base-en-v1.5").weights == HubWeights("BAAI/bge-base-en-v1.5")
    pinned = model(f"BAAI/bge-base-en-v1.5@{COMMIT}")
    assert pinned.weights == HubWeights("BAAI/bge-base-en-v1.5", COMMIT) and pinned.resolved
    for spec in (pinned, model("BAAI/bge-base-en-v1.5")):
        assert model(reference_of(spec)) == spec


@pytest.mark.parametrize("reference", ["/models/one", "~/models/one", "./models/one", "../models/one"])
def test_a_folder_is_recognised_by_how_it_begins(reference: str) -> None:
    made = model(reference)
    assert isinstance(made.weights, LocalWeights) and Path(made.weights.path).is_absolute()
    assert made.name == "one" and not made.resolved and model(reference_of(made)) == made


def test_a_folder_named_like_a_hub_id_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "all-MiniLM-L6-v2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert model("owner/name").weights == HubWeights("owner/name")
    assert model("all-MiniLM-L6-v2").weights == BUNDLED


@pytest.mark.parametrize(
    "reference",
    [
        "",
        " ",
        "name",
        "owner/",
        "owner/name/more",
        "owner/..",
        "owner/a..b",
        "owner/a--b",
        "owner--a/b",
        "owner/na me",
        "ow\u0430er/name",
        "owner/n\u00e4me",
        "owner/name\x00",
        "owner/na\nme",
        "file://owner/name",
        "https://huggingface.co/owner/name",
        "C:/models/one",
        "owner\\name",
        "-owner/name",
        ".owner/name",
        "owner/.name",
        "owner/name@main",
        "owner/name@" + "A" * 40,
        "owner/name@" + "0" * 39,
        "owner/name#x",
        "owner/%2e%2e",
        "/models/\x00",
        "/models/two\nlines",
        "~/\ud800",
        "/\x7f",
        "models--owner--name",
        "owner/" + "x" * 97,
        "x" * 10_000,
        "/" + "x" * 10_000,
    ],
)
def test_what_is_no_name_is_refused_in_a_sentence(reference: str) -> None:
    with pytest.raises(BadChoice) as caught:
        model(reference)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value) and "\x00" not in str(caught.value)


@pytest.mark.parametrize("reference", ["/a/../../etc", "/" + "x" * (LIMITS.reference_chars - 1), "/"])
def test_a_strange_folder_is_still_a_folder_with_a_name(reference: str) -> None:
    made = model(reference)
    assert isinstance(made.weights, LocalWeights) and made.name


def test_the_bundled_model_has_the_hubs_identity() -> None:
    assert model("all-MiniLM-L6-v2").weights == BUNDLED
    assert BUNDLED.revision == "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
    assert model("all-MiniLM-L6-v2").key == model("sentence-transformers/all-MiniLM-L6-v2").key


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"])
def test_an_original_on_the_hub_is_not_the_model_in_a_package(name: str) -> None:
    original, packaged = model(name), model("smollm2")
    assert isinstance(original.weights, HubWeights) and isinstance(packaged.weights, PackagedWeights)
    assert reference_of(original) == "SmolLM2-135M-Instruct" and reference_of(packaged) == "SmolLM2"
    assert facts_of(packaged) is CATALOGUE["SmolLM2"] is not facts_of(original)
