"""What a paper trader is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from mei.data.trading_db import PAPER_DB
from mei.model.errors import ConfigError
from mei.workflows.market import MarketRequest
from mei.workflows.strategy import DEFAULT_CONFIG

RUN, CLOSE_ONLY, HALT_ALL = "run", "close_only", "halt_all"
#: The strictest last.
MODES = (RUN, CLOSE_ONLY, HALT_ALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """Losses that stop entries, in percent: of the highest equity, and of the equity a UTC day began with. 0 = none."""

    max_drawdown_pct: float = 0.0
    max_daily_loss_pct: float = 0.0


@dataclass(frozen=True, slots=True)
class PaperRequest:
    """db: the trading database. market: candles, funding, universe; its window is not read. init_state: what the
    first start begins with, None = `initial_balance_usd` and nothing held. slippage_bps: None = as configured.
    grace_ms: how long after a boundary its bars are waited for. awaits_fetches: after an outage bars are waited for
    that long after the last one came; for a clock that goes on. pause_file: `close_only` or `halt_all` in it.
    """

    db: str = PAPER_DB
    market: MarketRequest = field(default_factory=MarketRequest)
    config: str = DEFAULT_CONFIG
    live: bool = False
    initial_balance_usd: float = 10_000.0
    init_state: str | None = None
    lookback: int = 200
    slippage_bps: float | None = None
    grace_ms: int = 30_000
    awaits_fetches: bool = False
    pause_file: str | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def watched_file(self) -> str:
        """Absolute path of the pause file; empty where there is none."""
        return "" if self.pause_file is None else os.path.abspath(self.pause_file)  # noqa: PTH100 — its link is kept

    @property
    def watched_folder(self) -> str:
        """The `folder_id` of the pause file's folder; empty where there is none."""
        return "" if self.pause_file is None else folder_id(Path(self.watched_file).parent)

    def check(self) -> None:
        """Raise ConfigError for numbers that no trader can have."""
        if not self.initial_balance_usd > 0.0:
            raise ConfigError(
                f"the first balance must be above 0 USD, was {self.initial_balance_usd}"
            )
        for name, value in (
            ("MAX_DRAWDOWN_PCT", self.limits.max_drawdown_pct),
            ("MAX_DAILY_LOSS_PCT", self.limits.max_daily_loss_pct),
        ):
            if not 0.0 <= value <= 100.0:
                raise ConfigError(f"{name} must be 0 (none) to 100 percent, was {value}")


def folder_id(path: Path) -> str:
    """What tells a folder from all others of a machine, whatever path it is mounted at; empty where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"
