"""The interface a strategy implements to live in the learning loop.

A `Strategy` sees one closed bar at a time and answers with at most one order; the loop keeps its position. A
`PortfolioStrategy` sees all bars of one close and keeps positions of its own. Neither sees the future: the loop hands
out bars at their close, parameters as of that close, and the regime the model serving then would have named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mei.model.errors import StrategyError
from mei.model.orders import Bar, Execution, Fill, Order
from mei.model.settings import Costs, EntryFill
from mei.model.typed_settings import merged_over


@dataclass(slots=True)
class Params:
    """What the loop knows at a bar's close besides the bar.

    values: the preset merged over the strategy's static settings; frozen while a position is open or an entry is
    pending. regime: most probable aligned regime, -1 = no model yet or warming up; regime_prob: its probability.
    model_version: the model that named it, None = none.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    preset: str = ""
    regime: int = -1
    regime_prob: float = 0.0
    model_version: int | None = None

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of `name`, or `default` when no such parameter exists."""
        return self.values.get(name, default)


@dataclass(slots=True)
class Context:
    """The strategy's window on its own book, kept current by the loop; read-only for the strategy.

    direction: 1 long, -1 short, 0 flat. bars_held: bars since the one that filled the entry. closed_this_bar: a
    position was closed on the bar at hand. equity_usd: the account marked at this bar's close, all books together.
    """

    instrument: str
    timeframe: str
    interval_ms: int
    settings: Mapping[str, Any]
    direction: int = 0
    qty: float = 0.0
    entry_px: float = 0.0
    bars_held: int = 0
    closed_this_bar: bool = False
    equity_usd: float = 0.0


class Strategy:
    """Base of all strategies; one instance trades one instrument.

    Override `on_bar`; the other hooks are optional. State that must survive a restart lives in attributes that JSON can
    carry (numbers, text, lists, dicts), or override `state` and `restore`.
    """

    #: Name in config, outputs and URLs; default: the class name in snake case (set by the loader).
    name: str = ""
    #: Static settings and their defaults; config/strategy.yaml overrides them, presets override both.
    defaults: Mapping[str, Any] = {}

    context: Context

    def on_start(self, context: Context) -> None:
        """Called once before the first bar (and after a restart, before `restore`)."""
        self.context = context

    def on_bar(self, bar: Bar, params: Params) -> Order | None:
        """Called at the close of each bar; the answer is executed at the next open (or at this close)."""
        raise StrategyError(
            f"strategy {self.name or type(self).__name__} must define on_bar(bar, params)"
        )

    def on_fill(self, fill: Fill) -> None:
        """Called after each of its executed actions."""

    def on_stop(self) -> None:
        """Called once after the last bar."""

    def state(self) -> dict[str, Any]:
        """Everything needed to continue after a restart, as JSON can carry it."""
        return {name: value for name, value in vars(self).items() if name != "context"}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `state` left off."""
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(slots=True)
class PortfolioContext:
    """What a portfolio strategy is told: once what holds for the run, and before each step the account.

    cash_usd: the shared account without unrealised profit. other_equity_usd: unrealised profit of all other books.
    """

    instruments: tuple[str, ...]
    interval_ms: int
    settings: Mapping[str, Any]
    costs: Costs
    entry_fill: EntryFill
    cash_usd: float = 0.0
    other_equity_usd: float = 0.0


class PortfolioStrategy:
    """Base of strategies that hold many instruments at once: one instance trades all of them, on the shared account.

    It keeps its own positions and orders, and tells the loop what it executed. Override everything but `on_start`,
    `on_stop` and `resolved`.
    """

    #: Name in config, outputs and URLs; default: the class name in snake case (set by the loader).
    name: str = ""
    #: Static settings and their defaults; config/strategy.yaml overrides them.
    defaults: Mapping[str, Any] = {}

    context: PortfolioContext

    @classmethod
    def resolved(
        cls, configured: Mapping[str, Any], folder: Path, instruments: tuple[str, ...]
    ) -> dict[str, Any]:
        """Its section of config/strategy.yaml as the settings of a run, as JSON carries them; the run id covers them.

        folder: where that file lies. Raises ConfigError.
        """
        del folder, instruments
        return merged_over(cls.defaults, configured, owner=cls.name, source="config/strategy.yaml")

    def on_start(self, context: PortfolioContext) -> None:
        """Called once before the first step (and after a restart, before `restore`)."""
        self.context = context

    def on_step(
        self, close_ms: int, bars: Mapping[str, Bar], params: Mapping[str, Params]
    ) -> list[Execution]:
        """Called at each close with all bars that close then (instrument -> bar), and their parameters.

        Fills at the opens and within the bars belong to this step, as do decisions at the close. Answers what was
        executed, in order; the account changes by it.
        """
        raise StrategyError(f"strategy {self.name} must define on_step(close_ms, bars, params)")

    def quantities(self) -> Mapping[str, float]:
        """Signed base quantity of each instrument with a position or an order to enter (0 then); others are left out.

        The parameters of these stay what they are.
        """
        raise StrategyError(f"strategy {self.name} must define quantities()")

    def is_entry_ordered(self, instrument: str) -> bool:
        """An order to enter, decided at a close, waits for the instrument's next bar."""
        raise StrategyError(f"strategy {self.name} must define is_entry_ordered(instrument)")

    def unrealised_usd(self) -> float:
        """Unrealised profit of all its positions at the instruments' last closes."""
        raise StrategyError(f"strategy {self.name} must define unrealised_usd()")

    def on_stop(self) -> None:
        """Called once after the last bar."""

    def state(self) -> dict[str, Any]:
        """Everything needed to continue after a restart, as JSON can carry it."""
        raise StrategyError(f"strategy {self.name} must define state()")

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up where `state` left off."""
        raise StrategyError(f"strategy {self.name} must define restore(state)")
