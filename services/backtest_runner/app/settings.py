"""Settings of the runner: the environment, with flags of the command line over it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mei.learning.reach import refuse_short_window
from mei.model.bars import interval_ms, symbol_name
from mei.model.errors import ConfigError
from mei.model.http import (
    MAX_KEPT_MODELS,
    MAX_LATENCY_MS,
    MAX_PURGE_BARS,
    MAX_SEED,
    MAX_TRAIN_POINTS,
    MAX_WINDOW_DAYS,
    SYMBOL_PATTERN,
    TrainingSettings,
)
from mei.model.moments import parse_moment_ms
from mei.model.settings import Costs, LoopSettings
from mei.model.yaml12 import load_yaml
from mei.strategies.load import (
    LoadedStrategy,
    known_strategies,
    load_strategy,
    merged_settings,
)
from mei.web.settings import load_settings


class Settings(BaseSettings):
    """One field an environment variable (upper case); the descriptions are the documentation."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, frozen=True, allow_inf_nan=False
    )

    research_dir: Path = Field(Path("research"), description="candles in")
    results_dir: Path = Field(Path("results"), description="results out")
    ledger_db: str = Field(
        "shared/manifest.sqlite", description="manifest: SQLite file or SQLAlchemy URL"
    )
    data_incoming: Path = Field(Path("data/incoming"), description="chunk files of the ingester")
    models_dir: Path = Field(Path("models"), description="model files")
    config_dir: Path = Field(Path("config"), description="strategy.yaml and strategy_schemas/")
    symbols: str = Field(
        "BTC/USDT", description="instruments, comma-separated; their order is the order of sums"
    )
    timeframe: str = Field("1m", description="bar length")
    strategies: str = Field(
        "momentum_breakout",
        description="momentum_breakout, mei_alpha or path/to/file.py:ClassName, comma-separated",
    )
    start_ts: str = Field("", description="first bar open, UTC date or epoch ms; empty = all")
    end_ts: str = Field("", description="bars open before this, UTC date or epoch ms; empty = all")
    chunk_rows: int = Field(
        1000, ge=1, description="bars a chunk: ingest latency, checkpoint interval"
    )
    max_steps: int = Field(
        0, ge=0, description="end at the close that completes the n-th chunk; 0 = no limit"
    )
    train_cron_minutes: int = Field(
        360, ge=1, description="training cadence on the bar-close clock"
    )
    training: Literal["on", "first_only", "off"] = Field("on", description="whether to train")
    exactly_once: bool = Field(
        False, description="train on every bar at most once instead of a sliding window"
    )
    train_min_points: int = Field(
        2000, ge=50, le=MAX_TRAIN_POINTS, description="fit + validation bars a training needs"
    )
    train_window_days: float = Field(7.0, gt=0, le=MAX_WINDOW_DAYS, description="sliding window")
    hmm_states: int = Field(4, ge=2, le=8, description="regimes")
    promotion_min_delta: float = Field(
        0.02, ge=0, description="nats per bar a candidate must be better by"
    )
    purge_bars: int = Field(
        60, ge=0, le=MAX_PURGE_BARS, description="bars dropped between fit and validation"
    )
    keep_n_models: int = Field(
        5, ge=1, le=MAX_KEPT_MODELS, description="model files kept besides those still referenced"
    )
    train_latency_seconds: float = Field(
        0.0, ge=0, le=MAX_LATENCY_MS / 1000, description="a model serves this long after its as-of"
    )
    policy: str = Field("thompson", description="thompson, fixed:<preset> or round_robin")
    placebo: Literal["off", "shuffled_labels"] = Field(
        "off", description="shuffle regime labels (control run)"
    )
    fee_bp: float = Field(1.0, ge=0, le=1000, description="fee a side, bps of notional")
    slippage_bp: float = Field(2.0, ge=0, le=1000, description="slippage a side, bps of price")
    initial_cash: float = Field(10_000.0, gt=0, description="account at the start, quote currency")
    entry_fill: Literal["next_open", "signal_close"] = Field(
        "next_open", description="where decided orders fill"
    )
    gap_policy: Literal["keep", "error", "drop", "ffill"] = Field(
        "keep", description="gaps and faulty rows"
    )
    seed: int = Field(42, ge=0, le=MAX_SEED, description="of every random draw")
    decision_log: bool = Field(
        False, description="also write decisions.csv: what was known at each close"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="lines of progress: text, or JSON on stderr; the summary stays text"
    )
    rerun: bool = Field(False, description="start another attempt of a finished run")
    ml_service: str = Field("", description="URL; empty = embedded in this process")
    param_controller: str = Field("", description="URL; empty = embedded in this process")
    service_timeout_seconds: float = Field(
        300.0, gt=0, description="how long to wait for a service"
    )
    service_token: str = Field(
        "", description="bearer token of the services, when they require auth"
    )
    batch_bars: int = Field(2000, ge=1, le=10_000, description="bars asked ahead in one request")

    @classmethod
    def load(cls, **flags: Any) -> Settings:
        """From the environment, with the flags that are not None over it. Raises ConfigError, one line."""
        return load_settings(cls, **{k: v for k, v in flags.items() if v is not None})

    @property
    def symbol_names(self) -> tuple[str, ...]:
        """SYMBOLS as a tuple of BASE/QUOTE, in the order given. Raises ConfigError."""
        names = _names("SYMBOLS", self.symbols, symbol_name)
        for name in names:
            if re.fullmatch(SYMBOL_PATTERN, name) is None:
                raise ConfigError(f"SYMBOLS must be written as BTC/USDT, was {name!r}")
        return names

    @property
    def strategy_yaml(self) -> Path:
        """The file of the strategies' static settings."""
        return self.config_dir / "strategy.yaml"

    def loaded_strategies(self) -> tuple[LoadedStrategy, ...]:
        """STRATEGIES, loaded, in the order given."""
        loaded = tuple(load_strategy(spec) for spec in _names("STRATEGIES", self.strategies))
        names = [strategy.name for strategy in loaded]
        if len(set(names)) < len(names):
            raise ConfigError(f"STRATEGIES must have different names, were {', '.join(names)}")
        return loaded

    def training_settings(self) -> TrainingSettings:
        """What is sent with each /train, so that the run id covers it."""
        return TrainingSettings(
            exactly_once=self.exactly_once,
            train_min_points=self.train_min_points,
            train_window_days=self.train_window_days,
            hmm_states=self.hmm_states,
            promotion_min_delta=self.promotion_min_delta,
            purge_bars=self.purge_bars,
            latency_ms=round(self.train_latency_seconds * 1000),
            keep_n_models=self.keep_n_models,
            seed=self.seed,
        )

    def loop_settings(self, strategies: tuple[LoadedStrategy, ...]) -> LoopSettings:
        """Everything that can change a byte of the results. Raises ConfigError."""
        interval_ms(self.timeframe)
        if self.training != "off":
            refuse_short_window(self.training_settings(), self.timeframe)
        configured = read_strategy_yaml(self.strategy_yaml, [one.name for one in strategies])
        settings = LoopSettings(
            symbols=self.symbol_names,
            timeframe=self.timeframe,
            strategies=tuple(strategy.name for strategy in strategies),
            strategy_params={
                strategy.name: merged_settings(
                    strategy,
                    configured.get(strategy.name) or {},
                    self.config_dir,
                    self.symbol_names,
                )
                for strategy in strategies
            },
            start_ms=parse_moment_ms("START_TS", self.start_ts) if self.start_ts else None,
            end_ms=parse_moment_ms("END_TS", self.end_ts) if self.end_ts else None,
            chunk_rows=self.chunk_rows,
            max_steps=self.max_steps,
            train_cron_minutes=self.train_cron_minutes,
            training=self.training,
            training_settings=self.training_settings(),
            policy=self.policy,
            placebo=self.placebo,
            costs=Costs(fee_bps=self.fee_bp, slippage_bps=self.slippage_bp),
            initial_cash=self.initial_cash,
            entry_fill=self.entry_fill,
            gap_policy=self.gap_policy,
            seed=self.seed,
            decision_log=self.decision_log,
        )
        start_ms, end_ms = settings.start_ms, settings.end_ms
        if start_ms is not None and end_ms is not None and start_ms >= end_ms:
            raise ConfigError(
                f"END_TS must be later than START_TS={self.start_ts}, was {self.end_ts}"
            )
        _check_regimes(settings)
        return settings


def read_strategy_yaml(path: Path, running: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Static settings by strategy, {} if there is no such file.

    running: names of STRATEGIES; a section must be one of them or a built-in strategy. Raises ConfigError.
    """
    if not path.exists():
        return {}
    content = load_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must map strategy names to their settings, found {content!r}")
    known = sorted({*running, *known_strategies()})
    for name, values in content.items():
        if name not in known:
            raise ConfigError(
                f"{path} must have sections of known strategies ({', '.join(known)}), found {name!r}"
            )
        if not isinstance(values, dict | None):
            raise ConfigError(f"{path}: {name} must map settings to values, found {values!r}")
    return content


def _names(
    variable: str, text: str, as_name: Callable[[str], str] = lambda name: name
) -> tuple[str, ...]:
    names = tuple(as_name(name.strip()) for name in text.split(",") if name.strip())
    if not names:
        raise ConfigError(f"{variable} must name at least one, was {text!r}")
    if len(set(names)) < len(names):
        raise ConfigError(f"{variable} must not repeat a name, was {text!r}")
    return names


def _check_regimes(settings: LoopSettings) -> None:
    n_states = settings.training_settings.hmm_states
    for name, params in settings.strategy_params.items():
        for regime in params.get("regimes", ()):
            if not isinstance(regime, int) or not 0 <= regime < n_states:
                raise ConfigError(
                    f"config/strategy.yaml: {name}.regimes must be whole numbers below HMM_STATES={n_states}, "
                    f"found {regime!r}: change the list or HMM_STATES"
                )
