"""The smoke set: the same candles everywhere, in databases that sweeps read, and a sweep made for them."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from mei.cli import main
from mei.data.candle_db import load_candles, time_range_ms
from mei.data.smoke_market import smoke_symbols, write_smoke_market
from mei.data.strategy_yaml import load_layers
from mei.model.bars import DAY_MS
from mei.model.errors import ConfigError, DataError
from mei.model.semantics import STRICT
from mei.rules.mei_alpha.keys import SWEPT
from mei.workflows.sweep_spec import read_spec

SWEEPS = Path(__file__).parents[2] / "config" / "sweeps"
#: Of the rows of two days of three symbols with the default seed, 1h before 3m.
DIGEST = "276950166d905ccd8584738f2ad594ae16116a3e92ab8ef61625da64967a7d1f"


def rows_of(path: Path) -> list[tuple[object, ...]]:
    """The candles of a database."""
    with closing(sqlite3.connect(path)) as database:
        query = "SELECT symbol, interval, t, t_close, o, h, l, c, v FROM candles ORDER BY symbol, t"
        return database.execute(query).fetchall()


def no_word(_line: str) -> None:
    """Where nobody listens."""


def test_the_candles_are_the_same_everywhere(tmp_path: Path) -> None:
    paths = write_smoke_market(tmp_path, n_symbols=3, days=2, tell=no_word)
    rows = [row for path in paths for row in rows_of(path)]
    assert hashlib.sha256(repr(rows).encode()).hexdigest() == DIGEST
    others = write_smoke_market(tmp_path / "other", n_symbols=3, days=2, seed=7, tell=no_word)
    assert rows_of(others[0]) != rows_of(paths[0])


def test_both_databases_are_of_one_market(tmp_path: Path) -> None:
    paths = write_smoke_market(tmp_path, n_symbols=2, days=3, tell=no_word)
    hours, minutes = (
        load_candles(str(path), interval, tell=no_word)
        for path, interval in zip(paths, ("1h", "3m"), strict=True)
    )
    assert hours.symbols == minutes.symbols == ("BTC", "ETH")
    assert (len(hours.open), len(minutes.open)) == (2 * 72, 2 * 1440)
    assert np.array_equal(hours.open, minutes.open[::20])
    assert np.array_equal(hours.high, minutes.high.reshape(-1, 20).max(axis=1))
    assert np.array_equal(hours.close, minutes.close[19::20])
    first, last = time_range_ms(str(paths[1]), "3m")
    assert last - first < 3 * DAY_MS


def test_sixty_symbols_are_more_than_a_lane_takes() -> None:
    names = smoke_symbols()
    assert len(set(names)) == 60 > 52
    assert names == sorted(names)
    assert names[:3] == ["BTC", "ETH", "SYN003"]
    assert smoke_symbols(1) == ["BTC"]


def test_writing_again_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"smoke-data --symbols 1 --days 1 --out {tmp_path / 'dbs'}".split()
    assert main.run(line) == 0
    assert "candles_1h.db: 1 symbols, 24 bars, 24 of them new" in capsys.readouterr().out
    before = rows_of(tmp_path / "dbs" / "candles_3m.db")
    assert main.run(line) == 0
    assert "24 bars, 0 of them new" in capsys.readouterr().out
    assert main.run([*line, "--seed", "1"]) == DataError.exit_code
    assert "add --replace" in capsys.readouterr().err
    assert rows_of(tmp_path / "dbs" / "candles_3m.db") == before
    assert main.run([*line, "--seed", "1", "--replace"]) == 0
    assert rows_of(tmp_path / "dbs" / "candles_3m.db") != before


@pytest.mark.parametrize(("n_symbols", "days"), [(0, 1), (1000, 1), (1, 0)])
def test_impossible_sets_are_refused(tmp_path: Path, n_symbols: int, days: int) -> None:
    with pytest.raises(ConfigError, match="1 to 999 symbols and days >= 1"):
        write_smoke_market(tmp_path, n_symbols=n_symbols, days=days, tell=no_word)


def test_the_sweep_of_the_set_is_one_that_strict_takes() -> None:
    spec = read_spec(str(SWEEPS / "smoke.yaml"))
    assert spec.n_product == spec.n_allowed() == 288
    assert set(spec.paths) <= set(SWEPT)
    load_layers(SWEEPS / "smoke_strategy.yaml", live=False, semantics=STRICT, tell=no_word)
