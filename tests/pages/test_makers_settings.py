"""What the makers of a model set for every encoding, on the pages: told, switched off, and told before a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.models import sources
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from numembed.runs.jobs import JobTable
from numembed.studies.model_requests import Look
from tests.lora import write_adapter
from tests.pages.elements import looked_at, opened, told, work_off
from tests.pages.models_page import compared, show
from tests.tiny import write_model

pytestmark = pytest.mark.slow  # together they take long

SET = {"prompts": {"query": "Find: \n", "other": "x "}, "default_prompt_name": "query", "truncate_dim": 12}
PROMPTED = "Its makers put “Find: ” before every text"
CUT = "Its makers keep the first 12 of 32 dimensions"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_model(tmp_path / "mine")
    (folder / "config_sentence_transformers.json").write_text(json.dumps(SET))
    return folder


@pytest.fixture
def page(app: AppTest, folder: Path, settings: Settings) -> AppTest:
    """The Models page with the folder typed in, in quotes, as a file manager copies it, and looked into."""
    page = opened(app, "pages/models.py")
    return looked_at(page.text_input(key="own_name").set_value(f'"{folder}"').run(), settings)


def _menu(page: AppTest, label: str) -> list[str]:
    return list(next(one for one in page.selectbox if one.label == label).options)


def _choose(page: AppTest, label: str, value: object) -> AppTest:
    return next(one for one in page.selectbox if one.label == label).set_value(value).run()


def _words(page: AppTest) -> str:
    return " ".join(told(page).split())


def test_a_folders_card_says_what_its_makers_set(page: AppTest, folder: Path) -> None:
    assert not page.exception and not page.error
    words = _words(page)
    assert f"{PROMPTED}; add prompt=none to its name to leave it out." in words
    assert f"{CUT}; add dim=all to its name to keep all." in words
    assert _menu(page, "Prompt")[:2] == ["its makers' usual one: “Find: ⏎”", "none, as in the paper"]
    page.button(key="add_own").click().run()
    assert compared(page)[0] == str(folder)  # the run finds the prompt itself


def test_both_are_switched_off_where_a_model_is_chosen(page: AppTest, folder: Path) -> None:
    _choose(page, "Prompt", " none")
    _choose(page, "Dimensions", True)
    words = _words(page)
    assert f"{PROMPTED}; it is left out here, as requested." in words and "all are kept here, as requested" in words
    page.button(key="add_own").click().run()
    assert compared(page)[0] == f"{folder} prompt=none dim=all"
    recipe = model(compared(page)[0]).loading
    assert recipe.unprompted and recipe.full_width


def test_the_reference_that_is_told_is_that_of_the_chosen_settings(
    page: AppTest, folder: Path, settings: Settings
) -> None:
    assert "It has no reference vectors yet" in told(page)
    LoadedModel(settings).get(resolve(model(str(folder)), settings))
    assert "Reference vectors were recorded on 20" in told(page.run())
    assert "It has no reference vectors yet" in told(_choose(page, "Prompt", " none"))


def test_another_prompt_takes_its_place(page: AppTest, folder: Path) -> None:
    _choose(page, "Prompt", "other")
    assert f"{PROMPTED}; another prompt was requested here." in _words(page)
    page.button(key="add_own").click().run()
    assert compared(page)[0] == f'{folder} prompt="x "'


def test_what_is_typed_needs_no_menu(page: AppTest, folder: Path) -> None:
    page.text_input(key="own_name").set_value(f"{folder} prompt=none dim=all").run()
    assert not [one for one in page.selectbox if one.label in ("Prompt", "Dimensions")]
    assert "it is left out here, as requested" in _words(page)


def test_an_adapted_model_has_what_its_base_sets(
    page: AppTest, folder: Path, tmp_path: Path, settings: Settings
) -> None:
    page.text_input(key="own_name").set_value(f"{folder} adapter={write_adapter(tmp_path / 'adapter', folder)}").run()
    looked_at(page, settings)
    assert not page.error and PROMPTED in _words(page) and CUT in _words(page)


def test_compare_says_it_before_the_run_once_it_was_looked_at(app: AppTest, folder: Path, settings: Settings) -> None:
    app.query_params["models"] = [str(folder), f"{folder} prompt=none", "last_digits"]
    app.run()
    assert not app.exception and not app.error and PROMPTED not in _words(app)
    assert "Not looked at yet: mine, mine prompt=none. A run looks first" in _words(app)
    with JobTable(settings.app_db) as jobs:
        jobs.submit(Look(str(folder)), asked_by="test")
    assert work_off(settings) == ["done"]
    app.run()
    assert not app.exception and not app.error and "ot looked at yet" not in _words(app)
    said = [" ".join(caption.value.replace("\\", "").split()) for caption in app.caption]
    (usual,) = (one for one in said if one.startswith("mine: Its"))
    (off,) = (one for one in said if one.startswith("mine prompt=none: Its"))
    assert f"{PROMPTED}; add prompt=none" in usual and CUT in usual and "it is left out here, as requested" in off
    assert not any("Last digits: Its" in one for one in said)


def test_a_catalogue_card_says_where_its_recipe_differs(
    app: AppTest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = show(opened(app, "pages/models.py"), "all-MiniLM-L6-v2")
    assert "Its makers put" not in _words(page)
    monkeypatch.setattr(sources, "bundled_folder", lambda: folder)
    words = _words(page.run())
    assert f"{PROMPTED}; the catalogue's recipe leaves it out, as the paper does." in words
