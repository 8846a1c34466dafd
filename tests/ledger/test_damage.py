"""A manifest that is not usable: one clear line, and not a byte of it changed."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, update

from mei.ledger.checkpoints import load_checkpoint, save_checkpoint
from mei.ledger.database import Ledger
from mei.ledger.tables import schema_version
from mei.model.errors import LedgerError, LedgerSchemaError


def _bytes(folder: Path) -> dict[str, bytes]:
    """What is in the folder, but for the lock file and the shared memory of a reader."""
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if not path.name.endswith((".lock", "-shm"))
    }


def _refused(path: Path, error: type[LedgerError]) -> str:
    before = _bytes(path.parent)
    for _ in range(2):
        with pytest.raises(error) as caught:
            Ledger.open(path)
        assert type(caught.value) is error
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    after = _bytes(path.parent)
    # Looking at a database in WAL mode leaves an empty log beside it.
    assert after == before | {
        name: b"" for name in after.keys() - before.keys() if name.endswith("-wal")
    }
    return str(caught.value)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A sound manifest with something in it, closed."""
    path = tmp_path / "manifest.sqlite"
    with Ledger.open(path) as ledger:
        for i in range(30):
            with ledger.unit_of_work() as unit:
                save_checkpoint(unit.connection, f"s{i}", as_of_ms=1, state_json="x" * 3000)
                unit.commit("checkpoint")
    return path


def _execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize("content", [b"timestamp,open\n1,2\n", b"\x00" * 8192, b"SQLite", b"{}"])
def test_file_that_is_no_database_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.sqlite"
    path.write_bytes(content)
    assert "does not begin like an SQLite database" in _refused(path, LedgerError)


def test_truncated_manifest_is_refused_untouched(manifest: Path) -> None:
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in _refused(manifest, LedgerError)


@pytest.mark.parametrize("at_frac", [0.0, 0.2, 0.5, 0.9])
def test_overwritten_page_is_refused_untouched(manifest: Path, at_frac: float) -> None:
    content = bytearray(manifest.read_bytes())
    page = max(100, int(len(content) * at_frac) // 4096 * 4096)
    content[page : page + 2000] = b"\xa5" * 2000
    manifest.write_bytes(bytes(content))
    assert "restore it from a copy" in _refused(manifest, LedgerError)


def test_emptied_manifest_with_a_log_is_refused_untouched(manifest: Path) -> None:
    manifest.write_bytes(b"")
    manifest.with_name("manifest.sqlite-wal").write_bytes(b"\x37\x7f\x06\x82" * 20)
    assert "write-ahead log" in _refused(manifest, LedgerError)


def test_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.sqlite").mkdir()
    with pytest.raises(LedgerError, match="is a folder"):
        Ledger.open(tmp_path / "manifest.sqlite")


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shared").write_text("not a folder")
    with pytest.raises(LedgerError, match="folder of the manifest must be writable"):
        Ledger.open(tmp_path / "shared" / "manifest.sqlite")


@pytest.mark.parametrize("journal", ["delete", "wal"])
@pytest.mark.parametrize(
    "foreign",
    [
        "CREATE TABLE users (id INTEGER, name TEXT)",
        "CREATE TABLE files (id INTEGER)",
        "CREATE TABLE schema_version (version INTEGER)",
        "CREATE TABLE schema_version (application TEXT, version BIGINT, name TEXT, sha256 TEXT)",
    ],
)
def test_database_of_another_program_is_refused_untouched(
    tmp_path: Path, foreign: str, journal: str
) -> None:
    path = tmp_path / "manifest.sqlite"
    _execute(path, f"PRAGMA journal_mode={journal}", foreign)
    assert "is another database" in _refused(path, LedgerSchemaError)


def test_schema_version_of_another_program_is_refused_untouched(manifest: Path) -> None:
    _execute(manifest, "UPDATE schema_version SET application = 'somebody else'")
    assert "one of 'somebody else'" in _refused(manifest, LedgerSchemaError)


def test_manifest_of_a_newer_release_is_refused_untouched(manifest: Path) -> None:
    insert = "INSERT INTO schema_version SELECT application, 99, name, sha256 FROM schema_version WHERE version = 1"
    _execute(manifest, insert)
    assert "has 99; it was written by a newer release" in _refused(manifest, LedgerSchemaError)


def test_manifest_of_an_edited_migration_is_refused_untouched(manifest: Path) -> None:
    _execute(manifest, "UPDATE schema_version SET sha256 = 'other'")
    assert "has another one numbered" in _refused(manifest, LedgerSchemaError)


def test_opening_waits_for_whoever_opens_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mei.ledger.sqlite.BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "manifest.sqlite"
    with (tmp_path / "manifest.sqlite.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(LedgerError, match=r"manifest\.sqlite\.lock is still held"):
            Ledger.open(path)
        assert not path.exists()
    Ledger.open(path).close()


@pytest.mark.parametrize("make", [Path.touch, lambda path: _execute(path, "PRAGMA user_version=0")])
def test_empty_file_becomes_a_manifest(tmp_path: Path, make: Callable[[Path], None]) -> None:
    # What a process leaves behind that was killed while it created the file.
    path = tmp_path / "manifest.sqlite"
    make(path)
    _execute(path, "PRAGMA journal_mode=WAL")
    with Ledger.open(path) as ledger, ledger.reader() as conn:
        assert load_checkpoint(conn, "live") is None


def _read_all(ledger: Ledger) -> None:
    for i in range(30):
        with ledger.reader() as conn:
            load_checkpoint(conn, f"s{i}")


def test_page_damaged_while_open_is_one_line(manifest: Path) -> None:
    with Ledger.open(manifest) as ledger:
        content = bytearray(manifest.read_bytes())
        content[8192:] = b"\xa5" * (len(content) - 8192)
        manifest.write_bytes(bytes(content))
        with pytest.raises(LedgerError, match="restore it from a copy") as caught:
            _read_all(ledger)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"application": "somebody else"}, LedgerSchemaError, "another database"),
        ({"version": 99}, LedgerSchemaError, "newer release"),
        ({"sha256": "other"}, LedgerSchemaError, "another one numbered"),
    ],
)
def test_other_schema_is_refused_on_every_database(
    ledger: Ledger, reopen: Callable[[], Ledger], change: dict, error: type, said: str
) -> None:
    with ledger.unit_of_work() as unit:
        first = update(schema_version).where(schema_version.c.version == 1)
        unit.connection.execute(first.values(change))
        unit.commit("sabotage")
    with pytest.raises(error, match=said):
        reopen()


def test_tables_of_another_program_are_refused_on_every_database(
    location: str, reopen: Callable[[], Ledger]
) -> None:
    if "://" not in location:
        Path(location).parent.mkdir()
    engine = create_engine(location if "://" in location else f"sqlite:///{location}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE users (id INTEGER)")
    engine.dispose()
    with pytest.raises(LedgerSchemaError, match="tables users") as caught:
        reopen()
    assert "throw-away" not in str(caught.value)
