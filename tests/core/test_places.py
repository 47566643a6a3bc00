"""Where a user without a usable home keeps things: a container's arbitrary user, a service account."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from numembed.core.errors import BadSettings
from numembed.core.places import is_writable, library_places
from numembed.core.settings import read_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This user's home, which can be written to."""
    folder = tmp_path / "own"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return folder


def test_compiled_code_is_below_a_home_that_was_given(own: Path, tmp_path: Path) -> None:
    given = {"NUMEMBED_HOME": str(tmp_path / "given")}
    assert read_settings(given).compiled == tmp_path / "given" / "compiled"
    assert read_settings(given | {"NUMEMBED_COMPILED": "~/code"}).compiled == own / "code"
    assert read_settings({"NUMEMBED_HOME": ""}).compiled == own / ".cache" / "numembed" / "compiled"


def test_without_a_given_home_it_is_shared_by_all_homes_of_the_user_where_that_can_be_written(own: Path) -> None:
    settings = read_settings({})
    assert settings.compiled == own / ".cache" / "numembed" / "compiled"
    (own / ".cache").write_text("in the way")
    assert read_settings({}).compiled == settings.home / "compiled"


def test_libraries_are_sent_below_the_home_only_where_the_user_has_no_place_for_them(own: Path, tmp_path: Path) -> None:
    assert library_places(tmp_path, {}) == {}
    assert library_places(tmp_path, {"XDG_CACHE_HOME": str(own / "more")}) == {}
    (own / ".cache").write_text("in the way")
    assert library_places(tmp_path, {}) == {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert is_writable(own / "a" / "b") and not is_writable(own / ".cache" / "b")


def test_only_a_folder_of_ones_own_is_one_that_models_are_read_from(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"NUMEMBED_HOME": str(tmp_path / "given")}
    monkeypatch.chdir(tmp_path)
    assert read_settings(given).folders == (own, tmp_path, tmp_path / "given")
    monkeypatch.chdir("/")
    assert read_settings(given).folders == (own, tmp_path / "given")
    monkeypatch.setenv("HOME", "/")
    assert read_settings(given).folders == (tmp_path / "given",)
    monkeypatch.setenv("HOME", str(tmp_path / "missing"))
    assert read_settings(given).folders == (tmp_path / "given",)
    monkeypatch.chdir(own)
    monkeypatch.setattr(os, "getuid", lambda: own.stat().st_uid + 1)
    assert read_settings(given).folders == (tmp_path / "given",)


def test_a_present_folder_that_was_removed_is_no_fault(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert read_settings({"NUMEMBED_HOME": str(tmp_path / "given")}).folders == (own, tmp_path / "given")


_NOBODY = """
import json, os, pwd, sys
def nobody(*_): raise KeyError("no such user")
pwd.getpwuid = pwd.getpwnam = nobody
os.environ.pop("HOME", None)
from numembed.core.errors import BadSettings
from numembed.core.places import library_places
from numembed.core.settings import read_settings
settings = read_settings({"NUMEMBED_HOME": sys.argv[1]})
told = []
for environ in ({}, {"NUMEMBED_HOME": "~/x"}):
    try: read_settings(environ)
    except BadSettings as error: told.append(str(error))
print(json.dumps([str(settings.compiled), library_places(settings.home, {}), told]))
"""


def test_a_user_without_a_home_and_a_name_needs_only_the_one_variable(tmp_path: Path) -> None:
    import json

    done = subprocess.run(
        [sys.executable, "-c", _NOBODY, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    compiled, places, (unset, tilde) = json.loads(done.stdout)
    assert compiled == str(tmp_path / "compiled")
    assert places == {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}
    assert "Set NUMEMBED_HOME" in unset and "Give a whole path" in tilde


def test_a_tilde_of_an_unknown_user_is_a_sentence() -> None:
    with pytest.raises(BadSettings, match="'~nobody-at-all/x' begins with a home folder that does not exist"):
        read_settings({"NUMEMBED_HOME": "~nobody-at-all/x"})
