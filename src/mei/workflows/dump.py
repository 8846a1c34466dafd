"""The indicators of one symbol, bar by bar, as CSV (specification part 2, H.8)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mei.data.candle_check import refuse_impossible, refuse_month, refuse_spacing
from mei.data.candle_db import expand_db_set, load_candles
from mei.data.strategy_yaml import load_layers
from mei.engines.mei_alpha import indicators
from mei.model.errors import DataError
from mei.model.semantics import STRICT, Semantics
from mei.workflows.files import check_apart, check_folder, write_result
from mei.workflows.market import default_db, unknown_symbol
from mei.workflows.strategy import DEFAULT_CONFIG, Tell

#: Column of the CSV, name of the indicator, decimals.
_COLUMNS = (
    ("close", "close", 8),
    ("ema_slow", "ema_slow", 8),
    ("ema_fast", "ema_fast", 8),
    ("ema_macro", "ema_macro", 8),
    ("adx", "adx", 4),
    ("adx_pos", "adx_pos", 4),
    ("adx_neg", "adx_neg", 4),
    ("bb_upper", "bb_upper", 8),
    ("bb_lower", "bb_lower", 8),
    ("bb_width", "bb_width", 6),
    ("atr", "atr", 8),
    ("rsi", "rsi", 4),
    ("macd_hist", "macd_hist", 8),
    ("stoch_rsi_k", "stoch_k", 4),
    ("stoch_rsi_d", "stoch_d", 4),
    ("vol_sma", "vol_sma", 4),
    ("vol_trend", "vol_trend", 0),
)


@dataclass(frozen=True, slots=True)
class DumpRequest:
    """What the command line asks for; `symbol` is taken as it is."""

    symbol: str
    config: str = DEFAULT_CONFIG
    candles_db: str | None = None
    interval: str | None = None
    output: str | None = None
    semantics: Semantics = STRICT


def run_dump(request: DumpRequest, tell: Tell) -> str | None:
    """The CSV, or None where it went to a file. Raises MeiError."""
    check_folder(request.output)
    layers = load_layers(Path(request.config), live=False, semantics=request.semantics, tell=tell)
    config = layers.for_symbol(request.symbol)
    interval = request.interval or str(config["engine.interval"]) or "1h"
    is_strict = request.semantics.config_errors == "refuse"
    if is_strict:
        refuse_month(interval, "--interval")
    db_set = default_db(interval) if request.candles_db is None else request.candles_db
    databases = [("--candles-db", path) for path in expand_db_set(db_set)]
    check_apart([("--output", request.output)], [("--config", request.config), *databases])
    candles = load_candles(db_set, interval, tell=tell)
    if request.symbol not in candles.symbols:
        raise DataError(unknown_symbol(request.symbol, candles, db_set, request.semantics))
    if is_strict:
        dumped = candles.restricted_to((request.symbol,))
        refuse_spacing(dumped, db_set)
        refuse_impossible(dumped, db_set)
    rows = candles.rows_of(request.symbol)
    n_bars = rows.stop - rows.start
    tell(f'[dump-indicators] {n_bars} bars for {request.symbol} (config: "{request.config}")')
    started = time.perf_counter()
    found = indicators(candles, request.symbol, config)
    columns = [[str(at_ms) for at_ms in candles.open_ms[rows].tolist()]]
    for _, name, decimals in _COLUMNS:
        values = np.asarray(found[name], dtype=np.float64).tolist()
        columns.append([f"{value:.{decimals}f}" for value in values])
    header = ",".join(["t", *(title for title, _, _ in _COLUMNS)])
    text = "\n".join([header, *map(",".join, zip(*columns, strict=True))]) + "\n"
    if request.output is not None:
        write_result(request.output, text)
    took_s = time.perf_counter() - started
    if request.output is None:
        tell(f"[dump-indicators] Dumped {n_bars} rows in {took_s:.2f}s")
        return text
    tell(f"[dump-indicators] Wrote {n_bars} rows to {request.output} in {took_s:.2f}s")
    return None
