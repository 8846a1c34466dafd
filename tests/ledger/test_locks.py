"""A manifest that one process opens twice, while another one comes and goes: nobody loses its locks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from mei.ledger.database import Ledger
from tests.ledger.builders import chunk, register

#: Whoever closes a database as the last one deletes its log.
_COME_AND_GO = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(database.execute("SELECT COUNT(*) FROM files").fetchone()[0])
database.close()
"""


def test_opening_it_again_keeps_the_locks_of_this_process(tmp_path: Path) -> None:
    path = tmp_path / "manifest.sqlite"
    with Ledger.open(path) as ledger:
        register(ledger, chunk(0, 9))
        log = path.with_name("manifest.sqlite-wal")
        inode = log.stat().st_ino
        Ledger.open(path).close()
        command = [sys.executable, "-c", _COME_AND_GO, str(path)]
        assert subprocess.run(command, capture_output=True, check=True).stdout == b"1\n"
        assert log.exists(), "the other process took itself for the last one"
        assert log.stat().st_ino == inode
        register(ledger, chunk(10, 19))
    with Ledger.open(path) as ledger, ledger.reader() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
