"""Databases that another program is writing, or was writing when it was killed, are never read as they are."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mei.data import sqlite_file
from mei.data.sqlite_file import reading
from mei.model.errors import DataError

_KILLED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 2")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE t SET a = a + 1000000")
os.kill(os.getpid(), 9)
"""


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE t (a INTEGER, b TEXT)")
        database.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 400) for n in range(500)])
    return path


def total(path: Path) -> int:
    """Sum of a column."""
    with reading(str(path), "t", ("a",), "table") as database:
        return int(database.execute("SELECT sum(a) FROM t").fetchone()[0])


def test_what_a_killed_writer_had_not_committed_is_undone(path: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    journal = path.with_name("t.db-journal")
    assert journal.stat().st_size > 0
    assert total(path) == sum(range(500))
    assert not journal.exists()


def test_what_another_reader_undid_a_moment_ago_is_read_under_its_locks(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks it could be read while somebody writes it."""
    subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    connect, opened = sqlite3.connect, []
    has_content = sqlite_file._has_content

    def slower(name: str) -> bool:
        if name.endswith("-journal"):
            with contextlib.closing(connect(path)) as other:
                other.execute("SELECT count(*) FROM t").fetchone()
        return has_content(name)

    def noted(address: str, **more: Any) -> sqlite3.Connection:
        opened.append(address)
        return connect(address, **more)

    monkeypatch.setattr(sqlite_file, "_has_content", slower)
    monkeypatch.setattr(sqlite3, "connect", noted)
    assert total(path) == sum(range(500))
    assert not [address for address in opened if "immutable" in address]


@pytest.mark.parametrize("is_spilled", [False, True])
def test_what_is_being_written_is_not_read_half(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_spilled: bool
) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_S", 0.2)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 2")
        writer.execute("BEGIN EXCLUSIVE")
        if is_spilled:
            writer.execute("UPDATE t SET a = a + 1000000")
        with pytest.raises(DataError, match="database is locked"):
            total(path)
        writer.execute("ROLLBACK")
    assert total(path) == sum(range(500))
