"""The paper's published numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedScore:
    """One line of Table 2: a model under the paper's name for it, scored by the families and by KMeans' groups."""

    model: str
    silhouette_families: float  # the paper says "true groups"
    davies_bouldin_families: float
    silhouette_kmeans: float
    davies_bouldin_kmeans: float
    chance_low: float | None = None  # 95% of shuffled families score between these; of what was run here only
    chance_high: float | None = None
    redrawn_sd: float | None = None  # of the silhouette over redrawn windows; where they were redrawn here


@dataclass(frozen=True)
class PublishedModel:
    """One line of Table 1: what the paper says of a model's build, in its own words, right or wrong."""

    model: str
    architecture: str
    pooling: str  # the paper says "sentence embedding formation"


TABLE_1: tuple[PublishedModel, ...] = (
    PublishedModel(
        "EmbeddingGemma (0.3B)",
        "Encoder-only Transformer (Gemma-3 encoder; full bidirectional attention)",
        "Mean pooling over final encoder hidden states; MRL projection options",
    ),
    PublishedModel(
        "gte-multilingual-base (0.3B)",
        "Encoder-only Transformer (GTE multilingual; XLM-R-style with RoPE + 8k context)",
        "[CLS] or first-token embedding (projected via MRL)",
    ),
    PublishedModel(
        "gte-large-en-v1.5 (0.4B)",
        "Encoder-only Transformer (GTE English-specialized)",
        "[CLS] token or projected representation",
    ),
    PublishedModel(
        "nomic-embed-text-v2-moe (0.5B)",
        "Mixture-of-Experts Transformer (8 experts, 475M total, 305M active)",
        "Mean pooling; supports multiple output sizes through matryoshka projections",
    ),
    PublishedModel(
        "Multilingual-e5-large (0.6B)",
        "Encoder-only Transformer (XLM-R-large backbone; 24 layers)",
        "Mean pooling of last-layer hidden states",
    ),
    PublishedModel(
        "Qwen3 Embedding (0.6B / 4B / 8B)",
        "Decoder-only Transformer (Qwen3 architecture; causal attention)",
        "Hidden state of the final [EOS] token after concatenating instruction + query",
    ),
    PublishedModel(
        "gte-Qwen2-1.5B-instruct",
        "Decoder-only Transformer (Qwen2-1.5B backbone)",
        "Final [EOS] token state",
    ),
    PublishedModel(
        "GritLM-7B",
        "Decoder-only Transformer (Mistral-7B instruction-tuned)",
        "Likely last-token embedding (not publicly specified)",
    ),
    PublishedModel(
        "gte-Qwen2-7B-instruct",
        "Decoder-only Transformer (Qwen2-7B backbone)",
        "Final [EOS] embedding",
    ),
    PublishedModel(
        "e5-mistral-7b-instruct",
        "Decoder-only Transformer (Mistral-7B, 32 layers, 4096 dim)",
        "Hidden state of final token after instruction prefix.",
    ),
    PublishedModel(
        "Llama-Embed-Nemotron (8B)",
        "Bidirectional Transformer (Llama-3.1-8B with causal mask removed)",
        "Global average pooling over final-layer hidden states",
    ),
    PublishedModel(
        "bge-multilingual-gemma2 (9B)",
        "Decoder-only Gemma-2 9B adapted for embeddings",
        "Last-token embedding with linear projection",
    ),
)
TABLE_2: tuple[PublishedScore, ...] = (
    PublishedScore("EmbeddingGemma(0.3B)", 0.0339, 2.1082, 0.0857, 1.6192),
    PublishedScore("gte multilingual-base(0.3B)", -0.0837, 3.1835, 0.1904, 1.2395),
    PublishedScore("gte-large-en-v1.5(0.4B)", -0.0924, 3.1173, 0.1718, 1.2234),
    PublishedScore("nomic-embed-text-v2-moe(0.5B)", -0.1141, 3.2009, 0.2497, 1.1364),  # printed "nommic" there
    PublishedScore("Multilingual-e5-large(0.6B)", -0.0640, 2.6140, 0.1831, 1.3723),
    PublishedScore("Qwen3 Embedding (0.6B)", 0.1830, 1.5173, 0.1898, 1.3560),
    PublishedScore("gte-Qwen2-1.5B-instruct", 0.0563, 2.0755, 0.1499, 1.3922),
    PublishedScore("Qwen3 Embedding(4B)", 0.2724, 1.2080, 0.2724, 1.2081),
    PublishedScore("GritLM-7B", 0.2017, 1.3827, 0.2429, 1.1863),
    PublishedScore("gte-Qwen2-7B instruct", 0.1229, 1.6347, 0.1136, 1.5824),
    PublishedScore("e5-mistral-7b-instruct", 0.3037, 1.1061, 0.3037, 1.1061),
    PublishedScore("Qwen3 Embedding(8B)", 0.3103, 1.0893, 0.3103, 1.0893),
    PublishedScore("llama-embed-Nemtron(8B)", 0.0953, 1.7002, 0.0963, 1.6583),
    PublishedScore("bge-multilingual-gemma2(9B)", 0.2568, 1.2246, 0.2568, 1.2246),
)


def published(paper_name: str) -> PublishedScore | None:
    """Return what Table 2 says of a model, or None where the paper does not have it.

    >>> published("Qwen3 Embedding(8B)").silhouette_families
    0.3103
    """
    return next((line for line in TABLE_2 if line.model == paper_name), None)
