"""A connection to a file of SQLite that may be damaged."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Any


class Connection(sqlite3.Connection):
    """One whose errors are SQLite's also where a damaged file puts bytes into them that are no text."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Return the cursor of a statement; raises sqlite3.Error."""
        try:
            return super().execute(*arguments)
        except UnicodeDecodeError as error:
            raise sqlite3.DatabaseError("database disk image is malformed") from error


connected = partial(sqlite3.connect, factory=Connection)
