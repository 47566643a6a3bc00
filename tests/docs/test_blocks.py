"""Every code block of every document is executed, so that it stays true."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.__main__ import main as benchmark
from numembed.cli import main
from numembed.core.settings import read_settings
from numembed.models.sources import bundled_folder
from numembed.studies.results import ResultStore
from tests.docs.documents import ROOT, Block, blocks, lines, read
from tests.lora import write_adapter
from tests.packaged import put, real_model
from tests.test_layers import TIERS

BY_HAND = {  # they need a server of another environment; docs/operators.md says what they gave
    "python -m venv /tmp/infinity",
    '/tmp/infinity/bin/pip install "infinity-emb[server,torch]" "torch==2.13.0"',
    *(line for line in lines("sh") if line.startswith("/tmp/infinity/bin/infinity_emb v2 --engine torch")),
    "python -m numembed run --models endpoint:infinity all-MiniLM-L6-v2",
}
LINES = [line for line in lines("sh") if line not in BY_HAND]
COMMANDS = [line for line in LINES if line.startswith("python -m numembed ")]
BENCHMARKS = [line for line in LINES if line.startswith("python -m benchmarks ")]
ELSEWHERE = {  # carried out by .ci/run, or by the tests of the app
    "pip install -r requirements.txt && streamlit run app.py",
    "pip install -r requirements-dev.txt && python -m pytest",
    "pip install -r requirements-dev.txt",
    "python -m venv .venv",
    ". .venv/bin/activate",
    'python -m pytest -m "not slow"',
    "python -m pytest -n 0 tests/contracts",
    "python -m ruff check .",
    "python -m ruff format --check .",
    "python -m mypy",
    ".ci/run",
}


SAYS_WHAT_IT_FOUND = (["store", "repair"], ["store", "restore"])  # on standard error: not the rows that were asked for


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    """What stands for the placeholders of commands. One home serves all commands: nothing is computed twice."""
    folder = tmp_path_factory.mktemp("docs")
    adapters = {
        f"ADAPTER_{name}": str(write_adapter(folder / name, bundled_folder(), seed=seed, size=0.01))
        for seed, name in enumerate("AB")
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("NUMEMBED_HOME", str(folder / "home"))
        environment.setenv("NUMEMBED_PREWARM", "0")
        put(real_model(), folder / "home")
        with ResultStore(folder / "home" / "app.db") as results:
            results.put("first", {})  # there is something to back up
        yield adapters | {"OUT": str(folder / "out")}


def test_readme_has_the_two_commands_and_three_examples() -> None:
    shell = [block.text for block in blocks("sh") if block.document == "README.md"]
    assert "pip install -r requirements.txt && streamlit run app.py\n" in shell
    assert "pip install -r requirements-dev.txt && python -m pytest\n" in shell
    assert len(re.findall(r"^\*\*\d\. ", read("README.md"), re.MULTILINE)) == 3
    assert len(read("README.md").split()) <= 1_000


def test_every_block_is_of_a_language_that_is_executed_here() -> None:
    others = {"mermaid", "nginx"}  # a drawing, and another program's settings
    assert {block.language for block in blocks()} == {"sh", "python", "toml", *others}
    assert [line for line in LINES if line not in {*COMMANDS, *BENCHMARKS, *ELSEWHERE}] == []
    assert set(LINES) >= ELSEWHERE and len(COMMANDS) >= 25
    assert len(BY_HAND) == 4 and set(lines("sh")) >= BY_HAND


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_works(command: str, places: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    filled = re.sub(r"\b(OUT|ADAPTER_[AB])\b", lambda found: places[found[0]], command)
    assert main(shlex.split(filled)[3:]) == 0
    printed = capsys.readouterr()
    assert not printed.err or command.split()[3:5] in SAYS_WHAT_IT_FOUND
    if "--json" in command:
        assert [json.loads(line) for line in printed.out.splitlines()]


@pytest.mark.parametrize("command", BENCHMARKS)
def test_every_benchmark_that_is_named_exists(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "benchmarks.md"
    report.write_text(read("docs/benchmarks.md"), encoding="utf-8")
    asked = shlex.split(command.replace("--write", f"--write {report}"))[3:]
    assert benchmark([*asked, *(() if "--list" in asked else ("--list",))]) == 0
    assert "python -m benchmarks" in capsys.readouterr().out
    assert report.read_text(encoding="utf-8") == read("docs/benchmarks.md")


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.document)
def test_every_python_example_works(block: Block, places: Mapping[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", block.text], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "silhouette" in done.stdout


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.text.splitlines()[0])
def test_every_operator_file_is_read(block: Block, tmp_path: Path) -> None:
    (tmp_path / "operator.toml").write_text(block.text, encoding="utf-8")
    settings = read_settings({"NUMEMBED_HOME": str(tmp_path), "CLUSTER_KEY": "secret-of-the-cluster"})
    assert settings.code or settings.endpoints or settings.open or settings.visitor_header or "[limits]" in block.text
    assert all(one.key == "secret-of-the-cluster" for one in settings.endpoints.values() if "key_env" in block.text)
    for endpoint in settings.endpoints.values():
        assert f"`endpoint:{endpoint.name}`" in read(block.document)


def test_the_drawing_shows_every_room_on_its_level() -> None:
    drawing = next(block.text for block in blocks("mermaid") if block.text.startswith("flowchart"))
    levels = re.findall(r"subgraph tier(\d+) .*?\n(.*?)\n    end", drawing, re.DOTALL)
    drawn = {int(number): set(re.findall(r"^\s+(\w+)\[", rooms, re.MULTILINE)) for number, rooms in levels}
    rooms = [set(tier.split()) for tier in TIERS["numembed"] if "__" not in tier]
    assert drawn == dict(enumerate(rooms))
    for package in ("numembed.models", "ui"):
        inside = " ◀ ".join(f"`{tier}`" for tier in TIERS[package] if "__" not in tier)
        assert inside in " ".join(read("docs/architecture.md").split()), package


def test_the_path_of_a_study_goes_through_files_that_are_there() -> None:
    drawing = next(block.text for block in blocks("mermaid") if block.text.startswith("sequenceDiagram"))
    assert ";" not in drawing, "it ends a line there"
    named = " ".join(re.findall(r"participant \w+ as (.*)", drawing)).replace("<br/>", " ")
    files = re.findall(r"[\w/]+(?:\.py|/)(?!\))", named)
    assert len(files) >= 10
    for file in files:
        assert (ROOT / file).exists() or (ROOT / "numembed" / file).exists(), file
