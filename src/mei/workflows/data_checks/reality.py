"""What traders did to a symbol of late, and how its candles are: text for people, nothing is written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mei.data.candle_db import expand_db_set, interval_ms_or_zero
from mei.data.candle_health import Window, candle_health
from mei.data.stamps import time_text
from mei.data.trading_db import (
    TradeRow,
    audit_since,
    open_trading_db,
    stamp_ms,
    trades_since,
)
from mei.model.errors import ConfigError, DataError
from mei.workflows.data_checks.symbols import as_there
from mei.workflows.data_checks.verdict import require_above

Tell = Callable[[str], None]

_HOUR_MS: Final = 3_600_000
_N_TRADES: Final = 10
_GRACE_MS: Final = 5_000


@dataclass(frozen=True, slots=True)
class RealityRequest:
    """What to look at. trading_dbs: name and path each. now_ms in epoch ms UTC."""

    symbol: str
    hours: float
    now_ms: int
    trading_dbs: tuple[tuple[str, str], ...]
    interval: str
    candles_db: str


def reality_check(request: RealityRequest, tell: Tell) -> int:
    """Tell it line by line; how many of the databases could be read. Raises ConfigError for wrong settings.

    A database that is missing or cannot be read is told, and the others are looked at.
    """
    require_above("--hours", request.hours, 0.0)
    if not request.symbol.strip():
        raise ConfigError("--symbol must name a symbol, was empty")
    is_month = re.fullmatch(r"\d+M", request.interval)
    if is_month or not interval_ms_or_zero(request.interval):
        raise ConfigError(
            f"AI_QUANT_INTERVAL must be a length of time such as 1h, was {request.interval!r}"
        )
    looks: list[tuple[str, str, Callable[[str], None]]] = [
        (name, path, lambda path: _tell_trading(path, request, tell))
        for name, path in request.trading_dbs
    ]
    looks.append(("candles", request.candles_db, lambda path: _tell_candles(path, request, tell)))
    n_read = 0
    for name, path, look in looks:
        tell(f"== {name}: {path}")
        try:
            look(path)
            n_read += 1
        except DataError as error:
            tell(f"  not looked at: {error}")
    return n_read


def _tell_trading(path: str, request: RealityRequest, tell: Tell) -> None:
    names = {request.symbol, request.symbol.upper()}
    since_ms = request.now_ms - request.hours * _HOUR_MS
    with open_trading_db(path, create=False, read_only=True) as conn:
        events = audit_since(conn, 0)
        trades = [row for row in trades_since(conn, 0) if row.symbol in names]
    n_undated = 0
    counts: Counter[str] = Counter()
    for event in events:
        if event.symbol not in (*names, None, "", "SYSTEM"):
            continue
        at_ms = stamp_ms(event.timestamp)
        n_undated += at_ms is None
        if at_ms is not None and at_ms >= since_ms:
            counts[event.event] += 1
    tell(f"  audit events of {request.symbol} and of all symbols, last {request.hours:g} hours:")
    for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        tell(f"    {count:>6}  {name}")
    if not counts:
        tell("    none")
    if n_undated:
        tell(f"    {n_undated} more have a time that cannot be read")
    tell(f"  last {_N_TRADES} trades of {request.symbol}:")
    for row in trades[: -_N_TRADES - 1 : -1]:
        tell(f"    {_trade_text(row)}")
    if not trades:
        tell("    none")


def _trade_text(row: TradeRow) -> str:
    numbers = {
        "price": row.price,
        "size": row.size,
        "pnl": row.pnl,
        "fee": row.fee_usd,
        "balance": row.balance,
    }
    shown = " ".join(f"{name}={value:g}" for name, value in numbers.items() if value is not None)
    return f"{row.timestamp} {row.type} {row.action} {shown} {row.reason or ''}".rstrip()


def _tell_candles(path: str, request: RealityRequest, tell: Tell) -> None:
    interval_ms = interval_ms_or_zero(request.interval)
    lookback_ms = max(round(request.hours * _HOUR_MS), 2 * interval_ms)
    window = Window(request.now_ms, lookback_ms, _GRACE_MS)
    for one in expand_db_set(path):
        with candle_health(one) as health:
            there = health.symbols_by_interval().get(request.interval, [])
            symbol = as_there(request.symbol, there)
            seen = health.look_at(symbol, request.interval, window)
        where = Path(one).name
        if seen.newest_ms is None or seen.seen_ms is None:
            tell(f"  {where}: no bar of {symbol} ({request.interval}), it has {len(there)} symbols")
            continue
        age_s = (request.now_ms - seen.seen_ms) / 1000.0
        tell(
            f"  {where}: {symbol} ({request.interval}) newest bar opens {time_text(seen.newest_ms)}, known to "
            f"{time_text(seen.seen_ms)}, {age_s:.0f} s ago ({age_s * 1000.0 / interval_ms:.2f} intervals)"
        )
        tell(
            f"    {seen.n_missing} of {seen.n_expected} bars of the last "
            f"{lookback_ms / _HOUR_MS:g} hours are missing"
        )
        for gap in seen.gaps:
            tell(f"    {gap.place}: {gap.n_bars} from {time_text(gap.from_ms)}")
