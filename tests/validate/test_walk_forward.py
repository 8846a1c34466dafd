"""validate walk-forward: where splits lie, that each is a replay, what is made of them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

import pytest

from mei.workflows.validate.coverage import coverage, left_beside, seen_by, whole_span
from mei.workflows.validate.splits import DEFAULT_SPLITS, Split, TestRange, parse_splits, place
from tests.validate.conftest import CONFIG, N_HOURS, Bench
from tests.workflows.databases import HOUR_MS, START_MS, write_candles

DAY_MS = 24 * HOUR_MS
END_MS = START_MS + N_HOURS * HOUR_MS


@pytest.mark.parametrize(
    ("split", "end_ms", "found"),
    [
        # Offset and training go before, the end belongs to the test.
        (Split("a", 3, 12, 4), 20 * DAY_MS, (15 * DAY_MS, 19 * DAY_MS - 1)),
        (Split("a", 0, 9, 10), 18 * DAY_MS, (9 * DAY_MS, 18 * DAY_MS)),
        # Exactly one day is left: the last millisecond counts.
        (Split("a", 0, 9, 10), 10 * DAY_MS - 1, (9 * DAY_MS, 10 * DAY_MS - 1)),
        (Split("a", 0, 9, 10), 10 * DAY_MS - 2, "there must be 1 days to test on, there are 1.00"),
        (Split("a", 0, 9, 10), 9 * DAY_MS, "training must end before the range does"),
        (Split("a", 0, 0, 10), 20 * DAY_MS, "train and test must be above 0 days"),
        (Split("a", 0, 3, 0), 20 * DAY_MS, "train and test must be above 0 days"),
        (Split("a", -1, 3, 3), 20 * DAY_MS, "the offset at least 0, were 3, 3 and -1"),
    ],
)
def test_splits_are_placed(split: Split, end_ms: int, found: tuple[int, int] | str) -> None:
    placed = place(split, 0, end_ms, 1.0)
    if isinstance(found, tuple):
        assert placed == TestRange(*found)
    else:
        assert isinstance(placed, str)
        assert found in placed


def test_days_count_both_ends() -> None:
    assert TestRange(DAY_MS, 4 * DAY_MS - 1).days == 3.0
    assert TestRange(0, DAY_MS // 2 - 1).days == 0.5


def placed(splits: Sequence[Split], n_days: int) -> list[TestRange]:
    """Where splits lie in so many days."""
    found = [place(split, START_MS, START_MS + n_days * DAY_MS, 1.0) for split in splits]
    return [one for one in found if isinstance(one, TestRange)]


def test_what_is_tested_and_what_is_left_by_hand() -> None:
    tests = [TestRange(40, 49), TestRange(10, 19), TestRange(15, 29), TestRange(30, 34)]
    seen = seen_by(tests)
    assert seen == [TestRange(10, 34), TestRange(40, 49)]
    left = [TestRange(0, 9), TestRange(35, 39), TestRange(50, 60)]
    assert left_beside(seen, 0, 60) == left
    assert left_beside([TestRange(0, 60)], 0, 60) == []
    # The end is a bar's close: that millisecond is no stretch.
    assert left_beside([TestRange(0, 59)], 0, 60) == []


@pytest.mark.parametrize("n_days", [21, 30, 45, 100, 365, 1_000])
def test_splits_for_the_whole_span(n_days: int) -> None:
    splits = whole_span(n_days)
    assert len(splits) == 4
    (seen,) = seen_by(placed(splits, n_days))
    assert seen.start_ms - START_MS == n_days // 3 * DAY_MS
    assert seen.end_ms >= START_MS + n_days * DAY_MS - 1
    assert len({one.train_days for one in splits}) == 1


@pytest.mark.parametrize(
    ("splits", "n_days", "told"),
    [
        (
            DEFAULT_SPLITS,
            20,
            "days 9-19 of 20 (50%, 2025-06-10 to 2025-06-19); not tested: 0-9, 19-20",
        ),
        (
            DEFAULT_SPLITS,
            200,
            "days 9-19 of 200 (5%, 2025-06-10 to 2025-06-19); not tested: 0-9, 19-200: the usual splits end with day "
            "19, --split 66,34,0 --split 66,34,34 --split 66,34,68 --split 66,34,102 test the rest, too",
        ),
        (
            [Split("a", 0, 5, 2), Split("b", 5, 5, 2)],
            200,
            "days 5-7, 10-12 of 200 (2%, 2025-06-06 to 2025-06-12); not tested: 0-5, 7-10, 12-200",
        ),
        (
            [Split("a", 0, 1, 99)],
            2,
            "days 1-2 of 2 (50%, 2025-06-02 to 2025-06-03); not tested: 0-1",
        ),
    ],
)
def test_what_is_tested_in_a_line(splits: Sequence[Split], n_days: int, told: str) -> None:
    end_ms = START_MS + n_days * DAY_MS
    assert coverage(splits, placed(splits, n_days), START_MS, end_ms) == f"tested: {told}"


def test_the_command_tells_what_it_tests(bench: Bench) -> None:
    assert bench.run("validate walk-forward --config c.yaml --split a:10,3,1") == 0
    line = "[walk-forward] tested: days 11-14 of 20 (15%, 2025-06-12 to 2025-06-14); not tested: 0-11, 14-20"
    assert bench.err.splitlines().count(line) == 1


def test_splits_are_those_given_and_else_the_usual_ones() -> None:
    assert parse_splits((), None) == DEFAULT_SPLITS
    assert [(s.offset_days, s.train_days, s.test_days) for s in DEFAULT_SPLITS] == [
        (0, 12, 7),
        (3, 12, 4),
        (0, 9, 10),
    ]
    given = ("7,3,0", "late: 7, 3, 5", "1,1,1")
    assert parse_splits(given, None) == (
        Split("split1", 0, 7, 3),
        Split("late", 5, 7, 3),
        Split("split3", 1, 1, 1),
    )


@pytest.mark.parametrize("semantics", ["strict", "reference"])
def test_a_segment_is_a_replay_of_the_same_times(bench: Bench, semantics: str) -> None:
    flags = f"--config c.yaml --semantics {semantics} --funding-db candles_dbs/funding_rates.db"
    assert bench.run(f"validate walk-forward {flags} --split a:10,3,1 --split 9,4,2") == 0
    one = bench.json("walk_forward/summary.json")["splits"][0]
    from_ms = START_MS + 11 * DAY_MS
    assert one["test_range"] == {
        "start_ms": from_ms,
        "end_ms": from_ms + 3 * DAY_MS - 1,
        "start_iso": "2025-06-12T00:00:00.000Z",
        "end_iso": "2025-06-14T23:59:59.999Z",
        "days": 3.0,
    }
    times = f"--start-ts {from_ms} --end-ts {from_ms + 3 * DAY_MS - 1}"
    assert bench.run(f"replay {flags} {times} --output alone.json") == 0
    alone = (bench.folder / "alone.json").read_bytes()
    assert (bench.folder / "walk_forward/a/replay.json").read_bytes() == alone
    report = json.loads(alone)
    assert report["total_trades"] > 3
    assert one["metrics"].items() <= report.items()
    assert one["oos_daily_return"] == report["total_pnl"] / 10_000.0 / 3.0
    # What the command said, but for how long it took and what it wrote.
    said = (bench.folder / "walk_forward/a/replay.stderr.txt").read_text()
    assert "Effective time range: 1749686400000" in said
    assert "=== Backtest Summary ===" in said
    assert (bench.folder / "walk_forward/a/replay.stdout.txt").read_text() == ""


def test_the_summary_says_what_was_tested(bench: Bench) -> None:
    line = "validate walk-forward --config c.yaml --out-dir w --output w/s.json --split no:30,1,0"
    assert bench.run(f"{line} --split a:9,2,0 --split b:9,3,2 --split c:9,4,7") == 0
    found = bench.json("w/s.json")
    assert found.pop("elapsed_s") > 0.0
    assert found.pop("requested_range") == {
        "start_ms": START_MS,
        "end_ms": END_MS,
        "start_iso": "2025-06-01T00:00:00.000Z",
        "end_iso": "2025-06-21T00:00:00.000Z",
    }
    assert found["config_path"] == "c.yaml"
    assert found["interval"] == "1h"
    assert found["auto_scope"] == {"scope_entry_exit": True, "intervals": ["1h"]}
    assert [one["name"] for one in found["splits"]] == ["a", "b", "c"]
    assert [one["name"] for one in found["skipped"]] == ["no"]
    assert "no is skipped: training must end" in bench.err
    daily = [one["oos_daily_return"] for one in found["splits"]]
    assert len(set(daily)) == 3
    # The last one begins on day 16 and is cut to the 4 days that are left, which is what was asked for.
    assert [one["test_range"]["days"] for one in found["splits"]] == [2.0, 3.0, 4.0]
    assert found["aggregate"] == {
        "oos_daily_returns": daily,
        "median_oos_daily_return": sorted(daily)[1],
        "max_oos_drawdown_pct": max(one["metrics"]["max_drawdown_pct"] for one in found["splits"]),
        "walk_forward_score_v1": sorted(daily)[1],
    }
    again = f"{line} --split a:9,2,0 --split b:9,3,2"
    assert bench.run(again) == 0
    two = bench.json("w/s.json")["aggregate"]
    assert two["median_oos_daily_return"] == statistics.median(daily[:2])


def test_splits_may_stand_in_a_file_and_times_without_offset_are_utc(bench: Bench) -> None:
    rows = [{"train_days": 9, "test_days": 2}, {"name": "x", "train_days": 9, "test_days": 9}]
    (bench.folder / "s.json").write_text(json.dumps(rows))
    line = "validate walk-forward --config c.yaml --splits-json s.json"
    times = "--start-ts 2025-06-02T00:00:00 --end-ts 2025-06-15T12:00"
    assert bench.run(f"{line} {times} --min-test-days 2") == 0
    found = bench.json("walk_forward/summary.json")
    assert found["requested_range"]["start_ms"] == START_MS + DAY_MS
    assert [one["name"] for one in found["splits"]] == ["split1", "x"]
    assert [one["offset_days"] for one in found["splits"]] == [0, 0]
    assert found["splits"][0]["test_range"]["start_ms"] == START_MS + 10 * DAY_MS
    assert found["splits"][1]["test_range"]["end_iso"] == "2025-06-15T12:00:00.000Z"


def test_finer_candles_bound_the_range_unless_told_not_to(bench: Bench) -> None:
    (bench.folder / "candles_dbs").unlink()
    write_candles(bench.folder, "1h", HOUR_MS, N_HOURS)
    start_ms = START_MS + 2 * DAY_MS
    write_candles(bench.folder, "15m", HOUR_MS // 4, 12 * 96, start_ms=start_ms)
    (bench.folder / "c.yaml").write_text(
        f"{CONFIG}".replace("global:", "global:\n  engine: {exit_interval: 15m}")
    )
    line = "validate walk-forward --config c.yaml --split a:8,4,0"
    assert bench.run(line) == 0
    found = bench.json("walk_forward/summary.json")
    assert found["auto_scope"] == {"scope_entry_exit": True, "intervals": ["15m"]}
    assert found["requested_range"]["start_ms"] == start_ms
    assert found["requested_range"]["end_ms"] == start_ms + 12 * DAY_MS
    times = f"--start-ts {start_ms + 8 * DAY_MS} --end-ts {start_ms + 12 * DAY_MS - 1}"
    assert bench.run(f"replay --config c.yaml {times} --output alone.json") == 0
    alone = (bench.folder / "alone.json").read_bytes()
    assert (bench.folder / "walk_forward/a/replay.json").read_bytes() == alone
    assert (
        bench.run("validate walk-forward --config c.yaml --split a:13,4,0 --no-scope-entry-exit")
        == 1
    )
    assert "error: split a: --end-ts must lie in the common range" in bench.err
    said = (bench.folder / "walk_forward/a/replay.stderr.txt").read_text()
    assert said.endswith(bench.err.splitlines()[-1].replace("split a: ", "") + "\n")
    # Named once, wherever they are, the databases are those of exits, too.
    (bench.folder / "candles_dbs").rename(bench.folder / "elsewhere")
    both = "elsewhere/candles_1h.db,elsewhere/candles_15m.db"
    assert bench.run(f"{line} --candles-db {both} --out-dir named") == 0
    assert bench.json("named/summary.json")["aggregate"] == found["aggregate"]


def test_momentum_breakout_walks_too(bench: Bench) -> None:
    (bench.folder / "m.yaml").write_text("momentum_breakout: {lookback: 20, max_hold_bars: 5}\n")
    line = "--config m.yaml --strategy momentum_breakout"
    assert bench.run(f"validate walk-forward {line} --split a:9,2,0") == 0
    found = bench.json("walk_forward/summary.json")["splits"][0]
    times = f"--start-ts {START_MS + 9 * DAY_MS} --end-ts {START_MS + 11 * DAY_MS - 1}"
    assert bench.run(f"replay {line} {times}") == 0
    assert json.loads(bench.out)["total_pnl"] == found["metrics"]["total_pnl"]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ("--split 1,2", 2, "--split must be train,test,offset"),
        ("--split 1.5,2,0", 2, "whole days"),
        ("--split a/b:1,2,0", 2, "the name of a split names a folder"),
        ("--split ..:1,2,0", 2, "the name of a split names a folder"),
        ("--split a:1,2,0 --split A:1,2,0", 2, "names of splits must differ"),
        ("--splits-json none.json", 2, "--splits-json none.json must be a JSON file"),
        ("--splits-json c.yaml", 2, "must be a JSON file"),
        ("--split 0,7,0", 1, "none of 1 does (split1: train and test must be above 0"),
        ("--split 30,7,0", 1, "a split must fit into the range"),
        ("--min-test-days 11", 1, "there must be 11 days to test on, there are 7.00"),
        ("--min-test-days inf", 2, "--min-test-days must be a finite number"),
        ("--start-ts soon", 2, "--start-ts: a time must be"),
        ("--start-ts 2020-01-01", 1, "--start-ts must lie in the common range"),
        ("--config none.yaml", 2, "none.yaml"),
        ("--config", 2, "--config"),
        ("--interval 2h", 1, "candles_2h.db"),
        ("--strategy other", 2, "--strategy must be one of"),
        ("--semantics other", 2, "--semantics"),
        ("--output c.yaml", 2, "c.yaml is that of --config"),
        ("--output candles_dbs/candles_1h.db", 2, "is that of --candles-db"),
        ("--output walk_forward/split1/replay.json", 2, "must be a file of its own"),
        ("--out-dir c.yaml", 1, "a part of the path is a file, not a folder"),
        ("--output no/s.json", 1, "must be in a folder that exists"),
        ("--universe-filter", 2, "No such option"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(bench: Bench, flags: str, code: int, words: str) -> None:
    before = (bench.folder / "c.yaml").read_text()
    config = "" if flags == "--config" else "--config c.yaml"
    assert bench.run(f"validate walk-forward {config} {flags if config else ''}") == code
    assert words in bench.err.splitlines()[-1]
    assert (bench.folder / "c.yaml").read_text() == before
    assert not (bench.folder / "walk_forward/summary.json").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1}', "must hold a list of splits"),
        ("[1]", "s.json: split 1 must be an object, was 1"),
        ('[{"train_days": 1}]', "split 1: test_days must be a whole number of days, was absent"),
        ('[{"train_days": 1, "test_days": 1.0}]', "test_days must be a whole number"),
        ('[{"train_days": true, "test_days": 1}]', "train_days must be a whole number"),
        ('[{"train": 1}]', "train is not known"),
        ('[{"train_days": 1, "test_days": 1, "name": 3}]', "names a folder"),
    ],
)
def test_files_of_splits_that_are_wrong_are_told(bench: Bench, text: str, words: str) -> None:
    (bench.folder / "s.json").write_text(text)
    assert bench.run("validate walk-forward --config c.yaml --splits-json s.json") == 2
    assert words in bench.err
