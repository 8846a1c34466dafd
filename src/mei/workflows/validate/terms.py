"""What the replays of a validation have in common: strategy, settings, candles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mei.data.candle_db import load_candles
from mei.model.candles import Candles
from mei.model.semantics import STRICT, Semantics
from mei.workflows.files import Named
from mei.workflows.market import MarketRequest, Sources, check_finer, files_read, find_sources
from mei.workflows.replay import ReplayRequest
from mei.workflows.strategy import MEI_ALPHA, Tell, load_strategy
from mei.workflows.strategy_flags import refuse_unread_flags


@dataclass(frozen=True, slots=True)
class RunTerms:
    """The flags of every validation that replays. revision: as in a replay's request.

    start_ms, end_ms: bounds of what is replayed, epoch ms UTC; None = what the candles cover.
    """

    config: str
    interval: str | None = None
    candles_db: str | None = None
    funding_db: str | None = None
    strategy: str = MEI_ALPHA
    semantics: Semantics = STRICT
    revision: str = "unknown"
    start_ms: int | None = None
    end_ms: int | None = None

    @property
    def is_strict(self) -> bool:
        """Whether what is wrong is refused and what is missing is added."""
        return self.semantics.config_errors == "refuse"


@dataclass(frozen=True, slots=True)
class Ground:
    """Terms that were looked at: there is such a strategy, with such settings, and this is where its candles are."""

    terms: RunTerms
    market: MarketRequest
    sources: Sources

    def request(self, **changes: Any) -> ReplayRequest:
        """A replay on these terms; changes: fields of the request that are other ones."""
        terms = self.terms
        given: dict[str, Any] = {
            "market": self.market,
            "config": terms.config,
            "strategy": terms.strategy,
            "semantics": terms.semantics,
            "revision": terms.revision,
        }
        return ReplayRequest(**given | changes)

    def inputs(self) -> list[Named]:
        """Every file that is read, with the flag that names it."""
        return [("--config", self.terms.config), *files_read(self.market, self.sources)]


def find_ground(terms: RunTerms, tell: Tell) -> Ground:
    """Where the candles are. Raises MeiError for terms that no replay can be made on.

    A set of candles that is named stands for those of exits and entries, too, if the settings have an interval for
    them. Where errors of settings are not refused it always does, as with the reference's tools.
    """
    named = MarketRequest(
        candles_db=terms.candles_db, interval=terms.interval, funding_db=terms.funding_db
    )
    refuse_unread_flags(terms.strategy, named, terms.semantics, live=False)
    strategy = load_strategy(
        terms.strategy,
        config=terms.config,
        live=False,
        symbol=None,
        slippage_bps=None,
        semantics=terms.semantics,
        tell=tell,
    )
    always = not terms.is_strict
    market = MarketRequest(
        candles_db=terms.candles_db,
        interval=terms.interval,
        exit_candles_db=terms.candles_db if always or strategy.interval("exit") else None,
        entry_candles_db=terms.candles_db if always or strategy.interval("entry") else None,
        funding_db=terms.funding_db,
        start_ms=terms.start_ms,
        end_ms=terms.end_ms,
    )
    sources = find_sources(market, strategy)
    check_finer(sources, terms.semantics)
    return Ground(terms, market, sources)


@dataclass(slots=True)
class LoadedOnce:
    """`load_candles` for replays one after another: of each set and interval the bars last asked for are kept."""

    _kept: dict[tuple[str, str], tuple[tuple[int | None, int | None], Candles]] = field(
        default_factory=dict
    )

    def __call__(
        self,
        db_set: str,
        interval: str,
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        tell: Callable[[str], None],
    ) -> Candles:
        """As `load_candles`; `tell` hears nothing of bars that were there."""
        bounds = (from_ms, to_ms)
        kept = self._kept.get((db_set, interval))
        if kept is not None and kept[0] == bounds:
            return kept[1]
        candles = load_candles(db_set, interval, from_ms=from_ms, to_ms=to_ms, tell=tell)
        self._kept[(db_set, interval)] = (bounds, candles)
        return candles
