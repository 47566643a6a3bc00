"""``python -m numembed``: the command line."""

import sys

from numembed.cli import main

sys.exit(main())
