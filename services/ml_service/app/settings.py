"""Settings of ml_service, from the environment."""

from __future__ import annotations

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
    TrainingSettings,
)
from mei.web.auth import AuthSettings, auth_from
from mei.web.settings import load_settings


class Settings(BaseSettings):
    """One field an environment variable (upper case); the descriptions are the documentation."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    ledger_db: str = Field(
        "shared/manifest.sqlite", description="manifest: SQLite file or SQLAlchemy URL"
    )
    data_incoming: Path = Field(Path("data/incoming"), description="chunk files of the ingester")
    models_dir: Path = Field(Path("models"), description="model files")
    symbols: str = Field("BTC/USDT", description="instruments of a /train that names none")
    timeframe: str = Field("1m", description="bar length of a request that names none")
    training: Literal["on", "first_only", "off"] = Field(
        "on", description="off: start with a window too short to train by, too"
    )
    exactly_once: bool = Field(False, description="train on every bar at most once")
    train_min_points: int = Field(
        2000, ge=50, le=MAX_TRAIN_POINTS, description="fit + validation bars a training needs"
    )
    train_window_days: float = Field(
        7.0, gt=0, le=MAX_WINDOW_DAYS, allow_inf_nan=False, description="sliding window"
    )
    hmm_states: int = Field(4, ge=2, le=8, description="regimes")
    promotion_min_delta: float = Field(
        0.02,
        ge=0,
        allow_inf_nan=False,
        description="nats per bar a candidate must be better by",
    )
    purge_bars: int = Field(
        60, ge=0, le=MAX_PURGE_BARS, description="bars dropped between fit and validation"
    )
    keep_n_models: int = Field(
        5,
        ge=1,
        le=MAX_KEPT_MODELS,
        description="model files kept besides those still referenced",
    )
    train_latency_seconds: float = Field(
        0.0,
        ge=0,
        le=MAX_LATENCY_MS / 1000,
        allow_inf_nan=False,
        description="a model serves this long after its as-of",
    )
    seed: int = Field(42, ge=0, le=MAX_SEED, description="of k-means starts")
    service_name: str = Field(
        "ml_service", min_length=1, description="named as the owner of its claims"
    )
    require_auth: bool = Field(False, description="refuse to start without a secret")
    auth_token_file: Path | None = Field(None, description="file of the bearer token")
    jwt_secret_file: Path | None = Field(None, description="file of the HS256 secret of JWTs")

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """From the environment, `given` over it. Raises ConfigError, one line."""
        return load_settings(cls, **given)

    def check(self) -> None:
        """Raise ConfigError unless TIMEFRAME and SYMBOLS can be meant."""
        interval_ms(self.timeframe)
        if not self.symbol_names:
            raise ConfigError(
                f"SYMBOLS must name at least one instrument (such as BTC/USDT), was {self.symbols!r}"
            )

    def check_window(self) -> None:
        """Raise ConfigError if what a /train without settings goes by can never train, unless TRAINING is off."""
        if self.training != "off":
            refuse_short_window(self.training_settings(), self.timeframe)

    @property
    def symbol_names(self) -> tuple[str, ...]:
        """SYMBOLS as `BASE/QUOTE`, in the order given."""
        return tuple(symbol_name(name.strip()) for name in self.symbols.split(",") if name.strip())

    def training_settings(self) -> TrainingSettings:
        """What a /train without settings of its own trains by."""
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

    def auth(self) -> AuthSettings | None:
        """Who may call; None = everybody. Raises ConfigError."""
        return auth_from(
            require_auth=self.require_auth,
            token_file=self.auth_token_file,
            secret_file=self.jwt_secret_file,
        )
