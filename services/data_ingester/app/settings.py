"""Settings of data_ingester, from the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mei.data.chunks import ChunkKind
from mei.model.bars import DAY_MS, symbol_name
from mei.model.errors import ConfigError
from mei.model.http import MAX_WINDOW_DAYS, SYMBOL_PATTERN
from mei.web.auth import AuthSettings, auth_from
from mei.web.settings import load_settings
from mei.workflows.download.candles import require_grid
from mei.workflows.download.exchange import ExchangeTerms, checked_url
from mei.workflows.download.names import database_names
from mei.workflows.window import parse_timestamp

_MOST_CHUNK_ROWS = 10_000_000
_MOST_SECONDS = 7 * 86_400.0
_VARIABLES = {
    "--base-url": "EXCHANGE_URL",
    "--exchange": "EXCHANGE",
    "--symbols": "SYMBOLS",
    "--timeframe": "TIMEFRAME",
}


@contextmanager
def variables_named() -> Iterator[None]:
    """A ConfigError of the block speaks of variables where the command line would speak of flags."""
    try:
        yield
    except ConfigError as error:
        text = str(error)
        for flag, variable in _VARIABLES.items():
            text = text.replace(flag, variable)
        raise ConfigError(text) from None


class Settings(BaseSettings):
    """One field an environment variable (upper case); the descriptions are the documentation."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True, frozen=True)

    exchange: str = Field("binance", description="as ccxt calls it")
    exchange_url: str = Field("", description="instead of its own addresses; empty = its own")
    exchange_pause_ms: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="between requests; empty = what it allows"
    )
    exchange_timeout_seconds: float = Field(
        20.0, gt=0, le=600.0, allow_inf_nan=False, description="of one request"
    )
    exchange_attempts: int = Field(8, ge=1, le=1000, description="of a request that fails")
    exchange_retry_seconds: float = Field(
        1.0, ge=0, le=60.0, allow_inf_nan=False, description="before the second; doubles up to 60"
    )
    symbols: str = Field("BTC/USDT", description="markets, comma-separated")
    timeframe: str = Field("1m", description="of the candles")
    ingest_timeframes: str = Field("", description="several, comma-separated, instead of TIMEFRAME")
    ingest_since: str = Field(
        "", description="first open; empty = the oldest there is, else TRAIN_WINDOW_DAYS ago"
    )
    ingest_seconds: float = Field(
        0.0,
        ge=0,
        le=_MOST_SECONDS,
        allow_inf_nan=False,
        description="between two passes; 0 = only when POST /ingest_once asks",
    )
    ingest_base_names: bool = Field(False, description="write BTC/USDT as BTC into the databases")
    ingest_chunks: bool = Field(True, description="make chunks of stream live for ml_service, too")
    candles_dir: Path = Field(Path("candles_dbs"), description="candles_<timeframe>.db go there")
    chunk_rows: int = Field(1000, ge=1, le=_MOST_CHUNK_ROWS, description="closed bars of a chunk")
    chunk_format: ChunkKind = Field("csv", description="of chunk files")
    data_incoming: Path = Field(Path("data/incoming"), description="chunk files go there")
    ledger_db: str = Field("shared/manifest.sqlite", description="manifest: file or database URL")
    delete_after_process: bool = Field(
        False, description="delete chunk files that no training needs any more"
    )
    exactly_once: bool = Field(False, description="as ml_service has it: what it still needs")
    train_window_days: float = Field(
        7.0, gt=0, le=MAX_WINDOW_DAYS, allow_inf_nan=False, description="as ml_service has it"
    )
    require_auth: bool = Field(False, description="refuse to start without a token or secret")
    auth_token_file: Path | None = Field(None, description="file of the bearer token")
    jwt_secret_file: Path | None = Field(None, description="file of the HS256 secret of JWTs")

    @classmethod
    def load(cls, **given: Any) -> Settings:
        """From the environment, `given` over it. Raises ConfigError, one line."""
        return load_settings(cls, **given)

    def check(self) -> None:
        """Raise ConfigError, naming variables, unless everything can be meant, as far as the exchange need not say."""
        with variables_named():
            self._check()

    def _check(self) -> None:
        database_names(self.symbol_names, base_names=self.ingest_base_names)
        for symbol in self.symbol_names:
            if re.fullmatch(SYMBOL_PATTERN, symbol) is None:
                raise ConfigError(
                    f"SYMBOLS must be written BASE/QUOTE, such as BTC/USDT, was {symbol!r}"
                )
        if not self.timeframes:
            raise ConfigError(
                f"INGEST_TIMEFRAMES must name one such as 1m, was {self.ingest_timeframes!r}"
            )
        for timeframe in self.timeframes:
            require_grid(timeframe)
        self.terms()
        self.since_ms()

    @property
    def symbol_names(self) -> tuple[str, ...]:
        """SYMBOLS as `BASE/QUOTE`, each once, in the order given."""
        names = (symbol_name(name.strip()) for name in self.symbols.split(",") if name.strip())
        return tuple(dict.fromkeys(names))

    @property
    def timeframes(self) -> tuple[str, ...]:
        """INGEST_TIMEFRAMES, or TIMEFRAME alone."""
        parts = (part.strip() for part in (self.ingest_timeframes or self.timeframe).split(","))
        return tuple(dict.fromkeys(part for part in parts if part))

    @property
    def window_ms(self) -> int:
        """TRAIN_WINDOW_DAYS in ms."""
        return round(self.train_window_days * DAY_MS)

    def since_ms(self) -> int | None:
        """INGEST_SINCE in epoch ms UTC; None when it is empty. Raises ConfigError."""
        if not self.ingest_since.strip():
            return None
        try:
            return parse_timestamp(self.ingest_since)
        except ValueError as error:
            raise ConfigError(f"INGEST_SINCE: {error}") from None

    def terms(self) -> ExchangeTerms:
        """How to reach the exchange. Raises ConfigError."""
        url = checked_url(self.exchange_url) if self.exchange_url else None
        return ExchangeTerms(
            self.exchange, url, self.exchange_pause_ms, self.exchange_timeout_seconds
        )

    def auth(self) -> AuthSettings | None:
        """Who may call; None = everybody. Raises ConfigError."""
        return auth_from(
            require_auth=self.require_auth,
            token_file=self.auth_token_file,
            secret_file=self.jwt_secret_file,
        )
