"""The extent of a merging experiment on the command line: it reaches the experiment, and another word is refused."""

from __future__ import annotations

import pytest

from numembed.cli import _parser, main
from numembed.cli.merge import experiment_of
from numembed.merge_experiment.experiment import MergeExperiment
from numembed.merge_experiment.paths import SHORT, USUAL


def asked(*words: str) -> MergeExperiment:
    """Return the experiment that a command line asks for."""
    return experiment_of(_parser().parse_args(["merge-experiment", *words]))


@pytest.mark.parametrize(
    ("words", "short"),
    [
        (("--base", "smollm2"), True),
        (("--base", "smollm2", "--extent", "short"), True),
        (("--base", "smollm2", "--extent", "full"), False),
        ((), False),
        (("--extent", "full"), False),
        (("--extent", "short"), True),
    ],
)
def test_the_extent_reaches_the_experiment(words: tuple[str, ...], short: bool) -> None:
    found = asked(*words)
    assert found.recipe.split.brief is short
    assert set(found.paths) == set(SHORT if short else USUAL) and found.points == (3 if short else 11)
    assert found.splits == (("reserved", "paper") if short else ("later", "reserved", "paper", "new"))


def test_paths_and_points_that_are_named_stand_in_the_short_form_too() -> None:
    found = asked("--base", "smollm2", "--paths", "lora", "ties", "--points", "5")
    assert found.recipe.split.brief and found.paths == ("base", "lora", "ties") and found.points == 5


def test_another_word_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["merge-experiment", "--extent", "medium"])
    told = capsys.readouterr()
    assert stopped.value.code == 2 and told.out == "" and len(told.err.splitlines()) == 1
    assert told.err.startswith("numembed: ") and "'medium'" in told.err and "'short', 'full'" in told.err
