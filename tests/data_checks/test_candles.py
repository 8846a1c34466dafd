"""check_candle_dbs: what is old, what is missing, and from which number on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from mei.data.candle_health import Window, candle_health
from tests.data_checks.conftest import Bench, bar, ms
from tests.tools.loading import TOOLS
from tests.workflows.databases import HOUR_MS

NOW = ms("2026-03-10 12:00:00")
DAY_MS = 24 * HOUR_MS
#: Bars of the last day that must be there at NOW: 12:00 of yesterday to 10:00; that of 11:00 closed within the grace.
FIRST, LAST = NOW - DAY_MS, NOW - 2 * HOUR_MS
LENIENT = "--gap-warn-bars 900 --gap-fail-bars 900 --missing-warn-bars 900 --missing-fail-bars 900"


def opens(without: Iterable[int] = (), first: int = FIRST, last: int = LAST) -> list[int]:
    """Opens of the hours first to last, without those that are so many hours after the first."""
    gone = {first + hours * HOUR_MS for hours in without}
    return [t for t in range(first, last + 1, HOUR_MS) if t not in gone]


def check(bench: Bench, flags: str = "", now: int = NOW) -> tuple[int, Any]:
    """The exit code and the only series."""
    code = bench.run("check_candle_dbs", f"--now-ms {now} {flags}")
    (database,) = bench.json()["dbs"]
    (part,) = database["intervals"]
    (series,) = part["symbols"]
    assert part["status"] == database["status"] == bench.json()["status"] == series["status"]
    return code, series


def test_whole_and_fresh(bench: Bench) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    code, series = check(bench)
    assert code == 0
    assert series == {
        "symbol": "BTC",
        "status": "OK",
        "reasons": [],
        "newest_open_ms": LAST,
        "seen_ms": LAST + HOUR_MS,
        "age_ms": HOUR_MS,
        "expected_bars": 23,
        "missing_bars": 0,
        "max_gap_bars": 0,
        "off_grid_bars": 0,
        "n_gap_ranges": 0,
        "gap_ranges": [],
        "n_price_jumps": 0,
        "price_jumps": [],
        "n_price_spikes": 0,
        "price_spikes": [],
    }
    assert bench.err == "[OK] 1 candle databases, 1 series\n"
    (part,) = bench.json()["dbs"][0]["intervals"]
    assert (part["first_expected_ms"], part["last_expected_ms"]) == (FIRST, LAST)
    assert bench.out.startswith('{\n  "db_glob"')


@pytest.mark.parametrize(
    ("age_ms", "status", "code"),
    [
        (2 * HOUR_MS - 1, "OK", 0),
        (2 * HOUR_MS, "WARN", 0),
        (5 * HOUR_MS - 1, "WARN", 0),
        (5 * HOUR_MS, "FAIL", 2),
    ],
)
def test_age_is_from_the_threshold_on(bench: Bench, age_ms: int, status: str, code: int) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    found, series = check(bench, LENIENT, now=LAST + HOUR_MS + age_ms)
    assert (found, series["status"], series["age_ms"]) == (code, status, age_ms)
    code_of_warn, _ = check(bench, f"{LENIENT} --fail-on-warn", now=LAST + HOUR_MS + age_ms)
    assert code_of_warn == (1 if status == "WARN" else code)


def priced(t: int, factor: float = 1.0) -> tuple[Any, ...]:
    """A bar whose prices are all so many times the usual ones."""
    head, prices, tail = bar("BTC", t)[:4], bar("BTC", t)[4:8], bar("BTC", t)[8:]
    return (*head, *(price * factor for price in prices), *tail)


def test_prices_that_jump_are_a_warning(bench: Bench) -> None:
    glued = [priced(t, 40.0 if t >= FIRST + 7 * HOUR_MS else 1.0) for t in opens()]
    bench.candles("candles_1h.db", glued)
    code, series = check(bench)
    assert (code, series["status"]) == (0, "WARN")
    assert series["n_price_jumps"] == 1
    assert series["price_jumps"] == [
        {
            "before_ms": FIRST + 6 * HOUR_MS,
            "at_ms": FIRST + 7 * HOUR_MS,
            "at_utc": "2026-03-09T19:00:00Z",
            "close_px": 1.5,
            "open_px": 40.0,
            "hole_ms": 0,
        }
    ]
    assert bench.err.startswith(
        "[WARN] candles_dbs/candles_1h.db 1h BTC: 1 price jump: 2026-03-09T19:00:00Z from 1.5 to 40 "
        "(check whether two markets were glued together)\n"
    )
    assert check(bench, "--fail-on-warn")[0] == 1
    # Onto the first bar of the window, from the one before it; then both are older than the window.
    first = FIRST + 7 * HOUR_MS
    assert check(bench, LENIENT, now=first + DAY_MS)[1]["n_price_jumps"] == 1
    assert check(bench, LENIENT, now=first + DAY_MS + HOUR_MS)[1]["n_price_jumps"] == 0


def test_so_many_jumps_are_listed_as_gaps_are(bench: Bench) -> None:
    wrong = {FIRST + hours * HOUR_MS: factor for hours, factor in ((3, 10.0), (9, 90.0))}
    bench.candles("candles_1h.db", [priced(t, wrong.get(t, 1.0)) for t in opens()])
    _, series = check(bench, "--max-gap-ranges-per-symbol 2")
    assert series["n_price_jumps"] == 4
    assert [jump["at_ms"] for jump in series["price_jumps"]] == [
        FIRST + 9 * HOUR_MS,
        FIRST + 10 * HOUR_MS,
    ]
    (reason,) = series["reasons"]
    assert reason.startswith("4 price jumps, the first 2026-03-09T15:00:00Z from 1.5 to 10, the")


def test_a_wrong_high_is_a_warning(bench: Bench) -> None:
    rows = [list(bar("BTC", t)) for t in opens()]
    rows[5][5] = 70.0
    bench.candles("candles_1h.db", [tuple(row) for row in rows])
    _, series = check(bench)
    assert (series["status"], series["n_price_spikes"], series["n_price_jumps"]) == ("WARN", 1, 0)
    assert series["price_spikes"] == [
        {
            "at_ms": FIRST + 5 * HOUR_MS,
            "at_utc": "2026-03-09T17:00:00Z",
            "px": 70.0,
            "near_px": 2.0,
        }
    ]
    assert "1 bars have a high or low more than a factor 3 from all prices around it" in bench.err
    assert "2026-03-09T17:00:00Z at 70, around it 2 (check for a wrong price)" in bench.err


@pytest.mark.parametrize("gone", [("o", "h", "l", "c"), ("h",)])
def test_a_table_without_prices_is_checked_without_them(
    bench: Bench, gone: tuple[str, ...]
) -> None:
    path = bench.candles("candles_1h.db", [priced(t, 1.0 + 9.0 * (t > FIRST)) for t in opens([3])])
    with sqlite3.connect(path) as database:
        for name in gone:
            database.execute(f"ALTER TABLE candles DROP COLUMN {name}")
    database.close()
    _, series = check(bench)
    assert (series["status"], series["missing_bars"]) == ("WARN", 1)
    assert not [name for name in series if "price" in name]
    note = f"prices are not looked at: the table candles has no {', '.join(gone)}"
    assert bench.json()["dbs"][0]["note"] == note
    assert bench.err.splitlines()[0] == f"[note] candles_dbs/candles_1h.db: {note}"


def test_each_bar_of_the_window_is_read_once(bench: Bench) -> None:
    path = bench.candles("candles_1h.db", [bar("BTC", t) for t in opens([3])])
    asked: list[str] = []
    with candle_health(str(path)) as health:
        health.database.set_trace_callback(asked.append)
        seen = health.look_at("BTC", "1h", Window(NOW, DAY_MS, 0))
    assert (seen.n_missing, len(seen.gaps)) == (2, 2)
    # The newest bars, and those of the window.
    assert len(asked) == 2


def test_two_bars_of_one_open_are_one_that_is_there(bench: Bench) -> None:
    path = bench.candles("candles_1h.db", [])
    rows = [bar("BTC", t) for t in (*opens([3]), FIRST, FIRST + 1, FIRST + 1, LAST)]
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE keyless AS SELECT * FROM candles")
        database.execute("DROP TABLE candles")
        database.execute("ALTER TABLE keyless RENAME TO candles")
        database.executemany(f"INSERT INTO candles VALUES ({', '.join('?' * 10)})", rows)
    database.close()
    _, series = check(bench)
    assert (series["missing_bars"], series["n_gap_ranges"], series["off_grid_bars"]) == (1, 1, 1)


def test_a_time_between_two_ms_fails_in_the_window_alone(bench: Bench) -> None:
    bars = [priced(t, 1.0 if t >= FIRST else 90.0) for t in opens(first=FIRST - HOUR_MS)]
    path = bench.candles("candles_1h.db", bars)
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE candles SET t = t + 0.5 WHERE t < {FIRST}")
    database.close()
    assert check(bench)[1]["status"] == "OK"
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE candles SET t = t + 0.5 WHERE t = {FIRST}")
    database.close()
    assert bench.run("check_candle_dbs", f"--now-ms {NOW}") == 2
    error = bench.json()["dbs"][0]["error"]
    assert f"t must be an integer (epoch ms), found {FIRST}.5 of BTC (1h)" in error


def test_prices_that_are_no_numbers_are_not_judged(bench: Bench) -> None:
    rows = [list(bar("BTC", t)) for t in opens()]
    rows[5][4:8] = [None, "x", b"1", 0.0]
    bench.candles("candles_1h.db", [tuple(row) for row in rows])
    assert check(bench)[1]["status"] == "OK"


def test_age_thresholds_are_flags(bench: Bench) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    flags = f"{LENIENT} --freshness-warn-mult 1.5 --freshness-fail-mult 1.75"
    statuses = [
        check(bench, flags, now=LAST + HOUR_MS + minutes * 60_000)[1]["status"]
        for minutes in (89, 90, 104, 105)
    ]
    assert statuses == ["OK", "WARN", "WARN", "FAIL"]


@pytest.mark.parametrize(
    ("closes", "seen"),
    [
        # The bar that is open now does not make the series fresh.
        ([-5, -1, 0, 1], 0),
        # A bar that closed within the grace is not closed yet.
        ([-3, -2, -1.2, 0.5 / 720], -1.2),
        # Only the newest five rows are looked at; if none is closed, the newest open counts.
        ([0, 1, 2, 3, 4, 5], 4),
    ],
)
def test_what_counts_as_seen(bench: Bench, closes: list[float], seen: float) -> None:
    # Closes in hours after NOW less the grace of 5 s.
    last = NOW - 5_000
    rows = []
    for number, close in enumerate(closes):
        row = list(bar("BTC", last - 10 * HOUR_MS + number))
        row[3] = last + round(close * HOUR_MS)
        rows.append(tuple(row))
    rows[-1] = (*rows[-1][:2], last + 4 * HOUR_MS, *rows[-1][3:])
    bench.candles("candles_1h.db", rows)
    _, series = check(bench, LENIENT)
    assert series["seen_ms"] == last + round(seen * HOUR_MS)


def test_a_close_that_is_not_written(bench: Bench) -> None:
    rows = [(*bar("BTC", t)[:3], None, *bar("BTC", t)[4:]) for t in opens()]
    bench.candles("candles_1h.db", rows)
    _, series = check(bench)
    assert (series["seen_ms"], series["age_ms"], series["status"]) == (LAST, 2 * HOUR_MS, "WARN")


@pytest.mark.parametrize(
    ("without", "places", "most", "missing", "status"),
    [
        ([0], [("head", 0, 0, 1)], 1, 1, "WARN"),
        ([7, 8], [("inside", 7, 8, 2)], 2, 2, "WARN"),
        ([7, 8, 9], [("inside", 7, 9, 3)], 3, 3, "FAIL"),
        ([21, 22], [("tail", 21, 22, 2)], 2, 2, "FAIL"),  # 2 are a warning, the age of 3 is, too
        (
            [0, 1, 5, 22],
            [("head", 0, 1, 2), ("inside", 5, 5, 1), ("tail", 22, 22, 1)],
            2,
            4,
            "WARN",
        ),
    ],
)
def test_gaps(
    bench: Bench, without: list[int], places: list[Any], most: int, missing: int, status: str
) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens(without)])
    flags = "--freshness-fail-mult 3" if status == "FAIL" else ""
    _, series = check(bench, flags)
    found = [
        (
            gap["place"],
            (gap["from_ms"] - FIRST) // HOUR_MS,
            (gap["to_ms"] - FIRST) // HOUR_MS,
            gap["bars"],
        )
        for gap in series["gap_ranges"]
    ]
    assert found == places
    assert (series["max_gap_bars"], series["missing_bars"]) == (most, missing)
    assert series["status"] == status


def test_the_bar_before_the_window_is_not_missed(bench: Bench) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    _, series = check(bench, now=NOW + 1)
    # The window now starts 1 ms after an open: that bar is out, and no other has come.
    assert (series["expected_bars"], series["missing_bars"]) == (22, 0)
    _, series = check(bench, now=NOW + 5_000)
    assert (series["expected_bars"], series["missing_bars"]) == (23, 1)
    assert series["gap_ranges"][0]["place"] == "tail"


@pytest.mark.parametrize(("grace", "missing"), [("5", 0), ("4.001", 0), ("4", 1), ("0", 1)])
def test_grace(bench: Bench, grace: str, missing: int) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    _, series = check(bench, f"--grace-seconds {grace}", now=NOW + 4_000)
    assert series["missing_bars"] == missing


@pytest.mark.parametrize(
    ("n_missing", "status"), [(9, "OK"), (10, "WARN"), (49, "WARN"), (50, "FAIL")]
)
def test_missing_in_all(bench: Bench, n_missing: int, status: str) -> None:
    first = NOW - 200 * HOUR_MS
    # Every other bar of the past is gone: one in a row.
    gone = range(1, 2 * n_missing, 2)
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens(gone, first=first)])
    flags = "--lookback-hours 200 --gap-warn-bars 2 --gap-fail-bars 2"
    _, series = check(bench, flags)
    assert (series["missing_bars"], series["max_gap_bars"]) == (n_missing, 1)
    assert (series["status"], series["n_gap_ranges"]) == (status, n_missing)
    assert len(series["gap_ranges"]) == 5


def test_only_the_longest_gaps_are_listed(bench: Bench) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens([1, 3, 4, 6, 8, 9, 10])])
    _, series = check(bench, "--max-gap-ranges-per-symbol 2")
    assert [gap["bars"] for gap in series["gap_ranges"]] == [2, 3]
    assert series["n_gap_ranges"] == 4
    _, series = check(bench, "--max-gap-ranges-per-symbol 0")
    assert series["gap_ranges"] == []


def test_nothing_in_the_window(bench: Bench) -> None:
    bench.candles("candles_1h.db", [bar("BTC", FIRST - HOUR_MS)])
    code, series = check(bench)
    assert code == 2
    (gap,) = series["gap_ranges"]
    assert (gap["place"], gap["bars"], gap["from_utc"]) == ("whole", 23, "2026-03-09T12:00:00Z")


def test_the_worst_wins(bench: Bench) -> None:
    whole = [bar("BTC", t) for t in opens()]
    bench.candles("candles_1h.db", whole + [bar("ETH", t) for t in opens([4])])
    bench.candles(
        "candles_2h.db", [bar("BTC", t, "2h", 2 * HOUR_MS) for t in range(FIRST, NOW, 2 * HOUR_MS)]
    )
    run = f"--now-ms {NOW}"
    assert bench.run("check_candle_dbs", run) == 0
    assert bench.json()["status"] == "WARN"
    assert bench.err.splitlines() == [
        "[WARN] candles_dbs/candles_1h.db 1h ETH: 1 bars are missing in a row",
        "[WARN] 2 candle databases, 3 series",
    ]
    assert bench.run("check_candle_dbs", f"{run} --fail-on-warn") == 1
    assert bench.run("check_candle_dbs", f"{run} --fail-on-warn --symbols BTC") == 0
    assert bench.json()["status"] == "OK"
    assert bench.run("check_candle_dbs", f"{run} --gap-fail-bars 1 --fail-on-warn") == 2
    statuses = [one["status"] for one in bench.json()["dbs"]]
    assert statuses == ["FAIL", "OK"]
    # A symbol that is asked for must be in every database.
    assert bench.run("check_candle_dbs", f"{run} --symbols eth,BTC") == 2
    two_hours = bench.json()["dbs"][1]["intervals"][0]["symbols"]
    assert [(one["symbol"], one["status"]) for one in two_hours] == [("eth", "FAIL"), ("BTC", "OK")]
    assert bench.json()["dbs"][0]["intervals"][0]["symbols"][0]["symbol"] == "ETH"


def test_an_empty_table_fails(bench: Bench) -> None:
    bench.candles("candles_1h.db", [])
    assert bench.run("check_candle_dbs", f"--now-ms {NOW} --symbols BTC") == 2
    (database,) = bench.json()["dbs"]
    assert database["status"] == "FAIL"
    assert "the table is empty" in database["error"]
    (part,) = database["intervals"]
    assert (part["interval"], part["symbols"][0]["reasons"]) == ("1h", ["there is no bar"])


def test_what_is_no_candle_database_fails_alone(bench: Bench) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    (bench.folder / "candles_dbs" / "candles_1m.db").write_text("no database")
    assert bench.run("check_candle_dbs", f"--now-ms {NOW}") == 2
    statuses = [one["status"] for one in bench.json()["dbs"]]
    assert statuses == ["OK", "FAIL"]
    assert "candles_1m.db" in bench.err


def test_no_database_fails(bench: Bench) -> None:
    assert bench.run("check_candle_dbs", "--db-glob nothing/*.db") == 2
    assert bench.json()["status"] == "FAIL"
    assert "none does" in bench.json()["error"]


@pytest.mark.parametrize("label", ["1M", "hour", ""])
def test_a_label_that_is_no_length_fails(bench: Bench, label: str) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t, label) for t in opens()])
    assert bench.run("check_candle_dbs", f"--now-ms {NOW}") == 2


def test_weeks_begin_on_monday(bench: Bench) -> None:
    week = 7 * DAY_MS
    monday = ms("2026-03-02 00:00:00")
    bars = [bar("BTC", monday - back * week, "1w", week) for back in range(4)]
    bench.candles("candles_1w.db", bars)
    _, series = check(bench, f"--lookback-hours {24 * 28}")
    assert (series["expected_bars"], series["missing_bars"], series["status"]) == (3, 0, "OK")


def test_a_window_without_a_whole_bar_is_told(bench: Bench) -> None:
    day = ms("2026-03-09 00:00:00")
    bench.candles("candles_1d.db", [bar("BTC", day, "1d", DAY_MS)])
    code, series = check(bench)
    assert (code, series["expected_bars"]) == (0, 0)
    assert "[note] candles_dbs/candles_1d.db 1d: no whole bar of 1d lies" in bench.err


def test_bars_of_the_future_and_off_the_grid(bench: Bench) -> None:
    rows = [bar("BTC", t) for t in opens()]
    bench.candles("candles_1h.db", [*rows, bar("BTC", NOW + 6_000)])
    code, series = check(bench)
    assert code == 2
    assert series["reasons"] == ["the newest bar opens in the future, at 2026-03-10T12:00:06Z"]
    bench.candles(
        "candles_2h.db", [bar("BTC", t, "2h", 2 * HOUR_MS) for t in range(FIRST, NOW, HOUR_MS)]
    )
    code = bench.run("check_candle_dbs", f"--now-ms {NOW} --db-glob candles_dbs/candles_2h.db")
    (series,) = bench.json()["dbs"][0]["intervals"][0]["symbols"]
    assert (code, series["status"], series["off_grid_bars"]) == (0, "WARN", 10)


@pytest.mark.parametrize("column", ["t", "t_close", "symbol"])
def test_cells_of_another_type_fail(bench: Bench, column: str) -> None:
    path = bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE candles SET {column} = x'00' WHERE t = {LAST}")
    database.close()
    assert bench.run("check_candle_dbs", f"--now-ms {NOW}") == 2
    assert column in bench.json()["dbs"][0]["error"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--lookback-hours 0", "--lookback-hours must be above 0"),
        ("--lookback-hours nan", "--lookback-hours must be above 0"),
        (
            "--freshness-warn-mult 6",
            "--freshness-warn-mult must not be above --freshness-fail-mult",
        ),
        ("--freshness-warn-mult 0.5", "--freshness-warn-mult must be at least 1"),
        ("--gap-warn-bars 0", "--gap-warn-bars must be at least 1"),
        ("--gap-warn-bars 4", "--gap-warn-bars must not be above --gap-fail-bars"),
        ("--missing-warn-bars 51", "--missing-warn-bars must not be above --missing-fail-bars"),
        ("--grace-seconds -1", "--grace-seconds must be at least 0"),
        ("--grace-seconds 86400", "--grace-seconds must be at least 0 and less than the lookback"),
        ("--max-gap-ranges-per-symbol -1", "--max-gap-ranges-per-symbol must be at least 0"),
        ("--symbols ,", "--symbols must name a symbol"),
        ("--gap-warn-bars many", "Invalid value for '--gap-warn-bars'"),
        ("--lookback 3", "No such option"),
    ],
)
def test_flags_that_cannot_be_meant(bench: Bench, flags: str, said: str) -> None:
    bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    assert bench.run("check_candle_dbs", f"--now-ms {NOW} {flags}") == 2
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")


def test_as_a_program_with_the_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bench.candles("candles_1h.db", [bar("BTC", t) for t in opens()])
    path.parent.rename(bench.folder / "elsewhere")
    monkeypatch.setenv("AI_QUANT_CANDLES_DB_DIR", "elsewhere")
    program = [sys.executable, str(TOOLS / "check_candle_dbs.py"), "--now-ms", str(NOW)]
    done = subprocess.run(
        [*program, "--json-indent", "0"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[OK] 1 candle databases, 1 series\n")
    assert done.stdout.startswith('{"db_glob":"elsewhere/candles_*.db","dbs":[')
    assert done.stdout.count("\n") == 1
