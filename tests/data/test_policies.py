"""What GAP_POLICY does with missing bars and faulty rows, and what the window leaves of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.data.price_jumps import Jump, JumpCount
from mei.data.stream import MAX_LISTED_GAPS, Gap
from mei.model.errors import DataError
from mei.model.settings import GapPolicy
from tests.data.candles import (
    MINUTE_MS,
    START_MS,
    bars_of,
    csv,
    minutes,
    minutes_of,
    put,
    row,
    scan,
)


def at(minute: int) -> int:
    return START_MS + minute * MINUTE_MS


@pytest.fixture
def gapped(tmp_path: Path) -> Path:
    """Minutes 0..9, 13..19 and 21..29, in two files."""
    put(tmp_path, "a.csv", csv(*minutes(0, 10)))
    put(tmp_path, "b.csv", csv(*minutes(13, 20), *minutes(21, 30)))
    return tmp_path


def test_keep_leaves_gaps_and_reports_them(gapped: Path) -> None:
    scanned = scan(gapped)
    assert scanned.gaps == (Gap(at(9), at(13), 3), Gap(at(19), at(21), 1))
    assert (scanned.n_gaps, scanned.n_missing, scanned.n_bars) == (2, 4, 26)
    assert minutes_of(bars_of(scanned)) == [*range(10), *range(13, 20), *range(21, 30)]
    assert "2 gaps (4 bars missing)" in scanned.describe()


def test_ffill_fills_gaps_with_flat_bars_at_the_last_close(gapped: Path) -> None:
    scanned = scan(gapped, "ffill")
    bars = bars_of(scanned)
    assert minutes_of(bars) == list(range(30))
    assert scanned.n_bars == 30
    for minute, source in ((10, 9), (12, 9), (20, 19)):
        close = bars["close"][source]
        assert bars[minute].tolist() == (at(minute), close, close, close, close, 0.0)
    assert (scanned.n_gaps, scanned.n_missing) == (2, 4)
    assert "2 gaps (4 bars filled)" in scanned.describe()


@pytest.mark.parametrize("start", range(8, 16))
@pytest.mark.parametrize("block_rows", [1, 3, 100])
def test_a_window_into_a_gap_is_filled_with_the_close_before_it(
    gapped: Path, start: int, block_rows: int
) -> None:
    whole = bars_of(scan(gapped, "ffill"))
    windowed = scan(gapped, "ffill", at(start), at(21))
    assert bars_of(windowed, block_rows=block_rows).tolist() == whole[start:21].tolist()
    assert bars_of(scan(gapped, "ffill"), at(start), block_rows).tolist() == whole[start:].tolist()


@pytest.mark.parametrize(
    ("start", "end", "n_gaps", "n_missing"),
    [
        (9, 14, 1, 3),
        (10, 14, 1, 3),
        (11, 14, 1, 2),
        (12, 30, 2, 2),
        (13, 20, 0, 0),
        (0, 11, 1, 1),
        (0, 10, 0, 0),
    ],
)
def test_only_gaps_inside_the_window_count(
    gapped: Path, start: int, end: int, n_gaps: int, n_missing: int
) -> None:
    scanned = scan(gapped, "keep", at(start), at(end))
    assert (scanned.n_gaps, scanned.n_missing) == (n_gaps, n_missing)
    if n_gaps:
        with pytest.raises(DataError, match="a gap"):
            scan(gapped, "error", at(start), at(end))
    else:
        assert scan(gapped, "error", at(start), at(end)).sha256 == scanned.sha256


def test_a_window_off_the_grid_counts_whole_bars(gapped: Path) -> None:
    scanned = scan(gapped, "keep", at(11) + 1, at(14) - 1)
    assert (scanned.n_bars, scanned.n_missing, scanned.first_ms) == (1, 1, at(13))


def test_the_window_takes_its_start_and_not_its_end(gapped: Path) -> None:
    scanned = scan(gapped, "keep", at(2), at(5))
    assert minutes_of(bars_of(scanned)) == [2, 3, 4]
    assert (scanned.first_ms, scanned.last_ms, scanned.n_bars) == (at(2), at(4), 3)


def test_drop_leaves_faulty_rows_out_and_counts_them_by_reason(tmp_path: Path) -> None:
    bad = [
        row(2, close=""),
        row(2, open="NaN"),
        row(2, high="inf"),
        row(2, low=0),
        row(2, volume=-1),
        row(2, high=80),
        row(2, close=111),
    ]
    again = [row(3, volume=9), row(3), row(1), row(0)]
    put(tmp_path, "c.csv", csv(*minutes(0, 2), *bad, *minutes(2, 4), *again, *minutes(4, 6)))
    scanned = scan(tmp_path, "drop")
    assert dict(scanned.dropped) == {
        "not_a_number": 2,
        "infinite": 1,
        "non_positive_price": 1,
        "negative_volume": 1,
        "high_below_low": 1,
        "outside_range": 1,
        "duplicate": 2,
        "out_of_order": 2,
    }
    bars = bars_of(scanned)
    assert minutes_of(bars) == list(range(6))
    assert bars["volume"][3] == 0, "of duplicates the first good row stays"
    assert scanned.files[0].n_rows == 17
    assert "dropped 2 rows: not_a_number" in scanned.describe()


@pytest.mark.parametrize("with_text_path", [False, True])
def test_dropping_is_the_same_on_both_reading_paths(tmp_path: Path, with_text_path: bool) -> None:
    rows = minutes(0, 200)
    for minute in range(0, 200, 9):
        rows[minute] = row(minute, close="" if with_text_path else "nan")
    put(tmp_path, "c.csv", csv(*rows))
    scanned = scan(tmp_path, "drop")
    assert minutes_of(bars_of(scanned)) == [minute for minute in range(200) if minute % 9]
    assert dict(scanned.dropped) == {"not_a_number": 23}


def test_a_file_of_which_nothing_is_left_is_reported_not_fatal(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", csv(row(0, close=0), row(1, close=0)))
    put(tmp_path, "b.csv", csv(*minutes(2, 5)))
    scanned = scan(tmp_path, "drop")
    assert minutes_of(bars_of(scanned)) == [2, 3, 4]
    assert dict(scanned.dropped) == {"non_positive_price": 2}


def test_files_are_put_in_the_order_of_their_bars_not_their_names(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", csv(*minutes(20, 30)))
    put(tmp_path, "b.csv", csv(*minutes(0, 20)))
    scanned = scan(tmp_path)
    assert [file.name for file in scanned.files] == ["b.csv", "a.csv"]
    assert minutes_of(bars_of(scanned)) == list(range(30))


def test_bars_that_stand_alike_in_two_files_count_once_and_are_reported(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", csv(*minutes(0, 20)))
    put(tmp_path, "b.csv", csv(*minutes(15, 30)))
    put(tmp_path, "c.csv", csv(*minutes(17, 18)))
    scanned = scan(tmp_path)
    assert (scanned.n_bars, scanned.n_overlapping) == (30, 6)
    assert minutes_of(bars_of(scanned)) == list(range(30))


def test_files_that_interleave_are_merged(tmp_path: Path) -> None:
    rows = minutes(0, 60_000)
    put(tmp_path, "even.csv", csv(*rows[::2]))
    put(tmp_path, "odd.csv.gz", csv(*rows[1::2]))
    put(tmp_path, "late.csv", csv(*rows[59_000:]))
    scanned = scan(tmp_path, "error")
    assert (scanned.n_bars, scanned.n_overlapping) == (60_000, 1_000)
    assert minutes_of(bars_of(scanned)) == list(range(60_000))


def test_many_gaps_are_all_counted_and_some_listed(tmp_path: Path) -> None:
    put(tmp_path, "c.csv", csv(*minutes(0, 1000)[::2]))
    scanned = scan(tmp_path)
    assert (scanned.n_gaps, scanned.n_missing, len(scanned.gaps)) == (499, 499, MAX_LISTED_GAPS)


def test_a_very_long_gap_is_filled_in_pieces(tmp_path: Path) -> None:
    put(tmp_path, "c.csv", csv(row(0), row(70_000)))
    scanned = scan(tmp_path, "ffill")
    assert scanned.n_bars == 70_001
    assert minutes_of(bars_of(scanned)) == list(range(70_001))


@pytest.mark.parametrize("block_rows", [1, 7, 999, 25_000])
@pytest.mark.parametrize("policy", ["keep", "ffill"])
def test_blocks_of_any_size_say_the_same(tmp_path: Path, policy: str, block_rows: int) -> None:
    from mei.data.research import read_series

    n_bars = 400 if block_rows == 1 else 40_000
    rows = minutes(0, n_bars)
    del rows[100:130]
    put(tmp_path, "a.csv", csv(*rows[: n_bars // 3]))
    put(tmp_path, "b.csv", csv(*rows[n_bars // 3 :]))
    scanned = scan(tmp_path, policy)  # type: ignore[arg-type]
    blocks = list(read_series(scanned, block_rows=block_rows))
    assert {len(block) for block in blocks[:-1]} <= {block_rows}
    assert 0 < len(blocks[-1]) <= block_rows
    assert (
        bars_of(scanned, block_rows=block_rows).tobytes()
        == bars_of(scanned, block_rows=10**6).tobytes()
    )


@pytest.mark.parametrize("minute", [-5, 0, 1, 9, 10, 14, 29, 30])
def test_reading_from_a_moment_gives_the_rest_of_the_same_bars(gapped: Path, minute: int) -> None:
    scanned = scan(gapped, "keep", at(1), at(29))
    whole = bars_of(scanned)
    expected = whole[whole["timestamp"] >= at(minute)]
    assert bars_of(scanned, at(minute), block_rows=4).tobytes() == expected.tobytes()


def test_a_file_changed_since_the_scan_is_refused(gapped: Path) -> None:
    scanned = scan(gapped)
    put(gapped, "b.csv", csv(*minutes(13, 31)))
    with pytest.raises(DataError, match=r"b\.csv:1: the file must not change during a run"):
        bars_of(scanned)


def test_nothing_is_read_beyond_the_end_of_the_window(gapped: Path) -> None:
    scanned = scan(gapped, end_ms=at(9))
    put(gapped, "b.csv", csv(*minutes(13, 31)))
    assert minutes_of(bars_of(scanned)) == list(range(9))


def test_run_json_has_everything_but_the_folder(gapped: Path) -> None:
    import json

    told = json.loads(json.dumps(scan(gapped).as_dict()))
    assert str(gapped) not in json.dumps(told)
    assert told["gaps"][0] == {"after_ms": at(9), "before_ms": at(13), "n_missing": 3}
    assert told["files"][0]["name"] == "a.csv"
    assert told["jumps"] == {"n_jumps": 0, "first": None, "largest": None}


@pytest.mark.parametrize("policy", ["keep", "drop", "ffill"])
def test_price_jumps_are_reported_whatever_the_policy(tmp_path: Path, policy: GapPolicy) -> None:
    dear = {"open": 10_000.0, "high": 11_000.0, "low": 9_000.0, "close": 10_100.0}
    put(tmp_path, "a.csv", csv(*minutes(0, 10)))
    put(tmp_path, "b.csv", csv(*(row(minute, **dear) for minute in range(12, 15))))
    put(tmp_path, "c.csv", csv(*minutes(15, 20)))
    scanned = scan(tmp_path, policy)
    first = Jump(at(9), at(12), 105.0, 10_000.0, 2 * MINUTE_MS)
    assert scanned.jumps == JumpCount(2, first, Jump(at(14), at(15), 10_100.0, 101.0, 0))
    assert "; 2 price jumps, the first 2023-11-14T22:26:00Z from 105 to 10000" in scanned.describe()
    told = scanned.as_dict()["jumps"]
    assert (told["n_jumps"], told["first"]["at_ms"]) == (2, at(12))
    assert scan(tmp_path, policy, end_ms=at(12)).jumps.n_jumps == 0
    assert scan(tmp_path, policy, at(13), at(16)).jumps.n_jumps == 1
    assert scan(tmp_path, policy, at(15)).jumps.n_jumps == 1
    assert scan(tmp_path, policy, at(16)).jumps.n_jumps == 0
    assert "price jump" not in scan(tmp_path, policy, at(16)).describe()
