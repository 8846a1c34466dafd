"""The loop over time (part 2, A), with every switch of docs/concepts/semantics.md."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.oracles.mei_alpha import signals
from tests.oracles.mei_alpha.bank import Bank, Bar, Config, Snapshot
from tests.oracles.mei_alpha.book import AddOrder, OpenOrder
from tests.oracles.mei_alpha.market import FLIP, Market
from tests.oracles.mei_alpha.position import Exit, Position
from tests.oracles.mei_alpha.signals import BUY, NEUTRAL, SELL, number
from tests.oracles.mei_alpha.switches import Switches, read_switches

TIER_WORDS = ("Low", "Medium", "High")
GATES = (
    "total_checks",
    "neutral_count",
    "buy_count",
    "sell_count",
    "signals_generated",
    "blocked_by_ranging",
    "blocked_by_anomaly",
    "blocked_by_extension",
    "blocked_by_adx_low",
    "blocked_by_adx_not_rising",
    "blocked_by_volume",
    "blocked_by_btc",
    "blocked_by_confidence",
    "blocked_by_max_positions",
    "blocked_by_pesc",
    "blocked_by_ssf",
    "blocked_by_reef",
    "blocked_by_margin",
)
BTC_QUOTE = "USDT|USDC|USD|BUSD|FDUSD|EUR|PERP"
BTC_NAME = re.compile(rf"BTC(?:[/\-_:]?(?:{BTC_QUOTE})(?:[\-_:](?:{BTC_QUOTE}|BTC|SWAP))?)?")


@dataclass
class Result:
    """signals: dicts with t, symbol, direction, confidence, price, adx, rsi, atr."""

    trades: list[dict[str, Any]] = field(default_factory=list)
    equity: list[tuple[int, float]] = field(default_factory=list)
    signals: list[dict[str, Any]] = field(default_factory=list)
    gates: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GATES, 0))
    final_balance: float = 0.0

    @property
    def n_signals(self) -> int:
        return len(self.signals)


@dataclass(frozen=True)
class Candidate:
    symbol: str
    is_long: bool
    confidence: int
    atr: float
    adx_threshold: float
    x: Snapshot

    def rank(self) -> tuple[int, str]:
        return -(self.confidence * 100 + signals.trunc_count(self.x.adx)), self.symbol


class Series:
    """Bars of one interval by the time they are known."""

    def __init__(self, bars: Mapping[str, Sequence[Bar]], interval: int, delay: int) -> None:
        self.interval = interval
        self.at: dict[int, list[tuple[str, Bar]]] = {}
        for symbol in sorted(bars):
            for bar in bars[symbol]:
                self.at.setdefault(bar[0] + delay, []).append((symbol, bar))
        self.times = sorted(self.at)

    def between(self, after: float, until: float) -> list[int]:
        """Known times in (after, until]."""
        return self.times[bisect_right(self.times, after) : bisect_right(self.times, until)]


class Engine(Market):
    """One run."""

    def prepare(
        self,
        candles: Mapping[str, Sequence[Bar]],
        exit_bars: Mapping[str, Sequence[Bar]] | None,
        entry_bars: Mapping[str, Sequence[Bar]] | None,
        intervals: tuple[int, int, int],
        lookback: int,
        traded: set[str] | None,
    ) -> None:
        main, exit_ms, entry_ms = intervals
        tradable = set(candles) if traded is None else set(candles) & traded
        late = self.switches.known_at_close
        self.tradable = tradable

        def sub(bars: Mapping[str, Sequence[Bar]] | None, interval: int) -> Series:
            chosen = {s: rows for s, rows in (bars or {}).items() if s in tradable}
            return Series(chosen, interval, interval if late else 0)

        self.main = Series(candles, main, main if late else 0)
        self.exits = sub(exit_bars, exit_ms)
        self.entries_series = sub(entry_bars, entry_ms)
        self.sub_bar_entries = entry_bars is not None
        self.warm_up = {
            s: max(lookback, self.ready_after[s]) if self.switches.ready else lookback
            for s in candles
        }
        self.result = Result()
        self.budget_used = 0
        self.slopes: dict[str, float] = {}
        self.btc: bool | None = None
        self.breadth = 50.0

    # -- the run --------------------------------------------------------------------------------------------

    def run(self, init_positions: Sequence[dict[str, Any]]) -> Result:
        result = self.result
        steps = self.main.times
        if self.switches.window_end and self.to_ms is not None:
            steps = [ts for ts in steps if ts <= self.to_ms]
        first = next((ts for ts in steps if self.in_window(ts)), None)
        if not steps or (self.switches.window_end and first is None):
            result.final_balance = self.balance
            return result
        for position in init_positions:
            if position["symbol"] in self.tradable:
                self.start_with(position, math.inf if first is None else first)
        for i, ts in enumerate(steps):
            prev = steps[i - 1] if i else ts
            until = steps[i + 1] if i + 1 < len(steps) else math.inf
            if self.switches.window_end and self.from_ms is not None and ts < self.from_ms:
                self._step_before_window(ts, until)
                continue
            self._step(prev, ts, until)
        self._end(steps[-1])
        result.trades = self.trades
        result.final_balance = self.balance
        return result

    def _step_before_window(self, ts: int, until: float) -> None:
        """run_end = window: such a step feeds the banks and owns the sub-bars inside the window."""
        self.btc, self.breadth = self._btc_direction(), self._breadth()
        self.budget_used = 0
        self.slopes = {}
        for symbol, bar in self.main.at[ts]:
            self.banks[symbol].feed(bar)
        if self.switches.known_at_close:
            self._sub_bars_in_order(ts, until)
        else:
            self._exit_block(ts, until)
            self._entry_block(ts, until)

    def _step(self, prev: int, ts: int, until: float) -> None:
        self.btc, self.breadth = self._btc_direction(), self._breadth()
        self.budget_used = 0
        self.slopes = {}
        held, late = self.switches.held, self.switches.known_at_close
        if held and late:
            self.pay_all_held(ts, inclusive=False)
        candidates = []
        for symbol, bar in self.main.at[ts]:
            candidate = self._main_bar(symbol, bar, ts)
            if candidate is not None:
                candidates.append(candidate)
        self._open_candidates(candidates, ts, main=True)
        if not late:
            self._exit_block(ts, until)
            self._entry_block(ts, until)
        # Reading: with bar_time = close, funding comes between the openings of a step and its equity point.
        if held:
            self.pay_all_held(ts, inclusive=True)
        else:
            self.pay_between(prev, ts)
        self.result.equity.append((ts, self._curve_value()))
        if late:
            self._sub_bars_in_order(ts, until)

    def _curve_value(self) -> float:
        return self.marked_equity() if self.switches.marked else self.balance

    def _end(self, last: int) -> None:
        """A.12, and run_end = window: there the curve gets a last point (whether or not anything was open)."""
        for symbol in self.held_symbols():
            bank = self.banks[symbol]
            if bank.n == 0 and self.switches.window_end:
                continue
            self.apply_exit(self.positions[symbol], Exit("End of Backtest"), bank.last_close, last)
        if self.switches.window_end:
            self.result.equity.append((last, self.balance))

    # -- context --------------------------------------------------------------------------------------------

    def _btc_direction(self) -> bool | None:
        """D.1. Under btc_symbol = base too, a symbol without a bar yet is passed over."""
        names = ["BTC", "BTCUSDT"]
        if self.switches.btc_base:
            names += [s for s in sorted(self.banks) if s not in names and self._is_btc(s)]
        for name in names:
            bank = self.banks.get(name)
            if bank is not None and bank.n > 0:
                return bank.last_close > bank.newest.ema_slow
        return None

    def _is_btc(self, symbol: str) -> bool:
        if self.switches.btc_base:
            return BTC_NAME.fullmatch(symbol.upper()) is not None
        return symbol.upper() == "BTC"

    def _breadth(self) -> float:
        total = up = 0
        for bank in self.banks.values():
            if bank.n >= 2:
                total += 1
                up += bank.newest.ema_fast > bank.newest.ema_slow
        return up / total * 100.0 if total else 50.0

    # -- the main pass --------------------------------------------------------------------------------------

    def _main_bar(self, symbol: str, bar: Bar, ts: int) -> Candidate | None:
        """A.4 for one symbol."""
        fired = self.arrive(symbol, bar, self.main.interval, ts, is_main=True)
        bank, c = self.banks[symbol], self.configs[symbol]
        x = bank.feed(bar)
        # Reading: a symbol that is only context stops here, as outside the window.
        if not self.in_window(ts) or symbol not in self.tradable:
            return None
        if not fired:
            self.evaluate(symbol, x, ts)
        if bank.n < self.warm_up[symbol]:
            return None
        slope = bank.slope(int(c["thresholds.entry.slow_drift_slope_window"]))
        self.slopes[symbol] = slope
        gates = self._gates(symbol, x, slope)
        signal = signals.signal(x, gates, c, slope)
        self._count(symbol, x, gates, signal, ts)
        if self.sub_bar_entries:
            return None
        direction = signals.transform(signal.direction, self.breadth, c)
        if direction == NEUTRAL:
            return None
        return self._act(symbol, x, direction, signal, ts)

    def _act(
        self, symbol: str, x: Snapshot, direction: str, signal: signals.Signal, ts: int
    ) -> Candidate | None:
        """A.4, steps 12 to 15."""
        is_long = direction == BUY
        p = self.positions.get(symbol)
        if p is not None and p.is_long == is_long:
            if self.configs[symbol]["trade.enable_pyramiding"] and not self.leaving(symbol):
                self._pyramid(p, signal.confidence, x, ts)
            return None
        if p is not None and not self.leaving(symbol):
            self.decide_exit(p, Exit(FLIP), x.close, ts)
        # A position that leaves for another reason, or an order to open, stands like a position here.
        if self.taken(symbol):
            return None
        return self._filtered(symbol, x, direction, signal, ts, counting=True)

    def _gates(self, symbol: str, x: Snapshot, slope: float) -> signals.Gates:
        return signals.gates(
            x, self.configs[symbol], exempt=self._is_btc(symbol), btc=self.btc, slope=slope
        )

    def _count(
        self, symbol: str, x: Snapshot, gates: signals.Gates, signal: signals.Signal, ts: int
    ) -> None:
        hits = {
            "total_checks": True,
            "neutral_count": signal.direction == NEUTRAL,
            "buy_count": signal.direction == BUY,
            "sell_count": signal.direction == SELL,
            "signals_generated": signal.direction != NEUTRAL,
            "blocked_by_ranging": gates.is_ranging,
            "blocked_by_anomaly": gates.is_anomaly,
            "blocked_by_extension": gates.is_extended,
            "blocked_by_adx_low": not gates.adx_above_min,
            "blocked_by_adx_not_rising": not gates.is_trending_up,
            "blocked_by_volume": not gates.vol_confirm,
            "blocked_by_btc": not gates.btc_ok_long or not gates.btc_ok_short,
        }
        for name, hit in hits.items():
            self.result.gates[name] += hit
        if signal.direction != NEUTRAL:
            self.result.signals.append(
                {
                    "t": ts,
                    "symbol": symbol,
                    "direction": signal.direction,
                    "confidence": signal.confidence,
                    "price": x.close,
                    "adx": x.adx,
                    "rsi": x.rsi,
                    "atr": x.atr,
                }
            )

    def _filtered(
        self,
        symbol: str,
        x: Snapshot,
        direction: str,
        signal: signals.Signal,
        now: int,
        *,
        counting: bool,
    ) -> Candidate | None:
        """A.4, steps 14 and 15."""
        c = self.configs[symbol]
        is_long = direction == BUY
        blocked = None
        if signal.confidence < int(c["trade.entry_min_confidence"]):
            blocked = "blocked_by_confidence"
        elif not self.flipping(symbol) and signals.pesc_blocks(
            x, is_long, now, self.last_close.get(symbol), c
        ):
            blocked = "blocked_by_pesc"
        elif signals.ssf_blocks(x, is_long, c):
            blocked = "blocked_by_ssf"
        elif signals.reef_blocks(x, is_long, c):
            blocked = "blocked_by_reef"
        if blocked is not None:
            self.result.gates[blocked] += counting
            return None
        atr = signals.atr_floor(x.atr, x.close, c)
        return Candidate(symbol, is_long, signal.confidence, atr, signal.adx_threshold, x)

    def _pyramid(self, p: Position, confidence: int, x: Snapshot, ts: int) -> None:
        """A.10."""
        c = self.configs[p.symbol]
        allowed = (
            p.symbol not in self.pending_adds
            and p.adds < int(c["trade.max_adds_per_symbol"])
            and confidence >= int(c["trade.add_min_confidence"])
            and (ts - p.last_add_time) / 60000.0 >= float(c["trade.add_cooldown_minutes"])
            and p.profit_atr(x.close) >= number(c, "trade.add_min_profit_atr")
            and not self.entry_cooldown(p.symbol, ts)
            and x.close > 0
        )
        if not allowed:
            return
        equity = self.marked_equity() if self.switches.marked else self.balance
        margin = (equity * number(c, "trade.allocation_pct")) * number(
            c, "trade.add_fraction_of_base_margin"
        )
        notional = margin * p.leverage
        least = number(c, "trade.min_notional_usd")
        if notional < least:
            if not c["trade.bump_to_min_notional"]:
                return
            notional = least
            if self.switches.capped:
                margin = signals.divide(notional, p.leverage)
        cap = number(self.portfolio, "trade.max_total_margin_pct")
        if equity * cap - (self.margin_used() + margin) < 0:
            return
        atr = signals.atr_floor(x.atr, x.close, c)
        self.decide_add(AddOrder(p.symbol, confidence, atr, margin, notional, ts), x.close)

    # -- opening --------------------------------------------------------------------------------------------

    def _open_candidates(
        self, candidates: list[Candidate], now: int, *, main: bool, equity: float | None = None
    ) -> None:
        """A.5, and the same of A.8 (no counters there). equity: None = taken now."""
        if not candidates:
            return
        gates = self.result.gates
        equity = self.marked_equity() if equity is None else equity
        for candidate in sorted(candidates, key=Candidate.rank):
            if self._budget_spent():
                return
            symbol = candidate.symbol
            cap = number(self.portfolio, "trade.max_total_margin_pct")
            headroom = equity * cap - self.margin_used()
            if self.open_count() >= int(self.portfolio["trade.max_open_positions"]):
                gates["blocked_by_max_positions"] += main
                return
            if self.taken(symbol) or self.entry_cooldown(symbol, now):
                continue
            if headroom <= 0:
                gates["blocked_by_margin"] += main
                continue
            sized = self.size_entry(
                symbol, candidate.confidence, candidate.x, candidate.atr, equity, headroom
            )
            if isinstance(sized, str):
                # Reading: a bump that does not fit is counted where blocked_by_margin is counted at all.
                gates["blocked_by_margin"] += main and sized == "margin"
                continue
            suffix = "" if main else " (sub-bar)"
            self.decide_open(
                OpenOrder(
                    symbol,
                    candidate.is_long,
                    candidate.confidence,
                    candidate.atr,
                    candidate.adx_threshold,
                    sized,
                    f"{TIER_WORDS[candidate.confidence]} entry{suffix}",
                    candidate.x,
                    now,
                )
            )
            self.budget_used += 1

    def _budget_spent(self) -> bool:
        return self.budget_used >= int(self.portfolio["trade.max_entry_orders_per_loop"])

    def _tick(self, tick: int, equity: float | None) -> None:
        """A.8 at one tick."""
        if self._budget_spent():
            return
        candidates = []
        for symbol, bar in self.entries_series.at.get(tick, ()):
            bank, c = self.banks[symbol], self.configs[symbol]
            # Reading: a symbol with a pending exit has its position still.
            if symbol in self.positions or self.taken(symbol) or bank.n < self.warm_up[symbol]:
                continue
            x = bank.newest.with_bar(bar)
            slope = self.slopes.get(symbol, 0.0)
            signal = signals.signal(x, self._gates(symbol, x, slope), c, slope)
            direction = signals.transform(signal.direction, self.breadth, c)
            if direction == NEUTRAL:
                continue
            candidate = self._filtered(symbol, x, direction, signal, tick, counting=False)
            if candidate is not None:
                candidates.append(candidate)
        self._open_candidates(candidates, tick, main=False, equity=equity)

    # -- sub-bars -------------------------------------------------------------------------------------------

    def sub_bars_of(self, symbol: str) -> list[tuple[int, Bar]]:
        return [
            (bar[0] + series.interval, bar)
            for series in (self.exits, self.entries_series)
            for rows in series.at.values()
            for owner, bar in rows
            if owner == symbol
        ]

    def _exit_bar(self, symbol: str, bar: Bar, now: int) -> None:
        fired = self.arrive(symbol, bar, self.exits.interval, now)
        if not fired:
            self.evaluate(symbol, self.banks[symbol].newest.with_bar(bar), now)

    def _exit_block(self, ts: int, until: float) -> None:
        """A.7 with bar_time = open: one symbol after the other."""
        times = self.exits.between(ts, until)
        for symbol in sorted({*self.positions, *self.pending_opens}):
            for now in times:
                if symbol not in self.positions and symbol not in self.pending_opens:
                    break
                for owner, bar in self.exits.at[now]:
                    if owner == symbol:
                        self._exit_bar(symbol, bar, now)

    def _entry_bars_arrive(self, now: int) -> None:
        for symbol, bar in self.entries_series.at.get(now, ()):
            self.arrive(symbol, bar, self.entries_series.interval, now)

    def _entry_block(self, ts: int, until: float) -> None:
        """A.8 with bar_time = open."""
        equity = self.marked_equity()
        for now in self.entries_series.between(ts, until):
            self._entry_bars_arrive(now)
            self._tick(now, equity)

    def _sub_bars_in_order(self, ts: int, until: float) -> None:
        """bar_time = close: everything in the order in which it becomes known."""
        times = {*self.exits.between(ts, until), *self.entries_series.between(ts, until)}
        for now in sorted(times):
            if not self.in_window(now):
                continue
            met = {
                s for series in (self.exits, self.entries_series) for s, _ in series.at.get(now, ())
            }
            if self.switches.held:
                self.pay_all_held(now, inclusive=False, only=met)
            for symbol, bar in self.exits.at.get(now, ()):
                self._exit_bar(symbol, bar, now)
            self._entry_bars_arrive(now)
            self._tick(now, None)
            if self.switches.held:
                self.pay_all_held(now, inclusive=True, only=met)


def replay(
    candles: Mapping[str, Sequence[Bar]],
    config: Config,
    *,
    semantics: Mapping[str, str],
    interval_ms: int,
    initial_balance: float,
    lookback: int,
    exit_bars: Mapping[str, Sequence[Bar]] | None = None,
    exit_interval_ms: int = 0,
    entry_bars: Mapping[str, Sequence[Bar]] | None = None,
    entry_interval_ms: int = 0,
    funding: Mapping[str, list[tuple[int, float]]] | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    init_state: Mapping[str, Any] | None = None,
    traded: set[str] | None = None,
    symbol_configs: Mapping[str, Config] | None = None,
) -> Result:
    """One run. Bars: (open time, o, h, l, c, v). init_state: {"balance", "positions": as E.4, confidence 0 to 2}."""
    switches: Switches = read_switches(semantics)
    if traded is not None and not switches.universe:
        candles = {symbol: bars for symbol, bars in candles.items() if symbol in traded}
    balance = initial_balance if init_state is None else float(init_state["balance"])
    engine = Engine(switches, config, symbol_configs or {}, sorted(candles), balance)
    engine.from_ms, engine.to_ms = from_ms, to_ms
    engine.funding = funding or {}
    intervals = (interval_ms, exit_interval_ms, entry_interval_ms)
    engine.prepare(candles, exit_bars, entry_bars, intervals, lookback, traded)
    return engine.run([] if init_state is None else init_state["positions"])


def snapshots(bars: Sequence[Bar], config: Config) -> list[dict[str, Any]]:
    """The snapshot of every bar, by field name."""
    bank = Bank(config)
    return [asdict(bank.feed(bar)) for bar in bars]
