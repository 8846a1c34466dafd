"""partition_candles_db: every bar is in the source or in a month's database, whatever happens, and reads the same."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.cli import main
from mei.data.candle_db import load_candles
from mei.data.candle_import import write_bars
from mei.data.candle_partition import copy_month, delete_month, months_before, partitioning
from mei.model import faults
from mei.model.bars import BAR_DTYPE
from mei.model.errors import DataError, MeiError, OutputError
from tests.data_checks.conftest import Bench, bar, ms
from tests.workflows.databases import HOUR_MS, START_MS, write_candles

DAY_MS = 24 * HOUR_MS
#: 1,800 hours from 2025-06-01 on: to 2025-08-15. 30 days back from its end is 2025-07-16.
N_HOURS = 1_800
NOW = START_MS + N_HOURS * HOUR_MS
CUTOFF = NOW - 30 * DAY_MS
FLAGS = f"--interval 1h --keep-days 30 --now-ms {NOW}"
SET = "candles_dbs/candles_1h.db,candles_dbs/partitions/1h"
POINTS = [
    f"data.partition.{point}:{hit}"
    for point in (
        "copy.before",
        "copy.before_commit",
        "copy.before_rename",
        "copy.after",
        "delete.before",
        "delete.before_commit",
        "delete.after",
    )
    for hit in (1, 2)
] + ["data.partition.vacuum.before:1"]
PROGRAM = """
import sys
from mei.web.fault_plan import install_fault_plan
install_fault_plan()
from mei.cli.data_tools import partition_candles_db
from mei.cli.tool_program import run_tool
sys.exit(run_tool("partition_candles_db", partition_candles_db, sys.argv[1:]))
"""


@pytest.fixture(scope="module", name="market")
def _market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market")
    return write_candles(folder, "1h", HOUR_MS, N_HOURS)


@pytest.fixture(name="source")
def _source(bench: Bench, market: Path) -> Path:
    path = bench.folder / "candles_dbs" / "candles_1h.db"
    path.parent.mkdir()
    shutil.copy(market, path)
    return path


def loaded(db_set: str) -> Any:
    """What a replay reads: symbols, and every column."""
    candles = load_candles(db_set, "1h", tell=lambda line: None)
    return candles.symbols, *(np.asarray(column).tobytes() for column in candles.columns())


def test_a_dry_run_counts_and_writes_nothing(bench: Bench, source: Path) -> None:
    before = source.read_bytes()
    assert bench.run("partition_candles_db", FLAGS) == 0
    report = bench.json()
    # June has 720 hours, July to the 16th 360, of two symbols each.
    assert [(one["month"], one["bars"], one["symbols"]) for one in report["months"]] == [
        ("2025-06", 1_440, 2),
        ("2025-07", 720, 2),
    ]
    assert (report["cutoff_utc"], report["applied"]) == ("2025-07-16T00:00:00Z", False)
    assert "Nothing was written" in bench.err
    assert source.read_bytes() == before
    assert [path.name for path in source.parent.iterdir()] == ["candles_1h.db"]


def test_apply_copies_and_delete_takes_out(bench: Bench, source: Path) -> None:
    whole, all_rows = loaded(str(source)), bench.rows(source)
    assert bench.run("partition_candles_db", f"{FLAGS} --apply") == 0
    assert bench.rows(source) == all_rows
    folder = source.parent / "partitions" / "1h"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["candles_1h_2025-06.db", "candles_1h_2025-07.db"]
    june = bench.rows(folder / names[0])
    assert [row[:10] for row in june] == [r for r in all_rows if r[2] < ms("2025-07-01 00:00:00")]
    columns = bench.rows(folder / names[0], "SELECT name FROM pragma_table_info('candles')")
    assert [name for (name,) in columns] == [
        *["symbol", "interval", "t", "t_close", "o", "h", "l", "c", "v", "n", "updated_at"]
    ]
    assert loaded(SET) == whole

    size = source.stat().st_size
    assert bench.run("partition_candles_db", f"{FLAGS} --apply --delete --vacuum") == 0
    report = bench.json()
    assert (report["deleted_bars"], report["vacuumed"]) == (2_160, True)
    assert [(one["new_bars"], one["same_bars"]) for one in report["months"]] == [
        (0, 1_440),
        (0, 720),
    ]
    assert bench.rows(source) == [row for row in all_rows if row[2] >= CUTOFF]
    assert source.stat().st_size < size / 2
    assert loaded(SET) == whole
    assert bench.run("partition_candles_db", f"{FLAGS} --apply --delete") == 0
    assert "nothing to do" in bench.err


def test_a_replay_of_the_parts_is_that_of_the_whole(bench: Bench, source: Path) -> None:
    (bench.folder / "c.yaml").write_text(
        "global: {trade: {entry_min_confidence: low}, filters: {require_btc_alignment: false}, "
        "thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}}"
    )
    replay = "replay --config c.yaml --interval 1h --trades --output"
    assert main.run(f"{replay} whole.json --candles-db {source}".split()) == 0
    assert bench.run("partition_candles_db", f"{FLAGS} --apply --delete") == 0
    assert main.run(f"{replay} parts.json --candles-db {SET}".split()) == 0
    whole, parts = (json.loads(Path(name).read_text()) for name in ("whole.json", "parts.json"))
    assert whole["total_trades"] > 5
    assert parts["trades"] == whole["trades"]
    assert parts["final_balance"] == whole["final_balance"]


def test_bars_move_on_day_by_day(bench: Bench, source: Path) -> None:
    whole = loaded(str(source))
    for day in range(0, 12, 4):
        flags = f"--interval 1HR --keep-days 30 --now-ms {NOW + day * DAY_MS}"
        assert bench.run("partition_candles_db", f"{flags} --apply --delete") == 0
        assert loaded(SET) == whole
    july = source.parent / "partitions" / "1h" / "candles_1h_2025-07.db"
    assert len(bench.rows(july)) == (15 + 8) * 24 * 2


def test_only_the_interval_asked_for_moves_with_all_its_columns(bench: Bench) -> None:
    old = ms("2024-12-31 23:00:00")
    rows = [bar("BTC", old), bar("BTC", old, "1m", 60_000), bar("BTC", old + HOUR_MS)]
    source = bench.candles("mixed.db", rows)
    with contextlib.closing(sqlite3.connect(source)) as database, database:
        database.execute("ALTER TABLE candles ADD COLUMN updated_at TEXT DEFAULT 'then'")
        database.execute("ALTER TABLE candles ADD COLUMN venue TEXT DEFAULT 'x'")
    line = f"--interval 1h --src-db {source} --out-dir parts --now-ms {NOW} --apply --delete"
    assert bench.run("partition_candles_db", line) == 0
    assert [row[:2] for row in bench.rows(source)] == [("BTC", "1m")]
    assert sorted(path.name for path in Path("parts").iterdir()) == [
        "candles_1h_2024-12.db",
        "candles_1h_2025-01.db",
    ]
    (moved,) = bench.rows(Path("parts/candles_1h_2024-12.db"))
    assert moved == (*rows[0], "then", "x")


def test_a_bar_that_differs_is_refused_unless_replaced(bench: Bench, source: Path) -> None:
    assert bench.run("partition_candles_db", f"{FLAGS} --apply") == 0
    with contextlib.closing(sqlite3.connect(source)) as database, database:
        database.execute(
            "UPDATE candles SET c = c + 1 WHERE t = ? AND symbol = 'ETH'", (CUTOFF - HOUR_MS,)
        )
    before, whole = bench.rows(source), loaded(str(source))
    assert bench.run("partition_candles_db", f"{FLAGS} --apply --delete") == 1
    assert "1 are not, the first that of ETH at 2025-07-15T23:00:00Z" in bench.err
    assert bench.rows(source) == before
    assert bench.run("partition_candles_db", f"{FLAGS} --apply --delete --replace") == 0
    assert [one["replaced_bars"] for one in bench.json()["months"]] == [0, 1]
    assert loaded(SET) == whole


def test_nothing_is_deleted_that_was_not_copied(bench: Bench, source: Path) -> None:
    """A bar that comes, or changes, between copy and deletion keeps its month in the source."""
    path = source.parent / "partitions" / "1h" / "candles_1h_2025-06.db"
    assert bench.run("partition_candles_db", f"{FLAGS} --apply") == 0
    changes = (
        f"INSERT INTO candles VALUES ('NEW', '1h', {START_MS}, 0, 1, 1, 1, 1, 1, 1)",
        f"UPDATE candles SET v = 7 WHERE symbol = 'BTC' AND t = {START_MS}",
        f"UPDATE candles SET n = NULL WHERE symbol = 'BTC' AND t = {START_MS}",
    )
    clean = source.read_bytes()
    for change in changes:
        source.write_bytes(clean)
        with contextlib.closing(sqlite3.connect(source)) as database, database:
            database.execute(change)
        n_before = len(bench.rows(source))
        with partitioning(source, write=True) as db:
            june = months_before(db, source, "1h", CUTOFF)[0]
            with pytest.raises(DataError, match="came or changed meanwhile"):
                delete_month(db, path, "1h", june)
        assert len(bench.rows(source)) == n_before


def june(bench: Bench, source: Path) -> Any:
    """What `copy_month` needs for June, and the path it goes to."""
    with partitioning(source, write=False) as db:
        month = months_before(db, source, "1h", CUTOFF)[0]
    path = bench.folder / "candles_1h_2025-06.db"
    return month, path


def import_one_more(path: Path) -> None:
    """A bar of June that is not in the source."""
    bars = np.array([(START_MS, 1.0, 2.0, 0.5, 1.5, 3.0)], dtype=BAR_DTYPE)
    assert write_bars(path, "NEW", "1h", bars).n_new == 1


def test_a_month_that_somebody_makes_meanwhile_loses_no_bar(bench: Bench, source: Path) -> None:
    month, path = june(bench, source)

    def at(point: str) -> None:
        if point == "data.partition.copy.before_rename":
            import_one_more(path)

    faults.install(at)
    try:
        with partitioning(source, write=False) as db:
            copied = copy_month(db, path, "1h", month, replace=False)
    finally:
        faults.install(None)
    assert copied.n_new == month.n_bars
    symbols = "SELECT symbol, count(*) FROM candles GROUP BY symbol ORDER BY symbol"
    assert bench.rows(path, symbols) == [("BTC", 720), ("ETH", 720), ("NEW", 1)]
    assert [one.name for one in bench.folder.iterdir() if one.name.startswith(".")] == []


def test_where_no_links_can_be_made_the_month_has_its_name_all_the_same(
    bench: Bench, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_self: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refused)
    month, path = june(bench, source)
    with partitioning(source, write=False) as db:
        assert copy_month(db, path, "1h", month, replace=False).n_new == month.n_bars
    assert len(bench.rows(path)) == month.n_bars


@pytest.mark.parametrize("code", [errno.EPERM, errno.EIO])
def test_without_links_nothing_of_others_is_replaced(
    bench: Bench, source: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    month, path = june(bench, source)

    def slower(_self: Path, _target: Path) -> None:
        import_one_more(path)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "hardlink_to", slower)
    with partitioning(source, write=False) as db:
        if code == errno.EIO:
            with pytest.raises(
                OutputError, match="must be a file that can be made: Input/output error"
            ):
                copy_month(db, path, "1h", month, replace=False)
            assert len(bench.rows(path)) == 1
        else:
            copied = copy_month(db, path, "1h", month, replace=False)
            assert copied.n_new == month.n_bars
            assert len(bench.rows(path)) == month.n_bars + 1


def test_somebody_who_writes_to_the_month_is_waited_for(bench: Bench, source: Path) -> None:
    month, path = june(bench, source)
    import_one_more(path)
    found: list[Any] = []

    def copy() -> None:
        try:
            with partitioning(source, write=False) as db:
                found.append(copy_month(db, path, "1h", month, replace=False).n_new)
        except MeiError as error:
            found.append(error)

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE candles SET n = 7")
        thread = threading.Thread(target=copy)
        thread.start()
        # Whoever does not wait is done by then; for who waits it does not matter.
        thread.join(0.5)
        other.execute("COMMIT")
    thread.join()
    assert found == [month.n_bars]
    assert bench.rows(path, "SELECT n FROM candles WHERE symbol = 'NEW'") == [(7,)]


def run_killed(fault: str, line: str, *, after_s: float | None = None) -> int:
    """Exit code of the tool in a process of its own that is killed at a fault point or after some time."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *line.split()],
        env={**os.environ, "MEI_FAULT": fault},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if after_s is not None:
        time.sleep(after_s)
        process.kill()
    return process.wait(timeout=120)


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_no_bar_is_lost(bench: Bench, source: Path, point: str) -> None:
    whole, all_rows = loaded(str(source)), bench.rows(source)
    line = f"{FLAGS} --apply --delete --vacuum"
    assert run_killed(point, line) == -signal.SIGKILL
    folder = source.parent / "partitions" / "1h"
    is_begun = any(folder.glob("*.db"))
    assert loaded(SET if is_begun else str(source)) == whole
    assert bench.run("partition_candles_db", line) == 0
    assert loaded(SET) == whole
    assert sorted(path.name for path in folder.iterdir()) == [
        "candles_1h_2025-06.db",
        "candles_1h_2025-07.db",
    ]
    moved = [row[:10] for path in sorted(folder.iterdir()) for row in bench.rows(path)]
    assert sorted([*moved, *bench.rows(source)]) == sorted(all_rows)


@pytest.mark.slow
def test_killed_at_any_time_no_bar_is_lost(bench: Bench, market: Path) -> None:
    source = bench.folder / "candles_dbs" / "candles_1h.db"
    source.parent.mkdir()
    whole = loaded(str(market))
    line = f"{FLAGS} --apply --delete --vacuum"
    started = time.monotonic()
    shutil.copy(market, source)
    assert run_killed("", line) == 0
    delay_s, n_killed, n_left = time.monotonic() - started, 0, 60
    while n_killed < 12:
        shutil.rmtree(source.parent)
        source.parent.mkdir()
        shutil.copy(market, source)
        # Close to the end: a little later after each kill, earlier after each that was done before.
        is_killed = run_killed("", line, after_s=delay_s) == -signal.SIGKILL
        n_killed, n_left = n_killed + is_killed, n_left - 1
        delay_s *= 1.04 if is_killed else 0.9
        is_begun = any((source.parent / "partitions" / "1h").glob("*.db"))
        assert loaded(SET if is_begun else str(source)) == whole
        assert bench.run("partition_candles_db", line) == 0
        assert loaded(SET) == whole
        assert n_left, "the clock never hit"


def test_a_kill_while_bars_are_being_written_is_undone_by_the_reader(
    bench: Bench, source: Path
) -> None:
    """A journal that is hot: pages of an unfinished deletion are in the file already."""
    whole = loaded(str(source))
    program = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 2')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute('DELETE FROM candles WHERE t % 7200000 = 0')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(source)], check=False)
    assert source.with_name("candles_1h.db-journal").stat().st_size > 0
    assert loaded(str(source)) == whole


def test_two_at_once_take_turns_or_say_so(bench: Bench, source: Path) -> None:
    whole = loaded(str(source))
    command = [sys.executable, "-c", PROGRAM, *f"{FLAGS} --apply --delete".split()]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    for process, text in zip(both, said, strict=True):
        assert process.returncode in (0, 1), text
        assert process.returncode == 0 or "another program moves bars there" in text
    assert 0 in [process.returncode for process in both]
    assert loaded(SET) == whole


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("", 2, "Missing option '--interval'"),
        ("--interval month", 2, "--interval must be a length of time"),
        ("--interval 1h --delete", 2, "--delete must come with --apply"),
        ("--interval 1h --apply --vacuum", 2, "--vacuum must come with --delete"),
        ("--interval 1h --replace", 2, "--replace must come with --apply"),
        ("--interval 1h --apply --keep-days 0", 2, "--keep-days must be at least 1"),
        ("--interval 1h --apply --keep-days -9", 2, "--keep-days must be at least 1"),
        ("--interval 4h --apply", 3, "candles_4h.db: must be a candle database"),
        ("--interval 1h --src-db elsewhere.db", 3, "there is no such file"),
        ("--interval 4h --src-db candles_dbs/candles_1h.db --apply", 1, "found '1h'"),
        ("--interval 1h --src-db text.db --apply", 1, "must be a candle database"),
        ("--interval 1h --src-db empty.db --apply", 1, "must have the table candles"),
        ("--interval 1h --apply --keep-days 30 --out-dir text.db", 1, "text.db"),
    ],
)
def test_what_is_refused_writes_nothing(
    bench: Bench, source: Path, line: str, code: int, said: str
) -> None:
    (bench.folder / "text.db").write_text("no database, but long enough to be looked into" * 9)
    sqlite3.connect(bench.folder / "empty.db").close()
    (bench.folder / "empty.db").touch()
    before = source.read_bytes()
    there = sorted(bench.folder.rglob("*"))
    assert bench.run("partition_candles_db", f"--now-ms {NOW} {line}") == code
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")
    assert source.read_bytes() == before
    assert sorted(bench.folder.rglob("*")) == there


@pytest.mark.parametrize("value", ["'soon'", "1.5", "1748736000"])
def test_opens_that_are_no_times_are_refused(bench: Bench, source: Path, value: str) -> None:
    with contextlib.closing(sqlite3.connect(source)) as database, database:
        database.execute(f"UPDATE candles SET t = {value} WHERE t = {START_MS} AND symbol = 'BTC'")
    assert bench.run("partition_candles_db", f"{FLAGS} --apply --delete") == 1
    assert "t must be an integer (epoch ms, from 2009 on)" in bench.err


def test_the_source_is_no_partition_of_itself(bench: Bench, source: Path) -> None:
    month = source.with_name("candles_1h_2025-06.db")
    source.rename(month)
    line = f"{FLAGS} --src-db {month} --out-dir candles_dbs --apply --delete"
    assert bench.run("partition_candles_db", line) == 2
    assert "must not lead to the source itself" in bench.err
