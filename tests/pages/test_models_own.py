"""The Models page through app.py: a model of one's own, from a folder, an adapter or the hub."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from numembed.core.settings import Settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.resolve import resolve
from tests.lora import write_adapter
from tests.pages.elements import looked_at, opened, protos, told, work_off
from tests.pages.models_page import compared, tables
from tests.servers.hub import FakeHub, closed_port, serve_hub
from tests.tiny import write_model

pytestmark = pytest.mark.slow  # together they take long


@pytest.fixture
def page(app: AppTest) -> AppTest:
    """The Models page on an empty store."""
    return opened(app, "pages/models.py")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A model hub on loopback; the page that is opened after it asks it."""
    from huggingface_hub import constants

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    with serve_hub() as served:
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


@pytest.fixture
def online(hub: FakeHub, page: AppTest) -> AppTest:
    """The Models page of an installation that may ask the hub."""
    st.cache_resource.clear()
    return page


def own(page: AppTest, name: str) -> AppTest:
    return page.text_input(key="own_name").set_value(name).run()


def test_a_folder_is_shown_once_it_was_looked_at_and_added(page: AppTest, tmp_path: Path, settings: Settings) -> None:
    folder = write_model(tmp_path / "my *model*")
    own(page, str(folder))
    assert not page.exception and not page.error
    assert "Not looked at yet" in told(page) and "Facts" not in tables(page) and page.button(key="add_own")
    page.button(key="look").click().run()
    assert "look" not in {button.key for button in page.button}, "it is asked for already"
    assert protos(page, "progress") and page.button(key="cancel")
    assert work_off(settings) == ["done"]
    page.run()
    assert not page.exception and not page.error and "Found on " in told(page)
    facts = dict(tables(page)["Facts"])
    assert facts["Architecture"] == "BertModel" and facts["Numbers in a vector"] == "32"
    assert facts["Reads at most"] == "256 tokens" and facts["Files"].endswith("kB")
    page.button(key="add_own").click().run()
    assert compared(page)[0] == str(folder)


PROMPTS = {"prompts": {"query": "Find: \n", "document": "", "broken": 7}}


def test_a_folder_that_has_changed_has_no_reference_yet(page: AppTest, tmp_path: Path, settings: Settings) -> None:
    folder = write_model(tmp_path / "mine")
    own(page, str(folder))
    assert "It has no reference vectors yet" in told(looked_at(page, settings))
    LoadedModel(settings).get(resolve(model(str(folder)), settings))
    assert "Reference vectors were recorded on 20" in told(page.run())
    write_model(folder, seed=1)
    assert "Reference vectors were recorded on 20" in told(page.run()), "a page has looked"
    assert "It has no reference vectors yet" in told(looked_at(page, settings))


def test_a_folders_own_prompts_are_a_menu(page: AppTest, tmp_path: Path, settings: Settings) -> None:
    folder = write_model(tmp_path / "mine")
    (folder / "config_sentence_transformers.json").write_text(json.dumps(PROMPTS))
    looked_at(own(page, str(folder)), settings)
    menu = next(one for one in page.selectbox if one.label == "Prompt")
    assert menu.options == ["none, as in the paper", "query: “Find: ⏎”"]
    menu.set_value("query").run()
    page.button(key="add_own").click().run()
    assert compared(page)[0] == f'{folder} prompt="Find: \\n"' and model(compared(page)[0]).prompt == "Find: \n"


def test_the_options_of_a_folder_are_kept(page: AppTest, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "mine")
    own(page, f"{folder} dim=16")
    page.button(key="add_own").click().run()
    assert compared(page)[0] == f"{folder} dim=16"


def test_an_adapted_model_is_reported_with_its_files_and_goes_to_compare(
    page: AppTest, tmp_path: Path, tiny_model: Path, settings: Settings
) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_model)
    own(page, f"{tiny_model} adapter={adapter} scale=0.5")
    assert "Not looked at yet" in told(page) and "Two sets of files" not in told(page)
    looked_at(page, settings)
    words = told(page)
    assert not page.exception and not page.error and "needs no files" not in words
    assert "Two sets of files: a base, and a LoRA adapter" in words and "taken 0" in words
    page.button(key="add_own").click().run()
    assert not page.exception and any("adapter=" in one for one in page.multiselect(key="models").value)


def test_an_adapter_that_is_not_there_is_reported_in_a_sentence(
    page: AppTest, tmp_path: Path, tiny_model: Path, settings: Settings
) -> None:
    looked_at(own(page, f"{tiny_model} adapter={tmp_path}/nothing"), settings)
    assert not page.exception and "There is no folder" in page.error[0].value
    assert "add_own" not in [button.key for button in page.button]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no model at all", "is not a model name"),
        ("a/../../etc/passwd", "is not a model name"),
        ("<script>alert(1)</script>", "is not a model name"),
        ("/etc", "is not below a folder that models may be read from"),
        ("{tmp}/nowhere", "There is no folder"),
        ("{tmp}/empty", "is not a SentenceTransformer model"),
        ("{tmp}/adapter", "is a LoRA adapter"),
        ("{tmp}/pickled", "the safetensors format"),
        ("endpoint:", "endpoint"),
        ("x" * 500, "is not a model name"),
        ("google/embeddinggemma-2", "is not run here"),
    ],
)
def test_what_is_no_model_is_a_sentence(
    page: AppTest, tmp_path: Path, settings: Settings, name: str, words: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    pickled = write_model(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    own(page, name.format(tmp=tmp_path))
    if name.startswith(("/", "{tmp}")):
        assert not page.exception and not page.error and "Not looked at yet" in told(page)
        looked_at(page, settings)
        assert page.button(key="look").label == "Look again" and "add_own" not in {one.key for one in page.button}
    assert not page.exception
    assert words in told(page)
    assert "<script>" not in "".join(error.value for error in page.error)


def test_an_id_of_the_catalogue_leads_to_its_card(page: AppTest) -> None:
    page.button_group(key="find_kind").set_value(["static"])
    own(page, "Qwen/Qwen3-Embedding-0.6B")
    assert "This is Qwen3-Embedding-0.6B of the catalogue." in told(page)
    page.button(key="show_card").click().run()
    assert dict(tables(page)["Facts"])["Repository"] == "Qwen/Qwen3-Embedding-0.6B"


def test_a_baseline_needs_no_files(page: AppTest) -> None:
    own(page, "string_length")
    page.button(key="add_own").click().run()
    assert compared(page).count("string_length") == 1


def test_offline_an_id_is_a_sentence(page: AppTest) -> None:
    own(page, "somebody/something")
    assert not page.error
    page.button(key="look_up").click().run()
    assert not page.exception
    assert "somebody/something is not on this machine" in told(page)


def test_the_hub_is_contacted_after_a_click_and_once(
    hub: FakeHub, online: AppTest, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "served"))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(PROMPTS))
    commit = hub.add("owner/name", folder, licence="mit", safetensors={"total": 12_345_678})
    own(online, "owner/name")
    assert hub.paths() == []
    online.button(key="look_up").click().run()
    assert not online.exception and not online.error
    facts = dict(tables(online)["Facts"])
    assert facts["Commit"] == commit[:12] and facts["Licence"] == "mit" and facts["Parameters"] == "12.3 M"
    assert facts["Architecture"] == "BertModel" and facts["Numbers in a vector"] == "32"
    asked = hub.paths()
    assert asked and not any("safetensors" in path for path in asked), "weights were asked for"
    menu = next(one for one in online.selectbox if one.label == "Prompt")
    assert menu.options == ["none, as in the paper", "query: “Find: ⏎”"]
    online.run()
    assert hub.paths() == asked
    online.button(key="add_own").click().run()
    assert compared(online)[0] == "owner/name"


def _adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{}")


def _pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(("change", "words"), [(_adapter, "LoRA adapter"), (_pickle, "safetensors format")])
def test_a_hub_model_that_would_be_refused_says_so_before_it_is_fetched(
    hub: FakeHub, online: AppTest, tiny_model: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "served")
    change(folder)
    hub.add("owner/name", folder)
    own(online, "owner/name")
    online.button(key="look_up").click().run()
    assert "It would be refused" in told(online) and words in told(online)
    assert online.button(key="add_own").disabled


def test_program_code_and_gates_are_reported(hub: FakeHub, online: AppTest, tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "served")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_x.X"}}))
    hub.add("owner/name", folder)
    own(online, "owner/name")
    online.button(key="look_up").click().run()
    assert "requires its own program code" in told(online)
    hub.add("owner/gated", tiny_model, gated=True)
    own(online, "owner/gated")
    online.button(key="look_up").click().run()
    assert dict(tables(online)["Facts"])["Files only by request"] == "yes"
    assert "Its owner decides who may download it" in told(online)


def test_strange_words_of_the_hub_stay_words(hub: FakeHub, online: AppTest, tiny_model: Path) -> None:
    hub.add("owner/name", tiny_model, licence="[x](http://a.b) <b>", library_name="**loud**")
    own(online, "owner/name")
    online.button(key="look_up").click().run()
    assert not online.exception
    facts = dict(tables(online)["Facts"])
    assert facts["Licence"] == "[x](http://a.b) <b>" and facts["Made for"] == "**loud**"
    assert not any("[x](http" in element.value for element in online.markdown)


def test_a_hub_that_cannot_be_reached_is_a_sentence_and_may_be_contacted_again(
    monkeypatch: pytest.MonkeyPatch, hub: FakeHub, online: AppTest, tiny_model: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", closed_port())
    own(online, "owner/name")
    online.button(key="look_up").click().run()
    assert not online.exception and len(online.error) == 1
    hub.add("owner/name", tiny_model)
    monkeypatch.setenv("HF_ENDPOINT", hub.address)
    st.cache_resource.clear()
    online.button(key="look_up").click().run()
    assert not online.error and "Facts" in tables(online)
