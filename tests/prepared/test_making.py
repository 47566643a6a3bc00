"""How what comes with the program is made: complete, without computing again what is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.errors import NumembedError
from numembed.core.settings import Settings
from numembed.paper.protocol import paper_study
from numembed.prepared import make as making
from numembed.prepared.contents import Noting, Request, missing
from numembed.storage.bundle import Bundle
from numembed.studies.keys import library_versions
from numembed.studies.results import ResultStore
from tests.packaged import put, real_model

pytestmark = pytest.mark.slow
ASKED = replace(paper_study("last_digits", "string_length"), designs=3)


@pytest.fixture
def asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> tuple[Request, ...]:
    """A small study in place of all that is computed beforehand."""
    put(real_model(), settings.home)
    monkeypatch.setattr(making, "requests", lambda: iter([ASKED]))
    return (ASKED,)


def test_it_is_complete_and_what_is_stored_is_not_computed_again(
    asked: tuple[Request, ...], settings: Settings, tmp_path: Path
) -> None:
    making.make(tmp_path / "one.zip", settings)
    bundle = Bundle(tmp_path / "one.zip")
    assert bundle.about.versions == library_versions() and list(bundle.about.requests) == [{"study": ASKED.as_dict()}]
    with Noting(tmp_path / "empty.db", beside=bundle) as results:
        assert missing(ASKED, results) == [] and set(results.answers) == set(dict(bundle.items()))
    assert str(settings.home) not in str(dict(bundle.items()))
    with ResultStore(settings.app_db) as store:
        before = store.state
    making.make(tmp_path / "two.zip", settings)
    with ResultStore(settings.app_db) as store:
        assert store.state == before
    assert (tmp_path / "two.zip").read_bytes() == (tmp_path / "one.zip").read_bytes()


def test_what_is_missing_is_named_and_nothing_is_written(
    asked: tuple[Request, ...], settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "missing", lambda request, results: ["Last digits, tsne 2-D"])
    with pytest.raises(NumembedError, match=r"missing: Last digits, tsne 2-D"):
        making.make(tmp_path / "one.zip", settings)
    assert not list(tmp_path.glob("*.zip*"))
