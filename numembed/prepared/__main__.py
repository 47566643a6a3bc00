"""Computes all that comes with the program, and writes it. What is stored is not computed again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from numembed.core.errors import NumembedError
from numembed.core.settings import read_settings
from numembed.prepared import PREPARED
from numembed.prepared.make import make


def main() -> int:
    """Make the bundle that the command line asks for; return 0, or 1 after one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="python -m numembed.prepared", description=__doc__)
    parser.add_argument("--out", type=Path, default=PREPARED, help="the file to write")
    try:
        make(parser.parse_args().out, read_settings())
    except (NumembedError, OSError) as error:
        print(f"numembed.prepared: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
