"""Tiny random checkpoints of every architecture in the catalogue, also as some lie on the hub: with their mistakes."""

from __future__ import annotations

import functools
import itertools
import json
import string
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tests import tiny

HIDDEN, LAYERS, HEADS, POSITIONS = tiny.HIDDEN, tiny.LAYERS, tiny.HEADS, tiny.POSITIONS
GRITLM_PROMPT = "<|embed|>\n"


def xlmr() -> Tokenizer:
    """As in XLM-R: words begin with a mark, the likeliest pieces win."""
    numbers = [f"{mark}{n}" for mark in ("▁", "") for n in range(0, 100, 3)]
    pieces = dict.fromkeys(["▁", *numbers, *string.digits, *string.ascii_letters, *string.punctuation])
    scored = [(name, 0.0) for name in ("<s>", "<pad>", "</s>", "<unk>")]
    scored += [(piece, -9.0 + len(piece)) for piece in pieces] + [("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _ended(tokenizer, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>")


def sentencepiece(special: str, template: str) -> Tokenizer:
    """As in Llama 2, Mistral and Gemma: every digit is a token, unknown signs are bytes."""
    signs = ["▁", *string.digits, *string.ascii_letters, *string.punctuation]
    names = [*special.split(), *(f"<0x{byte:02X}>" for byte in range(256)), *signs]
    tokenizer = Tokenizer(models.BPE(_numbered(names), [], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _ended(tokenizer, special.split(), template)


def byte_level(special: str, template: str, *, digits: str = r"\p{N}", paired: str = string.digits) -> Tokenizer:
    """As in Qwen (every digit a token) and Llama 3 (``digits`` in groups): bytes with visible names."""
    merges = [(one, other) for one in paired for other in paired]
    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges), *special.split()]
    tokenizer = Tokenizer(models.BPE(vocab=_numbered(names), merges=merges))
    words = Regex(rf"[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    bare = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(words, "isolated"), bare])
    tokenizer.decoder = decoders.ByteLevel()
    return _ended(tokenizer, special.split(), template)


def _ended(tokenizer: Tokenizer, special: Iterable[str], template: str) -> Tokenizer:
    """Return ``tokenizer`` with its special tokens named and put around a text as ``template`` says."""
    tokenizer.add_special_tokens(list(special))
    used = [(token, tokenizer.token_to_id(token)) for token in template.split() if token != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=used)
    return tokenizer


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


mistral = functools.partial(sentencepiece, "<unk> <s> </s>")
gemma = functools.partial(sentencepiece, "<pad> <eos> <bos> <unk>", "<bos> $A <eos>")
qwen = functools.partial(byte_level, "<|endoftext|> <|im_start|> <|im_end|>", template="$A <|endoftext|>")
llama3 = functools.partial(
    byte_level, "<|begin_of_text|> <|end_of_text|>", "<|begin_of_text|> $A", digits=r"\p{N}{1,3}"
)
modernbert = functools.partial(byte_level, "[PAD] [UNK] [CLS] [SEP]", "[CLS] $A [SEP]")
ministral = functools.partial(byte_level, "<unk> <s> </s> <pad>", "<s> $A")

BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
LLAMA = {"pad_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
XLMR = LLAMA | {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
GEMMA = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>"}
QWEN = {"pad_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
LLAMA3 = {"pad_token": "<|end_of_text|>", "bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>"}
UNPADDED = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")  # a base model's

DECODER = {"num_key_value_heads": 1, "head_dim": HIDDEN // HEADS}
BIDIRECTIONAL = DECODER | {"is_causal": False}
SLIDING = DECODER | {"sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"]}
SCALED = SLIDING | {"query_pre_attn_scalar": HIDDEN // HEADS}
PROJECTED = SLIDING | {"embedding_dim": 48, "hidden_size_per_layer_input": 8, "global_head_dim": HIDDEN // HEADS}
YARN = BIDIRECTIONAL | {
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 1e6,
        "factor": 16.0,
        "original_max_position_embeddings": POSITIONS // 16,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.1,
    }
}


@dataclass(frozen=True)
class Architecture:
    """What a tiny model is made of, and what must be found in it."""

    model_type: str
    tokenizer: Callable[[], Tokenizer]
    special: dict[str, str]  # its special tokens
    pooling: str
    bidirectional: bool
    config: dict[str, Any] = field(default_factory=dict)
    normalize: bool = True
    pool_prompt: bool = True
    dense: tuple[int, ...] = ()  # widths of the layers behind the pooling
    prompts: dict[str, str] = field(default_factory=dict)
    head: bool = False  # with the layer that guesses the next token

    @property
    def width(self) -> int:
        """How many numbers a token's vector has."""
        return int(self.config.get("embedding_dim", HIDDEN))


_ASKED = {"query": "Instruct: Find what continues\nQuery:", "document": ""}
ARCHITECTURES = {
    "gemma3-text-bidir": Architecture(
        "gemma3_text",
        gemma,
        GEMMA,
        "mean",
        True,
        SCALED | {"use_bidirectional_attention": True},
        dense=(3 * HIDDEN, HIDDEN),
        prompts={"query": "task: search result | query: "},
    ),
    "xlm-roberta": Architecture("xlm-roberta", xlmr, XLMR, "mean", True),
    "gte-cls-normalize": Architecture("gte", xlmr, XLMR, "cls", True),
    "gte-cls-no-normalize": Architecture("gte", tiny.wordpiece, BERT, "cls", True, normalize=False),
    "nomic-bert-dense": Architecture("nomic_bert", tiny.wordpiece, BERT, "mean", True),
    "qwen3-causal-lasttoken": Architecture("qwen3", qwen, QWEN, "lasttoken", False, DECODER, prompts=_ASKED),
    "qwen2-bidir-lasttoken": Architecture("qwen2", qwen, QWEN, "lasttoken", True, BIDIRECTIONAL, prompts=_ASKED),
    "qwen2-causal-lasttoken": Architecture("qwen2", qwen, QWEN, "lasttoken", False, DECODER, prompts=_ASKED),
    "mistral-causal-lasttoken": Architecture(
        "mistral", lambda: mistral("<s> $A </s>"), LLAMA, "lasttoken", False, DECODER
    ),
    "mistral-bidir-mean": Architecture(
        "mistral",
        lambda: mistral("<s> $A"),
        LLAMA,
        "mean",
        True,
        BIDIRECTIONAL,
        pool_prompt=False,
        prompts={"embed": GRITLM_PROMPT},
    ),
    "llama-bidir-mean": Architecture("llama", llama3, LLAMA3, "mean", True, BIDIRECTIONAL),
    "gemma2-causal-lasttoken": Architecture("gemma2", gemma, GEMMA, "lasttoken", False, SCALED),
    "bert-mean": Architecture("bert", tiny.wordpiece, BERT, "mean", True),
    "bert-cls": Architecture("bert", tiny.wordpiece, BERT, "cls", True),
    "modernbert-cls": Architecture("modernbert", modernbert, BERT, "cls", True),
    "jina-embeddings-v3": Architecture("jina_embeddings_v3", xlmr, XLMR, "mean", True),
    "embedding-gemma2-text": Architecture("embedding_gemma2_text", gemma, GEMMA, "mean", True, PROJECTED),
    "ministral3-bidir-mean": Architecture("ministral3", ministral, LLAMA | {"pad_token": "<pad>"}, "mean", True, YARN),
}
NAMES = (*ARCHITECTURES, "static")


def _old(theta: float, config: dict[str, Any] = DECODER) -> dict[str, Any]:
    return config | {"rope_parameters": {"rope_type": "default", "rope_theta": theta}}


_TIED = _old(1e5) | {"tie_word_embeddings": True}
PUBLISHED = {
    "e5-mistral": Architecture("mistral", lambda: mistral("<s> $A"), LLAMA, "lasttoken", False, _old(1e4)),
    "gte-qwen2": Architecture("qwen2", lambda: qwen(template="$A"), QWEN, "lasttoken", True, _old(1e6)),
    "gritlm": Architecture(
        "mistral", lambda: mistral("<s> $A"), LLAMA, "mean", True, _old(1e4), pool_prompt=False, head=True
    ),
    "nemotron": Architecture("llama", llama3, LLAMA3, "mean", True, _old(5e5)),
    "smollm2": Architecture("llama", lambda: qwen(template="$A", paired=""), UNPADDED, "mean", False, _TIED, head=True),
    "nomic-moe": Architecture("nomic_bert", xlmr, XLMR, "mean", True, _old(1e4, {})),
    "gte-new": Architecture("gte", xlmr, XLMR, "cls", True, _old(2e4, {})),
    "gte-mirror": Architecture("gte", xlmr, XLMR, "cls", True, _old(2e4, {})),
}
_CONFIG: dict[str, dict[str, Any]] = {  # what config.json says otherwise than a new one would
    "gte-qwen2": {"architectures": ["Qwen2ForCausalLM"], "auto_map": {"AutoModel": "modeling_qwen.Qwen2Model"}},
    "gritlm": {
        "auto_map": {
            "AutoModel": "modeling_gritlm7b.MistralModel",
            "AutoModelForCausalLM": "modeling_gritlm7b.MistralForCausalLM",
        }
    },
    "nemotron": {
        "architectures": ["LlamaBidirectionalModel"],
        "model_type": "llama_bidirec",
        "auto_map": {
            "AutoModel": "llama_bidirectional_model.LlamaBidirectionalModel",
            "AutoConfig": "llama_bidirectional_model.LlamaBidirectionalConfig",
        },
    },
    "nomic-moe": {  # the real one's widths are the library's defaults, so only here they stand under both names
        "n_embd": HIDDEN,
        "n_head": HEADS,
        "n_inner": 2 * HIDDEN,
        "n_layer": LAYERS,
        "n_positions": POSITIONS,
        "num_experts": 4,
        "moe_top_k": 2,
        "moe_every_n_layers": 2,
        "rotary_emb_base": 1e4,
        "auto_map": {
            "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
            "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
        },
    },
    "gte-new": {
        "architectures": ["NewModel"],
        "model_type": "new",
        "pack_qkv": True,
        "auto_map": {
            "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
            "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
        },
    },
}
_TOKENIZER_CONFIG: dict[str, dict[str, Any]] = {
    "e5-mistral": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": True},
    "gte-qwen2": {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_eos_token": True,
        "auto_map": {
            "AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", "tokenization_qwen.Qwen2TokenizerFast"],
        },
    },
    "gritlm": {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False},
    "smollm2": {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False},
    "nemotron": {"tokenizer_class": "PreTrainedTokenizerFast"},
    **{name: {"tokenizer_class": "XLMRobertaTokenizer"} for name in ("nomic-moe", "gte-new", "gte-mirror")},
}


def build(name: str, folder: Path) -> Path:
    """Write the tiny model called ``name`` (one of NAMES) into ``folder``, in SentenceTransformer's own format."""
    if name == "static":
        return tiny.write_static_model(folder)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from transformers import PreTrainedTokenizerFast

    made = ARCHITECTURES[name]
    options = made.special | {"tokenizer_object": made.tokenizer(), "model_max_length": POSITIONS}
    with tempfile.TemporaryDirectory() as bare:
        PreTrainedTokenizerFast(**options).save_pretrained(bare)
        in_memory(made).save_pretrained(bare)
        modules = [Transformer(bare), *heads(made)]
        whole = SentenceTransformer(modules=modules, prompts=made.prompts, similarity_fn_name="cosine", device="cpu")
        whole.save_pretrained(str(folder), create_model_card=False)
    return folder


def published(name: str, folder: Path) -> Path:
    """Write the tiny model called ``name`` (one of PUBLISHED) into ``folder`` as its original lies on the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    made = PUBLISHED[name]
    in_memory(made).save_pretrained(folder)
    made.tokenizer().save(str(folder / "tokenizer.json"))
    _write(folder / "tokenizer_config.json", made.special | {"model_max_length": POSITIONS} | _TOKENIZER_CONFIG[name])
    config = json.loads((folder / "config.json").read_text()) | _CONFIG.get(name, {})
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]  # as it was written before transformers 5
    _write(folder / "config.json", config)
    if name == "nomic-moe":
        _give_experts(folder / "model.safetensors")
    if not made.head:
        _write_modules(folder, made.pooling)
    return folder


def in_memory(made: Architecture) -> Any:
    """Return the random transformer, always the same."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    tokenizer = made.tokenizer()
    ids = {f"{kind}_id": tokenizer.token_to_id(token) for kind, token in made.special.items()}
    ids = {"bos_token_id": ids.get("cls_token_id"), "eos_token_id": ids.get("sep_token_id")} | ids
    config = AutoConfig.for_model(
        made.model_type,
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=POSITIONS,
        **ids,
        **made.config,
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = (AutoModelForCausalLM if made.head else AutoModel).from_config(config)
        for weight in model.parameters():  # what the library draws is so small that every text would look the same
            weight.normal_(0, 0.3) if weight.ndim > 1 else weight.add_(torch.randn_like(weight), alpha=0.1)
    return model.eval()


def heads(made: Architecture) -> list[Any]:
    """Return the modules behind the transformer."""
    import torch
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    widths = itertools.pairwise((made.width, *made.dense))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [Dense(*both, bias=False, activation_function=torch.nn.Identity()) for both in widths]
    return [Pooling(made.width, made.pooling, made.pool_prompt), *layers, *([Normalize()] if made.normalize else [])]


def _give_experts(file: Path) -> None:
    """Replace the dense layers of a NomicBert by the biases, router and experts of the real one, by its own names."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    random = np.random.default_rng(0)
    tensors = {name: array for name, array in load_file(file).items() if ".mlp." not in name}
    shapes = {
        "0.mlp.fc1.weight": (2 * HIDDEN, HIDDEN),
        "0.mlp.fc1.bias": (2 * HIDDEN,),
        "0.mlp.fc2.weight": (HIDDEN, 2 * HIDDEN),
        "0.mlp.fc2.bias": (HIDDEN,),
        "1.mlp.experts.bias": (HIDDEN,),
        "1.mlp.router.layer.weight": (4, HIDDEN),
        "1.mlp.experts.mlp.w1": (8 * HIDDEN, HIDDEN),
        "1.mlp.experts.mlp.w2": (8 * HIDDEN, HIDDEN),
    }
    for name, shape in shapes.items():
        tensors[f"encoder.layers.{name}"] = (random.standard_normal(shape) * 0.3).astype(np.float32)
    save_file(tensors, file, metadata={"format": "pt"})


def _write_modules(folder: Path, pooling: str) -> None:
    """Write the list of modules as sentence-transformers 2 did."""
    mode = {"cls": "pooling_mode_cls_token", "mean": "pooling_mode_mean_tokens", "lasttoken": "pooling_mode_lasttoken"}
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    _write(
        folder / "modules.json",
        [
            {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for number, (path, kind) in enumerate(kinds)
        ],
    )
    _write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, mode[pooling]: True})
    _write(folder / "sentence_bert_config.json", {"max_seq_length": POSITIONS, "do_lower_case": False})


def _write(file: Path, value: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))
