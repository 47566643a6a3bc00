"""An error is one line and an exit code."""

from __future__ import annotations

import pytest

from tests.cli.calls import SMALL, Answer, calls

ERRORS: dict[str, tuple[tuple[object, ...], int, str]] = {
    "unknown model": (("run", "--models", "nope", *SMALL), 1, "'nope' is not a model name"),
    "an id with ../": (("run", "--models", "owner/../x", *SMALL), 1, "is not a model name"),
    "two lines": (("run", "--models", "/a\nb", *SMALL), 1, "no control characters"),
    "refused row": (("run", "--models", "EmbeddingGemma-2", *SMALL), 1, "is not run here"),
    "no folder": (("run", "--models", "/no/such/folder", *SMALL), 1, "There is no folder"),
    "no model": (("run", "--models", "{tmp}", *SMALL), 1, "has neither modules.json nor config.json"),
    "no network": (("run", "--models", "owner/name", *SMALL), 1, "not on this machine and this installation works"),
    "one of two": (("run", "--models", "last_digits", "owner/name", *SMALL), 3, "works offline"),
    "unknown family": (("run", "--families", "evn"), 1, "Did you mean 'even'"),
    "negative length": (("run", "--length", "-5"), 1, "is at least 1, got -5"),
    "a million": (("run", "--per-family", "1000000"), 1, "at most 2,000, got 1,000,000"),
    "long separator": (("run", "--separator", ", " * 50_000), 1, "1 to 20 characters, got 100,000 characters"),
    "bad seed": (("run", "--seed", "-1"), 1, "from 0 to 2,147,483,647"),
    "no study": (("run", "--study", "/no/such/study.json"), 1, "There is no study"),
    "folder for a study": (("run", "--study", "{tmp}"), 1, "There is no study"),
    "no JSON": (("run", "--study", "{tmp}/text"), 1, "it is not JSON"),
    "unknown entry": (("run", "--study", "{tmp}/entry"), 1, "A study has no entry 'familes'"),
    "no place": (("run", "--models", "last_digits", "--out", "{tmp}/text", *SMALL), 1, "cannot be written"),
    "unknown option": (("run", "--modles", "x"), 2, "unrecognized arguments: --modles"),
    "no number": (("run", "--length", "many"), 2, "argument --length: invalid int value: 'many'"),
    "unknown distance": (("run", "--distance", "manhattan"), 2, "invalid choice: 'manhattan'"),
    "unknown command": (("rnu",), 2, "invalid choice: 'rnu'"),
    "no command": ((), 2, "required: COMMAND"),
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What each of ERRORS answers, all from one process."""
    place = tmp_path_factory.mktemp("errors")
    (place / "text").write_text("no study")
    (place / "entry").write_text('{"familes": []}')
    commands = [[str(a).replace("{tmp}", str(place)) for a in command] for command, _, _ in ERRORS.values()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NUMEMBED_HOME", str(place / "home"))
        patch.setenv("COLUMNS", "80")
        answers, imported = calls(*(tuple(command) for command in commands))
    assert "torch" not in imported
    return dict(zip(ERRORS, answers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_line_and_an_exit_code(errors: dict[str, Answer], name: str) -> None:
    (_, code, sentence), answer = ERRORS[name], errors[name]
    assert answer.code == code and sentence in answer.err
    assert answer.err.startswith("numembed: ") and answer.err.count("\n") == 1 and answer.err.endswith("\n")
    assert name in ("one of two", "no place") or answer.out.count("\n") <= 1


@pytest.mark.slow
def test_the_models_that_ran_are_printed_beside_the_error(errors: dict[str, Answer]) -> None:
    assert errors["one of two"].out.count("Last digits") == 6
