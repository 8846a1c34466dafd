"""`mei-backtester import-candles`: what is in the files is in the database, once, and everything odd is told."""

from __future__ import annotations

import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mei.cli.main import run
from mei.data.candle_db import load_candles
from mei.data.funding_db import load_funding
from mei.data.stream import MAX_LISTED_GAPS
from tests.data.candles import HEADER, START_MS, csv, klines, minutes, packed_zip, put, row
from tests.data.databases import CANDLES, assert_same, content, load, make

SHARED = Path(__file__).resolve().parents[2].parent / "shared/data"
MINUTE_MS = 60_000


def imported(*arguments: object) -> None:
    assert run(["import-candles", *map(str, arguments)]) == 0


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and the one line of an import that must fail."""
    code = run(["import-candles", *map(str, arguments)])
    said = capsys.readouterr().err
    assert code != 0
    assert said.count("\n") == 1
    return code, said


@pytest.fixture
def research(tmp_path: Path) -> Path:
    """Two instruments; BTC in two files with a gap of three minutes between them."""
    put(tmp_path / "r", "a.csv", csv(*minutes(0, 70)))
    put(tmp_path / "r", "b.csv.gz", csv(*minutes(73, 200)))
    eth = tmp_path / "r/ETH_USDT/1m"
    eth.mkdir(parents=True)
    (eth / "all.zip").write_bytes(packed_zip(klines(0, 90)))
    return tmp_path / "r"


def test_every_bar_of_the_files_is_in_the_database(
    research: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "new/candles_1m.db"
    imported("--research-dir", research, "--timeframe", "1m", "--db", db)
    rows = content(db)
    assert [name for name, *_ in rows] == ["BTC/USDT"] * 197 + ["ETH/USDT"] * 90
    at = START_MS + 73 * MINUTE_MS
    assert rows[70] == ("BTC/USDT", "1m", at, at + 59_999, 103.0, 110.0, 90.0, 104.0, 1.0, None)
    assert load(db, "1m").symbols == ("BTC/USDT", "ETH/USDT")
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("BTC/USDT 1m: 197 bars from ")
    assert said[0].endswith(" in 2 files; 1 gaps (3 bars missing)")
    assert said[1] == f"BTC/USDT 1m in {db}: 197 new, 0 already there, 0 replaced"
    assert len(said) == 4


def test_importing_again_changes_nothing(
    research: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "c.db"
    arguments = ("--research-dir", research, "--timeframe", "1m", "--db", db, "--base-names")
    imported(*arguments)
    before, rows = db.read_bytes(), content(db)
    capsys.readouterr()
    imported(*arguments)
    assert (content(db), db.read_bytes()[100:]) == (rows, before[100:])
    assert f"BTC 1m in {db}: 0 new, 197 already there, 0 replaced" in capsys.readouterr().out


def test_what_came_since_is_added(research: Path, tmp_path: Path) -> None:
    arguments = ("--research-dir", research, "--timeframe", "1m", "--symbols", "BTC/USDT")
    imported(*arguments, "--db", tmp_path / "c.db")
    put(research, "c.csv", csv(*minutes(70, 73)))
    put(research, "d.csv", csv(*minutes(200, 210)))
    imported(*arguments, "--db", tmp_path / "c.db")
    imported(*arguments, "--db", tmp_path / "fresh.db")
    assert content(tmp_path / "c.db") == content(tmp_path / "fresh.db")
    assert load(tmp_path / "c.db", "1m").n_rows == 210


def test_a_changed_bar_is_an_error_unless_it_is_to_be_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db, path = tmp_path / "c.db", tmp_path / "f.csv"
    arguments = ("--file", path, "--symbol", "BTC", "--timeframe", "1m", "--db", db)
    path.write_text(csv(*minutes(0, 9)))
    imported(*arguments)
    before = content(db)
    path.write_text(csv(*minutes(0, 4), row(4, close=100.5, volume=8), *minutes(5, 12)))
    code, said = refused(capsys, *arguments)
    assert code == 4
    assert f"{db}: what is there must not change, but 1 rows of BTC 1m would" in said
    assert (
        "2023-11-14T22:18:00Z: c 105.0 here, 100.5 in the files, v 1.0 here, 8.0 in the files"
        in said
    )
    assert content(db) == before
    imported(*arguments, "--replace")
    assert capsys.readouterr().out.endswith(f"{db}: 3 new, 8 already there, 1 replaced\n")
    assert (content(db)[4][7:9], len(content(db))) == ((100.5, 8.0), 12)


def test_a_database_of_another_program_is_added_to(tmp_path: Path) -> None:
    t = START_MS
    kept = ("BTC", "1m", t, t + 59_999, 100.0, 110.0, 90.0, 101.0, 0.0, 7, "then")
    other = ("BTC", "1h", t, None, 1.0, 2.0, 3.0, 4.0, None, None, None)
    db = make(tmp_path / "c.db", CANDLES, [kept, other])
    path = tmp_path / "f.csv"
    path.write_text(csv(*minutes(0, 2)))
    imported("--file", path, "--symbol", "BTC", "--timeframe", "1m", "--db", db)
    assert content(db)[:2] == sorted([kept, other])
    assert content(db)[2][9:] == (None, None)


def test_months_read_back_as_the_single_file(research: Path, tmp_path: Path) -> None:
    hourly = research / "SOL_USDT/1h"
    hourly.mkdir(parents=True)
    start = 1_701_306_000_000  # 2023-11-30T01:00Z, so that a month begins inside
    rows = [row(0, timestamp=start + hour * 3_600_000, volume=hour) for hour in range(24 * 40)]
    (hourly / "a.csv").write_text(csv(*rows))
    arguments = ("--research-dir", research, "--timeframe", "1h")
    imported(*arguments, "--db", tmp_path / "c.db")
    imported(*arguments, "--db", tmp_path / "months", "--partition-by", "month")
    names = [path.name for path in sorted((tmp_path / "months").iterdir())]
    assert names == [f"candles_1h_{month}.db" for month in ("2023-11", "2023-12", "2024-01")]
    assert_same(load(tmp_path / "months"), load(tmp_path / "c.db"))
    assert load(tmp_path / "months/candles_1h_2023-12.db").n_rows == 31 * 24
    # A file instead of a folder: beside it.
    imported(*arguments, "--db", tmp_path / "beside/c.db", "--partition-by", "month")
    assert_same(load(tmp_path / "beside"), load(tmp_path / "c.db"))


def test_longer_bars_are_made_and_what_they_lack_is_told(
    research: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--research-dir", research, "--timeframe", "1m")
    arguments += ("--symbols", "BTC/USDT, BTC/USDT,", "--as", "BTC")
    imported(*arguments, "--resample", "1h", "--db", tmp_path / "c.db")
    made = load(tmp_path / "c.db")
    assert (made.symbols, made.interval, made.interval_ms) == (("BTC",), "1h", 3_600_000)
    # The first minute is 22:14: three whole or begun hours, and one that is not over.
    assert made.open_ms.tolist() == [1_699_999_200_000 + 3_600_000 * hour for hour in range(3)]
    said = capsys.readouterr().out.splitlines()
    assert said[1] == (
        "BTC 1h: 3 bars of 60; 2 of them lack 17 of theirs; left out the last one, 2023-11-15T01:00:00Z,"
        " which ends after 34 of 60 (--keep-partial keeps it)"
    )
    imported(*arguments, "--resample", "1h", "--keep-partial", "--db", tmp_path / "d.db")
    assert load(tmp_path / "d.db").n_rows == 4


@pytest.mark.parametrize(
    ("policy", "n_bars", "said"),
    [
        ("drop", 4, "dropped 1 rows: high_below_low"),
        ("keep", None, ":4: high must be >= low"),
        ("error", None, ":4: high must be >= low"),
    ],
)
def test_faulty_rows_are_told_as_by_the_research_reader(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    policy: str,
    n_bars: int | None,
    said: str,
) -> None:
    path, db = tmp_path / "f.csv", tmp_path / "c.db"
    path.write_text(csv(*minutes(0, 2), row(2, high=80), *minutes(3, 5)))
    arguments = ("--file", path, "--symbol", "BTC", "--timeframe", "1m", "--db", db)
    arguments += ("--gap-policy", policy)
    if n_bars is None:
        code, line = refused(capsys, *arguments)
        assert (code, db.exists()) == (4, False)
        assert f"{path}{said}" in line
    else:
        imported(*arguments)
        assert load(db, "1m").n_rows == n_bars
        assert said in capsys.readouterr().out


def test_gaps_are_filled_or_refused_if_wanted(
    research: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--research-dir", research, "--timeframe", "1m", "--symbols", "BTC/USDT")
    arguments += ("--db", tmp_path / "c.db", "--gap-policy")
    assert "a gap: 3 bars are missing" in refused(capsys, *arguments, "error")[1]
    imported(*arguments, "ffill")
    assert load(tmp_path / "c.db", "1m").volume[70:73].tolist() == [0.0] * 3
    assert "1 gaps (3 bars filled)" in capsys.readouterr().out


@pytest.mark.parametrize("policy", ["keep", "drop", "ffill"])
def test_bars_longer_than_the_timeframe_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    hours = [row(minute) for minute in range(46, 46 + 60 * 200, 60)]
    path = put(tmp_path / "r", "a.csv", csv(*hours))
    arguments = ("--file", path, "--symbol", "BTC", "--db", tmp_path / "x.db")
    _, said = refused(capsys, *arguments, "--timeframe", "1m", "--gap-policy", policy)
    assert f"{path}: bars of --timeframe 1m must open 1m apart, those of BTC mostly" in said
    assert "open 1h apart (199 gaps in 200 bars): give --timeframe 1h" in said
    assert not (tmp_path / "x.db").exists()
    imported(*arguments, "--timeframe", "1h", "--gap-policy", policy)


def test_all_gaps_count_although_only_the_first_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = [*minutes(0, MAX_LISTED_GAPS + 100), *(row(60 * hour) for hour in range(200, 1400))]
    path = put(tmp_path / "r", "a.csv", csv(*mixed))
    arguments = ("--file", path, "--symbol", "BTC", "--db", tmp_path / "x.db")
    assert "give --timeframe 1h" in refused(capsys, *arguments, "--timeframe", "1m")[1]


def test_bars_shorter_than_the_timeframe_are_told_how_to_become_longer(
    research: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = research / "BTC_USDT/1m/a.csv"
    arguments = ("--file", path, "--symbol", "BTC", "--timeframe", "1h", "--db", tmp_path / "x.db")
    assert "--timeframe 1m --resample 1h" in refused(capsys, *arguments)[1]


def test_many_holes_are_no_longer_bars(tmp_path: Path) -> None:
    some = [row(minute) for minute in range(300) if minute % 7 not in (3, 5)]
    path = put(tmp_path / "r", "a.csv", csv(*some))
    imported("--file", path, "--symbol", "B", "--db", tmp_path / "x.db", "--timeframe", "1m")


def test_funding_rates_are_taken_in_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, db = tmp_path / "f.csv.gz", tmp_path / "new/f.db"
    path.write_bytes(
        gzip.compress(f"timestamp,funding_rate\n{START_MS},1e-5\n{START_MS + 9},-2e-5\n".encode())
    )
    arguments = ("--file", path, "--symbol", "BTC", "--funding-db", db)
    imported(*arguments)
    imported(*arguments)
    assert f"BTC in {db}: 0 new, 2 already there, 0 replaced" in capsys.readouterr().out
    rates = load_funding(str(db), from_ms=None, to_ms=None, tell=lambda _: None)
    assert (rates.symbols, rates.rate.tolist()) == (("BTC",), [1e-5, -2e-5])
    path.write_bytes(gzip.compress(f"timestamp,funding_rate\n{START_MS},2e-5\n".encode()))
    assert "funding_rate 1e-05 here, 2e-05 in the files" in refused(capsys, *arguments)[1]
    imported(*arguments, "--replace")
    assert content(db, "funding_rates")[0] == ("BTC", START_MS, 2e-5)


BAD_CHOICES = [
    ("no database", "--timeframe 1m", 2, "one database must be given"),
    ("two databases", "--db a.db --funding-db f.db", 2, "one database must be given"),
    ("no timeframe", "--db a.db", 2, "--timeframe must say"),
    (
        "bad timeframe",
        "--db a.db --timeframe 7x --symbols BTC/USDT",
        2,
        "must be a number and one of",
    ),
    ("months", "--db a.db --timeframe 1M --symbols BTC/USDT", 2, "did you mean 1m (minutes)"),
    ("to months", "--db a.db --timeframe 1m --resample 1M", 2, "--resample must be a length"),
    ("file without symbol", "--db a.db --file f.csv --timeframe 1m", 2, "belong together"),
    ("symbol without file", "--db a.db --symbol BTC --timeframe 1m", 2, "belong together"),
    (
        "file and series",
        "--db a.db --file f.csv --symbol B --timeframe 1m --symbols X --as Y --base-names",
        2,
        "leave out --symbols, --as, --base-names",
    ),
    ("no such file", "--db a.db --file f.csv --symbol B --timeframe 1m", 4, "must be a file .csv"),
    (
        "no such funding",
        "--funding-db f.db --file f.csv --symbol B",
        4,
        "must be a file of funding",
    ),
    ("funding of series", "--funding-db f.db", 2, "needs --file"),
    (
        "funding resampled",
        "--funding-db f.db --file f.csv --symbol B --resample 1h --timeframe 1m",
        2,
        "leave out --timeframe, --resample",
    ),
    ("no series", "--db a.db --timeframe 4h", 2, "there must be a series of 4h to import"),
    (
        "no such series",
        "--db a.db --timeframe 1m --symbols X/Y",
        4,
        "there must be candles of X/Y 1m",
    ),
    ("two as one", "--db a.db --timeframe 1m --as BTC", 2, "--as names a single series"),
    (
        "bases twice",
        "--db a.db --timeframe 1m --symbols B/T,B/U --base-names",
        2,
        "gives B to more",
    ),
    ("partial of what", "--db a.db --timeframe 1m --keep-partial", 2, "give --resample too"),
    ("no multiple", "--db a.db --timeframe 1m --resample 1m", 2, "must be a multiple"),
    ("partition", "--db a --timeframe 1m --partition-by week", 2, "month"),
    ("policy", "--db a --timeframe 1m --gap-policy hide", 2, "hide"),
]


@pytest.mark.parametrize(
    ("flags", "code", "said"), [case[1:] for case in BAD_CHOICES], ids=[c[0] for c in BAD_CHOICES]
)
def test_flags_that_cannot_be_meant_are_one_line(
    research: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    flags: str,
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(research.parent)
    monkeypatch.setenv("RESEARCH_DIR", str(research))
    found, line = refused(capsys, *flags.split())
    assert (found, said in line) == (code, True), line
    assert [path.name for path in research.parent.iterdir()] == ["r"]


def test_a_file_that_cannot_be_written_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(csv(*minutes(0, 2)))
    arguments = ("--file", path, "--symbol", "BTC", "--timeframe", "1m", "--db")
    assert refused(capsys, *arguments, tmp_path)[0] == 6
    assert refused(capsys, *arguments, path / "c.db")[0] == 6


def test_a_table_of_another_shape_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.csv"
    path.write_text(csv(*minutes(0, 2)))
    db = make(
        tmp_path / "c.db", "CREATE TABLE candles (symbol, interval, t, o)", [("B", "1m", 1, 2)]
    )
    code, said = refused(capsys, "--file", path, "--symbol", "B", "--timeframe", "1m", "--db", db)
    assert code == 4
    assert f"{db}: the table candles must have the columns" in said
    assert content(db) == [("B", "1m", 1, 2)]


needs_real_files = pytest.mark.skipif(
    not SHARED.is_dir(), reason="needs the files of ../shared/data"
)


@needs_real_files
def test_real_minutes_make_the_real_hours(tmp_path: Path) -> None:
    folder = SHARED / "binance-spot-timealiver"
    for timeframe, name, more in (
        ("1m", "ARBUSDT_2024MayJun_1m.csv.gz", ("--resample", "1h")),
        ("1h", "ARBUSDT_1h.csv.gz", ()),
    ):
        arguments = ("--file", folder / name, "--symbol", "ARB", "--timeframe", timeframe)
        imported(*arguments, "--db", tmp_path / f"{timeframe}.db", *more)
    made = load(tmp_path / "1m.db")
    there = load(tmp_path / "1h.db", from_ms=int(made.open_ms[0]))
    assert made.n_rows == 56 * 24
    for name in ("open_ms", "open", "high", "low", "close"):
        assert np.array_equal(getattr(made, name), getattr(there, name)), name
    assert np.allclose(made.volume, there.volume, rtol=1e-12, atol=0.0)


@needs_real_files
def test_real_rows_arrive_bit_for_bit_and_in_months(tmp_path: Path) -> None:
    path = SHARED / "hyperliquid-perp/BTCUSDC_1h.csv.gz"
    arguments = ("--file", path, "--symbol", "BTC", "--timeframe", "1h")
    imported(*arguments, "--db", tmp_path / "c.db")
    imported(*arguments, "--db", tmp_path / "months", "--partition-by", "month")
    candles = load_candles(str(tmp_path / "c.db"), "1h", tell=lambda _: None)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert lines[0] == HEADER
    expected = [tuple(map(float, line.split(","))) for line in lines[1:]]
    assert list(zip(*(column.tolist() for column in candles.columns()), strict=True)) == expected
    assert_same(load(tmp_path / "months"), candles)


@needs_real_files
def test_real_funding_arrives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = SHARED / "hyperliquid-perp/SOLUSDC_funding_1h.csv.gz"
    imported("--file", path, "--symbol", "SOL", "--funding-db", tmp_path / "f.db")
    with closing(sqlite3.connect(tmp_path / "f.db")) as database:
        assert database.execute("SELECT count(*) FROM funding_rates").fetchone() == (18_778,)
    assert "84 times longer apart" in capsys.readouterr().out
