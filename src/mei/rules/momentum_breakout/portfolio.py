"""The walk: one account, one book a symbol, in the order of events of the learning loop.

At each time: (1) every book with a bar fills its pending order at the open, then its position meets the bar's range;
(2) the account is marked; (3) every book with a bar decides, in the same order, all with the equity of that mark;
(4) the account is marked again if anything filled at the close. Sums run in the order of the books.
"""

from math import isnan

from mei.model.bars import FloatArray, IntArray
from mei.model.replay import CLOSE_LONG, CLOSE_SHORT, OPEN_LONG, OPEN_SHORT
from mei.rules.accounting import order_qty, pnl_usd
from mei.rules.costs import fee_usd, fill_px
from mei.rules.exits import NO_EXIT, STOP, protective_exit, stop_px, target_px
from mei.rules.momentum_breakout import reasons
from mei.rules.momentum_breakout.decisions import CLOSE_TIME, OPEN, STAY, decision
from mei.rules.momentum_breakout.records import (
    NO_ORDER,
    ORDER_CLOSE,
    ORDER_OPEN,
    Bars,
    Record,
    RecordArray,
)
from mei.rules.momentum_breakout.signals import SideArray
from mei.rules.momentum_breakout.sizing import entry_notional_usd

BREAKOUT_LONG, BREAKOUT_SHORT = reasons.BREAKOUT_LONG, reasons.BREAKOUT_SHORT
STOPPED, TOOK_PROFIT = reasons.STOP, reasons.TAKE_PROFIT
TIMED_OUT, REVERSED = reasons.TIME, reasons.REVERSE


def walk(
    bars: Bars,
    sides: SideArray,
    candidates: IntArray,
    first_step: int,
    terms: RecordArray,
    books: RecordArray,
    account: RecordArray,
    trades: RecordArray,
    curve: FloatArray,
) -> None:
    """Take steps `first_step` to the last one; books and account are left as they stand after it.

    sides: a signal a bar, shape (n_rows,). candidates: steps with a signal, ascending. terms, account: one record each.
    trades: TRADE_DTYPE, as many as fit are written. curve: equity of each step from `first_step` on, or empty.
    With nothing open or pending, steps without a signal change nothing and are passed over.
    """
    n_steps = len(bars.known_ms)
    state = account[0]
    step = first_step
    next_candidate = 0
    while step < n_steps:
        if state.n_busy == 0:
            while next_candidate < len(candidates) and candidates[next_candidate] < step:
                next_candidate += 1
            busy_from = n_steps
            if next_candidate < len(candidates):
                busy_from = candidates[next_candidate]
            state.equity_usd = state.cash_usd + 0.0
            if len(curve) > 0:
                for idle in range(step, busy_from):
                    curve[idle - first_step] = state.equity_usd
            step = busy_from
            if step == n_steps:
                return
        walk_step(step, bars, sides, terms[0], books, state, trades)
        if len(curve) > 0:
            curve[step - first_step] = state.equity_usd
        step += 1


def walk_step(
    step: int,
    bars: Bars,
    sides: SideArray,
    terms: Record,
    books: RecordArray,
    account: Record,
    trades: RecordArray,
) -> None:
    """Everything that happens when the bars of one time become known."""
    now_ms = bars.known_ms[step]
    first, end = bars.starts[step], bars.starts[step + 1]
    for row in range(first, end):
        symbol = bars.symbol[row]
        book = books[symbol]
        book.last_close_px = bars.close[row]
        book.is_closed = 0
        was_open = book.direction != 0
        if book.pending != NO_ORDER:
            fill_pending(symbol, bars.open[row], now_ms, terms, book, account, trades)
        if book.direction != 0:
            if was_open:
                book.bars_held += 1
            touched, level_px = protective_exit(
                book.direction,
                bars.open[row],
                bars.high[row],
                bars.low[row],
                book.stop_px,
                book.target_px,
            )
            if touched != NO_EXIT:
                reason = STOPPED if touched == STOP else TOOK_PROFIT
                close_position(symbol, level_px, reason, now_ms, terms, book, account, trades)
    mark(books, account)
    n_trades = account.n_trades
    for row in range(first, end):
        side = int(sides[row])
        symbol = bars.symbol[row]
        book = books[symbol]
        action = decision(
            side, book.direction, book.bars_held, terms.max_hold_bars, book.is_closed != 0
        )
        if action != STAY:
            decide(symbol, action, side, bars.close[row], now_ms, terms, book, account, trades)
    if account.n_trades != n_trades:
        mark(books, account)


def decide(
    symbol: int,
    action: int,
    side: int,
    close_px: float,
    now_ms: int,
    terms: Record,
    book: Record,
    account: Record,
    trades: RecordArray,
) -> None:
    """The order given at this close becomes the pending one; by `signal_close` it fills here, at once."""
    if action == OPEN:
        if account.equity_usd <= 0.0:
            account.n_refused += 1
            return
        notional = entry_notional_usd(terms.notional_usd, terms.allocation_frac, account.equity_usd)
        book.pending = ORDER_OPEN
        book.pending_direction = side
        book.pending_reason = BREAKOUT_LONG if side > 0 else BREAKOUT_SHORT
        book.pending_notional_usd = notional
        account.n_busy += 1
    else:
        book.pending = ORDER_CLOSE
        book.pending_reason = TIMED_OUT if action == CLOSE_TIME else REVERSED
    if terms.fills_at_close != 0:
        fill_pending(symbol, close_px, now_ms, terms, book, account, trades)


def fill_pending(
    symbol: int,
    reference_px: float,
    now_ms: int,
    terms: Record,
    book: Record,
    account: Record,
    trades: RecordArray,
) -> None:
    """Execute the pending order, if any, at `reference_px` moved by slippage."""
    order = book.pending
    book.pending = NO_ORDER
    if order == ORDER_CLOSE:
        close_position(
            symbol, reference_px, book.pending_reason, now_ms, terms, book, account, trades
        )
    elif order == ORDER_OPEN:
        open_position(symbol, reference_px, now_ms, terms, book, account, trades)


def open_position(
    symbol: int,
    reference_px: float,
    now_ms: int,
    terms: Record,
    book: Record,
    account: Record,
    trades: RecordArray,
) -> None:
    """Buy or sell what was decided; stop and target are fixed from the price before slippage."""
    direction = book.pending_direction
    fill = fill_px(reference_px, direction, terms.slippage_bps)
    qty = order_qty(book.pending_notional_usd, reference_px)
    fee = fee_usd(qty, fill, terms.fee_bps)
    account.n_positions += 1
    book.direction = direction
    book.bars_held = 0
    book.opened_ms = now_ms
    book.position_id = account.n_positions
    book.qty = qty
    book.entry_px = fill
    book.entry_notional_usd = book.pending_notional_usd
    book.stop_px = stop_px(reference_px, direction, terms.stop_bps)
    book.target_px = target_px(reference_px, direction, terms.take_profit_bps)
    account.cash_usd -= fee
    action = OPEN_LONG if direction > 0 else OPEN_SHORT
    reason = book.pending_reason
    log_trade(symbol, action, reason, reference_px, fill, 0.0, fee, now_ms, book, account, trades)


def close_position(
    symbol: int,
    reference_px: float,
    reason: int,
    now_ms: int,
    terms: Record,
    book: Record,
    account: Record,
    trades: RecordArray,
) -> None:
    """Undo the position at `reference_px` moved by slippage; a pending order goes with it."""
    direction = book.direction
    fill = fill_px(reference_px, -direction, terms.slippage_bps)
    fee = fee_usd(book.qty, fill, terms.fee_bps)
    pnl = pnl_usd(direction, book.qty, book.entry_px, fill)
    account.cash_usd += pnl
    account.cash_usd -= fee
    account.n_busy -= 1
    action = CLOSE_LONG if direction > 0 else CLOSE_SHORT
    log_trade(symbol, action, reason, reference_px, fill, pnl, fee, now_ms, book, account, trades)
    book.direction = 0
    book.pending = NO_ORDER
    book.bars_held = 0
    book.is_closed = 1


def log_trade(
    symbol: int,
    action: int,
    reason: int,
    reference_px: float,
    fill: float,
    pnl: float,
    fee: float,
    now_ms: int,
    book: Record,
    account: Record,
    trades: RecordArray,
) -> None:
    """Write the action if there is room, and count it. detail_1: price before slippage; detail_2: bars held."""
    number = account.n_trades
    account.n_trades = number + 1
    if number >= len(trades):
        return
    trade = trades[number]
    trade.timestamp_ms = now_ms
    trade.symbol = symbol
    trade.action = action
    trade.reason = reason
    trade.confidence = 0
    trade.detail_1 = reference_px
    trade.detail_2 = float(book.bars_held)
    trade.price = fill
    trade.qty = book.qty
    trade.notional_usd = book.qty * fill
    trade.pnl_usd = pnl
    trade.fee_usd = fee
    trade.balance_usd = account.cash_usd
    trade.entry_atr = 0.0
    trade.leverage = 1.0
    trade.margin_usd = book.entry_notional_usd
    trade.position_id = book.position_id


def mark(books: RecordArray, account: Record) -> None:
    """Equity = cash and the unrealised profit of each book at its last close, in the order of the books."""
    value = 0.0
    if account.n_busy > 0:
        for number in range(len(books)):
            book = books[number]
            if book.direction != 0:
                last_px = book.last_close_px
                if isnan(last_px):
                    last_px = book.entry_px
                value += pnl_usd(book.direction, book.qty, book.entry_px, last_px)
    account.equity_usd = account.cash_usd + value
