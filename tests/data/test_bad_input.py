"""Every fault of a candle file is one clear line with the file, the line and what must hold."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from mei.data.research import scan_series
from mei.data.text import text_blocks
from mei.model.errors import ConfigError, DataError
from tests.data.candles import HEADER, START_MS, csv, klines, minutes, packed_zip, put, row, scan

GOOD = minutes(0, 2)
MS = START_MS + 2 * 60_000


def faulty(**cells: object) -> str:
    """A file whose third row (line 4) has these cells."""
    return csv(*GOOD, row(2, **cells), row(3))


def _corrupt_zip() -> bytes:
    content = bytearray(packed_zip(csv(*minutes(0, 500))))
    content[200] ^= 0xFF
    return bytes(content)


NUMERIC_FAULTS = [
    ("nan", {"close": "NaN"}, "close must be a number"),
    ("empty cell", {"open": ""}, "open must be a number"),
    ("null", {"volume": "null"}, "volume must be a number"),
    ("infinite price", {"high": "inf"}, "high must be finite, found an infinite value"),
    ("infinite volume", {"volume": "1e999"}, "volume must be finite"),
    ("zero price", {"low": 0}, "low must be a price > 0, found 0.0"),
    ("negative price", {"open": -1}, "open must be a price > 0"),
    ("negative volume", {"volume": -0.5}, "negative volume"),
    ("high below low", {"high": 80}, "high must be >= low"),
    ("open above high", {"open": 111}, "open must lie in [low, high], found 111.0"),
    ("close below low", {"close": 89}, "close must lie in [low, high], found 89.0"),
    ("duplicate", {"timestamp": MS - 60_000}, "duplicated row"),
    ("unsorted", {"timestamp": MS - 120_000}, "unsorted: timestamps must ascend"),
]
STRUCTURAL_FAULTS = [
    ("text cell", faulty(close="abc"), 4, "close must be a number, found 'abc'"),
    ("underscore", faulty(close="1_0"), 4, "close must be a number, found '1_0'"),
    ("quoted cell", faulty(close='"100"'), 4, "close must be a number"),
    ("date", faulty(timestamp="2023-11-14"), 4, "timestamp must be an integer"),
    ("decimal stamp", faulty(timestamp=f"{MS}.0"), 4, "timestamp must be an integer"),
    ("empty stamp", faulty(timestamp=""), 4, "timestamp must be an integer"),
    ("huge stamp", faulty(timestamp="9" * 20), 4, "timestamp must be an integer"),
    (
        "seconds in ms",
        faulty(timestamp=MS // 1000),
        4,
        "mixed units: a file must keep to one, line 2 is in ms",
    ),
    ("µs in ms", faulty(timestamp=MS * 1000), 4, "this line in µs"),
    ("ns in ms", faulty(timestamp=MS * 10**6), 4, "this line in ns"),
    ("off the grid", faulty(timestamp=MS + 1), 4, "not on the grid"),
    ("before 2009", faulty(timestamp=86_400_000), 4, "before 2009 or after 2100"),
    ("after 2100", faulty(timestamp=5_000_000_040_000), 4, "before 2009 or after 2100"),
    ("negative stamp", faulty(timestamp=-MS), 4, "before 2009 or after 2100"),
    ("first before 2009", csv(row(0, timestamp=60)), 2, "before 2009 or after 2100"),
    (
        "too few columns",
        csv(*GOOD, "1,2,3"),
        4,
        "wrong number of columns: there must be 6, found 3",
    ),
    ("too many columns", csv(*GOOD, row(2) + ",7"), 4, "there must be 6, found 7"),
    ("blank line", csv(*GOOD, "", row(2)), 4, "the line is blank"),
    ("blank first line", csv("", row(2)), 2, "the line is blank"),
    ("lone return", csv(*GOOD, row(2) + "\r" + row(3)), 4, "wrong number of columns"),
    ("missing column", csv(*GOOD, header=HEADER.replace(",low", ",l")), 1, "missing column low"),
    ("column twice", csv(header=HEADER + ",open"), 1, "column open is named twice"),
    ("headerless of six", "\n".join(GOOD), 1, "found 6 columns without header"),
    ("kline cut off", klines(0, 3).rpartition(",")[0], 3, "there must be 12, found 11"),
    ("empty file", "", 1, "the file is empty"),
    ("blank file", "\n\n", 1, "the file is empty"),
    ("header only", csv(), 2, "header only"),
]
BROKEN_PACKING = [
    (
        "c.csv.gz",
        gzip.compress(csv(*minutes(0, 4000)).encode())[:-2000],
        r"\d{4}",
        "cut short here (truncated .gz)",
    ),
    ("c.csv.gz", b"", "1", "the file is empty"),
    ("c.csv.gz", csv(*GOOD).encode(), "1", "the gz is damaged"),
    ("c.zip", _corrupt_zip(), r"\d+", "the zip is damaged"),
    ("c.zip", packed_zip(csv(*GOOD))[:-30], "1", "the zip is damaged"),
    ("c.zip", packed_zip(csv(*GOOD), "a.csv", "b.csv"), "1", "exactly one .csv, this one holds 2"),
    ("c.zip", packed_zip(csv(*GOOD), "a.txt"), "1", "exactly one .csv, this one holds 0"),
    (
        "c.csv",
        csv(*GOOD).encode() + b"\xff\xfe,1,2,3,4,5\n",
        "4",
        "must be UTF-8 text, found byte 0xff",
    ),
    ("c.csv", gzip.compress(csv(*GOOD).encode()), "1", "must be UTF-8 text"),
    ("c.csv", b"1" * (1 << 21), "1", "a line must be shorter than"),
]


def refusal(research_dir: Path, path: Path, policy: str = "keep") -> tuple[str, str]:
    """(line, words) of the error, which must be a single line that begins with the file."""
    with pytest.raises(DataError) as caught:
        scan(research_dir, policy)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    match = re.fullmatch(re.escape(str(path)) + r":(\d+): (.*)", message)
    assert match, message
    return match[1], match[2]


@pytest.mark.parametrize(
    ("cells", "words"),
    [case[1:] for case in NUMERIC_FAULTS],
    ids=[case[0] for case in NUMERIC_FAULTS],
)
@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "c.zip"])
@pytest.mark.parametrize("policy", ["keep", "error", "ffill"])
def test_a_faulty_row_is_refused_with_its_line(
    tmp_path: Path, name: str, policy: str, cells: dict[str, object], words: str
) -> None:
    line, told = refusal(tmp_path, put(tmp_path, name, faulty(**cells)), policy)
    assert (line, words in told, "GAP_POLICY=drop" in told) == ("4", True, True), told


@pytest.mark.parametrize(
    ("text", "expected_line", "words"),
    [case[1:] for case in STRUCTURAL_FAULTS],
    ids=[case[0] for case in STRUCTURAL_FAULTS],
)
@pytest.mark.parametrize("policy", ["keep", "drop"])
def test_a_file_that_is_not_what_it_seems_is_refused_under_any_policy(
    tmp_path: Path, policy: str, text: str, expected_line: int, words: str
) -> None:
    line, told = refusal(tmp_path, put(tmp_path, "c.csv", text), policy)
    assert (line, words in told) == (str(expected_line), True), told


@pytest.mark.parametrize(("name", "content", "expected_line", "words"), BROKEN_PACKING)
def test_broken_packing_is_refused_with_the_line_it_reaches(
    tmp_path: Path, name: str, content: bytes, expected_line: str, words: str
) -> None:
    line, told = refusal(tmp_path, put(tmp_path, name, content))
    assert re.fullmatch(expected_line, line), line
    assert words in told


@pytest.mark.parametrize(
    "cells", [{"close": "abc"}, {"close": "nan"}, {"volume": -1}, {"timestamp": 1}]
)
def test_the_line_is_right_far_into_a_file_of_many_blocks(
    tmp_path: Path, cells: dict[str, object]
) -> None:
    rows = minutes(0, 60_000)
    rows[54_321] = row(54_321, **cells)
    line, _ = refusal(tmp_path, put(tmp_path, "c.csv", csv(*rows)))
    assert line == str(54_321 + 2)


def test_the_first_of_several_faults_is_the_one_told(tmp_path: Path) -> None:
    rows = [*GOOD, row(2, volume=-1), row(3, close="abc"), row(4, close="nan")]
    line, told = refusal(tmp_path, put(tmp_path, "c.csv", csv(*rows)))
    assert (line, "negative volume" in told) == ("4", True)


def test_disorder_across_a_block_boundary_is_seen(tmp_path: Path) -> None:
    rows = minutes(0, 50_000)
    path = put(tmp_path, "c.csv", csv(*rows))
    boundary_line = [block.first_line for block in text_blocks(path)][1]
    first_of_block = boundary_line - 2
    # As long as the row it replaces, so that the block still ends before it.
    rows[first_of_block] = row(first_of_block, timestamp=START_MS + (first_of_block - 1) * 60_000)
    put(tmp_path, "c.csv", csv(*rows))
    assert [block.first_line for block in text_blocks(path)][1] == boundary_line
    line, told = refusal(tmp_path, path)
    assert (line, "duplicated" in told) == (str(boundary_line), True)
    assert dict(scan(tmp_path, "drop").dropped) == {"duplicate": 1}


def test_a_missing_series_lists_those_that_exist(tmp_path: Path) -> None:
    put(tmp_path, "c.csv", csv(*GOOD))
    put(tmp_path, "c.csv", csv(row(0, timestamp=1_700_002_800_000)), timeframe="1h")
    with pytest.raises(
        DataError, match=r"candles of SOL/USDT 1m .* found BTC/USDT 1h, BTC/USDT 1m;"
    ):
        scan_series(tmp_path, "SOL/USDT", "1m", "keep", None, None)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden.csv", None])
def test_a_folder_without_candles_is_refused(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "BTC_USDT/1m").mkdir(parents=True)
    if name:
        put(tmp_path, name, csv(*GOOD).encode())
    with pytest.raises(DataError, match="there are none; found nothing"):
        scan(tmp_path)


def test_a_window_without_bars_says_what_the_files_hold(tmp_path: Path) -> None:
    put(tmp_path, "c.csv", csv(*GOOD))
    with pytest.raises(
        DataError,
        match=r"none with START_TS=2023-11-15.*reach from 2023-11-14T22:14:00Z to 2023-11-14T22:15",
    ):
        scan(tmp_path, start_ms=1_700_006_400_000)


def test_a_wrong_timeframe_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TIMEFRAME"):
        scan(tmp_path, timeframe="1 minute")


def test_files_that_contradict_each_other_are_refused_with_both_lines(tmp_path: Path) -> None:
    first = put(tmp_path, "b.csv", csv(*minutes(0, 10)))
    second = put(tmp_path, "a.csv", csv(row(5), row(6, close=109.5), row(7)))
    line, told = refusal(tmp_path, second)
    assert (line, f"{first}:8 has other values" in told) == ("3", True), told


def test_a_gap_under_policy_error_names_the_line_after_it(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", csv(*minutes(0, 10)))
    later = put(tmp_path, "b.csv", csv(row(10), row(11), row(15)))
    line, told = refusal(tmp_path, later, "error")
    assert (line, "3 bars are missing between 2023-11-14T22:25:00Z and" in told) == ("4", True), (
        told
    )
