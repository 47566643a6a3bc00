"""What pages show of a run in which a model or a part failed: the others' results, and what is missing, with why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from numembed.analysis.maps.projections import PROJECTIONS
from numembed.core.settings import Settings
from numembed.runs import model_run
from tests import tiny
from tests.pages.elements import opened, plain, told, walk, work_off
from tests.pages.models_page import tables
from tests.pages.visit import Visit

pytestmark = pytest.mark.slow
REASON = "no slope in layer.py"


def refusing(matrix: np.ndarray, *, dims: int, seed: int) -> None:
    """Refuses all vectors."""
    raise ArithmeticError("no slope in /home/me/layer.py")


@pytest.fixture
def ran(app: Visit, settings: Settings, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Visit:
    """Compare after a run of three models: one has no folder, one no map, and one neither a map nor random weights."""
    monkeypatch.setattr(PROJECTIONS, "_entries", {"pca": PROJECTIONS["pca"]})
    PROJECTIONS.register("Refusing")(refusing)  # type: ignore[arg-type]
    monkeypatch.setattr(model_run, "score_random_init", lambda *_: refusing(np.eye(2), dims=2, seed=0))
    gone = tiny.write_model(tmp_path / "gone")
    app.query_params["models"] = [str(gone), str(tiny_model), "last_digits"]
    app.query_params["families"] = ["even", "odd"]
    app.query_params["length"] = "6"
    app.run().button(key="run").click().run()
    (gone / "model.safetensors").unlink()
    assert work_off(settings) == ["done"]
    return app.run()


def test_compare_shows_what_ran_and_says_what_could_not_and_why(ran: Visit) -> None:
    (warning,) = (plain(one.value) for one in ran.warning if "could not run" in one.value)
    assert warning.startswith("**Done, 1 of 3 could not run.** ") and "gone" in warning
    assert f"Missing: the Refusing map of tiny and Last digits. {REASON}." in warning and not ran.error
    assert "No result: " in told(ran) and len(ran.button(key="run").label) > 0
    ran.segmented_control(key="method").set_value("refusing").run()
    assert f"has no Refusing map: {REASON}. Press Run to try again." in told(ran)
    assert f"not computed with random weights: {REASON}." in str([element.proto for element in walk(ran.main)])


def test_runs_lists_it_as_done_with_the_number_that_could_not_run(ran: Visit) -> None:
    opened(ran, "pages/runs.py")
    shown = str([element.proto for element in walk(ran.main)])
    assert REASON in shown
    assert tables(ran)["Runs"][0][1] == "done, 1 of 3 could not run"  # the second column is in sight on a phone


def test_a_run_that_failed_as_a_whole_is_an_error(app: Visit, settings: Settings, tmp_path: Path) -> None:
    gone = tiny.write_model(tmp_path / "gone")
    app.query_params["models"] = [str(gone)]
    app.run().button(key="run").click().run()
    (gone / "model.safetensors").unlink()
    assert work_off(settings) == ["failed"]
    app.run()
    assert len(app.error) == 1 and not any("could not run." in one.value for one in app.warning)
