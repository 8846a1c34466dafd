"""Candle databases: which file wins, what a cell may be, and what is told when something is wrong."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mei.data.candle_db import expand_db_set, interval_ms_or_zero, load_candles, time_range_ms
from mei.data.sqlite_file import reading
from mei.model.errors import ConfigError, DataError
from tests.data.databases import (
    CANDLES,
    HOUR_MS,
    START_MS,
    UNTYPED,
    assert_same,
    bar,
    content,
    hours,
    load,
    make,
)


def test_every_cell_arrives_as_it_is(tmp_path: Path) -> None:
    rows = [bar("ETH", 1), bar("BTC", 0, n=None), bar("BTC", 2), bar("BTC", 1)]
    rows += [bar("BTC", 0, interval="1m"), bar("SOL", 0, interval="1H")]
    candles = load(make(tmp_path / "a.db", CANDLES, rows))
    assert candles.symbols == ("BTC", "ETH")
    assert candles.offsets.tolist() == [0, 3, 4]
    assert (candles.interval, candles.interval_ms, candles.n_rows) == ("1h", HOUR_MS, 4)
    for number, row in enumerate((rows[1], rows[3], rows[2], rows[0])):
        assert tuple(column[number] for column in candles.columns()) == (row[2], *row[4:9])
    assert [column.dtype for column in candles.columns()] == [np.int64, *[np.float64] * 5]
    assert all(column.flags.c_contiguous for column in candles.columns())


def test_symbols_are_taken_verbatim_and_ordered_by_their_bytes(tmp_path: Path) -> None:
    names = ["btc", "BTC", "kPEPE", "ÅB", "Z", "\U0001f680", "\uff21", ""]
    candles = load(make(tmp_path / "a.db", CANDLES, [bar(name, 0) for name in names]))
    assert candles.symbols == ("", "BTC", "Z", "btc", "kPEPE", "ÅB", "\uff21", "\U0001f680")


def test_the_earlier_file_wins(tmp_path: Path) -> None:
    first = make(tmp_path / "z.db", CANDLES, [bar("BTC", hour, c=1.0) for hour in (2, 3)])
    second = make(tmp_path / "a.db", CANDLES, [bar("BTC", hour, c=2.0) for hour in range(5)])
    assert load(f"{first},{second}").close.tolist() == [2.0, 2.0, 1.0, 1.0, 2.0]
    assert load(f"{second},{first}").close.tolist() == [2.0] * 5
    assert hours(load(f"{first},{second}"), "BTC") == [0, 1, 2, 3, 4]


def test_the_earlier_file_wins_for_every_bar_of_a_long_series(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.db" for number in range(3)]
    for number, file in enumerate(files):
        mine = [bar("BTC", hour, c=number) for hour in range(2000) if hour % (3 - number) == 0]
        make(file, CANDLES, mine)
    expected = [0 if hour % 3 == 0 else 1 if hour % 2 == 0 else 2 for hour in range(2000)]
    assert load(",".join(map(str, files))).close.tolist() == expected


def test_a_bar_that_stands_twice_in_a_file_without_key_is_taken_once(tmp_path: Path) -> None:
    rows = [bar("BTC", 1, c=1.0), bar("BTC", 0, c=2.0), bar("BTC", 1, c=3.0)]
    assert load(make(tmp_path / "a.db", UNTYPED, rows)).close.tolist() == [2.0, 1.0]


def told_differing(*files: Path) -> list[str]:
    """What is told of bars that differ between files."""
    told: list[str] = []
    load_candles(",".join(map(str, files)), "1h", tell=told.append)
    return [line for line in told if "Warning" in line]


def test_bars_that_differ_between_files_are_counted_and_the_first_is_told(tmp_path: Path) -> None:
    hot = make(
        tmp_path / "hot.db",
        CANDLES,
        [bar("ETH", hour) for hour in range(4, 8)] + [bar("BTC", 3), bar("SOL", 1)],
    )
    part = make(
        tmp_path / "part.db",
        CANDLES,
        [
            bar("ETH", 4),
            bar("ETH", 5, v=9.0),
            bar("ETH", 6, c=1.0),
            bar("ETH", 7, o=1.0),
            bar("BTC", 3, h=500.0),
        ],
    )
    (line,) = told_differing(hot, part)
    assert "must be the same wherever it stands, 4 bars (1h) of 2 symbols are not" in line
    assert f'BTC at 2023-11-15T03:00:00Z with h=113.25 in "{hot}" and h=500.0 in "{part}"' in line
    assert "the one of the earlier file is taken" in line
    assert f'h=500.0 in "{part}" and h=113.25 in "{hot}"' in told_differing(part, hot)[0]


def test_bars_that_are_alike_in_all_files_are_not_told(tmp_path: Path) -> None:
    files = [make(tmp_path / f"{number}.db", CANDLES, [bar("BTC", 1)]) for number in range(3)]
    assert told_differing(*files) == []
    third = make(tmp_path / "3.db", CANDLES, [bar("BTC", 1, l=1.0), bar("BTC", 2)])
    assert "1 bars (1h) of 1 symbols" in told_differing(*files, third)[0]
    assert f'l=1.0 in "{third}"' in told_differing(*files, third)[0]


def test_parts_of_a_directory_are_the_whole(tmp_path: Path) -> None:
    rows = [bar(name, hour) for name in ("BTC", "ETH", "SOL") for hour in range(30)]
    whole = make(tmp_path / "whole.db", CANDLES, rows)
    for part in range(3):
        of_part = [
            row for row in rows if part * 10 <= (row[2] - START_MS) // HOUR_MS < part * 10 + 13
        ]
        make(tmp_path / "parts" / f"part_{part}.DB", CANDLES, of_part)
    (tmp_path / "parts" / "notes.txt").write_text("no database")
    assert_same(load(tmp_path / "parts"), load(whole))
    assert time_range_ms(str(tmp_path / "parts"), "1h") == time_range_ms(str(whole), "1h")


def test_a_set_is_expanded_in_the_order_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("d/b.db", "d/a.Db", "d/.db", "d/c.txt", "d/deep/e.db", "one.db"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("empty").mkdir()
    assert expand_db_set(" one.db, ./d,,missing.db, d/ ,one.db,empty,*.db,./one.db") == [
        *("one.db", "./d/a.Db", "./d/b.db", "missing.db", "d/a.Db", "d/b.db"),
        *("empty", "*.db", "./one.db"),
    ]


def test_the_range_includes_both_ends(tmp_path: Path) -> None:
    db = make(tmp_path / "a.db", CANDLES, [bar("BTC", hour) for hour in range(9)] + [bar("ETH", 8)])
    at = [START_MS + hour * HOUR_MS for hour in range(9)]
    assert hours(load(db, from_ms=at[2], to_ms=at[4]), "BTC") == [2, 3, 4]
    assert hours(load(db, from_ms=at[7] - 1), "BTC") == [7, 8]
    assert hours(load(db, to_ms=at[1] + 1), "BTC") == [0, 1]
    assert load(db, to_ms=at[7]).symbols == ("BTC",)
    assert load(db, from_ms=at[8] + 1).n_rows == 0
    assert load(db, from_ms=at[8] + 1).offsets.tolist() == [0]


def test_what_was_loaded_is_told_for_each_file(tmp_path: Path) -> None:
    one = make(tmp_path / "1.db", CANDLES, [bar("BTC", 0), bar("ETH", 0), bar("ETH", 1)])
    two = make(tmp_path / "2.db", CANDLES, [bar("BTC", 0)])
    told: list[str] = []
    load_candles(f"{one},{two}", "1h", tell=told.append)
    load_candles(str(one), "1h", from_ms=START_MS, to_ms=START_MS + 5, tell=told.append)
    plain = [re.sub(r" in \d+\.\d\ds ", " in Xs ", line) for line in told]
    assert plain == [
        f'[bt-data] Loaded 2 symbols, 3 bars in Xs from "{one}" (interval=1h)',
        f'[bt-data] Loaded 1 symbols, 1 bars in Xs from "{two}" (interval=1h)',
        f'[bt-data] Loaded 2 symbols, 2 bars in Xs from "{one}"'
        f" (interval=1h, range={START_MS}..{START_MS + 5})",
    ]


def test_whole_numbers_are_prices_too(tmp_path: Path) -> None:
    whole = {"o": 100, "h": 110, "l": 90, "c": 101, "v": 0}
    candles = load(make(tmp_path / "a.db", UNTYPED, [bar("BTC", 0, **whole)]))
    assert [column[0] for column in candles.columns()][1:] == [100.0, 110.0, 90.0, 101.0, 0.0]
    assert candles.volume.dtype == np.float64


@pytest.mark.parametrize("column", ["t_close", "o", "h", "l", "c", "v"])
@pytest.mark.parametrize("value", [None, "abc", "1.5", b"ab"])
def test_a_cell_that_is_no_number_is_named(tmp_path: Path, column: str, value: object) -> None:
    rows = [bar("BTC", 0), bar("BTC", 1, **{column: value}), bar("BTC", 2, **{column: value})]
    db = make(tmp_path / "a.db", UNTYPED, rows)
    shown = "NULL" if value is None else repr(value)
    with pytest.raises(DataError) as caught:
        load(db)
    said = str(caught.value)
    assert said.startswith(f"{db}: {column} must be ")
    assert f"found {shown} in the bar of BTC (1h) at t={START_MS + HOUR_MS};" in said
    assert "\n" not in said
    # What is not asked for is not looked at.
    assert load(db, to_ms=START_MS).n_rows == 1


@pytest.mark.parametrize("column", ["t", "t_close"])
def test_a_time_with_a_fraction_is_refused(tmp_path: Path, column: str) -> None:
    db = make(tmp_path / "a.db", CANDLES, [bar("BTC", 1, **{column: 1.5})])
    with pytest.raises(DataError, match=rf"{column} must be an integer \(epoch ms\), found 1.5"):
        load(db)


@pytest.mark.parametrize("symbol", [None, b"BTC", 7])
def test_a_symbol_must_be_text(tmp_path: Path, symbol: object) -> None:
    db = make(tmp_path / "a.db", UNTYPED, [bar("BTC", 0), (symbol, *bar("BTC", 1)[1:])])
    with pytest.raises(DataError, match=r"a\.db: candles\.symbol must be text, found "):
        load(db)


def test_a_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "none.db"
    for call in (load, lambda db: time_range_ms(str(db), "1h")):
        with pytest.raises(DataError, match=r"none\.db: .* there is no such file"):
            call(missing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("make_it", "said"),
    [
        (lambda path: path.mkdir(), "it is a directory without *.db files"),
        (lambda path: path.write_text("no database " * 100), "file is not a database"),
        (lambda path: path.touch(), "must have the table candles, this file has not"),
        (lambda path: make(path, "CREATE TABLE other (x)"), "must have the table candles"),
        (
            lambda path: make(path, "CREATE TABLE candles (symbol, interval, t, o, h, l, c)"),
            "t_close, v is missing, found symbol, interval, t, o, h, l, c",
        ),
    ],
)
def test_what_is_no_candle_database_is_named(tmp_path: Path, make_it: object, said: str) -> None:
    path = tmp_path / "a.x"
    make_it(path)  # type: ignore[operator]
    with pytest.raises(DataError, match=re.escape(said)) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    db = make(tmp_path / "a.db", CANDLES, [bar("BTC", hour) for hour in range(2000)])
    db.write_bytes(db.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"a\.db: .*SQLite says"):
        load(db)


@pytest.mark.parametrize("text", ["", " , ,"])
def test_a_set_without_a_file_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="must name a file"):
        load(text)


def test_an_odd_path_is_opened_as_it_stands(tmp_path: Path) -> None:
    db = make(tmp_path / "a b?mode=rwc&x=%41#.db", CANDLES, [bar("BTC", 0)])
    assert load(db).n_rows == 1


def test_a_database_in_wal_mode_is_read_even_where_nothing_can_be_written(tmp_path: Path) -> None:
    db = make(tmp_path / "a.db", CANDLES, [bar("BTC", 0)])
    with closing(sqlite3.connect(db)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    assert load(db).n_rows == 1
    for name in ("a.db-shm", "a.db-wal"):
        (tmp_path / name).unlink(missing_ok=True)
        (
            tmp_path / name
        ).mkdir()  # as little as in a read-only folder can SQLite make its files here
    assert load(db).n_rows == 1


def test_a_database_that_is_read_cannot_be_written_to(tmp_path: Path) -> None:
    db = make(tmp_path / "a.db", CANDLES, [bar("BTC", 0)])
    with (
        pytest.raises(DataError, match=r"a\.db: .*attempt to write a readonly database"),
        reading(str(db), "candles", ("t",), "candle database") as database,
    ):
        database.execute("DELETE FROM candles")
    assert load(db).n_rows == 1


def test_reading_changes_nothing(tmp_path: Path) -> None:
    db = make(tmp_path / "a.db", CANDLES, [bar("BTC", 0)])
    before, rows = db.read_bytes(), content(db)
    load(db)
    time_range_ms(str(db), "1h")
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
    assert (db.read_bytes(), content(db)) == (before, rows)


def test_the_time_range_is_that_of_all_files_and_symbols(tmp_path: Path) -> None:
    one = make(tmp_path / "1.db", CANDLES, [bar("BTC", 5), bar("ETH", 3), bar("ETH", 0, "1m")])
    two = make(tmp_path / "2.db", CANDLES, [bar("SOL", 9)])
    empty = make(tmp_path / "3.db", CANDLES)
    assert time_range_ms(f"{one},{two},{empty}", "1h") == (
        START_MS + 3 * HOUR_MS,
        START_MS + 9 * HOUR_MS,
    )
    with pytest.raises(
        DataError, match=r"1\.db, .*2\.db: there must be bars of interval '4h'.* found 1h, 1m;"
    ):
        time_range_ms(f"{one},{two}", "4h")
    with pytest.raises(DataError, match="the table is empty"):
        time_range_ms(str(empty), "1h")
    odd = make(tmp_path / "4.db", UNTYPED, [bar("BTC", 0, t="soon")])
    with pytest.raises(DataError, match=r"4\.db: t must be an integer \(epoch ms\), found 'soon'"):
        time_range_ms(str(odd), "1h")


@pytest.mark.parametrize(
    ("label", "length_ms"),
    [("1m", 60_000), ("3m", 180_000), ("1h", HOUR_MS), ("4H", 4 * HOUR_MS), ("1D", 24 * HOUR_MS)]
    + [("60m", HOUR_MS), ("1w", 168 * HOUR_MS), ("30s", 30_000), ("01h", HOUR_MS)]
    + [
        (label, 0) for label in ("", "h", "0m", "-1h", "1x", "1.5h", "hour", "1h ", "1hr", "99999m")
    ],
)
def test_the_length_of_a_label(label: str, length_ms: int) -> None:
    assert interval_ms_or_zero(label) == length_ms


def test_a_label_that_is_no_length_of_time_is_read_all_the_same(tmp_path: Path) -> None:
    candles = load(make(tmp_path / "a.db", CANDLES, [bar("BTC", 0, "tick")]), "tick")
    assert (candles.interval_ms, candles.n_rows) == (0, 1)
