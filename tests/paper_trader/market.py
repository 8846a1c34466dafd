"""Made-up markets that trade a lot, put into candle databases bar by bar as they become known."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mei.workflows.market import MarketRequest

HOUR_MS = 3_600_000
SUB_MS = 900_000
START_MS = 1_748_736_000_000
SYMBOLS = ("BTC", "ETH", "SOL", "XRP")
CONFIG = """
global:
  trade: {entry_min_confidence: low, sl_atr_mult: 1.5, tp_atr_mult: 1.2, slippage_bps: 4.0, allocation_pct: 0.1,
    enable_pyramiding: true, add_min_profit_atr: 0.1, add_cooldown_minutes: 0, add_min_confidence: low,
    enable_partial_tp: true, tp_partial_pct: 0.4, tp_partial_min_notional_usd: 1.0, reentry_cooldown_minutes: 0,
    max_entry_orders_per_loop: 2, max_open_positions: 3}
  indicators: {ema_fast_window: 4, ema_slow_window: 9, ema_macro_window: 20, adx_window: 6, bb_window: 8,
    bb_width_avg_window: 8, atr_window: 6, rsi_window: 6, vol_sma_window: 6, vol_trend_window: 3,
    stoch_rsi_window: 6}
  filters: {enable_ranging_filter: false, enable_anomaly_filter: false, enable_extension_filter: false,
    require_btc_alignment: false, require_adx_rising: false}
  thresholds: {entry: {min_adx: 5.0, macd_hist_entry_mode: none}}
"""
_CREATE = {
    "candles": "symbol TEXT, interval TEXT, t INTEGER, t_close INTEGER, o REAL, h REAL, l REAL, c REAL, v REAL, "
    "n INTEGER, PRIMARY KEY (symbol, interval, t)",
    "funding_rates": "symbol TEXT, time INTEGER, funding_rate REAL, PRIMARY KEY (symbol, time)",
}


class Row(NamedTuple):
    """A row of a database and when it becomes known."""

    known_ms: int
    file: str
    table: str
    values: tuple[Any, ...]


@dataclass
class Market:
    """A recorded feed and the folder of databases it goes into. lacking: (symbol, interval, open) that never come."""

    folder: Path
    rows: list[Row]
    has_sub_bars: bool
    has_funding: bool
    end_ms: int
    lacking: Collection[tuple[str, str, int]] = ()
    fed_ms: int = field(default=-1)

    @property
    def request(self) -> MarketRequest:
        """How to read it."""
        main = str(self.folder / "candles_1h.db")
        sub = str(self.folder / "candles_15m.db") if self.has_sub_bars else None
        label = "15m" if self.has_sub_bars else None
        return MarketRequest(
            candles_db=main,
            interval="1h",
            exit_candles_db=sub,
            exit_interval=label,
            entry_candles_db=sub,
            entry_interval=label,
            funding_db=str(self.folder / "funding_rates.db") if self.has_funding else None,
        )

    def feed(self, until_ms: int) -> None:
        """Put into the databases what has become known since."""
        new = [row for row in self.rows if self.fed_ms < row.known_ms <= until_ms]
        self.fed_ms = until_ms
        self.put([row for row in new if row.values[:3] not in self.lacking])

    def put(self, rows: list[Row]) -> None:
        """Put rows into the databases, whenever they are known."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in {"candles_1h.db", *(row.file for row in rows)}:
            table = next((row.table for row in rows if row.file == file), "candles")
            with closing(sqlite3.connect(self.folder / file)) as database, database:
                database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({_CREATE[table]})")
                for row in rows:
                    if row.file == file:
                        marks = ",".join("?" * len(row.values))
                        database.execute(
                            f"INSERT OR REPLACE INTO {table} VALUES ({marks})", row.values
                        )

    def remove(self, row: Row) -> None:
        """Take a bar out of its database."""
        with closing(sqlite3.connect(self.folder / row.file)) as database, database:
            query = f"DELETE FROM {row.table} WHERE symbol = ? AND interval = ? AND t = ?"
            database.execute(query, row.values[:3])

    def find(self, symbol: str, interval: str, open_ms: int) -> Row:
        """The row of a bar."""
        return next(row for row in self.rows if row.values[:3] == (symbol, interval, open_ms))


def make_market(
    folder: Path,
    seed: int,
    n_hours: int,
    *,
    symbols: tuple[str, ...] = SYMBOLS,
    sub_bars: bool = False,
    funding: bool = False,
    holes: float = 0.0,
) -> Market:
    """Random walks in quarters of an hour with jumps, hours made of them. holes: share of bars that never come."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for number, symbol in enumerate(symbols):
        steps = rng.normal(0.0, 0.006, (n_hours, 4)) + 0.002 * np.sin(
            np.arange(n_hours) / 9.0 + number
        ).reshape(-1, 1)
        closes = 100.0 * (number + 1) * np.exp(np.cumsum(steps).reshape(n_hours, 4))
        opens = np.concatenate([[100.0 * (number + 1)], closes.ravel()[:-1]]).reshape(n_hours, 4)
        opens = opens * (1.0 + rng.normal(0.0, 0.0005, opens.shape))
        highs = np.maximum(opens, closes) * (1.0 + rng.exponential(0.002, opens.shape))
        lows = np.minimum(opens, closes) * (1.0 - rng.exponential(0.002, opens.shape))
        volumes = rng.uniform(50.0, 200.0, opens.shape)
        for hour in range(n_hours):
            at_ms = START_MS + hour * HOUR_MS
            prices = (
                opens[hour, 0],
                highs[hour].max(),
                lows[hour].min(),
                closes[hour, 3],
                volumes[hour].sum(),
            )
            rows.append(_bar(symbol, "1h", HOUR_MS, at_ms, prices))
            for quarter in range(4 if sub_bars else 0):
                parts = [column[hour, quarter] for column in (opens, highs, lows, closes, volumes)]
                rows.append(_bar(symbol, "15m", SUB_MS, at_ms + quarter * SUB_MS, tuple(parts)))
            if funding:
                rate = float(rng.normal(0.0, 1e-4))
                values = (symbol, at_ms, rate)
                rows.append(Row(at_ms, "funding_rates.db", "funding_rates", values))
    # Where bars are missing, rates come seldom, too: the one before holds.
    seldom = 0.7 if holes else 0.0
    rows = [row for row in rows if rng.random() >= (holes if row.table == "candles" else seldom)]
    rows.sort(key=lambda row: row.known_ms)
    return Market(folder, rows, sub_bars, funding, START_MS + n_hours * HOUR_MS)


def _bar(symbol: str, interval: str, length_ms: int, at_ms: int, prices: tuple[Any, ...]) -> Row:
    values = (
        symbol,
        interval,
        at_ms,
        at_ms + length_ms - 1,
        *(float(value) for value in prices),
        5,
    )
    return Row(at_ms + length_ms, f"candles_{interval}.db", "candles", values)
