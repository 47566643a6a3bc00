"""Makes the reference vectors that come with the program: ``python -m numembed.models.encoders.shipped``.

They are those of the models that are the same on every machine; number-encoder is trained where it is used. To be made
again where a bundled model, its recipe or the fixed texts change, and committed.
"""

from __future__ import annotations

import json
from pathlib import Path

from numembed.core.settings import read_settings
from numembed.models.catalogue.names import model
from numembed.models.encoders.checks import TOGETHER
from numembed.models.encoders.encoder import SentenceEncoder
from numembed.models.encoders.references import SHIPPED, measured, sealed
from numembed.models.resolve import folder_of, resolve

BUNDLED = ("all-MiniLM-L6-v2", "number-lm")


def write_shipped(file: Path = SHIPPED) -> Path:
    """Write the references of the bundled models, as this processor computes them, into ``file`` and return it."""
    made, settings = {}, read_settings()
    for name in BUNDLED:
        spec = resolve(model(name), settings)
        encoder = SentenceEncoder(spec, folder_of(spec, settings), device="cpu")
        made[spec.content_key] = json.loads(sealed(measured(encoder, encoder.encode(list(TOGETHER)))))
    file.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    print(write_shipped())
