"""The switch of a SQLite file to a write-ahead log, which two programs may want at once."""

from __future__ import annotations

import sqlite3
from time import monotonic, sleep
from typing import Final

#: How long to wait for others who use the file, and between two tries, s.
_WAIT_S: Final = 30.0
_PAUSE_S: Final = 0.05
_TAKEN: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def switch_to_wal(database: sqlite3.Connection) -> None:
    """Let the file have a write-ahead log from now on; nothing changes when it has.

    SQLite does not wait here, whatever the timeout of the connection: it is asked again until nobody else uses the
    file, half a minute at most. Raises sqlite3.Error.
    """
    deadline_s = monotonic() + _WAIT_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _TAKEN or monotonic() > deadline_s:
                raise
            sleep(_PAUSE_S)
        else:
            return
