"""equity.csv and trades.csv read back in blocks: memory does not grow with the length of a run."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from mei.metrics.trades import Pairing, PairingError, RoundTrip, TradeAction
from mei.model.bars import FloatArray, IntArray
from mei.model.errors import OutputError
from mei.model.orders import ACTIONS
from mei.report.atomic import output_error
from mei.report.rows import EQUITY_COLUMNS, TRADE_COLUMNS

_BLOCK_ROWS = 20_000
_REMEDY = "the file was changed after the run; run again with RERUN=1"


@dataclass(frozen=True, slots=True)
class EquityBlock:
    """Consecutive rows of equity.csv, every array of shape (n,). `close_px` is NaN before a first bar."""

    close_ms: IntArray
    equity: FloatArray
    in_market: FloatArray
    close_px: FloatArray


def equity_blocks(path: Path) -> Iterator[EquityBlock]:
    """The rows of an equity.csv, block by block. Raises OutputError with the line that is broken."""
    with _opened(path) as file:
        header = file.readline().rstrip("\n").split(",")
        if tuple(header[: len(EQUITY_COLUMNS)]) != EQUITY_COLUMNS:
            raise OutputError(
                f"{path} line 1 must start with {','.join(EQUITY_COLUMNS)}: {_REMEDY}"
            )
        first_line = 2
        while lines := list(islice(file, _BLOCK_ROWS)):
            yield _equity_block(path, lines, first_line, len(header))
            first_line += len(lines)


def trade_actions(path: Path) -> Iterator[TradeAction]:
    """The rows of a trades.csv in order. Raises OutputError with the line that is broken."""
    with _opened(path) as file:
        rows = csv.reader(file)
        header = tuple(next(rows, []))
        if header != TRADE_COLUMNS:
            raise OutputError(f"{path} line 1 must be {','.join(TRADE_COLUMNS)}: {_REMEDY}")
        for row in rows:
            try:
                yield _action(row)
            except ValueError as error:
                raise OutputError(
                    f"{path} line {rows.line_num} must be a trade, was {row!r} ({error}): {_REMEDY}"
                ) from error


def round_trips(
    path: Path, regime_of: Callable[[str, str, int], str] | None = None
) -> Iterator[RoundTrip]:
    """The closed trades of a trades.csv in the order in which they closed.

    Raises OutputError when an action fits no position.
    """
    pairing = Pairing(regime_of)
    for number, action in enumerate(trade_actions(path)):
        try:
            trip = pairing.add(action)
        except PairingError as error:
            raise OutputError(
                f"{path} line {number + 2} must open and close in turn: {error}"
            ) from error
        if trip is not None:
            yield trip


def _opened(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8", newline="")
    except OSError as error:
        raise output_error(path, error) from error


def _equity_block(path: Path, lines: list[str], first_line: int, n_columns: int) -> EquityBlock:
    rows = [line.rstrip("\r\n").split(",") for line in lines]
    for number, row in enumerate(rows):
        if len(row) != n_columns:
            raise OutputError(
                f"{path} line {first_line + number} must have {n_columns} columns, "
                f"has {len(row)}: {_REMEDY}"
            )
    try:
        close_ms = np.array([int(row[0]) for row in rows], dtype=np.int64)
        account = np.array([[float(row[1]), float(row[3])] for row in rows])
        close_px = np.array([float(row[4]) if row[4] else math.nan for row in rows])
        qtys = np.array([[float(cell) for cell in row[6::2]] for row in rows])
    except ValueError as error:
        last_line = first_line + len(rows) - 1
        raise OutputError(
            f"{path} lines {first_line} to {last_line} must hold numbers ({error}): {_REMEDY}"
        ) from error
    in_market = (account[:, 1] != 0.0) | (qtys != 0.0).any(axis=1)
    return EquityBlock(close_ms, account[:, 0], in_market.astype(np.float64), close_px)


def _action(row: list[str]) -> TradeAction:
    if len(row) != len(TRADE_COLUMNS):
        raise ValueError(f"{len(row)} columns instead of {len(TRADE_COLUMNS)}")
    timestamp, instrument, strategy, action, side, *middle, config_id, version, reason = row
    qty, price, notional, fee, slippage = (float(cell) for cell in middle[:5])
    if action not in ACTIONS:
        raise ValueError(f"action must be {', '.join(ACTIONS)}, was {action!r}")
    return TradeAction(
        timestamp=int(timestamp),
        instrument=instrument,
        strategy=strategy,
        action=action,
        side=side,
        qty=qty,
        price=price,
        notional=notional,
        fee=fee,
        slippage=slippage,
        pnl=float(middle[5]) if middle[5] else 0.0,
        config_id=config_id,
        model_version=version,
        reason=reason,
    )
