"""Frozen settings of a loop run. Values are checked where they come in (environment, flags, YAML), not here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mei.model.http import TrainingSettings

TrainingMode = Literal["on", "first_only", "off"]
GapPolicy = Literal["keep", "error", "drop", "ffill"]
EntryFill = Literal["next_open", "signal_close"]
Placebo = Literal["off", "shuffled_labels"]


@dataclass(frozen=True, slots=True)
class Costs:
    """fee_bps and slippage_bps of notional, on each side of a trade."""

    fee_bps: float = 1.0
    slippage_bps: float = 2.0


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Everything that can change a byte of a run's results; the run id is a hash of it."""

    symbols: tuple[str, ...] = ("BTC/USDT",)
    timeframe: str = "1m"
    strategies: tuple[str, ...] = ("momentum_breakout",)
    strategy_params: dict[str, dict[str, Any]] = field(default_factory=dict)
    start_ms: int | None = None
    end_ms: int | None = None
    chunk_rows: int = 1000
    max_steps: int = 0
    train_cron_minutes: int = 360
    training: TrainingMode = "on"
    training_settings: TrainingSettings = field(default_factory=TrainingSettings)
    policy: str = "thompson"
    placebo: Placebo = "off"
    costs: Costs = field(default_factory=Costs)
    initial_cash: float = 10_000.0
    entry_fill: EntryFill = "next_open"
    gap_policy: GapPolicy = "keep"
    seed: int = 42
    decision_log: bool = False
