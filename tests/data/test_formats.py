"""Every format says the same bars, to the last bit."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import numpy as np
import pytest

from mei.data.research import available_series
from mei.model.bars import BAR_DTYPE
from tests.data.candles import HEADER, START_MS, bars_of, csv, klines, minutes, put, row, scan

PER_MS = {"s": (1, 1000), "ms": (1, 1), "µs": (1000, 1), "ns": (10**6, 1)}


def in_unit(unit: str, first: int = 0, last: int = 30) -> str:
    times, divided_by = PER_MS[unit]
    return csv(
        *(
            row(m, timestamp=(START_MS + m * 60_000) * times // divided_by)
            for m in range(first, last)
        )
    )


@pytest.fixture
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    research_dir = tmp_path_factory.mktemp("plain")
    put(research_dir, "c.csv", csv(*minutes(0, 30)))
    return bars_of(scan(research_dir)).tobytes()


@pytest.mark.parametrize("unit", list(PER_MS))
@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "c.zip"])
def test_units_are_recognised_in_every_packing(
    tmp_path: Path, expected: bytes, name: str, unit: str
) -> None:
    put(tmp_path, name, in_unit(unit))
    scanned = scan(tmp_path)
    assert scanned.files[0].unit == unit
    assert bars_of(scanned).tobytes() == expected


@pytest.mark.parametrize("per_ms", [1, 1000])
@pytest.mark.parametrize("name", ["k.csv", "k.csv.gz", "k.zip"])
def test_headerless_klines_are_recognised_in_ms_and_in_µs(
    tmp_path: Path, expected: bytes, name: str, per_ms: int
) -> None:
    put(tmp_path, name, klines(0, 30, per_ms))
    assert bars_of(scan(tmp_path)).tobytes() == expected


def test_files_of_different_units_make_one_series(tmp_path: Path, expected: bytes) -> None:
    put(tmp_path, "1.csv", in_unit("ns", 0, 10))
    put(tmp_path, "2.zip", klines(10, 20, per_ms=1000))
    put(tmp_path, "3.csv.gz", in_unit("s", 20, 30))
    scanned = scan(tmp_path)
    assert [file.unit for file in scanned.files] == ["ns", "µs", "s"]
    assert bars_of(scanned).tobytes() == expected


def test_columns_stand_in_any_order_and_others_are_ignored(tmp_path: Path, expected: bytes) -> None:
    names = ["note", "close", "Volume", "open_time", "low", "extra", "high", "open"]
    lines = []
    for line in minutes(0, 30):
        stamp, opening, high, low, close, volume = line.split(",")
        lines.append(f"x é “,{close},{volume},{stamp},{low},,{high},{opening}")
    put(tmp_path, "c.csv", csv(*lines, header=",".join(names)))
    assert bars_of(scan(tmp_path)).tobytes() == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n\r\n \n",
        lambda text: "\ufeff" + text,
        lambda text: text.replace(HEADER, '"' + HEADER.replace(",", '","') + '"'),
        lambda text: text.replace(",", " , "),
    ],
    ids=["CRLF", "no last newline", "blank end", "byte order mark", "quoted header", "spaces"],
)
def test_harmless_differences_of_the_text_do_not_matter(
    tmp_path: Path, expected: bytes, change: object
) -> None:
    put(tmp_path, "c.csv", change(csv(*minutes(0, 30))))  # type: ignore[operator]
    assert bars_of(scan(tmp_path)).tobytes() == expected


@pytest.mark.parametrize("odd_line", [False, True], ids=["fast path", "line by line"])
def test_numbers_are_those_of_python_float(tmp_path: Path, odd_line: bool) -> None:
    draw = random.Random(7)
    texts = [repr(draw.uniform(1e-8, 1e6)) for _ in range(2000)]
    texts += [
        "9007199254740993",
        "0.1000000000000000055511151231257827",
        "2.5e-7",
        "1.7976931348623157e308",
        ".5",
        "7.",
    ]
    rows = [row(m, open=t, high=t, low=t, close=t, volume=t) for m, t in enumerate(texts)]
    if odd_line:
        rows.append(row(len(rows), close=""))
    put(tmp_path, "c.csv", csv(*rows))
    bars = bars_of(scan(tmp_path, "drop"))
    assert bars["close"].tolist() == bars["volume"].tolist() == [float(text) for text in texts]


def test_the_scan_tells_what_there_is(tmp_path: Path) -> None:
    path = put(tmp_path, "b.csv", csv(*minutes(0, 30)))
    put(tmp_path, "readme.txt", b"not candles")
    scanned = scan(tmp_path)
    (file,) = scanned.files
    assert (file.name, file.unit, file.n_rows, scanned.n_bars) == ("b.csv", "ms", 30, 30)
    assert (scanned.first_ms, scanned.last_ms) == (START_MS, START_MS + 29 * 60_000)
    assert (scanned.ignored, scanned.n_gaps, scanned.dropped) == (("readme.txt",), 0, ())
    import hashlib

    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert scanned.sha256 == hashlib.sha256(bars_of(scanned).tobytes()).hexdigest()
    assert scanned.describe() == (
        "BTC/USDT 1m: 30 bars from 2023-11-14T22:14:00Z to 2023-11-14T22:43:00Z in 1 files; ignored readme.txt"
    )
    assert bars_of(scanned).dtype == BAR_DTYPE


def test_the_hash_of_a_series_does_not_depend_on_its_files(tmp_path: Path) -> None:
    put(tmp_path / "one", "c.csv", csv(*minutes(0, 30)))
    put(tmp_path / "two", "a.zip", klines(0, 12, per_ms=1000))
    put(tmp_path / "two", "b.csv.gz", csv(*minutes(10, 30)))
    put(tmp_path / "other", "c.csv", csv(*minutes(0, 29), row(29, volume=0.25)))
    hashes = [scan(tmp_path / name).sha256 for name in ("one", "two", "other")]
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    ("timeframe", "first_ms"),
    [("1h", 1_700_002_800_000), ("1d", 1_699_920_000_000), ("1w", 1_699_833_600_000)],
)
def test_longer_timeframes_lie_on_their_grid_and_weeks_begin_on_monday(
    tmp_path: Path, timeframe: str, first_ms: int
) -> None:
    put(tmp_path, "c.csv", csv(row(0, timestamp=first_ms)), timeframe)
    assert scan(tmp_path, timeframe=timeframe).first_ms == first_ms


def test_available_series_are_listed_by_symbol_and_timeframe(tmp_path: Path) -> None:
    for symbol, timeframe in (("ETH_USDT", "1m"), ("BTC_USDT", "1m"), ("BTC_USDT", "1h")):
        folder = tmp_path / symbol / timeframe
        folder.mkdir(parents=True)
        (folder / "c.csv.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "EMPTY_X/1m").mkdir(parents=True)
    assert available_series(tmp_path) == [
        ("BTC/USDT", "1h"),
        ("BTC/USDT", "1m"),
        ("ETH/USDT", "1m"),
    ]
    assert available_series(tmp_path / "nowhere") == []


def test_blocks_do_not_share_memory(tmp_path: Path) -> None:
    put(tmp_path, "c.csv", csv(*minutes(0, 30)))
    from mei.data.research import read_series

    first, second, *_ = read_series(scan(tmp_path), block_rows=10)
    assert not np.shares_memory(first, second)
    assert first.base is None
