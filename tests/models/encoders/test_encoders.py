from __future__ import annotations

import gc
import json
import random
import shutil
import weakref
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from numembed.core.errors import ModelUnavailable, NonFiniteVectors
from numembed.models.catalogue.names import CATALOGUE, model
from numembed.models.encoders import loaded as loaded_models
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.loaded import LoadedModel
from numembed.models.encoders.tokens import BATCH_TOKENS, token_batches
from numembed.models.resolve import resolve
from numembed.models.spec import Loading, ModelSpec
from tests import tiny
from tests.offline import OFFLINE

LIMIT = 32


def _spec(folder: Path) -> ModelSpec:
    return resolve(model(str(folder)), OFFLINE)


def _encoder(folder: Path) -> SentenceEncoder:
    return SentenceEncoder(_spec(folder), folder)


def _mixed(count: int) -> list[str]:
    """Sequences of 5 to 200 numbers."""
    draw = random.Random(0)
    sizes = [draw.randint(5, 200) for _ in range(count)]
    return [", ".join(str(draw.randint(0, 9_999)) for _ in range(size)) for size in sizes]


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> SentenceEncoder:
    return _encoder(tiny_model)


@pytest.fixture(scope="module", params=tiny.TOKENIZERS)
def narrow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SentenceEncoder:
    """One encoder a kind of tokenizer, with a window of LIMIT tokens."""
    folder = tmp_path_factory.mktemp("narrow") / request.param
    return _encoder(tiny.write_model(folder, tokenizer=tiny.TOKENIZERS[request.param](), limit=LIMIT))


@pytest.mark.slow
def test_a_batch_gives_what_each_text_alone_gives(encoder: SentenceEncoder) -> None:
    texts = _mixed(60)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    together = np.zeros_like(alone)
    for batch in encoder.batches(texts):
        together[batch] = encoder.encode([texts[i] for i in batch])
    assert together.shape == (60, tiny.HIDDEN) and together.dtype == np.float32
    assert np.abs(together - alone).max() <= 1e-5
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_rows_stay_with_their_texts(encoder: SentenceEncoder) -> None:
    texts = ["1", "22, 33, 44, 55", "7, 8", "22, 33, 44, 55, 66"]
    forth, back = encoder.encode(texts), encoder.encode(texts[::-1])
    assert np.abs(forth - back[::-1]).max() <= 1e-5 and np.abs(forth[0] - forth[1]).max() > 1e-3


def test_vectors_are_those_of_the_library_itself(encoder: SentenceEncoder, tiny_model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    texts = _mixed(20)
    expected = SentenceTransformer(str(tiny_model), local_files_only=True).encode(texts)
    assert np.abs(encoder.encode(texts) - expected).max() <= 1e-5


@pytest.mark.slow
def test_no_more_than_three_per_cent_is_padding(encoder: SentenceEncoder) -> None:
    texts = _mixed(400)
    batches = encoder.batches(texts)
    lengths = [len(ids) for ids in encoder.token_ids(texts)]
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)
    assert sum(lengths) / padded >= 0.97
    assert max(len(batch) * max(lengths[i] for i in batch) for batch in batches) <= BATCH_TOKENS


@given(lengths=st.lists(st.integers(0, 600), max_size=200), budget=st.integers(1, 2_000))
def test_every_text_is_in_one_batch_and_no_batch_is_too_large(lengths: list[int], budget: int) -> None:
    batches = token_batches(lengths, budget=budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget for batch in batches)
    flat = [lengths[index] for batch in batches for index in batch]
    assert flat == sorted(flat)
    for one, following in pairwise(batches):  # no batch is smaller than it needs to be
        assert (len(one) + 1) * max(lengths[following[0]], 1) > budget


numbers = st.one_of(st.integers(0, 99), st.integers(-(10**6), 10**12), st.integers(10**374, 10**375 - 1))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    terms=st.lists(numbers, min_size=1, max_size=150),
    separator=st.sampled_from([", ", " ", "  ", "   ", " ; ", ",", "\n", "\n ", ",  "]),
    repeats=st.integers(1, 8),
)
@example(terms=[7] * 300, separator=" " * 8, repeats=1)
def test_a_cut_text_has_the_same_tokens(
    narrow: SentenceEncoder, terms: list[int], separator: str, repeats: int
) -> None:
    text = separator.join(map(str, terms * repeats))
    assert narrow.token_ids(narrow._cut([text])) == narrow.token_ids([text])


def test_long_texts_are_cut_short(narrow: SentenceEncoder) -> None:
    text = ", ".join(str(n) for n in range(1, 4_000))
    assert len(text) > 18_000
    (cut,) = narrow._cut([text])
    assert len(cut) <= 16 * LIMIT and text.startswith(cut)
    assert np.array_equal(narrow.encode([text]), narrow.encode([cut]))


def test_numbers_of_many_digits_do_not_starve_the_window(narrow: SentenceEncoder) -> None:
    text = ", ".join(str(10**374 + n) for n in range(50))
    (cut,) = narrow._cut([text])
    ids = narrow.token_ids([cut])[0]
    assert ids == narrow.token_ids([text])[0] and len(ids) == LIMIT
    unknown = ids.count(narrow.model.tokenizer.unk_token_id)
    assert unknown == 0 or unknown == LIMIT // 2 - 1  # WordPiece reads each as one unknown token: the cut had to grow
    assert len(cut) < (9_000 if unknown else 400)


def test_short_and_long_texts_together(narrow: SentenceEncoder) -> None:
    texts = ["1, 2", ", ".join(map(str, range(3_000))), "", "5", " ".join(["7"] * 5_000)]
    assert narrow.token_ids(narrow._cut(texts)) == narrow.token_ids(texts)
    assert narrow._cut(texts)[0] == "1, 2" and narrow.encode(texts).shape == (5, tiny.HIDDEN)


def test_the_prompt_is_read_before_every_text(encoder: SentenceEncoder, tiny_model: Path) -> None:
    texts = ["1, 2, 3", "55, 66"]
    prompted = SentenceEncoder(replace(_spec(tiny_model), prompt="9, 9: "), tiny_model)
    expected = encoder.encode(["9, 9: " + text for text in texts])
    assert np.abs(prompted.encode(texts) - expected).max() <= 1e-5
    assert np.abs(prompted.encode(texts) - encoder.encode(texts)).max() > 1e-3
    assert [len(ids) for ids in prompted.token_ids(texts)] == [len(ids) + 4 for ids in encoder.token_ids(texts)]


@pytest.mark.parametrize("pool_prompt", [True, False])
def test_a_prompt_is_exchanged_as_if_the_model_had_been_loaded_with_it(tiny_model: Path, pool_prompt: bool) -> None:
    """Also where the prompt's tokens are left out of the mean: their number must not be another prompt's."""
    recipe = Loading(pooling="mean", pool_prompt=pool_prompt)
    specs = [replace(_spec(tiny_model), loading=recipe, prompt=prompt) for prompt in ("", "9: ", "1, 2, 3, 4: ", "9: ")]
    exchanged = SentenceEncoder(specs[0], tiny_model)
    for spec in specs:
        exchanged = exchanged.of_related(spec)
        fresh = SentenceEncoder(spec, tiny_model)
        assert np.array_equal(exchanged.encode(["1, 2, 3", "7"]), fresh.encode(["1, 2, 3", "7"]))
        assert exchanged.token_ids(["5"]) == fresh.token_ids(["5"]) and exchanged.check == fresh.check


def test_the_check_of_another_prompt_is_its_own(tiny_model: Path) -> None:
    facts = replace(CATALOGUE["all-MiniLM-L6-v2"], dimension=tiny.HIDDEN, pooling="cls")
    plain = SentenceEncoder(_spec(tiny_model), tiny_model, facts=facts)
    prompted = plain.of_related(replace(_spec(tiny_model), prompt="9: "))
    assert prompted.check is not plain.check and not prompted.check.ok  # the same facts, held against it again


def test_the_specs_limit_counts_where_it_is_given(encoder: SentenceEncoder, tiny_model: Path) -> None:
    short = SentenceEncoder(replace(_spec(tiny_model), max_tokens=7), tiny_model)
    assert np.abs(short.encode(["1, 2, 3, 4, 5"]) - encoder.encode(["1, 2, 3"])).max() <= 1e-5


def test_a_static_model_runs_too(tmp_path: Path) -> None:
    static = _encoder(tiny.write_static_model(tmp_path / "static"))
    texts = ["1, 2, 3", ", ".join(map(str, range(400))), "7"]
    assert [len(batch) for batch in static.batches(texts)] == [2, 1]
    assert np.allclose(static.encode(["7, 8"]), static.encode(["8, 7"]))  # a mean of tokens sees no order


def test_numbers_that_are_none_are_refused(nan_model: Path) -> None:
    with pytest.raises(NonFiniteVectors, match=r"broken returned numbers that are not finite \(first for '2, 4"):
        _encoder(nan_model).encode(["1, 2", "3"])


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "{"),
        ("modules.json", "[]"),
        ("tokenizer.json", "{}"),
        ("config.json", '{"model_type": "no-such-type"}'),
    ],
)
def test_a_folder_that_cannot_be_loaded_is_a_sentence(
    tiny_model: Path, tmp_path: Path, file: str, content: str
) -> None:
    folder = tmp_path / "spoilt"
    shutil.copytree(tiny_model, folder)
    (folder / file).write_text(content)
    with pytest.raises(ModelUnavailable, match="spoilt could not be loaded as a SentenceTransformer model"):
        _encoder(folder)


def test_a_model_runs_no_code_of_its_own(tiny_model: Path, tmp_path: Path) -> None:
    folder, mark = tmp_path / "hostile", tmp_path / "mark"
    shutil.copytree(tiny_model, folder)
    code = f"open({str(mark)!r}, 'w')\nfrom transformers import BertModel as Hostile, BertConfig as Config\n"
    (folder / "modeling_hostile.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModel": "modeling_hostile.Hostile", "AutoConfig": "modeling_hostile.Config"}
    (folder / "config.json").write_text(json.dumps(config))
    assert _encoder(folder).encode(["1"]).shape == (1, tiny.HIDDEN)
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "modeling_hostile.Hostile"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelUnavailable):
        _encoder(folder)
    assert not mark.exists()


@pytest.mark.slow
def test_one_model_is_in_memory_at_a_time(tiny_model: Path, tmp_path: Path) -> None:
    other = tiny.write_model(tmp_path / "other", seed=1)
    loaded = LoadedModel(OFFLINE)
    first = loaded.get(_spec(tiny_model))
    assert loaded.get(replace(_spec(tiny_model), name="renamed")) is first
    vectors = first.encode(["1, 2"])
    trace = weakref.ref(first.model)  # type: ignore[attr-defined]
    del first
    second = loaded.get(_spec(other))
    gc.collect()
    assert trace() is None and np.abs(second.encode(["1, 2"]) - vectors).max() > 1e-3
    assert np.array_equal(loaded.get(_spec(tiny_model)).encode(["1, 2"]), vectors)
    loaded.free()
    loaded.free()
    assert np.array_equal(loaded.get(_spec(tiny_model)).encode(["1, 2"]), vectors)


@pytest.mark.slow
def test_the_old_model_is_gone_before_the_new_one_comes(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = LoadedModel(OFFLINE)
    trace = weakref.ref(loaded.get(_spec(tiny_model)).model)  # type: ignore[attr-defined]
    present = []
    monkeypatch.setattr(loaded_models, "SentenceEncoder", lambda *given, **named: present.append(trace()))
    loaded.get(replace(_spec(tiny_model), max_tokens=100))
    assert present == [None]


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_leaves_room_for_the_next(tiny_model: Path) -> None:
    loaded = LoadedModel(OFFLINE)
    with pytest.raises(ModelUnavailable):
        loaded.get(model("owner/name@" + "0" * 40))
    assert loaded.get(_spec(tiny_model)).encode(["1"]).shape == (1, tiny.HIDDEN)
