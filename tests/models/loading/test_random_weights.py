"""Random weights of the same architecture: nothing learnt stays, equal seeds are equal, all else is as it was."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from numembed.analysis.scores import SILHOUETTE, plain_scores
from numembed.core.errors import BadChoice, ModelUnavailable
from numembed.core.serialization import canonical_json
from numembed.models.catalogue.names import model, random_init, reference_of
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.loading.random_weights import draw_weights
from numembed.models.resolve import resolve
from numembed.models.spec import Loading, LocalWeights, ModelSpec
from numembed.paper.protocol import paper_study
from tests import architectures, tiny
from tests.architectures import ARCHITECTURES, NAMES
from tests.offline import OFFLINE

ROOT = Path(__file__).parents[3]
TEXTS = ["1, 2, 3, 4", "7, 7", "10, 200, 3000, 40000, 5", "1, 1, 2, 3, 5, 8, 13, 21, 34"]
SOME = ("bert-mean", "gemma3-text-bidir", "qwen3-causal-lasttoken", "static")
SEED = Loading(random_seed=0)
Folder = Callable[[str], Path]
ELSEWHERE = """
import json, sys
from tests.models.loading.test_random_weights import fingerprints
print(json.dumps(fingerprints(json.loads(sys.argv[1]))))
"""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Where the tiny model of a name is; each is written once."""
    root = tmp_path_factory.mktemp("architectures")

    @functools.cache
    def written(name: str) -> Path:
        return architectures.build(name, root / name)

    return written


def _encoder(folder: Path, loading: Loading = Loading(), **options: Any) -> SentenceEncoder:
    spec = ModelSpec(folder.name, LocalWeights(str(folder), "x" * 64), loading=loading, **options)
    return SentenceEncoder(spec, folder)


def _weights(encoder: SentenceEncoder) -> dict[str, Any]:
    return {name: tensor.float().numpy() for name, tensor in encoder.model.state_dict().items()}


def fingerprints(folders: list[str]) -> list[str]:
    """Return the sha256 of all weights of each model, drawn with seed 3."""
    found = []
    for folder in folders:
        encoder, digest = _encoder(Path(folder), Loading(random_seed=3)), hashlib.sha256()
        for _, array in sorted(_weights(encoder).items()):
            digest.update(array.tobytes())
        found.append(digest.hexdigest())
    return found


# ---- what is drawn ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_has_a_untrained_model_that_passes_its_check(folder: Folder, name: str) -> None:
    learnt, drawn = _encoder(folder(name)), _encoder(folder(name), SEED)
    assert drawn.check.ok and "drawn at random with seed 0, as requested" in drawn.check.sentence
    ours, theirs = drawn.encode(TEXTS), learnt.encode(TEXTS)
    assert ours.shape == theirs.shape and len(np.unique(ours, axis=0)) == len(TEXTS)
    assert np.abs(ours - theirs).max(axis=1).min() > 1e-2
    is_unit = [bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)) for vectors in (ours, theirs)]
    assert is_unit == [name in ARCHITECTURES and ARCHITECTURES[name].normalize] * 2
    assert [f.sentence for f in drawn.check.findings if f.name in ("attention", "last token", "dimension")] == [
        f.sentence for f in learnt.check.findings if f.name in ("attention", "last token", "dimension")
    ]
    assert drawn.token_ids(TEXTS) == learnt.token_ids(TEXTS) and drawn.parameters == learnt.parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_are_what_the_library_begins_with(folder: Folder, name: str) -> None:
    import torch

    ours = _encoder(folder(name), SEED).model[0].auto_model
    with torch.random.fork_rng():
        torch.manual_seed(9)
        fresh = type(ours)(ours.config)
    expected = dict(fresh.state_dict())
    assert expected.keys() == ours.state_dict().keys()
    for key, tensor in ours.state_dict().items():
        spread = float(expected[key].float().std()) if expected[key].numel() > 1 else 0.0
        if spread == 0:  # ones and zeros, as in a LayerNorm
            assert torch.equal(tensor, expected[key]), key
        else:
            assert float(tensor.std()) == pytest.approx(spread, rel=0.35), key
    computed = {key: value for key, value in fresh.named_buffers() if key not in expected}
    for key, value in ours.named_buffers():  # positions and rotary tables
        assert key in expected or torch.equal(value, computed[key]), key


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_nothing_of_the_learnt_numbers_stays(folder: Folder, tmp_path: Path, name: str) -> None:
    """Two models that differ in every weight have one and the same twin."""
    other = shutil.copytree(folder(name), tmp_path / "other")
    for file in other.rglob("*.safetensors"):
        tensors = load_file(file)
        save_file({key: -array[::-1] * 1.0 for key, array in tensors.items()}, file, metadata={"format": "pt"})
    one, two = _weights(_encoder(folder(name), SEED)), _weights(_encoder(other, SEED))
    for key in one:
        assert np.allclose(one[key], two[key], atol=1e-6), key
    learnt = _weights(_encoder(folder(name))), _weights(_encoder(other))
    assert all(np.abs(learnt[0][key] - learnt[1][key]).max() > 1e-3 for key in one if one[key].size > 2)


def test_layers_behind_the_pooling_are_drawn_too(folder: Folder) -> None:
    learnt, drawn = (_weights(_encoder(folder("gemma3-text-bidir"), loading)) for loading in (Loading(), SEED))
    dense = [key for key in drawn if ".linear." in key]
    assert len(dense) == 2 and all(np.abs(learnt[key] - drawn[key]).max() > 0.01 for key in dense)


def test_a_table_of_token_vectors_keeps_its_scale(folder: Folder, tmp_path: Path) -> None:
    large = shutil.copytree(folder("static"), tmp_path / "large")
    table = load_file(large / "model.safetensors")["embedding.weight"]
    save_file({"embedding.weight": table * 50}, large / "model.safetensors", metadata={"format": "pt"})
    (small,), (drawn,) = _weights(_encoder(folder("static"), SEED)).values(), _weights(_encoder(large, SEED)).values()
    assert drawn.shape == table.shape and np.allclose(drawn, small * 50, rtol=1e-4)
    assert drawn.std() == pytest.approx(table.std() * 50, rel=0.1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["bert-mean", "gte-cls-normalize", "llama-bidir-mean", "qwen3-causal-lasttoken"])
def test_a_smaller_number_format_stays(folder: Folder, name: str, dtype: str) -> None:
    import torch

    drawn = _encoder(folder(name), SEED, dtype=dtype)
    assert {weight.dtype for weight in drawn.model.parameters()} == {getattr(torch, dtype)}
    assert drawn.check.ok, drawn.check.sentence


def test_weights_that_are_no_numbers_do_not_reach_the_untrained_model(nan_model: Path) -> None:
    assert np.isfinite(_encoder(nan_model, SEED).encode(TEXTS)).all()


# ---- seeds ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOME)
def test_seeds_differ_and_repeat_whatever_was_drawn_before(folder: Folder, name: str) -> None:
    import torch

    first = _encoder(folder(name), Loading(random_seed=1)).encode(TEXTS)
    torch.manual_seed(1234)
    again, other = (_encoder(folder(name), Loading(random_seed=seed)) for seed in (1, 2))
    assert np.array_equal(first, again.encode(TEXTS))
    assert np.abs(first - other.encode(TEXTS)).max(axis=1).min() > 1e-2
    before = torch.random.get_rng_state()
    assert draw_weights(other.model, 1) == ()
    assert np.allclose(first, other.encode(TEXTS), rtol=0.1)  # a table's scale is now that of the drawn one
    assert torch.equal(before, torch.random.get_rng_state())  # nobody else's numbers are changed


@pytest.mark.slow
def test_another_process_draws_the_same(folder: Folder) -> None:
    folders = [str(folder(name)) for name in SOME]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(folders)], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert json.loads(done.stdout.splitlines()[-1]) == fingerprints(folders)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_bundled_architecture_scores_what_was_measured_without_training(seed: int) -> None:
    study, encoder = paper_study(), LoadedModel(OFFLINE).get(model(f"all-MiniLM-L6-v2 weights=random:{seed}"))
    scores = plain_scores(encoder.encode(study.sequences.texts), study.sequences.labels)
    assert -0.16 < scores[SILHOUETTE] < -0.11
    assert encoder.check.ok and "in both directions" in encoder.check.sentence


# ---- key and reference ------------------------------------------------------------------------------------------


def test_plain_keys_are_what_they_were_and_every_seed_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from numembed.models import spec as spec_module

    monkeypatch.setattr(
        spec_module, "vector_versions", lambda: {"transformers": "5.23", "sentence-transformers": "6.2"}
    )
    plain = replace(model("owner/name"), weights=LocalWeights("/any/where", "d" * 64), loading=Loading(add_eos=True))
    literal = {
        "loading": {"add_eos": True},
        "versions": {"transformers": "5.23", "sentence-transformers": "6.2"},
        "weights": {"kind": "LocalWeights", "digest": "d" * 64},
    }
    assert plain.key == hashlib.sha256(canonical_json(literal).encode()).hexdigest()
    assert plain.key == "baa913176600be5b1da9b13083a63e3ea4a12b82db9948f0df41fcbcd8d98ea2"  # before there was a seed
    drawn = [replace(plain, loading=replace(plain.loading, random_seed=seed)) for seed in (0, 1, 2)]
    assert len({spec.key for spec in (plain, *drawn)}) == 4
    assert all(ModelSpec.from_dict(json.loads(canonical_json(spec.as_dict()))) == spec for spec in drawn)


@pytest.mark.parametrize(
    ("reference", "seed", "written"),
    [
        ("all-MiniLM-L6-v2 weights=random", 0, "all-MiniLM-L6-v2 weights=random"),
        ("all-MiniLM-L6-v2 weights=random:0", 0, "all-MiniLM-L6-v2 weights=random"),
        ("all-MiniLM-L6-v2 weights=random:03", 3, "all-MiniLM-L6-v2 weights=random:3"),
        ("owner/name weights=random:999999999 dim=3", 999_999_999, "owner/name dim=3 weights=random:999999999"),
        ("GritLM-7B weights=random prompt=embed", 0, "GritLM-7B prompt=embed weights=random"),
        ("/models/with blank weights=random:7", 7, "/models/with blank weights=random:7"),
    ],
)
def test_a_reference_names_the_seed(reference: str, seed: int, written: str) -> None:
    made = model(reference)
    assert made.loading.random_seed == seed and reference_of(made) == written and model(written) == made


@pytest.mark.parametrize(
    "value", ["none", "random:", "random:-1", "random:x", "random:1e3", "random:٣", "random:" + "9" * 10]
)
def test_other_words_than_random_are_a_sentence(value: str) -> None:
    with pytest.raises(BadChoice, match="weights is random or random: and a seed of at most 9 digits"):
        model(f"all-MiniLM-L6-v2 weights={value}")


def test_formulas_and_endpoints_have_no_weights_to_draw() -> None:
    with pytest.raises(BadChoice, match="is a baseline and takes no options such as weights"):
        model("last_digits weights=random")
    with pytest.raises(BadChoice, match="weights is decided by its server"):
        model("endpoint:cluster weights=random")


@pytest.mark.parametrize(
    ("reference", "twin"),
    [
        ("all-MiniLM-L6-v2", "all-MiniLM-L6-v2 weights=random"),
        ('all-MiniLM-L6-v2 prompt="a: " dim=8', 'all-MiniLM-L6-v2 prompt="a: " dim=8 weights=random'),
        ("gte-Qwen2-1.5B-instruct attention=causal", "gte-Qwen2-1.5B-instruct attention=causal weights=random"),
        ("/models/one", "one weights=random"),
        ("owner/name@" + "0" * 40, "owner/name@" + "0" * 40 + " weights=random"),
    ],
)
def test_an_untrained_model_is_the_same_model_with_random_weights(reference: str, twin: str) -> None:
    spec = model(reference)
    found = random_init(spec)
    assert found is not None and found.name == twin
    assert replace(found, name=spec.name, loading=replace(found.loading, random_seed=None)) == spec
    assert model(reference_of(found)) == found and random_init(found) is None


@pytest.mark.parametrize("reference", ["last_digits", "endpoint:cluster", "nomic-embed-text-v2-moe"])
def test_what_is_no_architecture_of_the_library_has_no_untrained_model(reference: str) -> None:
    assert random_init(model(reference)) is None


def test_an_untrained_model_is_loaded_by_its_reference(tiny_model: Path) -> None:
    loaded = LoadedModel(OFFLINE)
    plain = resolve(model(str(tiny_model)), OFFLINE)
    twin = random_init(plain)
    assert twin is not None
    assert twin.key == resolve(model(f"{tiny_model} weights=random"), OFFLINE).key != plain.key
    vectors = {spec.name: loaded.get(spec).encode(TEXTS) for spec in (plain, twin)}
    assert vectors.keys() == {"tiny", "tiny weights=random"}
    assert np.abs(vectors["tiny"] - vectors["tiny weights=random"]).max() > 1e-2


# ---- what the check says, and what is refused -------------------------------------------------------------------


def _changed(tiny_model: Path, folder: Path, change: Callable[[dict[str, np.ndarray]], object]) -> Path:
    shutil.copytree(tiny_model, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_weight_that_is_missing_is_no_fault_of_random_ones(tiny_model: Path, tmp_path: Path) -> None:
    folder = _changed(tiny_model, tmp_path / "m", lambda all_: all_.pop("encoder.layer.1.output.dense.weight"))
    assert not _encoder(folder).check.ok and _encoder(folder, SEED).check.ok


def test_files_of_another_architecture_fail_their_check_with_random_weights(tiny_model: Path, tmp_path: Path) -> None:
    extra = {"encoder.layer.2.output.dense.weight": np.zeros((tiny.HIDDEN, 2 * tiny.HIDDEN), dtype=np.float32)}
    check = _encoder(_changed(tiny_model, tmp_path / "m", lambda all_: all_.update(extra)), SEED).check
    assert not check.ok and "so it has another architecture (encoder.layer.2.output.dense.weight)" in check.sentence


def test_what_nobody_draws_is_refused_in_a_sentence(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "weighted")
    modules = json.loads((folder / "modules.json").read_text())
    kind = "sentence_transformers.models.WeightedLayerPooling"
    modules.insert(1, {"idx": 3, "name": "3", "path": "3_Weighted", "type": kind})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "3_Weighted").mkdir()
    facts = {"word_embedding_dimension": tiny.HIDDEN, "layer_start": 1, "num_hidden_layers": 2}
    (folder / "3_Weighted" / "config.json").write_text(json.dumps(facts))
    save_file({"layer_weights": np.ones(2, "f4")}, folder / "3_Weighted" / "model.safetensors", {"format": "pt"})
    assert _encoder(folder).check.ok
    with pytest.raises(ModelUnavailable, match=r"weighted cannot be given random weights: .*'3.layer_weights' begins"):
        _encoder(folder, SEED)


CODE = """
import torch
from transformers import BertConfig, BertModel

class XConfig(BertConfig):
    model_type = "x"

class XModel(BertModel):
    config_class = XConfig

    def __init__(self, config, **rest):
        super().__init__(config, **rest)
        self.expert_scale = torch.nn.Parameter(torch.ones(config.hidden_size))
        self.post_init()

    def _init_weights(self, module):
        super()._init_weights(module)
        if hasattr(module, "expert_scale"):
            {draw}
"""


@pytest.mark.parametrize(
    ("draw", "sentence"),
    [
        ("torch.nn.init.constant_(module.expert_scale, 2.5)", ""),
        ("pass", "its program does not say how '0.model.expert_scale' begins"),
        ("raise KeyError('x')", r"drawing them failed, KeyError: 'x'"),
    ],
)
def test_a_models_own_program_draws_its_weights_or_is_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draw: str, sentence: str
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)
    extra = {"expert_scale": np.linspace(-2, 2, tiny.HIDDEN, dtype=np.float32)}
    folder = _changed(tiny_model, tmp_path / "coded", lambda all_: all_.update(extra))
    (folder / "modeling_x.py").write_text(CODE.replace("{draw}", draw))
    auto_map = {"AutoConfig": "modeling_x.XConfig", "AutoModel": "modeling_x.XModel"}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "x", "auto_map": auto_map}))
    loading = Loading(remote_code="owner/code@" + "0" * 40, needs_parameter="expert", random_seed=0)
    assert _encoder(folder, replace(loading, random_seed=None)).check.ok
    if sentence:
        with pytest.raises(ModelUnavailable, match=sentence):
            _encoder(folder, loading)
    else:
        drawn = _encoder(folder, loading)
        assert drawn.check.ok and (_weights(drawn)["0.model.expert_scale"] == 2.5).all()


def test_a_part_of_packed_numbers_is_not_passed_over() -> None:
    import torch

    packed = torch.nn.Linear(2, 2)
    packed.weight = torch.nn.Parameter(torch.ones(2, 2, dtype=torch.int8), requires_grad=False)
    assert draw_weights(torch.nn.Sequential(packed), 0) == ("0.weight",)
