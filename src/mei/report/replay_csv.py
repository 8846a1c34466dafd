"""The closed trades of a replay as CSV: one row per close, with how far the price went for and against it.

Specification part 2, F.6.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any

from mei.metrics.reason_codes import reason_code
from mei.metrics.replay import is_close
from mei.model.bars import FloatArray, IntArray
from mei.model.candles import Candles
from mei.model.errors import DataError
from mei.model.replay import (
    ACTIONS,
    CLOSE_LONG,
    CLOSE_SHORT,
    FUNDING,
    OPEN_LONG,
    OPEN_SHORT,
    InitState,
    ReplayResult,
)

HEADER = (
    "trade_id,position_id,entry_ts_ms,exit_ts_ms,symbol,side,entry_price,exit_price,exit_size,"
    "pnl_usd,fee_usd,mae_pct,mfe_pct,reason_code,reason"
)
_TINY = 1e-12
_FIELDS = ("symbol", "action", "timestamp_ms", "price", "qty", "pnl_usd", "fee_usd", "position_id")
_LIVED = ("lowest_px", "highest_px")


@dataclass(frozen=True, slots=True)
class _Event:
    """One record of a symbol that is not funding.

    number: how many positions the log has opened so far. lived: lowest and highest price of what the position has lived
    through, None where the log does not tell (excursions = bars).
    """

    at_ms: int
    action: int
    price: float
    qty: float
    pnl_usd: float
    fee_usd: float
    reason: str
    position_id: int
    number: int
    lived: tuple[float, float] | None

    @property
    def is_open(self) -> bool:
        """Whether it opens a position."""
        return self.action in (OPEN_LONG, OPEN_SHORT)


@dataclass(slots=True)
class OpenTrade:
    """A position being walked. highest and lowest price since it was opened; n_exits: closes so far.

    number: its id. rank: how many positions of the symbol were held at once when it was opened, itself included.
    """

    symbol: str
    number: int
    side: str
    entry_ms: int
    entry_px: float
    highest: float
    lowest: float
    n_exits: int = 0
    rank: int = 1

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
    """The main bars of a symbol, each used once, in order; those until `used_ms` have been."""

    def __init__(
        self, known_ms: IntArray, high: FloatArray, low: FloatArray, used_ms: int | None
    ) -> None:
        self._known_ms, self._high, self._low = known_ms, high, low
        self._next = 0 if used_ms is None else int(known_ms.searchsorted(used_ms, side="right"))

    def use(self, until_ms: int, held: Iterable[OpenTrade], including: bool = False) -> None:
        """Bars before `until_ms` (or also at it) widen the ranges of the positions held."""
        last_ms = until_ms if including else until_ms - 1
        end = int(self._known_ms.searchsorted(last_ms, side="right"))
        if end <= self._next:
            return
        for position in held:
            position.highest = max(position.highest, float(self._high[self._next : end].max()))
            position.lowest = min(position.lowest, float(self._low[self._next : end].min()))
        self._next = end


@dataclass(frozen=True, slots=True)
class Brought:
    """What a run brings along: positions opened before it, and until when their ranges are told."""

    trades: tuple[OpenTrade, ...] = ()
    until_ms: int | None = None


#: Where a continuation keeps them.
_KEY = "open_trades"


def brought_by(state: InitState | None, from_ms: int | None) -> Brought:
    """The positions of an init-state as the trade CSV goes on with them. from_ms: where the run begins.

    Version 1 tells neither ids nor ranges nor earlier exits: its positions are numbered from 1 on in their order, and
    their ranges begin with the run, at the entry price. DataError for a version 2 that is not as it was written.
    """
    if state is None:
        return Brought()
    if state.continuation is None:
        trades = [
            OpenTrade(
                symbol=held.symbol,
                number=number,
                side="LONG" if held.side > 0 else "SHORT",
                entry_ms=held.opened_ms,
                entry_px=held.entry_px,
                highest=held.entry_px,
                lowest=held.entry_px,
            )
            for number, held in enumerate(state.positions, start=1)
        ]
        return Brought(tuple(trades), None if from_ms is None else from_ms - 1)
    try:
        kept = tuple(OpenTrade(**one) for one in state.continuation[_KEY])
        if not all(map(_is_sound, kept)):
            raise ValueError("a number or a text is none")
        return Brought(kept, int(state.continuation["as_of_ms"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{state.label} must be as --export-state wrote it, {_KEY} of its continuation is not: "
            f"{type(error).__name__} {error}; export it again"
        ) from error


def _is_sound(trade: OpenTrade) -> bool:
    for one in fields(trade):
        value = getattr(trade, one.name)
        is_right = isinstance(value, str if one.name in ("symbol", "side") else (int, float))
        if not is_right or (not isinstance(value, str) and not isfinite(value)):
            return False
    return trade.side in ("LONG", "SHORT")


def with_open_trades(
    result: ReplayResult, candles: Candles, known_after_ms: int, brought: Brought
) -> dict[str, Any]:
    """The continuation of a run with what the trade CSV of the next one needs of the positions that are held.

    Arguments as of `trades_csv`.
    """
    content = dict(result.continuation or {})
    n_events = len(result.trades) - result.n_ending
    walks = _walks(result, [""] * len(result.trades), candles, known_after_ms, brought, n_events)
    held: list[OpenTrade] = []
    for walk in walks:
        for _ in walk.closes():
            pass
        walk.bars.use(int(content["as_of_ms"]), walk.held.values(), including=True)
        held += walk.held.values()
    return content | {_KEY: [asdict(trade) for trade in held]}


def n_open_at_end(result: ReplayResult, brought: Brought) -> int:
    """Positions that a run opened or brought along and never closed."""
    actions, ids = result.trades["action"], result.trades["position_id"]
    opened = ids[(actions == OPEN_LONG) | (actions == OPEN_SHORT)].tolist()
    closed = ids[(actions == CLOSE_LONG) | (actions == CLOSE_SHORT)].tolist()
    return len({*(trade.number for trade in brought.trades), *opened} - set(closed))


def trades_csv(
    result: ReplayResult,
    reasons: Sequence[str],
    candles: Candles,
    *,
    unique_ids: bool,
    known_after_ms: int,
    brought: Brought = Brought(),
) -> str:
    """The whole file.

    reasons: words of each record. candles: the main bars. unique_ids: every position has a number of its own, and those
    that were `brought` along have rows (else all of a symbol share that of its first, and they have none).
    known_after_ms: from a bar's open to the time that records call it by.
    """
    rows: list[tuple[int, str, str, str]] = []
    if unique_ids:
        for walk in _walks(result, reasons, candles, known_after_ms, brought, len(reasons)):
            rows += walk.closes()
    else:
        for walk in _walks(result, reasons, candles, known_after_ms, Brought(), len(reasons)):
            rows += walk.closes_by_rank()
    rows.sort(key=lambda row: (row[0], row[1].encode(), row[2]))
    return "\n".join([HEADER, *(row[3] for row in rows)]) + "\n"


def _walks(
    result: ReplayResult,
    reasons: Sequence[str],
    candles: Candles,
    known_after_ms: int,
    brought: Brought,
    n_events: int,
) -> list[_Walk]:
    """One for each symbol that has a record among the first `n_events` or brings a position, ascending."""
    events = _events(result, reasons, n_events)
    names = events.keys() | {trade.symbol for trade in brought.trades}
    walks = []
    for symbol in sorted(names, key=str.encode):
        where = candles.rows_of(symbol)
        bars = _Bars(
            candles.open_ms[where] + known_after_ms,
            candles.high[where],
            candles.low[where],
            brought.until_ms,
        )
        held = {one.number: replace(one) for one in brought.trades if one.symbol == symbol}
        walks.append(_Walk(symbol, events.get(symbol, []), bars, held))
    return walks


def _events(result: ReplayResult, reasons: Sequence[str], n_events: int) -> dict[str, list[_Event]]:
    """Records of each symbol in the order of the log, by which positions are numbered."""
    columns = (result.trades[name][:n_events].tolist() for name in (*_FIELDS, *_LIVED))
    events: dict[str, list[_Event]] = {}
    n_opened = 0
    for symbol, action, *numbers, reason in zip(*columns, reasons[:n_events], strict=True):
        if action == FUNDING:
            continue
        n_opened += action in (OPEN_LONG, OPEN_SHORT)
        at_ms, price, qty, pnl, fee, position_id, *lived = numbers
        event = _Event(
            at_ms,
            action,
            price,
            qty,
            pnl,
            fee,
            reason,
            position_id,
            n_opened,
            (lived[0], lived[1]) if result.has_excursions else None,
        )
        events.setdefault(result.symbols[symbol], []).append(event)
    return events


@dataclass(slots=True)
class _Walk:
    """The events of one symbol over its bars. held: positions by their id (by 0 where a symbol has one at a time)."""

    symbol: str
    events: list[_Event]
    bars: _Bars
    held: dict[int, OpenTrade]

    def closes(self) -> Iterator[tuple[int, str, str, str]]:
        """(exit time, symbol, trade id, line) of each close; positions are told apart by the log's ids.

        In the order of the log: what the end of the run closes is stamped with the last step, and comes after exits of
        sub-bars that are known later than that.
        """
        for event in self.events:
            yield from self._meet(event, event.position_id, event.position_id)

    def closes_by_rank(self) -> Iterator[tuple[int, str, str, str]]:
        """As the reference has it: closes of positions that no record opened are left out.

        A symbol holds one position at a time, and what opens while another is held has the number of the symbol's
        second position: a log in which sub-bars run ahead of one another may have that. In order
        of time, then of the log.
        """
        numbers = sorted(event.number for event in self.events if event.is_open)
        for event in sorted(self.events, key=lambda event: event.at_ms):
            before = self.held.get(0)
            rank = 0 if before is None else before.rank
            yield from self._meet(event, 0, numbers[rank] if event.is_open else 0, rank + 1)

    def _meet(
        self, event: _Event, key: int, number: int, rank: int = 1
    ) -> Iterator[tuple[int, str, str, str]]:
        """The event's row if it is a close. key: of its position; number, rank: of the one it opens."""
        self.bars.use(event.at_ms, self.held.values())
        if event.is_open:
            side = "LONG" if event.action == OPEN_LONG else "SHORT"
            px = event.price
            self.held[key] = OpenTrade(
                self.symbol, number, side, event.at_ms, px, px, px, rank=rank
            )
        self.bars.use(event.at_ms, self.held.values(), including=True)
        if key not in self.held or not is_close(event.action):
            return
        position = self.held[key]
        position.n_exits += 1
        if event.lived is not None:
            position.lowest, position.highest = event.lived
        trade_id = f"{position.number}:{position.n_exits}"
        yield event.at_ms, self.symbol, trade_id, _line(self.symbol, trade_id, position, event)
        if ACTIONS[event.action].startswith("CLOSE"):
            del self.held[key]


def _line(symbol: str, trade_id: str, position: OpenTrade, event: _Event) -> str:
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
