from __future__ import annotations

import re
from pathlib import Path

import pytest

from numembed.errors import BadChoice, ModelUnavailable
from numembed.models.baselines import BASELINES
from numembed.models.catalogue import BUNDLED, CATALOGUE, model, reference_of
from numembed.models.spec import BaselineWeights, HubWeights, LocalWeights, ModelSpec
from numembed.settings import LIMITS

RUN = [row for row in CATALOGUE.values() if not row.refused]
REFUSED = [row for row in CATALOGUE.values() if row.refused]
COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=list(CATALOGUE))
def test_every_row_is_pinned_to_a_commit(row: object) -> None:
    facts = vars(row)
    assert re.fullmatch(r"[0-9a-f]{40}", facts["revision"]) and facts["repo"].count("/") == 1
    assert facts["parameters_millions"] > 0 and facts["dimension"] > 0 and facts["max_tokens"] >= 256
    assert facts["dtype"] in {"float32", "bfloat16"}


@pytest.mark.parametrize("row", RUN, ids=[row.name for row in RUN])
def test_a_row_is_found_by_its_name_its_repository_and_its_commit(row: object) -> None:
    facts = vars(row)
    made = model(facts["name"])
    assert made == ModelSpec(facts["name"], HubWeights(facts["repo"], facts["revision"]), dtype=facts["dtype"])
    assert model(facts["repo"]) == model(f"{facts['repo']}@{facts['revision']}") == made
    assert reference_of(made) == facts["name"] and made.resolved


@pytest.mark.parametrize("row", REFUSED, ids=[row.name for row in REFUSED])
def test_a_row_that_would_answer_wrongly_is_refused_under_every_name(row: object) -> None:
    facts = vars(row)
    for reference in (facts["name"], facts["repo"], f"{facts['repo']}@{facts['revision']}"):
        with pytest.raises(ModelUnavailable, match=r"is not run here yet: .* wrong without a warning"):
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


@pytest.mark.parametrize(
    "reference", ["/models/one", "~/models/one", "./models/one", "../models/one", "~no-such-user/one"]
)
def test_a_folder_is_told_by_how_it_begins(reference: str) -> None:
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
        "", " ", "name", "owner/", "owner/name/more", "owner/..", "owner/a..b", "owner/a--b", "owner--a/b",
        "owner/na me", "ow\u0430er/name", "owner/n\u00e4me", "owner/name\x00", "owner/na\nme", "file://owner/name",
        "https://huggingface.co/owner/name", "C:/models/one", "owner\\name", "-owner/name", ".owner/name",
        "owner/.name", "owner/name@main", "owner/name@" + "A" * 40, "owner/name@" + "0" * 39, "owner/name#x",
        "owner/%2e%2e", "/models/\x00", "/models/two\nlines", "~/\ud800", "/\x7f", "models--owner--name",
        "owner/" + "x" * 97, "x" * 10_000, "/" + "x" * 10_000,
    ],
)  # fmt: skip
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
