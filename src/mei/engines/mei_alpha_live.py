"""Mei Alpha one step at a time: the same rules, over the few newest bars instead of a whole history.

A step is one moment at which main bars become known. `LiveWalk` appends them to the indicator banks, screens them
and walks one step. It keeps the newest rows of each symbol that a rule can still read, renumbered at each bar, so its
memory does not grow and its answers are those of `mei.engines.mei_alpha.replay` bit for bit. There are no sub-bars
and no funding here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mei.engines.bind import bind_cpu
from mei.engines.mei_alpha import SymbolConfigs, check_configs
from mei.engines.mei_alpha_live_state import (
    columns_of,
    content_of,
    fill_columns,
    fill_record,
    plain_list,
)
from mei.engines.mei_alpha_market import prepare
from mei.engines.mei_alpha_state import btc_sources, is_btc_exempt
from mei.model.candles import Candles
from mei.model.errors import ConfigError, DataError
from mei.model.orders import Bar
from mei.model.replay import TRADE_DTYPE, ReplayInputs
from mei.model.semantics import STRICT, Semantics
from mei.rules.mei_alpha.columns import BANK, N_COLUMNS, longest_window
from mei.rules.mei_alpha.indicators import INDICATOR_STATE_DTYPE
from mei.rules.mei_alpha.keys import OF_PORTFOLIO
from mei.rules.mei_alpha.live import KEPT_BARS, NOW, Feed, live_step
from mei.rules.mei_alpha.records import (
    ACCOUNT_DTYPE,
    BAR_ROW_DTYPE,
    CANDIDATE_DTYPE,
    FUNDING_DTYPE,
    GATES,
    INDICATOR_ROW_DTYPE,
    RISK_DTYPE,
    SLOT_DTYPE,
    STEP_DTYPE,
    indicators_record,
    ready_bars,
    risk_record,
    screen_record,
)
from mei.rules.mei_alpha.world import State, World

#: Form of `LiveWalk.state`.
LAYOUT = 3
#: Actions a symbol can see in one step: exit, add, open, partial exit, and room to spare.
_ACTIONS = 8


@dataclass(frozen=True, slots=True)
class LiveTerms:
    """What holds for the whole walk besides configuration and semantics.

    from_ms: bars known before it only feed the indicators. traded: symbols that may be traded, None = all. fee_rate:
    fraction of a fill's value, None = that of the rules.
    """

    interval_ms: int
    initial_balance_usd: float = 10_000.0
    lookback: int = 200
    fee_rate: float | None = None
    from_ms: int | None = None
    traded: frozenset[str] | None = None


class LiveWalk:
    """A portfolio that takes one step after another; `names` in any order, their bytes decide as in a replay."""

    def __init__(
        self,
        names: Sequence[str],
        configs: SymbolConfigs,
        terms: LiveTerms,
        semantics: Semantics = STRICT,
    ) -> None:
        """Raises ConfigError for windows and bounds no run can be made with."""
        check_configs(configs)
        self.names = tuple(sorted(names, key=str.encode))
        #: Known time of the newest step, None before the first.
        self.known_ms: int | None = None
        self._numbers = {name: number for number, name in enumerate(self.names)}
        self._terms = terms
        self._counts_untraded = semantics.context == "universe"
        self._at_close = semantics.bar_time == "close"
        self._world, self._state, self._feed = _empty(self.names, configs, terms, semantics)
        self._step = bind_cpu(live_step)
        self._held: dict[str, float] = {}

    @property
    def balance_usd(self) -> float:
        """The account without unrealised profit."""
        return float(self._state.account["balance_usd"][0])

    @property
    def equity_usd(self) -> float:
        """The point of the curve of the newest step."""
        return float(self._state.equity[NOW])

    @property
    def unrealised_usd(self) -> float:
        """Unrealised profit at the last main closes, summed in symbol order."""
        return float(self._feed.unrealised[0])

    @property
    def quantities(self) -> Mapping[str, float]:
        """Signed base quantity of each symbol that has a position or an order to open (0 then)."""
        return self._held

    def is_entry_ordered(self, name: str) -> bool:
        """An order to open waits for the symbol's next bar."""
        return bool(self._state.slots["open_order"][self._numbers[name]] != 0)

    @property
    def gates(self) -> dict[str, int]:
        """Counters of the gates and of the filters, by the names of the report."""
        account = self._state.account[0]
        found = {name: int(count) for name, count in zip(GATES, self._feed.gates, strict=True)}
        blocked = [name for name in account.dtype.names if name.startswith("blocked_by_")]
        return found | {name: int(account[name]) for name in blocked}

    def set_account(self, balance_usd: float, other_equity_usd: float = 0.0) -> None:
        """What the account holds before the next step, when others trade it too; others' unrealised profit."""
        self._state.account["balance_usd"] = balance_usd
        self._state.account["other_equity_usd"] = other_equity_usd

    def set_risk(self, name: str, values: Mapping[str, float]) -> None:
        """Replace settings of `trade.*` that sizing and exits of one symbol read, from the next step on.

        values: name without its section -> value. Raises ConfigError for a name that is none of these.
        """
        record = self._world.risk[1 + self._numbers[name]]
        for field, value in values.items():
            if field not in RISK_FIELDS:
                raise ConfigError(
                    f"a parameter must be a setting that sizing or exits of a symbol read ({', '.join(RISK_FIELDS)}), "
                    f"found {field!r}"
                )
            record[field] = value

    def step(self, known_ms: int, bars: Mapping[str, Bar]) -> Any:
        """Take the bars that become known at `known_ms` (symbol -> bar), later than any before; the step's trades.

        Returns TRADE_DTYPE of shape (n,), in the order of events. Raises DataError for bars that are not of this step.
        """
        self._check(known_ms, bars)
        feed = self._feed
        for number, name in enumerate(self.names):
            bar = bars.get(name)
            feed.has_new[number] = bar is not None
            if bar is not None:
                prices = (bar.open, bar.high, bar.low, bar.close, bar.volume)
                feed.new[number] = (bar.timestamp, known_ms, *prices, NOW)
        self.known_ms = known_ms
        steps = self._world.steps
        steps["known_ms"][NOW] = known_ms
        steps["first_candidate"][-1] = 0
        feed.screen_run["from_ms"] = feed.screen_run["to_ms"] = known_ms
        from_ms = self._terms.from_ms
        is_inside = from_ms is None or known_ms >= from_ms
        self._step(self._world, self._state, feed, self._counts_untraded, is_inside)
        return self._note()

    def state(self) -> dict[str, Any]:
        """Everything the next steps depend on besides what the walk was made with and `set_risk`, for JSON.

        Numbers that JSON lacks (NaN, infinities) are text.
        """
        return {
            "layout": LAYOUT,
            "known_ms": self.known_ms,
            "equity_usd": self.equity_usd,
            "unrealised_usd": self.unrealised_usd,
            "account": content_of(self._state.account[0]),
            "gates": self._feed.gates.tolist(),
            "books": {name: self._book(number) for name, number in self._numbers.items()},
        }

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take up where `state` left off, in a walk made with the same names, configuration and semantics.

        Raises DataError when the content is of another form or of other symbols.
        """
        if content.get("layout") != LAYOUT or set(content["books"]) != set(self.names):
            raise DataError(
                f"the state of a walk must be of layout {LAYOUT} and of {', '.join(self.names)}, found layout "
                f"{content.get('layout')!r} of {', '.join(content.get('books', {}))}"
            )
        self.known_ms = content["known_ms"]
        self._state.equity[NOW] = content["equity_usd"]
        self._feed.unrealised[0] = content["unrealised_usd"]
        self._feed.gates[:] = content["gates"]
        fill_record(self._state.account[0], content["account"])
        for name, number in self._numbers.items():
            self._take_book(number, content["books"][name])
        slots = self._state.slots
        active = np.flatnonzero((slots["side"] != 0) | (slots["open_order"] != 0))
        self._state.active[: len(active)] = active
        self._look()

    def _check(self, known_ms: int, bars: Mapping[str, Bar]) -> None:
        if self.known_ms is not None and known_ms <= self.known_ms:
            raise DataError(f"steps must ascend, {known_ms} came after {self.known_ms}")
        for name, bar in bars.items():
            if name not in self._numbers:
                raise DataError(
                    f"a bar must be of one of {', '.join(self.names)}, found one of {name!r}"
                )
            bar_ms = bar.timestamp + (self._terms.interval_ms if self._at_close else 0)
            if bar_ms != known_ms:
                raise DataError(
                    f"bars of a step must become known at {known_ms}, the one of {name} does at {bar_ms}"
                )

    def _note(self) -> Any:
        n_trades = int(self._state.account["n_trades"][0])
        assert n_trades <= len(self._state.log), "a step has more actions than its log holds"
        if n_trades or self._held or self._state.account["n_active"][0]:
            self._look()
        return self._state.log[:n_trades].copy()

    def _look(self) -> None:
        slots, n_active = self._state.slots, int(self._state.account["n_active"][0])
        active = self._state.active[:n_active].tolist()
        self._held = {
            self.names[number]: float(slots["side"][number] * slots["qty"][number])
            if slots["side"][number]
            else 0.0
            for number in active
        }

    def _book(self, number: int) -> dict[str, Any]:
        whose = self._world.symbols[number]
        rows = slice(int(whose["first"]), int(whose["end"]))
        n_bars, n_past = int(self._feed.n_bars[number]), self._feed.banks.shape[2] - 1
        past = self._feed.banks[number, :, n_past - min(n_bars, n_past) : n_past]
        slot = content_of(self._state.slots[number])
        slot["main_row"] -= rows.start
        return {
            "n_bars": n_bars,
            "bars": columns_of(self._world.main[rows]),
            "indicators": columns_of(self._world.indicators[rows]),
            "bank": dict(zip(BANK, map(plain_list, past), strict=True)),
            "recursions": content_of(self._feed.states[number]),
            "slot": slot,
        }

    def _take_book(self, number: int, content: Mapping[str, Any]) -> None:
        whose = self._world.symbols[number]
        first, n_rows = int(whose["first"]), len(content["bars"]["open_ms"])
        whose["end"] = first + n_rows
        rows = slice(first, first + n_rows)
        fill_columns(self._world.main[rows], content["bars"])
        fill_columns(self._world.indicators[rows], content["indicators"])
        n_bars, n_past = content["n_bars"], self._feed.banks.shape[2] - 1
        n_kept = min(n_bars, n_past)
        for place, name in enumerate(BANK):
            column = content["bank"][name]
            if len(column) != n_kept:
                raise DataError(
                    f"a bank of {n_bars} bars must hold the newest {n_kept} of {self.names[number]}, {name} holds "
                    f"{len(column)}: was the state of other windows?"
                )
            self._feed.banks[number, place, n_past - n_kept : n_past] = [float(x) for x in column]
        self._feed.n_bars[number] = n_bars
        fill_record(self._feed.states[number], content["recursions"])
        fill_record(self._state.slots[number], content["slot"])
        self._state.slots["main_row"][number] += first
        whose["entry_bars"] = self._feed.entry_bars[number] - (n_bars - n_rows)
        whose["exit_bars"] = self._feed.exit_bars[number] - (n_bars - n_rows)


#: Settings of the risk record that belong to one symbol; the others are the portfolio's.
RISK_FIELDS = tuple(name for name in RISK_DTYPE.names or () if f"trade.{name}" not in OF_PORTFOLIO)


def _empty(
    names: tuple[str, ...], configs: SymbolConfigs, terms: LiveTerms, semantics: Semantics
) -> tuple[World, State, Feed]:
    """World, State and Feed before the first bar."""
    n_symbols = len(names)
    none = np.zeros(0)
    candles = Candles(
        "", terms.interval_ms, names, np.zeros(n_symbols + 1, np.int64),
        none.astype(np.int64), none, none, none, none, none,
    )  # fmt: skip
    inputs = ReplayInputs(candles, from_ms=terms.from_ms, traded=terms.traded)
    market = prepare(inputs, semantics)
    run = market.run
    run["n_steps"] = 2
    if terms.fee_rate is not None:
        run["fee_rate"] = terms.fee_rate
    each = [configs.of(name) for name in names]
    symbols = market.symbols
    symbols["first"] = symbols["end"] = KEPT_BARS * np.arange(n_symbols)
    symbols["risk"] = 1 + np.arange(n_symbols)
    windows = np.concatenate([indicators_record(config) for config in each])
    ready = [ready_bars(config) if semantics.warm_up == "ready" else 0 for config in each]
    seen = [
        name
        for name, is_traded in zip(names, symbols["is_traded"], strict=True)
        if is_traded or semantics.context == "universe"
    ]
    sources = btc_sources(seen, semantics)
    symbols["is_btc_exempt"] = [is_btc_exempt(name, semantics) for name in names]
    world = World(
        main=np.zeros(n_symbols * KEPT_BARS, dtype=BAR_ROW_DTYPE),
        exits=np.zeros(0, dtype=BAR_ROW_DTYPE),
        entries=np.zeros(0, dtype=BAR_ROW_DTYPE),
        indicators=np.zeros(n_symbols * KEPT_BARS, dtype=INDICATOR_ROW_DTYPE),
        symbols=symbols,
        risk=np.concatenate([risk_record(config) for config in (configs.portfolio, *each)]),
        steps=np.zeros(3, dtype=STEP_DTYPE),
        candidates=np.zeros(n_symbols, dtype=CANDIDATE_DTYPE),
        ticks=np.zeros(0, dtype=CANDIDATE_DTYPE),
        funding=np.zeros(0, dtype=FUNDING_DTYPE),
        run=run,
    )
    account = np.zeros(1, dtype=ACCOUNT_DTYPE)
    account["balance_usd"] = terms.initial_balance_usd
    slots = np.zeros(n_symbols, dtype=SLOT_DTYPE)
    slots["main_row"] = symbols["first"] - 1
    slots["exit_row"] = slots["entry_row"] = -1
    state = State(
        slots=slots,
        account=account,
        log=np.zeros(_ACTIONS * n_symbols, dtype=TRADE_DTYPE),
        active=np.zeros(n_symbols + 1, dtype=np.int64),
        picks=np.zeros((3, n_symbols + 1), dtype=np.int64),
        equity=np.full(3, terms.initial_balance_usd),
    )
    n_past = max(longest_window(one) for one in windows)
    feed = Feed(
        new=np.zeros(n_symbols, dtype=BAR_ROW_DTYPE),
        has_new=np.zeros(n_symbols, dtype=np.int64),
        n_bars=np.zeros(n_symbols, dtype=np.int64),
        entry_bars=np.array([max(terms.lookback, bars) for bars in ready], dtype=np.int64),
        exit_bars=np.array(ready, dtype=np.int64),
        banks=np.zeros((n_symbols, N_COLUMNS, n_past + 1)),
        states=np.zeros(n_symbols, dtype=INDICATOR_STATE_DTYPE),
        windows=windows,
        screens=np.concatenate([screen_record(config) for config in each]),
        sources=np.array([names.index(name) for name in sources], dtype=np.int64),
        gates=np.zeros(len(GATES), dtype=np.int64),
        counts=np.zeros((2, 3), dtype=np.int64),
        screen_run=run.copy(),
        blank=np.zeros(1, dtype=ACCOUNT_DTYPE),
        unrealised=np.zeros(1),
    )
    return world, state, feed
