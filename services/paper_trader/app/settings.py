"""Settings of paper_trader, from the environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mei.data.trading_db import PAPER_DB
from mei.model.errors import ConfigError
from mei.web.auth import AuthSettings, auth_from
from mei.web.settings import load_settings
from mei.workflows.market import MarketRequest
from mei.workflows.paper.request import Limits, PaperRequest
from services.paper_trader.app.clock import feed_clock, wall_ms


class Settings(BaseSettings):
    """One field an environment variable (upper case); the descriptions are the documentation."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    ai_quant_paper_db_path: str = Field(PAPER_DB, description="trading database, made if absent")
    ai_quant_kill_switch_file: str = Field(
        "", description="pause file: close_only or halt_all in it"
    )
    paper_config: str = Field(
        "config/strategy_overrides.yaml", description="strategy file, read again when it changes"
    )
    paper_candles_db: str = Field(
        "",
        description="candle databases, comma-separated; default: candles_dbs/candles_<interval>.db",
    )
    paper_interval: str = Field("", description="main bars; default: the strategy file's, or 1h")
    paper_exit_candles_db: str = Field("", description="exit sub-bars: databases")
    paper_exit_interval: str = Field("", description="exit sub-bars: interval")
    paper_entry_candles_db: str = Field("", description="entry sub-bars: databases")
    paper_entry_interval: str = Field("", description="entry sub-bars: interval")
    paper_funding_db: str = Field("", description="funding rates; none = funding is not paid")
    paper_symbol: str = Field("", description="the only symbol to trade; default: all")
    paper_universe_filter: bool = Field(False, description="only symbols that are listed")
    paper_universe_db: str = Field("", description="default: beside the candles")
    paper_initial_balance: float = Field(
        10_000.0, gt=0.0, allow_inf_nan=False, description="USD, at the first start"
    )
    paper_init_state: str = Field("", description="init-state the first start begins with")
    paper_lookback: int = Field(200, ge=0, le=10**9, description="bars before the first entry")
    paper_clock: Literal["wall", "feed"] = Field(
        "wall", description="feed: it is as late as the newest candle, for a recorded feed"
    )
    poll_seconds: float = Field(
        5.0, gt=0.0, le=3600.0, allow_inf_nan=False, description="between looks for new bars"
    )
    bar_grace_seconds: float = Field(
        180.0,
        ge=0.0,
        le=86_400.0,
        allow_inf_nan=False,
        description="how long after a close its bars are waited for",
    )
    max_drawdown_pct: float = Field(
        0.0, ge=0.0, le=100.0, allow_inf_nan=False, description="of the highest equity; 0 = none"
    )
    max_daily_loss_pct: float = Field(
        0.0, ge=0.0, le=100.0, allow_inf_nan=False, description="of a UTC day's start; 0 = none"
    )
    require_auth: bool = Field(False, description="refuse to start without a token or secret")
    auth_token_file: Path | None = Field(None, description="file of the bearer token")
    jwt_secret_file: Path | None = Field(None, description="file of the HS256 secret of JWTs")

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """From the environment, `given` over it. Raises ConfigError, one line."""
        return load_settings(cls, **given)

    def check(self) -> None:
        """Raise ConfigError for files that are not there or stand for two things.

        PAPER_INIT_STATE is read by the first start alone, so that a later one does without the file.
        """
        is_first = not Path(self.ai_quant_paper_db_path).exists()
        if is_first and self.paper_init_state and not Path(self.paper_init_state).is_file():
            raise ConfigError(
                f"PAPER_INIT_STATE must be a file, {self.paper_init_state!r} is none: export one or leave it empty"
            )
        if Path(self.ai_quant_paper_db_path).is_dir():
            raise ConfigError(
                f"AI_QUANT_PAPER_DB_PATH must be a file, {self.ai_quant_paper_db_path!r} is a directory"
            )

        if self.paper_clock == "feed" and not self.paper_interval:
            raise ConfigError(
                "PAPER_INTERVAL must name the main bars where PAPER_CLOCK is feed, was empty: set it, such as 1h"
            )

    def clock(self) -> Callable[[], int]:
        """What time it is, epoch ms UTC."""
        if self.paper_clock == "wall":
            return wall_ms
        usual = f"candles_dbs/candles_{self.paper_interval}.db"
        series = [(self.paper_candles_db or usual, self.paper_interval)]
        for db_set, interval in (
            (self.paper_exit_candles_db, self.paper_exit_interval),
            (self.paper_entry_candles_db, self.paper_entry_interval),
        ):
            if interval:
                series.append((db_set or f"candles_dbs/candles_{interval}.db", interval))
        return feed_clock(series)

    def request(self) -> PaperRequest:
        """What the trader is asked for."""
        market = MarketRequest(
            candles_db=self.paper_candles_db or None,
            interval=self.paper_interval or None,
            exit_candles_db=self.paper_exit_candles_db or None,
            exit_interval=self.paper_exit_interval or None,
            entry_candles_db=self.paper_entry_candles_db or None,
            entry_interval=self.paper_entry_interval or None,
            funding_db=self.paper_funding_db or None,
            symbol=self.paper_symbol or None,
            universe_filter=self.paper_universe_filter,
            universe_db=self.paper_universe_db or None,
        )
        return PaperRequest(
            db=self.ai_quant_paper_db_path,
            market=market,
            config=self.paper_config,
            initial_balance_usd=self.paper_initial_balance,
            init_state=self.paper_init_state or None,
            lookback=self.paper_lookback,
            grace_ms=round(self.bar_grace_seconds * 1000),
            pause_file=self.ai_quant_kill_switch_file or None,
            limits=Limits(self.max_drawdown_pct, self.max_daily_loss_pct),
        )

    def auth(self) -> AuthSettings | None:
        """Who may call; None = everybody. Raises ConfigError."""
        return auth_from(
            require_auth=self.require_auth,
            token_file=self.auth_token_file,
            secret_file=self.jwt_secret_file,
        )
