"""Funding and universe databases, and funding files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from mei.data.funding_db import funding_extents, load_funding
from mei.data.funding_file import read_funding
from mei.data.universe_db import active_symbols
from mei.model.candles import FundingRates
from mei.model.errors import DataError
from tests.data.databases import FUNDING, HOUR_MS, START_MS, UNIVERSE, make

NOW = START_MS


def rates(path: Path, from_ms: int | None = None, to_ms: int | None = None) -> FundingRates:
    return load_funding(str(path), from_ms=from_ms, to_ms=to_ms, tell=lambda _: None)


def test_rates_arrive_in_order_and_within_the_range(tmp_path: Path) -> None:
    rows = [("SOL", NOW, 1e-5, None), ("BTC", NOW + 8 * HOUR_MS, -2e-5, 0.1), ("BTC", NOW, 0, None)]
    db = make(tmp_path / "f.db", FUNDING, rows)
    every = rates(db)
    assert every.symbols == ("BTC", "SOL")
    assert every.offsets.tolist() == [0, 2, 3]
    assert every.time_ms.tolist() == [NOW, NOW + 8 * HOUR_MS, NOW]
    assert every.rate.tolist() == [0.0, -2e-5, 1e-5]
    assert (every.time_ms.dtype, every.rate.dtype) == (np.int64, np.float64)
    assert rates(db, NOW, NOW).symbols == ("BTC", "SOL")
    assert rates(db, NOW + 1, NOW + 8 * HOUR_MS).rate.tolist() == [-2e-5]
    nothing = rates(db, NOW + 9 * HOUR_MS)
    assert (nothing.symbols, nothing.offsets.tolist(), nothing.rate.tolist()) == ((), [0], [])


def test_loaded_rates_are_told(tmp_path: Path) -> None:
    db = make(tmp_path / "f.db", FUNDING, [("BTC", NOW, 0.1, None), ("ETH", NOW, 0.1, None)])
    told: list[str] = []
    load_funding(str(db), from_ms=None, to_ms=None, tell=told.append)
    assert len(told) == 1
    assert told[0].startswith("[bt-data] Loaded 2 funding rate entries across 2 symbols in 0.")


def test_of_equal_times_the_first_rate_stays(tmp_path: Path) -> None:
    ddl = "CREATE TABLE funding_rates (symbol, time, funding_rate)"
    db = make(tmp_path / "f.db", ddl, [("BTC", NOW, 0.1), ("BTC", NOW + 1, 0.3), ("BTC", NOW, 0.2)])
    assert rates(db).rate.tolist() == [0.1, 0.3]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("BTC", NOW, None), "funding_rate=NULL of BTC"),
        (("BTC", NOW, "1.5"), "funding_rate='1.5' of BTC"),
        (("BTC", 1.5, 0.1), "time=1.5 "),
        (("BTC", None, 0.1), "time=NULL "),
        ((None, NOW, 0.1), "funding_rates.symbol must be text, found NULL"),
    ],
)
def test_a_rate_that_is_none_is_named(tmp_path: Path, row: tuple[object, ...], said: str) -> None:
    ddl = "CREATE TABLE funding_rates (symbol, time, funding_rate)"
    db = make(tmp_path / "f.db", ddl, [("BTC", NOW - 1, 0.1), row])
    with pytest.raises(DataError) as caught:
        rates(db)
    assert str(caught.value).startswith(f"{db}: ")
    assert said in str(caught.value)


def test_the_extents_are_those_of_every_symbol_in_any_unit(tmp_path: Path) -> None:
    rows = [("SOL", 17, 0.1), ("BTC", 9, 0.1), ("BTC", 1_700_000_000, 0.1), ("BTC", 50, 0.1)]
    path = make(tmp_path / "f.db", FUNDING, [(*row, None) for row in rows])
    assert funding_extents(str(path)) == {"BTC": (9, 1_700_000_000), "SOL": (17, 17)}
    odd = make(tmp_path / "g.db", FUNDING, [("BTC", "soon", 0.1, None)])
    with pytest.raises(DataError, match=r"time must be an integer .* found 'soon' of BTC"):
        funding_extents(str(odd))


def test_what_is_no_funding_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.db: must be a funding database, there is no such"):
        rates(tmp_path / "none.db")
    with pytest.raises(DataError, match=r"u\.db: a funding database must have the table funding"):
        rates(make(tmp_path / "u.db", UNIVERSE))
    assert not (tmp_path / "none.db").exists()


def test_symbols_listed_at_some_time_of_the_window_are_active(tmp_path: Path) -> None:
    listings = [("OLD", 0, 99), ("ENDS", 0, 100), ("IN", 120, 130), ("ALL", 0, 999)]
    listings += [("STARTS", 200, 300), ("NEW", 201, 300), ("btc", 150, 150)]
    db = make(tmp_path / "u.db", UNIVERSE, [(*listing, None) for listing in listings])
    assert active_symbols(str(db), 100, 200) == {"ENDS", "IN", "ALL", "STARTS", "btc"}
    assert active_symbols(str(db), 998, 5000) == {"ALL"}
    with pytest.raises(DataError, match=r"u\.db: a symbol must be listed .* none of 7 is"):
        active_symbols(str(db), 1000, 5000)


@pytest.mark.parametrize("row", [("A", None, 5, None), ("A", 0, "x", None), (None, 0, 5, None)])
def test_a_listing_that_is_none_is_named(tmp_path: Path, row: tuple[object, ...]) -> None:
    db = make(tmp_path / "u.db", UNIVERSE, [row])
    with pytest.raises(DataError, match=r"u\.db: a listing must be a text and two integers"):
        active_symbols(str(db), 0, 10)


def test_a_missing_universe_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"u\.db: must be a universe database"):
        active_symbols(str(tmp_path / "u.db"), 0, 1)
    assert list(tmp_path.iterdir()) == []


def funding_csv(*rows: tuple[object, object], header: str = "timestamp,funding_rate") -> str:
    return "\n".join((header, *(f"{at},{rate}" for at, rate in rows))) + "\n"


def test_a_funding_file_is_read_whatever_its_unit_and_names(tmp_path: Path) -> None:
    times = [NOW, NOW + 8 * HOUR_MS, NOW + 9 * HOUR_MS, NOW + 10 * HOUR_MS]
    plain = tmp_path / "f.csv"
    plain.write_text(funding_csv(*((at, rate) for at, rate in zip(times, "0123", strict=True))))
    packed = tmp_path / "g.csv.gz"
    lines = [f"{at // 1000},8,{rate}.0e0" for at, rate in zip(times, "0123", strict=True)]
    head = "calc_time,funding_interval_hours,last_funding_rate"
    packed.write_bytes(gzip.compress("\n".join((head, *lines)).encode()))
    for path in (plain, packed):
        read = read_funding(path)
        assert read.time_ms.tolist() == times
        assert read.rate.tolist() == [0.0, 1.0, 2.0, 3.0]
        assert (read.usual_ms, read.n_longer, read.n_dropped) == (HOUR_MS, 1, 0)
        assert "mostly every 1 h; 1 times longer apart" in read.describe()


FAULTS = [
    ("header", "timestamp,rate_of\n1,2\n", "1: the header must name timestamp and funding_rate"),
    ("no rows", "timestamp,funding_rate\n", "1: there must be funding rates below a header"),
    (
        "columns",
        funding_csv((NOW, "0.1,5")),
        "2: wrong number of columns: there must be 2, found 3",
    ),
    ("stamp", funding_csv(("2024-01-01", 0)), "2: the time must be an integer in s, ms, µs or ns"),
    ("unit", funding_csv((NOW, 0), (NOW // 1000, 0)), "3: the time must be an integer in ms"),
    ("text", funding_csv((NOW, "abc")), "2: funding_rate must be a finite number, found 'abc'"),
    ("empty", funding_csv((NOW, "")), "2: funding_rate must be a finite number"),
    ("nan", funding_csv((NOW, "nan")), "2: funding_rate must be a finite number"),
    ("inf", funding_csv((NOW, "1e999")), "2: funding_rate must be a finite number"),
    ("underscore", funding_csv((NOW, "1_0")), "2: funding_rate must be a finite number"),
    ("twice", funding_csv((NOW, 0), (NOW, 1)), "3: every time must stand once"),
    ("order", funding_csv((NOW, 0), (NOW - HOUR_MS, 1)), "3: times must ascend"),
]


@pytest.mark.parametrize(
    ("text", "said"), [fault[1:] for fault in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_a_fault_of_a_funding_file_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_funding(path)
    assert str(caught.value).startswith(f"{path}:{said}")


def test_faulty_rates_can_be_dropped_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_text(funding_csv((NOW, 1), (NOW, 2), (NOW + 5, "x"), (NOW - 1, 3), (NOW + 9, 4)))
    read = read_funding(path, "drop")
    assert (read.time_ms.tolist(), read.rate.tolist()) == ([NOW, NOW + 9], [1.0, 4.0])
    assert read.describe().endswith("; dropped 3 rows")


@pytest.mark.parametrize(("hours", "is_told"), [(1, False), (8, True)])
def test_files_of_rates_that_are_not_hourly_say_what_that_means(
    tmp_path: Path, hours: int, is_told: bool
) -> None:
    rows = "".join(f"{START_MS + number * hours * HOUR_MS},0.1\n" for number in range(4))
    path = tmp_path / "f.csv"
    path.write_text(f"timestamp,funding_rate\n{rows}")
    said = read_funding(path).describe()
    assert f"mostly every {hours} h" in said
    assert ("every full hour pays the newest rate" in said) == is_told
