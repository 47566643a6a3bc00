"""``numembed check``: what a load finds, printed and kept; its reference compared, and accepted on request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.references import keep_reference, known_reference
from numembed.models.resolve import resolve
from numembed.studies.results import ResultStore
from tests.cli.calls import Call


def _reference(call: Call, folder: Path) -> dict[str, object]:
    rows = call("check", folder, "--json").rows
    (row,) = (row for row in rows if row["name"] == "reference")
    return row


def test_a_model_is_checked_and_its_new_vectors_are_accepted(call: Call, settings: Settings, tiny_model: Path) -> None:
    assert "recorded; later loads are compared" in str(_reference(call, tiny_model)["sentence"])
    assert _reference(call, tiny_model)["ok"] is True
    spec = resolve(model(str(tiny_model)), settings)
    known = known_reference(spec, settings.home)
    assert known is not None
    keep_reference(spec, replace(known, cosines=(0.0, 0.0, 0.0)), settings.home)
    wrong = call("check", tiny_model)
    assert wrong.code == 1 and "\n✗ Its vectors of three fixed texts differ from those recorded on" in wrong.out
    with ResultStore(settings.app_db) as results:
        check = results.check(spec)
        assert check is not None and not check.ok  # so that a run refuses it
    accepted = call("check", tiny_model, "--accept")
    assert accepted.code == 0 and "its vectors are now the reference" in accepted.err
    assert f"numembed store --delete {spec.key}" in accepted.err
    with ResultStore(settings.app_db) as results:
        check = results.check(spec)
        assert check is not None and check.ok


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("last_digits",), "is a formula: nothing is loaded, so there is nothing to check"),
        (("{folder} weights=random", "--accept"), "has no reference vectors. Leave --accept out."),
    ],
)
def test_what_has_no_reference_is_a_sentence(
    call: Call, tiny_model: Path, arguments: tuple[str, ...], words: str
) -> None:
    answer = call("check", *(one.format(folder=tiny_model) for one in arguments))
    assert answer.code == 1 and words in answer.err and answer.out == ""


def test_a_reference_that_cannot_be_saved_is_a_sentence(call: Call, settings: Settings, tiny_model: Path) -> None:
    (settings.home / "references").write_text("in the way")
    answer = call("check", tiny_model, "--accept")
    assert answer.code == 1 and "The reference of tiny cannot be saved (" in answer.err
