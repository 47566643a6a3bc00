"""From weights in the format GGUF to a SentenceTransformer folder in bfloat16."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

from numembed.core.progress import Progress, silent
from numembed.models.builtin.files import write_modules, write_weights

_STEPS = 3
_OF_THE_READER = ("is_local", "local_files_only")  # settings of the tokenizer's file that tell how it was read


def convert(weights: Path, folder: Path, *, pooling: str, max_tokens: int, progress: Progress = silent) -> None:
    """Write the decoder in ``weights`` into the empty ``folder``: bfloat16, ``pooling``, vectors of length one.

    ``progress`` counts three steps as the stage "convert" and may raise Cancelled. Raises OSError where the disk is
    full.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer, GgufConfig

    progress(0, _STEPS, "convert")
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name, local_files_only=True)
    tokenizer.model_max_length = max_tokens
    tokenizer.save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    plain = json.loads(settings.read_text(encoding="utf-8"))
    kept = {name: value for name, value in plain.items() if name not in _OF_THE_READER}
    settings.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    progress(1, _STEPS, "convert")
    with contextlib.redirect_stderr(io.StringIO()):  # the reader draws bars of its own
        model = AutoModel.from_pretrained(
            weights.parent,
            gguf_file=weights.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
            local_files_only=True,
        )
    progress(2, _STEPS, "convert")
    write_weights(folder, model, dtype="bfloat16")
    write_modules(folder, pooling=pooling, width=model.config.hidden_size, max_tokens=max_tokens)
