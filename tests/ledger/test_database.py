from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect, select
from sqlalchemy.exc import ResourceClosedError

from mei.ledger import tables
from mei.ledger.checkpoints import load_checkpoint, save_checkpoint
from mei.ledger.database import Ledger
from mei.ledger.schema import migrations
from mei.model import faults
from mei.model.errors import LedgerError


def _save(ledger: Ledger, text: str) -> None:
    with ledger.unit_of_work() as unit:
        save_checkpoint(unit.connection, "live", as_of_ms=1, state_json=text)
        unit.commit("checkpoint")


def _saved(ledger: Ledger) -> str | None:
    with ledger.reader() as conn:
        found = load_checkpoint(conn, "live")
        return None if found is None else found.state_json


def test_leaving_without_commit_rolls_back(ledger: Ledger) -> None:
    with ledger.unit_of_work() as unit:
        save_checkpoint(unit.connection, "live", as_of_ms=1, state_json="lost")
    assert _saved(ledger) is None


def test_leaving_by_an_error_rolls_back_and_frees_the_writer(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.unit_of_work() as unit:
            save_checkpoint(unit.connection, "live", as_of_ms=1, state_json="lost")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    _save(ledger, "kept")
    assert _saved(ledger) == "kept"


def test_committed_work_is_there_for_another_process(
    ledger: Ledger, reopen: Callable[[], Ledger]
) -> None:
    _save(ledger, "kept")
    assert _saved(reopen()) == "kept"


def test_statement_after_commit_is_an_error_and_not_a_lost_write(ledger: Ledger) -> None:
    with ledger.unit_of_work() as unit:
        unit.commit("nothing")
        with pytest.raises(ResourceClosedError):
            save_checkpoint(unit.connection, "live", as_of_ms=1, state_json="lost")
    assert _saved(ledger) is None


def test_nested_units_of_work_are_refused_at_once(ledger: Ledger) -> None:
    with (
        ledger.unit_of_work(),
        pytest.raises(LedgerError, match="do not nest"),
        ledger.unit_of_work(),
    ):
        pass
    _save(ledger, "kept")
    assert _saved(ledger) == "kept"


def test_reader_sees_one_state_while_others_write(ledger: Ledger) -> None:
    _save(ledger, "before")
    with ledger.reader() as conn:
        assert load_checkpoint(conn, "live").state_json == "before"
        _save(ledger, "after")
        assert load_checkpoint(conn, "live").state_json == "before"
    assert _saved(ledger) == "after"


def test_reader_does_not_wait_for_a_writer(ledger: Ledger) -> None:
    _save(ledger, "before")
    with ledger.unit_of_work() as unit:
        save_checkpoint(unit.connection, "live", as_of_ms=1, state_json="after")
        assert _saved(ledger) == "before"
        unit.commit("checkpoint")
    assert _saved(ledger) == "after"


def test_reader_cannot_write(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match=r"read-?only"), ledger.reader() as conn:
        save_checkpoint(conn, "live", as_of_ms=1, state_json="smuggled")
    assert _saved(ledger) is None


def test_threads_write_one_after_the_other(ledger: Ledger) -> None:
    def bump(_n: int = 0) -> None:
        for _ in range(10):
            with ledger.unit_of_work() as unit:
                known = load_checkpoint(unit.connection, "live")
                as_of_ms = 1 if known is None else known.as_of_ms + 1
                save_checkpoint(unit.connection, "live", as_of_ms=as_of_ms, state_json="{}")
                unit.commit("bump")

    threads = [threading.Thread(target=bump) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ledger.reader() as conn:
        assert load_checkpoint(conn, "live").as_of_ms == 40


def test_two_ledgers_in_a_process_exclude_each_other(
    ledger: Ledger, reopen: Callable[[], Ledger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mei.ledger.sqlite.BUSY_TIMEOUT_MS", 50)
    monkeypatch.setattr("mei.ledger.postgres._WRITE_OPTIONS", "-c lock_timeout=50")
    other = reopen()
    with (
        ledger.unit_of_work(),
        pytest.raises(LedgerError, match=r"must come free within .* s, another process"),
        other.unit_of_work(),
    ):
        pass


def test_commit_passes_its_two_fault_points(ledger: Ledger) -> None:
    seen: list[tuple[str, str | None]] = []
    faults.install(lambda name: seen.append((name, _saved(ledger))))
    try:
        _save(ledger, "kept")
    finally:
        faults.install(None)
    assert seen == [
        ("ledger.checkpoint.before_commit", None),
        ("ledger.checkpoint.after_commit", "kept"),
    ]


def test_broken_reference_is_a_ledger_error_in_one_line(ledger: Ledger) -> None:
    orphan = {
        **dict.fromkeys(tables.trained_ranges.c.keys(), "x"),
        "version": 7,
        "mode": "sliding",
        "first_ms": 0,
        "last_ms": 1,
    }
    insert = tables.trained_ranges.insert()
    with (
        pytest.raises(LedgerError, match="nothing of this transaction was kept") as caught,
        ledger.unit_of_work() as unit,
    ):
        unit.connection.execute(insert, orphan)
    assert "\n" not in str(caught.value)


def test_tables_in_python_are_those_of_the_migrations(ledger: Ledger) -> None:
    with ledger.reader() as conn:
        found = inspect(conn)
        assert set(found.get_table_names()) == set(tables.metadata.tables)
        for name, table in tables.metadata.tables.items():
            columns = {column["name"]: column["type"] for column in found.get_columns(name)}
            assert list(columns) == list(table.c.keys()), name
            for column in table.c:
                assert columns[column.name]._type_affinity is column.type._type_affinity, column


def test_every_migration_is_recorded_once_however_often_it_is_opened(
    ledger: Ledger, reopen: Callable[[], Ledger]
) -> None:
    with reopen().reader() as conn:
        versions = conn.execute(select(tables.schema_version.c.version)).scalars().all()
    assert versions == [step.version for step in migrations()]


def test_manifest_keeps_the_id_it_was_created_with(location: str, tmp_path: Path) -> None:
    with Ledger.open(location, new_ledger_id=lambda: "first") as created:
        assert created.ledger_id == "first"
    with Ledger.open(location, new_ledger_id=lambda: "second") as again:
        assert again.ledger_id == "first"
    drawn = {Ledger.open(tmp_path / name).ledger_id for name in ("a.sqlite", "b.sqlite")}
    assert len(drawn) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in drawn)


def test_manifest_of_the_first_release_gets_an_id_and_keeps_its_rows(
    location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("mei.ledger.schema.migrations", lambda: migrations()[:1])
        patch.setattr(Ledger, "_read_id", lambda _ledger: "none yet")
        with Ledger.open(location) as old:
            _save(old, "kept")
            with old.reader() as conn:
                assert "identity" not in inspect(conn).get_table_names()

    with Ledger.open(location, new_ledger_id=lambda: "drawn later") as migrated:
        assert migrated.ledger_id == "drawn later"
        assert _saved(migrated) == "kept"


@pytest.mark.parametrize(
    ("location", "said"),
    [
        (":memory:", "must name a file"),
        ("sqlite://", "must name a file"),
        ("sqlite:///x.sqlite?mode=ro", "without options"),
        ("mysql://me:secret@host/db", "change it"),
        ("postgresql://me:secret@host/db", r"postgresql\+psycopg"),
        ("://secret@nothing", "path or a database URL"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", "must answer"),
    ],
)
def test_location_that_cannot_be_is_refused_without_its_password(location: str, said: str) -> None:
    if "psycopg:" in location:
        pytest.importorskip("psycopg", reason='pip install "mei-backtester[postgres]"')
    with pytest.raises(LedgerError, match=said) as caught:
        Ledger.open(location)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
