from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from numembed.analysis.metrics import METRICS
from numembed.cli import main
from numembed.core.settings import Settings
from numembed.examinations.clusters.stored import stored_explanation
from numembed.models.baselines import BASELINES
from numembed.models.catalogue.names import CATALOGUE
from numembed.paper.protocol import paper_study
from numembed.sequences.families.family import FAMILIES
from numembed.sequences.leakage import leakage
from numembed.studies.results import ResultStore
from numembed.studies.stored import stored_examination
from numembed.studies.study import Study
from tests import tiny

ROOT = Path(__file__).parents[2]
SMALL = ("--families", "even", "primes", "--per-family", "3", "--length", "10")
Row = dict[str, Any]


class Answer(NamedTuple):
    """What a command printed and its exit code."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[Row]:
        """One object a line, and nothing else, in strict JSON."""
        return [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in self.out.splitlines()]


Call = Callable[..., Answer]


@pytest.fixture
def call(home: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run one command in this process."""

    def command(*arguments: object) -> Answer:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            code = int(str(stopped.code))
        return Answer(code, *capsys.readouterr())

    return command


ONE_PROCESS = """
import contextlib, io, json, sys
from numembed.cli import main
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as stopped:
            code = stopped.code
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
print(json.dumps([name for name in ("torch", "transformers", "sentence_transformers", "sklearn", "umap", "plotly",
                                    "pandas", "sympy", "streamlit") if name in sys.modules]))
"""


def _calls(*commands: tuple[object, ...]) -> tuple[list[Answer], list[str]]:
    """Run commands in one fresh process; return their answers and the heavy libraries that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_PROCESS], input=json.dumps([list(map(str, command)) for command in commands]),
        capture_output=True, text=True, timeout=240, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    *answers, imported = map(json.loads, done.stdout.splitlines())
    return [Answer(*answer) for answer in answers], imported


def _values(rows: list[Row]) -> dict[tuple[str, str, str], float]:
    return {(row["model"], row["metric"], row["labels"]): row["value"] for row in rows}


def test_run_prints_one_score_a_line_and_nothing_else(call: Call) -> None:
    answer = call("run", "--models", "last_digits", "string_length", *SMALL, "--json")
    assert answer.code == 0 and answer.err == ""
    assert [set(row) >= {"model", "metric", "labels", "value"} for row in answer.rows] == [True] * 12
    assert {row["model"] for row in answer.rows} == {"Last digits", "String length"}
    assert {(row["metric"], row["labels"]) for row in answer.rows} == {
        ("silhouette", "families"), ("davies_bouldin", "families"), ("silhouette", "kmeans"),
        ("davies_bouldin", "kmeans"), ("ari", "kmeans"), ("ami", "kmeans"),
    }  # fmt: skip
    assert all(isinstance(row["value"], float) for row in answer.rows)


def test_undefined_scores_are_null_with_their_reason(call: Call) -> None:
    answer = call("run", "--models", "last_digits", "--families", "even", "--per-family", 2, "--length", 5, "--json")
    row = next(row for row in answer.rows if row["metric"] == "silhouette" and row["labels"] == "families")
    assert answer.code == 0 and row["value"] is None and row["note"].startswith("needs 2 to n")


def test_run_without_json_is_a_table(call: Call) -> None:
    answer = call("run", "--models", "last_digits", *SMALL)
    lines = answer.out.splitlines()
    columns = ["model", "metric", "labels", "value", "p", "best_baseline_value", "random_weights"]
    assert answer.code == 0 and lines[0].split() == columns and len(lines) == 7
    assert re.match(r"Last digits +silhouette +families +0\.\d{4} +0\.\d{4} +0\.\d{4} +–$", lines[1])


@pytest.mark.slow
def test_a_saved_study_gives_the_numbers_of_the_same_study_to_the_last_digit(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("last_digits", "random_vectors", "char_ngrams")
    file = tmp_path / "study.json"
    file.write_text(paper_study(*names).to_json(), encoding="utf-8")
    from_paper = call("run", "--study", "paper", "--models", *names, "--json")
    monkeypatch.setenv("NUMEMBED_HOME", str(tmp_path / "another home"))
    from_file = call("run", "--study", file, "--json")
    assert from_file.code == from_paper.code == 0 and len(from_file.rows) == 18
    assert from_file.out == from_paper.out


def test_what_is_named_replaces_what_the_study_says(call: Call, tmp_path: Path) -> None:
    file, out = tmp_path / "study.json", tmp_path / "out"
    file.write_text(paper_study("last_digits").to_json())
    options = ("--families", "odd", "even", "squares", "--per-family", 1, "--length", 3, "--first-window", 2)
    answer = call(
        "run", "--study", file, *options, "--separator", " ", "--distance", "cosine", "--seed", 9, "--out", out
    )
    assert answer.code == 0
    study = Study.from_json((out / "study.json").read_text())
    assert (study.families, study.per_family, study.length, study.first_window) == (("odd", "even", "squares"), 1, 3, 2)
    assert (study.text_format.separator, study.distance, study.seed) == (" ", "cosine", 9)
    assert [spec.name for spec in study.models] == ["Last digits"]


def test_out_writes_three_files(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    answer = call("run", "--models", "last_digits", "digit_counts", *SMALL, "--out", out, "--json")
    assert answer.code == 0 and sorted(file.name for file in out.iterdir()) == ["maps.html", "scores.csv", "study.json"]
    lines = (out / "scores.csv").read_text().splitlines()
    assert lines[0].startswith("model,metric,labels,value") and len(lines) == 13
    assert float(lines[1].split(",")[3]) == answer.rows[0]["value"]
    page = (out / "maps.html").read_text()
    assert page.startswith("<!doctype html>") and "Plotly.newPlot" in page
    again = call("run", "--study", out / "study.json", "--json")
    assert again.out == answer.out


def test_redrawn_designs_and_pairs_are_told_and_written(call: Call, tiny_model: Path, tmp_path: Path) -> None:
    models = (tiny_model, f"{tiny_model} dim=8", "last_digits")
    asked = ("run", "--models", *models, *SMALL, "--designs", 4)
    answer = call(*asked, "--json", "--out", tmp_path)
    *scores, pair = answer.rows
    assert answer.code == 0 and len(scores) == 18
    for row in scores:
        assert row["designs"] == 4 and row["redrawn_low"] < row["value"] + 1 and row["redrawn_sd"] >= 0
        assert {"low", "high", "redrawn_high", "p_holm", "p_within", "z", "chance_mean", "gain", "seed"} <= set(row)
    assert scores[0]["p_holm"] >= scores[0]["p"] and scores[0]["random_weights"] is not None
    assert {pair["first"], pair["second"]} == {"tiny", "tiny dim=8"} and pair["designs"] == 4
    assert pair["p_holm"] == pair["p"] and pair["low"] < pair["difference"] < pair["high"] and pair["sentence"]
    assert (tmp_path / "pairs.csv").read_text().splitlines()[1].startswith(pair["first"])
    plain = call(*asked).out.splitlines()
    assert plain[0].split()[-4:] == ["redrawn_low", "redrawn_high", "redrawn_sd", "designs"]
    assert plain[-1] == pair["sentence"]


def test_lists(call: Call) -> None:
    families, models, metrics = (call(name, "--json") for name in ("families", "models", "metrics"))
    assert [answer.code for answer in (families, models, metrics)] == [0, 0, 0]
    assert [row["name"] for row in families.rows] == list(FAMILIES.names)
    assert families.rows[0] == {
        "name": "consecutive", "title": families.rows[0]["title"], "oeis": "A000027",
        "first_terms": "1, 2, 3, 4, 5, 6, 7, 8",
    }  # fmt: skip
    assert [row["name"] for row in models.rows] == [*CATALOGUE, *BASELINES.names]
    assert all(row["note"] for row in models.rows if row["kind"] == "baseline")
    assert [row["name"] for row in metrics.rows] == list(METRICS.names)
    assert [row["bounds"] for row in metrics.rows][:2] == [[-1.0, 1.0], [0.0, None]]
    assert all(row["help"] and "higher_is_better" in row for row in metrics.rows)


@pytest.mark.parametrize("name", ["families", "models", "metrics"])
def test_lists_for_people_have_a_head_and_a_line_each(call: Call, name: str) -> None:
    answer = call(name)
    assert (
        answer.out.splitlines()[0].startswith("name") and answer.out.count("\n") == len(call(name, "--json").rows) + 1
    )


def test_runs_lists_what_was_run(call: Call) -> None:
    assert call("runs", "--json") == Answer(0, "", "") == call("runs")
    call("run", "--models", "last_digits", *SMALL)
    call("run", "--models", "/no/such/folder", *SMALL)
    newest, oldest = call("runs", "--json").rows
    assert (oldest["state"], oldest["error"], newest["state"]) == ("done", "", "failed")
    assert newest["error"].startswith("There is no folder") and oldest["asked_by"].startswith("command line (")
    assert oldest["seconds"] >= 0 and Study.from_dict(oldest["study"]).families == ("even", "primes")
    assert "study" not in call("runs").out.splitlines()[0]


@pytest.mark.slow
def test_the_store_is_listed_and_deleted(call: Call, tiny_model: Path) -> None:
    assert call("store", "--json") == Answer(0, "", "")
    assert call("run", "--models", tiny_model, *SMALL).code == 0
    row, twin = call("store", "--json").rows
    assert twin["name"] == "tiny weights=random" and twin["vectors"] == 6
    assert (row["name"], row["vectors"]) == ("tiny", 6) and len(row["key"]) == 64 and row["size_bytes"] > 6 * 32 * 4
    refused = call("store", "--delete", "nothing", "--json")
    assert (refused.code, refused.out) == (1, "") and "The store holds nothing of 'nothing'" in refused.err
    deleted = call("store", "--delete", "tiny", "--json")
    assert deleted.err == "numembed: 6 vectors deleted.\n" and [row["name"] for row in deleted.rows] == [twin["name"]]
    assert call("run", "--models", tiny_model, *SMALL[:3], "squares", *SMALL[3:], "--json").code == 0
    assert call("store", "--delete", "all").err.startswith("numembed: ") and call("store", "--json").rows == []


@pytest.mark.slow
def test_a_run_from_the_store_imports_nothing_heavy(call: Call, tiny_model: Path) -> None:
    run = ("run", "--models", tiny_model, "all-MiniLM-L6-v2", "last_digits", *SMALL, "--json")
    first = call(*run)
    assert first.code == 0 and len(first.rows) == 18
    (second, families), imported = _calls(run, ("families", "--json"))
    assert second == first and families.code == 0
    assert imported == ["sympy"] or imported == []  # the families' own arithmetic


PLACES = {"nearest", "neighbours", "order", "tree", "twin"}  # numbers of rows or families: the command line names them
PAGES = {"explain": "grouping", "probe": "probes", "stress": "stress", "maps": "maps", "land": "landing"}


def _numbers(value: Any) -> Iterator[float]:
    """Every number of nested JSON values, but for places in lists."""
    if isinstance(value, dict):
        value = [one for name, one in value.items() if name not in PLACES]
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


@pytest.mark.slow
@pytest.mark.parametrize("verb", PAGES)
def test_every_number_of_a_page_is_in_the_command_line_and_in_the_export(
    call: Call, settings: Settings, tmp_path: Path, verb: str
) -> None:
    query = ("2, 4, 6",) if verb == "land" else ()
    asked = (verb, *query, "--models", "last_digits", "--families", "even", "odd", "primes", "--length", "20")
    plain = call(*asked)
    assert plain.code == 0 and plain.out.startswith("Last digits (seed 0). ") and plain.err == ""
    answer = call(*asked, "--json", "--out", str(tmp_path))
    first, *rows = answer.rows
    assert first["sentence"] and first["sentence"] in plain.out
    assert all(row["model"] == "Last digits" and row["seed"] == 0 and row["designs"] == 0 for row in rows)
    written = json.loads((tmp_path / "answers.json").read_text(encoding="utf-8"))
    study, (kept,) = Study.from_dict(written["study"]), written["answers"]
    assert kept["sentence"] == first["sentence"] and study.seed == 0
    with ResultStore(settings.app_db) as results:
        stored = stored_examination(study, study.models[0], PAGES[verb], results)
        explanation = stored_explanation(study, study.models[0], results)
    assert stored and kept["found"] == stored
    shown = [stored]
    if verb == "explain":
        assert explanation is not None and kept["explanation"] == explanation.as_json()
        shown.append(explanation.as_json())
    numbers = set(_numbers(shown))
    assert len(numbers) > 3 and numbers - set(_numbers(rows)) == set()


def test_what_the_sequences_give_away_is_told_and_written(call: Call, tmp_path: Path) -> None:
    asked = ("sequences", "--families", "even", "odd", "squares", "--length", 30, "--seed", 3)
    first, *rows = call(*asked, "--json", "--out", tmp_path).rows
    study = Study.from_json((tmp_path / "study.json").read_text())
    found = leakage(study.sequences, token_counts=[0] * len(study.sequences), seed=3)
    assert study.families == ("even", "odd", "squares") and found.sentences[0] in first["sentence"]
    assert all(row["seed"] == 3 and row["design"].startswith("even, odd, squares") for row in rows)
    by_part = {part: [row for row in rows if row["part"] == part] for part in ("family", "shared", "clue")}
    assert [row["numbers"] for row in by_part["family"]] == found.shared.diagonal().tolist()
    assert [row["repeated"] for row in by_part["family"]] == found.repeated.tolist()
    assert [row["numbers"] for row in by_part["shared"]] == [found.shared[at] for at in ((0, 1), (0, 2), (1, 2))]
    for row, clue in zip(by_part["clue"][:2], found.clues[:2], strict=True):
        assert (row["named"], row["tried"], row["guessing"], row["p"], row["overlap"]) == (
            clue.named, clue.tried, clue.guessing, clue.p, clue.overlap,
        )  # fmt: skip
        assert row["values"] == clue.values.tolist()
    assert by_part["clue"][2]["name"] == "tokens" and min(by_part["clue"][2]["values"]) > 30
    assert (tmp_path / "leakage.csv").read_text().count("\n") == len(rows) + 1
    plain = call(*asked)
    assert plain.code == 0 and first["sentence"] in plain.out and "guessing" in plain.out


def test_a_text_of_ones_own_lands_somewhere(call: Call) -> None:
    answer = call("land", "2, 4, 6, 8", "--models", "last_digits", "digit_counts", *SMALL, "--json")
    told = [row for row in answer.rows if "sentence" not in row]
    assert [row["model"] for row in told] == ["Last digits", "Digits"] and all(row["family"] for row in told)


def test_matched_families_are_asked_for_by_name(call: Call) -> None:
    small = ("run", "--models", "string_length", "--families", "even", "cubes", "--per-family", "2", "--length", "8")
    plain, matched = call(*small, "--json"), call(*small, "--match", "length", "--json")
    assert matched.code == 0 and plain.rows[0]["value"] != matched.rows[0]["value"]
    assert call(*small, "--match", "colour").code == 2


ERRORS: dict[str, tuple[tuple[object, ...], int, str]] = {
    "unknown model": (("run", "--models", "nope", *SMALL), 1, "'nope' is no model's name"),
    "an id with ../": (("run", "--models", "owner/../x", *SMALL), 1, "is no model's name"),
    "two lines": (("run", "--models", "/a\nb", *SMALL), 1, "no control characters"),
    "refused row": (("run", "--models", "EmbeddingGemma-2", *SMALL), 1, "is not run here"),
    "no folder": (("run", "--models", "/no/such/folder", *SMALL), 1, "There is no folder"),
    "no model": (("run", "--models", "{tmp}", *SMALL), 1, "has neither modules.json nor config.json"),
    "no network": (("run", "--models", "owner/name", *SMALL), 1, "not on this machine and this installation works"),
    "one of two": (("run", "--models", "last_digits", "owner/name", *SMALL), 1, "works offline"),
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
        answers, imported = _calls(*(tuple(command) for command in commands))
    assert "torch" not in imported
    return dict(zip(ERRORS, answers, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_line_and_an_exit_code(errors: dict[str, Answer], name: str) -> None:
    (_, code, sentence), answer = ERRORS[name], errors[name]
    assert answer.code == code and sentence in answer.err
    assert answer.err.startswith("numembed: ") and answer.err.count("\n") == 1 and answer.err.endswith("\n")
    assert name in ("one of two", "no place") or answer.out.count("\n") <= 1


def test_the_models_that_ran_are_printed_beside_the_error(errors: dict[str, Answer]) -> None:
    assert errors["one of two"].out.count("Last digits") == 6


@pytest.mark.slow
def test_models_that_break_while_they_load_or_run_are_one_line_too(home: Path, nan_model: Path, tmp_path: Path) -> None:
    torn = tiny.write_model(tmp_path / "torn")
    with (torn / "model.safetensors").open("r+b") as file:
        file.truncate(2_000)
    lost = tiny.write_model(tmp_path / "lost")
    (lost / "config.json").unlink()
    answers, _ = _calls(*(("run", "--models", folder, *SMALL, "--json") for folder in (nan_model, torn, lost)))
    sentences = ("broken answered with numbers that are not finite", "of 'torn' is damaged", "lost could not be")
    for answer, sentence in zip(answers, sentences, strict=True):
        assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
        assert answer.err.startswith("numembed: ") and sentence in answer.err


@pytest.mark.slow
def test_a_terminal_sees_progress_and_a_pipe_does_not(home: Path, tiny_model: Path) -> None:
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    done = subprocess.run(
        [sys.executable, "-m", "numembed", "run", "--models", str(tiny_model), "last_digits", *SMALL, "--json"],
        stdout=subprocess.PIPE, stderr=follower, cwd=ROOT, timeout=240,
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while chunk := _read(leader):
        seen += chunk
    os.close(leader)
    assert done.returncode == 0 and len(Answer(0, done.stdout.decode(), "").rows) == 12
    text = seen.decode()
    assert "tiny" in text and "Last digits" in text and "Traceback" not in text
    assert {"load", "encode", "score", "project"} <= set(re.findall(r"[a-z]+", text))


@pytest.mark.slow
def test_prime_does_the_slow_things(call: Call) -> None:
    answer = call("prime", "--json")
    assert answer.code == 0 and answer.err == "" and answer.rows[0]["ready"] is True


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # the other side is closed
        return b""


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["true", "head -c 1"])
def test_a_reader_that_leaves_early_hears_no_complaint(home: Path, reader: str) -> None:
    command = f"{sys.executable} -m numembed families --json | {reader}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert done.stderr == ""


@pytest.mark.slow
def test_exit_codes_reach_the_shell(home: Path) -> None:
    def code(*arguments: str) -> int:
        return subprocess.run([sys.executable, "-m", "numembed", *arguments], capture_output=True, cwd=ROOT).returncode

    assert (code("metrics"), code("run", "--models", "nope"), code("nope")) == (0, 1, 2)
