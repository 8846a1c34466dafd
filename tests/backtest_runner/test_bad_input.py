"""Bad input: one clear line that names file and line or variable, an exit code, and nothing that was there is lost."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.backtest_runner.conftest import Bench
from tests.ports import free_port

HEADER = "timestamp,open,high,low,close,volume\n"
GOOD = [f"{1704067200000 + i * 60000},100,101,99,100.5,1\n" for i in range(50)]


def csv(*changes: tuple[int, str]) -> bytes:
    rows = list(GOOD)
    for index, row in changes:
        rows[index] = row
    return (HEADER + "".join(rows)).encode()


BAD_CANDLES: list[tuple[str, str, bytes, tuple[str, ...]]] = [
    ("missing_column", "c.csv", csv().replace(b",volume", b"", 1), ("c.csv", "volume")),
    ("mixed_units", "c.csv", csv((7, "1704067620,100,101,99,100.5,1\n")), ("c.csv:9:",)),
    ("duplicated_row", "c.csv", csv((7, GOOD[6])), ("c.csv:9:",)),
    ("unsorted_rows", "c.csv", csv((7, GOOD[9]), (9, GOOD[7])), ("c.csv:10:",)),
    ("nan", "c.csv", csv((7, "1704067620000,nan,101,99,100.5,1\n")), ("c.csv:9:",)),
    (
        "negative_volume",
        "c.csv",
        csv((7, "1704067620000,100,101,99,100,-1\n")),
        ("c.csv:9:",),
    ),
    ("high_below_low", "c.csv", csv((7, "1704067620000,100,99,101,100,1\n")), ("c.csv:9:",)),
    ("empty_file", "c.csv", b"", ("c.csv", "empty")),
    ("truncated_gz", "c.csv.gz", gzip.compress(csv() * 50)[:-900], ("c.csv.gz", "gz")),
    ("not_utf8", "c.csv", csv().replace(b"100.5,1\n", b"100.5,\xff\n", 1), ("c.csv", "UTF-8")),
]


def assert_refused(
    bench: Bench, code: int, err: str, expected_code: int, words: tuple[str, ...]
) -> None:
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]
    assert code == expected_code


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [case[1:] for case in BAD_CANDLES],
    ids=[case[0] for case in BAD_CANDLES],
)
def test_bad_candles(bench: Bench, name: str, content: bytes, words: tuple[str, ...]) -> None:
    folder = bench.folder / "bad" / "BTC_USDT" / "1m"
    folder.mkdir(parents=True)
    (folder / name).write_bytes(content)
    code, _, err = bench.loop(RESEARCH_DIR=str(bench.folder / "bad"), END_TS="")
    assert_refused(bench, code, err, 4, words)
    assert (folder / name).read_bytes() == content


def test_good_candles_of_the_same_table_are_accepted(bench: Bench) -> None:
    """The table above fails for its faults and for nothing else."""
    folder = bench.folder / "good" / "BTC_USDT" / "1m"
    folder.mkdir(parents=True)
    (folder / "c.csv").write_bytes(csv())
    code, _, err = bench.loop(RESEARCH_DIR=str(bench.folder / "good"), END_TS="")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("CHUNK_ROWS", "0", ("CHUNK_ROWS", "greater than or equal to 1", "'0'")),
        ("CHUNK_ROWS", "many", ("CHUNK_ROWS", "integer", "'many'")),
        ("FEE_BP", "-2.5", ("FEE_BP", "greater than or equal to 0", "'-2.5'")),
        ("TRAINING", "sometimes", ("TRAINING", "'first_only'", "'sometimes'")),
        ("TIMEFRAME", "1x", ("TIMEFRAME", "such as 1m", "'1x'")),
        (
            "TIMEFRAME",
            "1h",
            ("no model would ever be trained", "TIMEFRAME=1h", "set TRAIN_WINDOW_DAYS=24,"),
        ),
        (
            "TRAIN_MIN_POINTS",
            "1381",
            ("1 days hold 1440 bars", "TRAIN_WINDOW_DAYS=2, TRAIN_MIN_POINTS=1380, EXACTLY"),
        ),
        ("START_TS", "yesterday", ("START_TS", "2023-01-31", "'yesterday'")),
        ("SYMBOLS", ",", ("SYMBOLS", "at least one")),
        ("SYMBOLS", "DOGE/USDT", ("DOGE",)),
        ("STRATEGIES", "momentum", ("STRATEGIES", "momentum_breakout", "'momentum'")),
        ("STRATEGIES", "nowhere.py:Mine", ("nowhere.py", "does not exist")),
        ("POLICY", "fixed:nonsense", ("nonsense", "fast")),
        ("POLICY", "guess", ("POLICY", "thompson", "guess")),
        ("HMM_STATES", "3", ("regimes", "HMM_STATES=3")),
        ("GAP_POLICY", "ignore", ("GAP_POLICY", "'keep'", "'ignore'")),
        ("ML_SERVICE", "localhost:8003", ("ml_service", "http://host:port")),
    ],
)
def test_wrong_environment_values(
    bench: Bench, variable: str, value: str, words: tuple[str, ...]
) -> None:
    code, _, err = bench.loop(**{variable: value})
    assert code in (2, 4)
    assert_refused(bench, code, err, code, words)
    assert not (bench.folder / "results" / "equity.csv").exists()


def test_unreachable_service_is_waited_for_and_then_named(bench: Bench) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    code, out, err = bench.loop(PARAM_CONTROLLER=url, SERVICE_TIMEOUT_SECONDS="0.7")
    assert_refused(bench, code, err, 3, ("param_controller", url, "resumed"))
    assert out.count("attempt") >= 2, "every wait is told"


def spoil_with_garbage(ledger: Path) -> None:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    ledger.write_bytes(b"this is no database " * 500)


def spoil_with_foreign_tables(ledger: Path) -> None:
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(ledger) as connection:
        connection.execute("CREATE TABLE accounts (id INTEGER)")
    connection.close()


def spoil_with_a_newer_schema(ledger: Path) -> None:
    from mei.ledger.database import Ledger

    Ledger.open(ledger).close()
    connection = sqlite3.connect(ledger)
    table, column = schema_version_column(connection)
    connection.execute(f"UPDATE {table} SET {column} = {column} + 9998")
    connection.commit()
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


def schema_version_column(connection: sqlite3.Connection) -> tuple[str, str]:
    columns = connection.execute("PRAGMA table_info(schema_version)").fetchall()
    return "schema_version", next(row[1] for row in columns if "version" in row[1])


@pytest.mark.parametrize(
    "spoil", [spoil_with_garbage, spoil_with_foreign_tables, spoil_with_a_newer_schema]
)
def test_unusable_manifest_is_named_and_left_as_it_was(
    bench: Bench, spoil: Callable[[Path], None]
) -> None:
    ledger = bench.folder / "shared" / "manifest.sqlite"
    spoil(ledger)
    before = ledger.read_bytes()
    code, _, err = bench.loop()
    assert_refused(bench, code, err, 5, (str(ledger),))
    assert ledger.read_bytes() == before


def test_results_that_cannot_be_written_are_named(bench: Bench) -> None:
    """A file stands where the folder should be: refused for root, too, whom permissions do not stop."""
    (bench.folder / "results").write_text("a file\n")
    code, _, err = bench.loop()
    assert_refused(bench, code, err, 6, ("RESULTS_DIR", "change its owner"))
    assert (bench.folder / "results").read_text() == "a file\n"


def test_read_only_results_folder_for_an_ordinary_user(bench: Bench) -> None:
    """As an ordinary user (when the tests run as root: as nobody), a folder without write permission."""
    folder = bench.folder / "results"
    folder.mkdir()
    folder.chmod(0o555)
    for parent in (bench.folder, *bench.folder.parents):
        if parent.owner() == "root" and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mei.model.errors import OutputError\n"
        "from services.backtest_runner.app.prepare import check_writable\n"
        "os.geteuid() == 0 and os.setuid(65534)\n"
        "try:\n    check_writable(Path(sys.argv[1]))\n"
        "except OutputError as error:\n    print(error); sys.exit(error.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 6, done.stderr
    assert "RESULTS_DIR" in done.stdout


def test_a_finished_run_survives_every_refusal(bench: Bench) -> None:
    assert bench.loop()[0] == 0
    before = bench.snapshot()
    for variable, value in (("CHUNK_ROWS", "0"), ("SYMBOLS", "DOGE/USDT"), ("POLICY", "guess")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(variable, value)
            assert bench.loop()[0] != 0
    assert bench.snapshot() == before
