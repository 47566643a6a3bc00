"""A bundle reads what was written; whatever is no bundle, or was changed, is refused in one sentence."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from numembed.core.errors import BadChoice
from numembed.storage import bundle
from numembed.storage.bundle import About, Bundle, write_bundle

VERSION_1 = Path(__file__).with_name("bundle-version-1.zip")  # written once by version 1, and never again
ABOUT = About("2026-12-03", "0.1.0", {"scikit-learn": "1.9"}, ({"study": {"families": ["primes"]}},))
RESULTS = {"a key": {"scores": [0.25, None]}, "pinned:{}": {"name": "ünï"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A small bundle."""
    write_bundle(tmp_path / "one.zip", ABOUT, RESULTS)
    return tmp_path / "one.zip"


def test_what_was_written_is_read(path: Path) -> None:
    one = Bundle(path)
    assert one.about == ABOUT and dict(one.items()) == RESULTS
    assert "a key" in one and "another" not in one and one.get("another") is None
    assert not list(path.parent.glob("*.part"))


def test_equal_results_make_equal_files(path: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "two.zip", ABOUT, dict(reversed(RESULTS.items())))
    assert (tmp_path / "two.zip").read_bytes() == path.read_bytes()


def test_version_1_stays_readable() -> None:
    one = Bundle(VERSION_1)
    assert one.about == ABOUT and dict(one.items()) == RESULTS


Change = Callable[[dict[str, bytes]], object]
CHANGES: dict[str, tuple[Change, str]] = {
    "another file": (lambda files: files.update({"notes.txt": b""}), "holds another file, 'notes.txt'"),
    "a way out": (lambda files: files.update({"../results/x.json": b""}), "another file, '../results/x.json'"),
    "an absolute path": (lambda files: files.update({"/etc/passwd": b""}), "another file"),
    "a file more": (lambda files: files.update({f"results/{'0' * 64}.json": b"{}"}), "list of files is another one"),
    "a file less": (lambda files: files.pop(next(name for name in files if name > "results")), "list of files"),
    "no digests": (lambda files: files.pop("digests.json"), "digests.json cannot be read"),
    "digests of another kind": (lambda files: files.update({"digests.json": b"[]"}), "list of files is another one"),
    "nothing": (lambda files: files.clear(), "digests.json cannot be read"),
    "changed": (lambda files: _about(files, made="2020-01-01", sealed=False), "bundle.json was changed"),
    "unrelated": (lambda files: _about(files, format="something"), "it holds something else"),
    "of a later version": (lambda files: _about(files, version=2), "of version 2, and this program reads version 1"),
    "with another entry": (lambda files: _about(files, strange=1), "what it says of itself"),
    "of a version that is no number": (lambda files: _about(files, version=True), "of version True"),
    "made on no day": (lambda files: _about(files, made="yesterday"), "what it says of itself"),
    "made on a number": (lambda files: _about(files, made=5), "what it says of itself"),
    "of a program without a name": (lambda files: _about(files, program={}), "versions that it names"),
    "of a program with a long name": (lambda files: _about(files, program="9" * 99), "versions that it names"),
    "with versions of another kind": (lambda files: _about(files, versions="x"), "versions that it names"),
    "with versions that are numbers": (lambda files: _about(files, versions={"a": 1}), "versions that it names"),
    "with requests of another kind": (lambda files: _about(files, requests=5), "what it says of itself"),
    "with requests that are words": (lambda files: _about(files, requests="abc"), "what was run for it"),
    "with a digest that is none": (lambda files: files.update({"digests.json": _without_digests(files)}), "is none"),
    "not JSON": (lambda files: files.update({"digests.json": b"\xff{"}), "cannot be read"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_no_bundle_is_refused(path: Path, name: str) -> None:
    change, sentence = CHANGES[name]
    with zipfile.ZipFile(path) as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for one, content in files.items():
            archive.writestr(one, content)
    with pytest.raises(BadChoice, match="Nothing of it was used") as refused:
        Bundle(path)
    assert sentence in str(refused.value)


def _about(files: dict[str, bytes], *, sealed: bool = True, **changed: object) -> None:
    """Change what a bundle says of itself, with its digest where it is ``sealed``."""
    import hashlib

    files["bundle.json"] = json.dumps(json.loads(files["bundle.json"]) | changed).encode()
    if sealed:
        digests = json.loads(files["digests.json"]) | {"bundle.json": hashlib.sha256(files["bundle.json"]).hexdigest()}
        files["digests.json"] = json.dumps(digests).encode()


def _without_digests(files: dict[str, bytes]) -> bytes:
    return json.dumps(dict.fromkeys(json.loads(files["digests.json"]), "")).encode()


@pytest.mark.parametrize("packed", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_packed_in_another_way_is_refused(path: Path, packed: int) -> None:
    with zipfile.ZipFile(path) as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    with zipfile.ZipFile(path, "w", packed) as archive:
        for one, content in files.items():
            archive.writestr(one, content)
    with pytest.raises(BadChoice, match="packed in another way"):
        Bundle(path)


def test_a_result_that_was_changed_is_refused_when_it_is_read(path: Path) -> None:
    member = bundle._member("a key")
    with zipfile.ZipFile(path) as archive:
        files = {one: archive.read(one) for one in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for one, content in files.items():
            archive.writestr(one, content.replace(b"0.25", b"0.99") if one == member else content)
    with pytest.raises(BadChoice, match="was changed"):
        Bundle(path).get("a key")
    assert Bundle(path).get("pinned:{}") == RESULTS["pinned:{}"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, content in {
        "empty.zip": b"",
        "text.zip": b"no zip at all",
        "cut.zip": b"PK\x03\x04" + b"x" * 100,
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadChoice, match="cannot be opened as a zip file"):
            Bundle(tmp_path / name)
    with pytest.raises(BadChoice, match="cannot be opened"):
        Bundle(tmp_path / "absent.zip")


def test_one_byte_changed_anywhere_is_never_another_result(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            one = Bundle(path)
            read = {key: one.get(key) for key in RESULTS}
        except BadChoice:
            continue
        assert all(value in (None, RESULTS[key]) for key, value in read.items())


def test_what_unpacks_to_too_much_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("_MOST_BYTES", "_MOST_FILE", "_MOST_FILES"):
        with monkeypatch.context() as smaller:
            smaller.setattr(bundle, limit, 3)
            with pytest.raises(BadChoice, match=r"too large|too many files"):
                Bundle(path)
