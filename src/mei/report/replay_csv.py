"""The closed trades of a replay as CSV: one row per close, with how far the price went for and against it.

Specification part 2, F.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mei.metrics.reason_codes import reason_code
from mei.metrics.replay import is_close
from mei.model.bars import FloatArray, IntArray
from mei.model.candles import Candles
from mei.model.replay import ACTIONS, FUNDING, OPEN_LONG, OPEN_SHORT, ReplayResult

HEADER = (
    "trade_id,position_id,entry_ts_ms,exit_ts_ms,symbol,side,entry_price,exit_price,exit_size,"
    "pnl_usd,fee_usd,mae_pct,mfe_pct,reason_code,reason"
)
_TINY = 1e-12
_FIELDS = ("symbol", "action", "timestamp_ms", "price", "qty", "pnl_usd", "fee_usd", "position_id")


@dataclass(frozen=True, slots=True)
class _Event:
    """One record of a symbol that is not funding. number: how many positions the log has opened so far."""

    at_ms: int
    action: int
    price: float
    qty: float
    pnl_usd: float
    fee_usd: float
    reason: str
    position_id: int
    number: int

    @property
    def is_open(self) -> bool:
        """Whether it opens a position."""
        return self.action in (OPEN_LONG, OPEN_SHORT)


@dataclass(slots=True)
class _Position:
    """A position being walked. highest and lowest price since it was opened."""

    number: int
    rank: int
    side: str
    entry_ms: int
    entry_px: float
    highest: float
    lowest: float
    n_exits: int = 0

    def excursions(self) -> tuple[float, float]:
        """Worst and best move since the entry as fractions of the entry price; the worst is negative."""
        if abs(self.entry_px) <= _TINY:
            return 0.0, 0.0
        down = (self.lowest - self.entry_px) / self.entry_px
        up = (self.highest - self.entry_px) / self.entry_px
        if self.side == "LONG":
            return down, up
        return (
            (self.entry_px - self.highest) / self.entry_px,
            (self.entry_px - self.lowest) / self.entry_px,
        )


class _Bars:
    """The main bars of a symbol, each used once, in order."""

    def __init__(self, known_ms: IntArray, high: FloatArray, low: FloatArray) -> None:
        self._known_ms, self._high, self._low = known_ms, high, low
        self._next = 0

    def use(self, until_ms: int, held: Iterable[_Position], including: bool = False) -> None:
        """Bars before `until_ms` (or also at it) widen the ranges of the positions held."""
        last_ms = until_ms if including else until_ms - 1
        end = int(self._known_ms.searchsorted(last_ms, side="right"))
        if end <= self._next:
            return
        for position in held:
            position.highest = max(position.highest, float(self._high[self._next : end].max()))
            position.lowest = min(position.lowest, float(self._low[self._next : end].min()))
        self._next = end


def trades_csv(
    result: ReplayResult,
    reasons: Sequence[str],
    candles: Candles,
    *,
    unique_ids: bool,
    known_after_ms: int,
) -> str:
    """The whole file.

    reasons: words of each record. candles: the main bars. unique_ids: every position has a number of its own (else all
    of a symbol share that of its first). known_after_ms: from a bar's open to the time that records call it by.
    """
    rows: list[tuple[int, str, str, str]] = []
    for symbol, events in sorted(
        _events(result, reasons).items(), key=lambda item: item[0].encode()
    ):
        where = candles.rows_of(symbol)
        bars = _Bars(
            candles.open_ms[where] + known_after_ms, candles.high[where], candles.low[where]
        )
        rows += _closes(symbol, events, bars, unique_ids)
    rows.sort(key=lambda row: (row[0], row[1].encode(), row[2]))
    return "\n".join([HEADER, *(row[3] for row in rows)]) + "\n"


def _events(result: ReplayResult, reasons: Sequence[str]) -> dict[str, list[_Event]]:
    """Records of each symbol in order of time, then of the log; positions are numbered in log order."""
    columns = (result.trades[name].tolist() for name in _FIELDS)
    events: dict[str, list[_Event]] = {}
    n_opened = 0
    for symbol, action, *numbers, reason in zip(*columns, reasons, strict=True):
        if action == FUNDING:
            continue
        n_opened += action in (OPEN_LONG, OPEN_SHORT)
        at_ms, price, qty, pnl, fee, position_id = numbers
        event = _Event(at_ms, action, price, qty, pnl, fee, reason, position_id, n_opened)
        events.setdefault(result.symbols[symbol], []).append(event)
    for of_symbol in events.values():
        of_symbol.sort(key=lambda event: event.at_ms)
    return events


def _closes(
    symbol: str, events: list[_Event], bars: _Bars, unique_ids: bool
) -> Iterator[tuple[int, str, str, str]]:
    """(exit time, symbol, trade id, line) of each close; closes of positions that no record opened are left out.

    Without unique ids a symbol holds one position at a time, and what opens while another is held has the number of the
    symbol's second position: a log in which sub-bars run ahead of one another may have that.
    """
    held: dict[int, _Position] = {}
    numbers = sorted(event.number for event in events if event.is_open)
    for event in events:
        key = event.position_id if unique_ids else 0
        bars.use(event.at_ms, held.values())
        if event.is_open:
            before = held.get(key)
            rank = 1 if before is None else before.rank + 1
            number = event.number if unique_ids else numbers[rank - 1]
            side = "LONG" if event.action == OPEN_LONG else "SHORT"
            px = event.price
            held[key] = _Position(number, rank, side, event.at_ms, px, px, px)
        bars.use(event.at_ms, held.values(), including=True)
        if key not in held or not is_close(event.action):
            continue
        position = held[key]
        position.n_exits += 1
        trade_id = f"{position.number}:{position.n_exits}"
        yield event.at_ms, symbol, trade_id, _line(symbol, trade_id, position, event)
        if ACTIONS[event.action].startswith("CLOSE"):
            del held[key]


def _line(symbol: str, trade_id: str, position: _Position, event: _Event) -> str:
    mae, mfe = position.excursions()
    numbers = (position.entry_px, event.price, event.qty, event.pnl_usd, event.fee_usd, mae, mfe)
    cells = [
        trade_id,
        str(position.number),
        str(position.entry_ms),
        str(event.at_ms),
        _text(symbol),
        position.side,
        *(f"{number:.8f}" for number in numbers),
        reason_code(ACTIONS[event.action], event.reason),
        _text(event.reason),
    ]
    return ",".join(cells)


def _text(text: str) -> str:
    if any(character in text for character in ',"\r\n'):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text
