"""A model's card: the facts before anything large is downloaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from numembed.core.settings import Settings
from numembed.models.hub.card import card
from numembed.models.hub.snapshots import cached_folder
from tests.models.hub.asked import NAME, kept_files, told_by
from tests.servers.hub import FakeHub

pytestmark = pytest.mark.slow  # together they take long


def test_the_card_tells_the_facts_before_anything_large_is_downloaded(
    hub: FakeHub, online: Settings, model: Path
) -> None:
    commit = hub.add(NAME, model, licence="apache-2.0", safetensors={"parameters": {"F32": 1234}, "total": 1234})
    told = card(NAME, online)
    assert (told.repo, told.revision, told.licence, told.gated) == (NAME, commit, "apache-2.0", False)
    assert told.download_bytes == sum((model / name).stat().st_size for name in kept_files(model))
    assert (told.parameters, told.architecture, told.library) == (1234, "BertModel", "sentence-transformers")
    assert (told.dimension, told.max_tokens) == (32, 256) and "sentence-similarity" in told.tags
    assert told.has_safe_weights and not (told.needs_code or told.is_adapter)
    assert hub.paths("cdn") == [] and not any("resolve/main" in path for path in hub.paths())
    assert not cached_folder(NAME, commit).parent.exists()


def _change(file: Path, **facts: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def test_the_card_sees_what_cannot_be_used(hub: FakeHub, online: Settings, model: Path, tmp_path: Path) -> None:
    pickled = shutil.copytree(model, tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    mapped = shutil.copytree(model, tmp_path / "mapped")
    _change(mapped / "config.json", auto_map={"AutoModel": "other/code--modeling_x.XModel"})
    module = shutil.copytree(model, tmp_path / "module")
    (module / "modules.json").write_text('[{"idx": 0, "path": "", "type": "custom_st.Transformer"}]')
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    bare = shutil.copytree(pickled, tmp_path / "bare", ignore=shutil.ignore_patterns("*.bin"))
    for made in (pickled, mapped, module, adapter, bare):
        hub.add(f"owner/{Path(made).name}", Path(made))
    assert not card("owner/pickled", online).has_safe_weights and not card("owner/bare", online).has_safe_weights
    assert card("owner/mapped", online).needs_code and card("owner/module", online).needs_code
    assert card("owner/adapter", online).is_adapter and card("owner/adapter", online).dimension is None


def test_the_card_of_a_gated_model_tells_what_is_public(hub: FakeHub, online: Settings, model: Path) -> None:
    hub.add(NAME, model, gated=True, config={"architectures": ["GatedModel"]})
    told = card(NAME, online)
    assert told.gated and told.architecture == "GatedModel" and told.download_bytes > 0


def test_the_last_dense_module_decides_the_dimension(hub: FakeHub, online: Settings, model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    modules.insert(2, {"idx": 2, "path": "2_Dense", "type": "sentence_transformers.models.Dense"})
    (model / "modules.json").write_text(json.dumps(modules))
    (model / "2_Dense").mkdir()
    (model / "2_Dense" / "config.json").write_text('{"in_features": 32, "out_features": 768}')
    hub.add(NAME, model)
    assert card(NAME, online).dimension == 768


@pytest.mark.parametrize(
    "nonsense", ["[]", "null", '{"hidden_size": "x", "architectures": 3}', "{", "[" * 100_000, "\xff"]
)
def test_nonsense_in_a_config_leaves_facts_out(hub: FakeHub, online: Settings, model: Path, nonsense: str) -> None:
    for name in ("config.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        (model / name).write_text(nonsense, encoding="latin-1")
    hub.add(NAME, model, cardData=None, tags="no list", library_name=7)
    told = card(NAME, online)
    assert (told.dimension, told.max_tokens, told.architecture, told.licence) == (None, None, "", "")


def test_a_config_that_is_too_long_is_a_sentence(hub: FakeHub, online: Settings, model: Path) -> None:
    (model / "config.json").write_text(" " * 1_100_000)
    hub.add(NAME, model)
    assert "longer than 1 MB" in told_by(lambda: card(NAME, online))
