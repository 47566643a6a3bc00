"""Pages of a study whose sequences are too many to be made before somebody has run them."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.sequences import kept
from numembed.studies.study import Study
from tests.pages.elements import charts, opened, told, work_off
from ui.shared.large import LARGE, characters_of, results_of

LINK = {"families": ["even", "odd"], "models": ["last_digits"], "per_family": "60", "length": "2000", "max_chars": "99"}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[kept.Windows]:
    """Whose sequences were made."""
    windows, make = [], kept._made
    monkeypatch.setattr(kept, "_kept", kept.OrderedDict())
    monkeypatch.setattr(kept, "_made", lambda one: (windows.append(one), make(one))[1])
    return windows


def test_only_the_beginning_is_shown_before_it_is_run(app: AppTest, made: list[kept.Windows]) -> None:
    for name, value in (LINK | {"matched": ["numbers"]}).items():
        app.query_params[name] = value
    app.session_state["cost"] = app.session_state["reading"] = True
    app.run()
    assert not app.exception and not app.error
    assert LARGE in told(app)
    opened(app, "pages/sequences.py")
    assert not app.exception and f"{LARGE} Shown here are the first 3 sequences of each family." in told(app)
    for page in ("explain", "models"):
        opened(app, f"pages/{page}.py")
        assert not app.exception
    assert made and max(windows.per_family for windows in made) <= 4


@pytest.mark.slow
def test_its_results_are_shown_whole_once_it_was_run(
    app: AppTest, settings: Settings, made: list[kept.Windows]
) -> None:
    for name, value in LINK.items():
        app.query_params[name] = value
    app.run()
    assert not any(windows.per_family == 60 for windows in made)
    app.button(key="run").click().run()
    work_off(settings)
    app.run()
    assert not app.exception and not app.error and charts(app)
    assert any(windows.per_family == 60 for windows in made)


def test_characters_of_a_large_study_are_estimated(app: AppTest) -> None:
    study = Study(("even", "odd"), (model("last_digits"),), per_family=60, length=2_000)
    assert study.large and results_of(study) == (None,)
    whole = sum(map(len, study.sequences.texts))
    assert 0.7 * whole < characters_of(study) < 1.3 * whole
