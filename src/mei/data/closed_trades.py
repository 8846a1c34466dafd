"""The trade CSV of a replay (`--export-trades`), read back."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mei.model.errors import DataError

_NUMBERS: Final = ("entry_price", "exit_price", "pnl_usd", "fee_usd")
_COLUMNS: Final = ("exit_ts_ms", *_NUMBERS)
#: Money and prices from here on are no results of a replay, and their sums no numbers.
_TOO_MUCH: Final = 1e15


@dataclass(frozen=True, slots=True)
class ClosedTrade:
    """One exit. exit_ms: epoch ms UTC; prices in quote per base; pnl before fees, fee of the exit alone, both USD."""

    exit_ms: int
    entry_px: float
    exit_px: float
    pnl_usd: float
    fee_usd: float

    @property
    def net_usd(self) -> float:
        """Profit less the fee of the exit."""
        return self.pnl_usd - self.fee_usd

    @property
    def entry_fee_usd(self) -> float:
        """What getting in cost at the rate of the exit: fees are in proportion to price times size."""
        return self.fee_usd * self.entry_px / self.exit_px


def read_closed_trades(path: str) -> list[ClosedTrade]:
    """The rows in order of their exit, those of one time as in the file. DataError, naming the line, for a bad one."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            trades = list(_trades(path, csv.DictReader(file, strict=True)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise DataError(
            f"{path} must be the trade CSV of a replay, could not be read ({why}): check the path"
        ) from None
    return sorted(trades, key=lambda trade: trade.exit_ms)


def _trades(path: str, rows: csv.DictReader[str]) -> Iterator[ClosedTrade]:
    missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        raise DataError(
            f"{path}:1: the trade CSV of a replay must have the column {missing[0]}, has not: give the file of "
            "--export-trades"
        )
    for row in rows:
        where = f"{path}:{rows.line_num}"
        if row["exit_ts_ms"] is None or not row["exit_ts_ms"].isdecimal():
            raise DataError(
                f"{where}: exit_ts_ms must be a time in epoch ms, was {row['exit_ts_ms']!r}"
            )
        entry_px, exit_px, pnl, fee = (_number(where, name, row) for name in _NUMBERS)
        if not (entry_px > 0.0 and exit_px > 0.0):
            raise DataError(
                f"{where}: entry_price and exit_price must be above 0, were {entry_px} and {exit_px}"
            )
        yield ClosedTrade(int(row["exit_ts_ms"]), entry_px, exit_px, pnl, fee)


def _number(where: str, name: str, row: Mapping[str, str | None]) -> float:
    text = row[name]
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) < _TOO_MUCH:
        raise DataError(f"{where}: {name} must be a number below {_TOO_MUCH:g}, was {text!r}")
    return value
