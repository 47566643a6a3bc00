"""Folders that are a trap: pipes, very many files or modules, deep or long settings, code of others' kernels."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from numembed.core.errors import ModelUnavailable, NumembedError
from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.files import listing
from numembed.models.files.folders import checked_folder, read_json
from numembed.models.files.kernels import foreign_kernel
from numembed.models.resolve import known_folder, resolve
from tests.offline import OFFLINE

DEEP = "[" * 100_000


def _fifo(place: Path) -> None:
    place.unlink(missing_ok=True)
    os.mkfifo(place)


def _socket(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(place.parent)  # an address of a socket is short
        made.bind(place.name)
        os.chdir(here)


def _many(folder: Path) -> None:
    (folder / "more").mkdir()
    for number in range(listing.MOST_FILES + 1):
        os.mknod(folder / "more" / str(number))


def _modules(folder: Path, count: int) -> None:
    module = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    (folder / "modules.json").write_text(json.dumps([module] * count))


def _config(**entries: Any) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | entries))

    return changed


HOSTILE: list[tuple[str, Callable[[Path], Any], str]] = [
    ("config is a pipe", lambda folder: _fifo(folder / "config.json"), "pipe, a socket or a device"),
    ("modules is a pipe", lambda folder: _fifo(folder / "modules.json"), "pipe, a socket or a device"),
    ("a pipe deep below", lambda folder: _fifo((folder / "1_Pooling") / "x.json"), "pipe, a socket or a device"),
    ("a socket", lambda folder: _socket(folder / "s"), "pipe, a socket or a device"),
    ("a device", lambda folder: (folder / "x.json").symlink_to("/dev/zero"), "pipe, a socket or a device"),
    ("many files", _many, "more than 10,000 files"),
    ("many modules", lambda folder: _modules(folder, 10**5), "MB, and settings are read up to 4 MB"),
    ("some hundred modules", lambda folder: _modules(folder, 101), "more than 100 modules"),
    ("long settings", lambda folder: (folder / "config.json").write_text(" " * 5_000_000), "read up to 4 MB"),
    ("a kernel", _config(_attn_implementation="owner/kernel"), "_attn_implementation='owner/kernel'"),
    ("a kernel, as written", _config(attn_implementation="owner/kernel@main:f"), "owner/kernel@main:f"),
    ("a kernel by its field", _config(_attn_implementation_internal="a/b"), "_attn_implementation_internal='a/b'"),
    ("a kernel of a part", _config(text_config={"_attn_implementation": "a/b"}), "_attn_implementation='a/b'"),
    ("a kernel for each part", _config(_attn_implementation={"": "sdpa", "vision": "a/b"}), "='a/b'"),
    ("a kernel of experts", _config(_experts_implementation="a/b"), "_experts_implementation='a/b'"),
    ("a kernel in a list", _config(parts=[{"attn_implementation": "a/b"}]), "attn_implementation='a/b'"),
    ("all kernels", _config(use_kernels=True), "use_kernels=True"),
]


@pytest.mark.parametrize(("make", "sentence"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_hostile_folder_is_a_sentence(
    tiny_model: Path, tmp_path: Path, make: Callable[[Path], Any], sentence: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "hostile"))
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text("{}")
    make(folder)
    spec = model(str(folder))
    with pytest.raises(ModelUnavailable, match=re.escape(sentence)):
        resolve(spec, OFFLINE)
    assert known_folder(spec.weights, OFFLINE) is None


@pytest.mark.parametrize("name", ["config.json", "modules.json", "config_sentence_transformers.json"])
@pytest.mark.parametrize("text", [DEEP, '{"a":' * 100_000, "\x00", '"\\ud800"', "[[]]", "null"])
def test_settings_of_any_text_never_fail_but_in_a_sentence(
    tiny_model: Path, tmp_path: Path, name: str, text: str
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "hostile"))
    (folder / name).write_text(text)
    assert read_json(folder / name) == {}
    with contextlib.suppress(ModelUnavailable):
        checked_folder(folder)


def test_the_librarys_own_attention_is_allowed(tiny_model: Path, tmp_path: Path) -> None:
    for own in ("eager", "sdpa", "flex_attention", "flash_attention_2", None):
        assert foreign_kernel({"_attn_implementation": own, "vision_config": {"_attn_implementation": own}}) == ""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "own"))
    _config(_attn_implementation="eager")(folder) if (folder / "config.json").exists() else None
    assert checked_folder(folder) == folder


def test_a_folder_that_is_no_model_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_entries", lambda *_: pytest.fail("listed"))
    with pytest.raises(ModelUnavailable, match="is not a SentenceTransformer model"):
        resolve(model(str(tmp_path)), OFFLINE)


def test_sentences_tell_a_visitor_no_folders_and_no_users_of_the_machine(tmp_path: Path, settings: Settings) -> None:
    home = str(Path.home())
    allowed = replace(settings, folders=(Path(os.path.realpath(home)), Path("/srv/secret-place")))
    said = []
    for name in (
        "/etc",
        "~/nothing-here",
        "~/../x",
        "~root",
        "~nobody/x",
        "~no-such-user-here/x",
        "/srv/secret-placed",
    ):
        with pytest.raises(NumembedError) as raised:
            resolve(model(name), allowed)
        said.append(str(raised.value))
        assert home not in said[-1] and "/srv/secret-place'" not in said[-1], said[-1]
    assert len({text.partition(":")[2] for text in said[3:6]}) == 1, "they tell which users there are"
