"""Reference vectors: when they are recorded, where they lie, what they are compared by, and what is said of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numembed.core.errors import CheckFailed
from numembed.core.settings import Settings
from numembed.models import spec as specs
from numembed.models.catalogue.names import model
from numembed.models.encoders import references
from numembed.models.encoders.checks import TOGETHER
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.interface import Finding
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.encoders.references import (
    LONG,
    LONGEST_TOKENS,
    Reference,
    checked_again,
    differences,
    keep_reference,
    known_reference,
    long_text,
    measured,
    shipped_references,
    told_reference,
)
from numembed.models.encoders.shipped import BUNDLED, write_shipped
from numembed.models.resolve import resolve
from numembed.models.spec import Loading, ModelSpec
from tests import architectures, tiny


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model, to be spoilt."""
    shutil.copytree(tiny_model, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def get(settings: Settings) -> Callable[..., SentenceEncoder]:
    """Load a model afresh, as it lies in its folder now."""

    def loaded(folder: Path | str, **changes: Any) -> SentenceEncoder:
        encoder = LoadedModel(settings).get(replace(resolve(model(str(folder)), settings), **changes))
        assert isinstance(encoder, SentenceEncoder)
        return encoder

    return loaded


def found(encoder: SentenceEncoder) -> Finding:
    return next(finding for finding in encoder.check.findings if finding.name == "reference")


def spoil(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def rewrite(encoder: SentenceEncoder, settings: Settings, **changes: Any) -> None:
    """Replace something in the reference that was recorded."""
    known = known_reference(encoder.spec, settings.home)
    assert known is not None
    keep_reference(encoder.spec, replace(known, **changes), settings.home)


def moved(known: Reference | None) -> tuple[tuple[float, ...], ...]:
    assert known is not None
    return tuple(tuple(reversed(values)) for values in known.coordinates)


# ---- recorded and compared --------------------------------------------------------------------------------------


def test_the_first_good_load_records_and_the_next_compares(folder: Path, settings: Settings, get: Any) -> None:
    first = get(folder)
    assert found(first).ok is None and "were recorded; later loads are compared" in found(first).sentence
    (file,) = (settings.home / "references").iterdir()
    assert file.name == f"{first.spec.content_key}.json"
    again = get(folder)
    assert found(again).ok is True and again.check.ok
    known = known_reference(again.spec, settings.home)
    assert known is not None and found(again).sentence == (
        f"Its vectors of three fixed texts are those recorded on {known.recorded} with transformers "
        f"{known.versions['transformers']}, sentence-transformers {known.versions['sentence-transformers']}, torch "
        f"{known.versions['torch']}, tokenizers {known.versions['tokenizers']} (cpu)."
    )
    assert len(known.coordinates) == 3 and {len(values) for values in known.coordinates} == {16}
    assert known.tokens[2] == 256  # cut by the model itself


def test_a_changed_folder_is_a_new_model_without_a_reference(folder: Path, settings: Settings, get: Any) -> None:
    before = get(folder).spec
    spoil(folder, lambda tensors: tensors.update({name: -one for name, one in tensors.items() if "query" in name}))
    now = resolve(model(str(folder)), settings)
    assert known_reference(before, settings.home) and known_reference(now, settings.home) is None
    assert told_reference(now, settings.home).startswith("It has no reference vectors yet")
    assert found(get(folder)).ok is None and get(folder).check.ok


def test_everything_that_changes_vectors_is_part_of_the_key_and_versions_are_not(
    tiny_model: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = resolve(model(str(tiny_model)), settings)
    others: tuple[Mapping[str, Any], ...] = (
        {},
        {"prompt": "a: "},
        {"max_tokens": 9},
        {"dtype": "bfloat16"},
        {"loading": Loading(pooling="cls")},
        {"weights": replace(spec.weights, digest="0" * 64)},
    )
    assert len({replace(spec, **changes).content_key for changes in others}) == len(others)
    key, content = spec.key, spec.content_key
    monkeypatch.setattr(specs, "vector_versions", lambda: {"transformers": "6.0"})
    assert spec.key != key and spec.content_key == content == replace(spec, name="other").content_key


def test_a_shortened_or_rounded_model_has_the_reference_of_the_whole_one(
    tiny_model: Path, settings: Settings, get: Any
) -> None:
    get(tiny_model)
    for option in ("dim=8", "precision=int8"):
        assert known_reference(resolve(model(f"{tiny_model} {option}"), settings), settings.home)


def test_what_is_not_right_otherwise_is_not_recorded(folder: Path, settings: Settings, get: Any) -> None:
    (folder / "modules.json").unlink()  # nobody says how token vectors become one
    assert found(get(folder)).sentence.startswith("It has no reference vectors yet")
    assert not (settings.home / "references").exists()


def test_random_weights_and_what_shares_the_memory_have_none(tiny_model: Path, settings: Settings) -> None:
    loaded, spec = LoadedModel(settings), resolve(model(str(tiny_model)), settings)
    loaded.get(spec)
    prompted = loaded.get(replace(spec, prompt="a: "))
    drawn = LoadedModel(settings).get(replace(spec, loading=Loading(random_seed=0)))
    for encoder in (prompted, drawn):
        assert "reference" not in {finding.name for finding in encoder.check.findings}
    assert len(list((settings.home / "references").iterdir())) == 1


def test_what_shares_the_memory_of_a_wrong_model_is_wrong(tiny_model: Path, settings: Settings, get: Any) -> None:
    encoder = get(tiny_model)
    rewrite(encoder, settings, coordinates=moved(known_reference(encoder.spec, settings.home)))
    loaded = LoadedModel(settings)
    assert not loaded.get(encoder.spec).check.ok
    for prompt in ("a: ", "b: "):
        check = loaded.get(replace(encoder.spec, prompt=prompt)).check
        assert not check.ok and f"{encoder.spec.name}, with which it shares its computation, failed" in check.sentence
        assert check.sentence.count("lowest cosine") == 1


# ---- the file ---------------------------------------------------------------------------------------------------


def _cut(text: str) -> str:
    return text[: len(text) // 2]


def _digit(text: str) -> str:
    plain = json.loads(text)
    plain["reference"]["coordinates"][0][0] *= -1
    return json.dumps(plain)


def _other_texts(text: str) -> str:
    plain = json.loads(text)["reference"] | {"texts": "0" * 64}
    return json.dumps({"reference": plain, "sha256": references._digest(plain)})


@pytest.mark.parametrize(
    "damage", [_cut, _digit, _other_texts, lambda _: "", lambda _: "[]", lambda _: '{"sha256": 1}', lambda _: "\0"]
)
def test_a_damaged_file_counts_as_none_and_is_written_again(
    tiny_model: Path, settings: Settings, get: Any, damage: Callable[[str], str]
) -> None:
    encoder = get(tiny_model)
    (file,) = (settings.home / "references").iterdir()
    right = file.read_text()
    file.write_text(damage(right))
    assert known_reference(encoder.spec, settings.home) is None
    assert found(get(tiny_model)).ok is None and json.loads(file.read_text()) == json.loads(right)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_place_that_cannot_be_written_fails_no_load(tiny_model: Path, settings: Settings, get: Any) -> None:
    (settings.home / "references").write_text("in the way")
    for _ in range(2):
        encoder = get(tiny_model)
        assert encoder.check.ok and found(encoder).ok is None
        assert "could not be recorded here (" in found(encoder).sentence


# ---- upgrades ---------------------------------------------------------------------------------------------------

OLD = {"transformers": "5.22.0", "sentence-transformers": "6.1.0", "torch": "2.13.0+cpu", "tokenizers": "0.23.3"}


def test_an_upgrade_with_equal_values_is_right_and_told(tiny_model: Path, settings: Settings, get: Any) -> None:
    rewrite(get(tiny_model), settings, versions=OLD, recorded="2026-01-02")
    assert found(get(tiny_model)).ok is True
    assert "recorded on 2026-01-02 with transformers 5.22.0" in found(get(tiny_model)).sentence


def test_an_upgrade_with_other_values_is_told_and_can_be_accepted(
    tiny_model: Path, settings: Settings, get: Any
) -> None:
    encoder = get(tiny_model)
    rewrite(encoder, settings, versions=OLD, coordinates=moved(known_reference(encoder.spec, settings.home)))
    wrong = get(tiny_model)
    assert not wrong.check.ok and "differ from those recorded on" in wrong.check.sentence
    now = found(wrong).sentence.partition("Now it runs with ")[2]
    assert now.startswith("transformers 5.") and "python -m numembed check MODEL --accept" in now
    assert not checked_again(wrong, settings.home, accept=False).ok
    assert checked_again(wrong, settings.home, accept=True).ok and get(tiny_model).check.ok


def test_what_is_wrong_otherwise_cannot_be_accepted(folder: Path, settings: Settings, get: Any) -> None:
    (folder / "modules.json").unlink()
    with pytest.raises(CheckFailed, match=r"not accepted: its check failed\. Its folder does not say"):
        checked_again(get(folder), settings.home, accept=True)


def test_another_device_is_named(tiny_model: Path, settings: Settings, get: Any) -> None:
    encoder = get(tiny_model)
    rewrite(encoder, settings, device="cuda", coordinates=moved(known_reference(encoder.spec, settings.home)))
    assert "but it was recorded on cuda and runs on cpu" in found(get(tiny_model)).sentence


# ---- what is compared -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.NAMES)
def test_the_longest_text_has_about_600_tokens_by_every_tokenizer(tmp_path: Path, get: Any, name: str) -> None:
    encoder = get(architectures.build(name, tmp_path / "model"))
    tokenizer, text = encoder.model.tokenizer, long_text(encoder.model.tokenizer)
    ids = tokenizer(text, verbose=False)["input_ids"] if callable(tokenizer) else tokenizer.encode(text).ids
    assert 0.9 * LONGEST_TOKENS <= len(ids) <= 1.1 * LONGEST_TOKENS and LONG.startswith(text)
    assert len(LONG.split()) > LONGEST_TOKENS  # also where each word is one token
    if callable(tokenizer):  # a table of token vectors has no limit
        encoder.model.max_seq_length = 8
        assert len(encoder.token_ids([text])[0]) == 8 and long_text(encoder.model.tokenizer) == text


def test_half_precision_may_round_more(tiny_model: Path, get: Any) -> None:
    encoder = get(tiny_model)
    known = measured(encoder, encoder.encode(list(TOGETHER)))
    across = np.random.default_rng(0).standard_normal(16)
    shaken = tuple(tuple(np.asarray(one) + 0.005 * across * np.linalg.norm(one)) for one in known.coordinates)
    assert differences(known, replace(known, coordinates=shaken), dtype="float32") == ""
    shaken = tuple(tuple(np.asarray(one) + 0.02 * across * np.linalg.norm(one)) for one in known.coordinates)
    assert "lowest cosine 0.99" in differences(known, replace(known, coordinates=shaken), dtype="float32")
    assert differences(known, replace(known, coordinates=shaken), dtype="bfloat16") == ""
    others = (
        {"dimension": 64},
        {"lengths": (1.0, 1.0, 1.2)},
        {"cosines": tuple(one - 0.1 for one in known.cosines)},
    )
    for change in others:
        assert all(differences(known, replace(known, **change), dtype=dtype) for dtype in ("float32", "float16"))


def test_values_beyond_all_bounds_for_long_texts_are_no_reference(folder: Path, settings: Settings, get: Any) -> None:
    spoil(folder, lambda all_: all_["embeddings.position_embeddings.weight"].__setitem__(slice(64, None), np.inf))
    encoder = get(folder)
    assert encoder.check.ok and found(encoder).ok is None  # short texts can be encoded, long ones are refused then
    assert "A text of about 600 tokens gave no vector" in found(encoder).sentence
    assert not (settings.home / "references").exists()


def test_above_a_billion_parameters_a_processor_compares_on_request(
    tiny_model: Path, settings: Settings, get: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "LARGE", 10_000)
    encoder = get(tiny_model)
    assert found(encoder).ok is None and "on request only: python -m numembed check MODEL" in found(encoder).sentence
    assert known_reference(encoder.spec, settings.home) is None
    assert "recorded" in checked_again(encoder, settings.home, accept=False).findings[-1].sentence
    assert checked_again(encoder, settings.home, accept=False).findings[-1].ok is True
    told = told_reference(encoder.spec, settings.home, parameters=20_000)
    assert told.startswith("Reference vectors were recorded on") and "on request only" in told


# ---- the bundled models -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_model_has_a_reference_from_the_start(settings: Settings, name: str) -> None:
    check = LoadedModel(settings).get(resolve(model(name), settings)).check
    assert check.ok and check.findings[-1].name == "reference" and check.findings[-1].ok is True
    assert not (settings.home / "references").exists()


@pytest.mark.slow
def test_the_command_makes_the_same_again(tmp_path: Path) -> None:
    file = write_shipped(tmp_path / "references.json")
    made = {key: Reference(**plain["reference"]) for key, plain in json.loads(file.read_text()).items()}
    assert list(made) == list(shipped_references())
    for key, known in shipped_references().items():
        assert differences(known, made[key], dtype="float32") == ""


def test_what_is_not_resolved_has_none(settings: Settings) -> None:
    assert known_reference(ModelSpec("x", specs.LocalWeights("/x")), settings.home) is None
    assert tiny.POSITIONS < LONGEST_TOKENS  # so that every tiny model cuts the longest text
