"""The strategy file of a paper trader: read strictly, read again when its content changes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mei.model.errors import ConfigError, MeiError
from mei.model.semantics import STRICT
from mei.workflows.market import Sources, check_finer, find_sources
from mei.workflows.paper.request import PaperRequest
from mei.workflows.run_facts import config_id_of
from mei.workflows.strategy import MEI_ALPHA, BacktestStrategy, load_strategy

#: Set, they stop entries and adds without a rule being another; exits read neither.
_NO_ENTRIES = {"trade.max_entry_orders_per_loop": 0.0, "trade.max_adds_per_symbol": 0.0}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A strategy file, read. digest: SHA-256 of its bytes."""

    strategy: BacktestStrategy
    sources: Sources
    config_id: str
    digest: str

    @property
    def series(self) -> tuple[str, ...]:
        """Labels of the bars: main, exit, entry; empty = none."""
        finer = (self.sources.exit, self.sources.entry)
        return (
            self.sources.main.interval,
            *("" if one is None else one.interval for one in finer),
        )

    def closing_only(self) -> BacktestStrategy:
        """The strategy that opens and adds nothing; to be taken after `prepare`."""
        return self.strategy.with_swept(_NO_ENTRIES)[0]


class ConfigWatch:
    """Tells when the file has another content that can be used; a content that cannot be used is told once."""

    def __init__(self, request: PaperRequest, tell: Callable[[str], None]) -> None:
        self._request = request
        self._tell = tell
        self._refused = ""
        #: Why the newest content of the file is not in use; empty when it is.
        self.fault = ""

    def load(self) -> Loaded:
        """The file as it is now. Raises ConfigError."""
        request = self._request
        digest = self._digest()
        told: set[str] = set()

        def tell_once(line: str) -> None:
            # Layers are looked at again whenever symbols come.
            if line not in told:
                told.add(line)
                self._tell(line)

        strategy = load_strategy(
            MEI_ALPHA,
            config=request.config,
            live=request.live,
            symbol=request.market.symbol,
            slippage_bps=request.slippage_bps,
            semantics=STRICT,
            tell=tell_once,
        )
        sources = find_sources(request.market, strategy)
        check_finer(sources, STRICT)
        found = config_id_of(request.config)
        if found is None or self._digest() != digest:
            raise ConfigError(f"{request.config} must stay as it is while it is read, has changed")
        return Loaded(strategy, sources, found, digest)

    def changed(self, current: Loaded) -> Loaded | None:
        """The file's settings when they are new and can be used, else None.

        A content that cannot be used is not read again until it changes; one that could not be judged, because candles
        could not be read, is read again at the next call.
        """
        digest = ""
        try:
            digest = self._digest()
            if digest == current.digest:
                self._settle()
                return None
            if digest == self._refused:
                return None
            found = self.load()
        except ConfigError as error:
            # Of the content that was looked at: another one may be there by now.
            self.refuse(str(error), digest)
            return None
        except MeiError as error:
            self.fault = str(error)
            return None
        if found.series != current.series:
            self.refuse(
                f"{self._request.config}: the intervals of a running trader must stay {_shown(current.series)}, are "
                f"{_shown(found.series)}: close what is held and restart the trader",
                found.digest,
            )
            return None
        return found

    def refuse(self, fault: str, digest: str) -> None:
        """Keep what is in use; the content of this digest is not looked at again. Empty: it could not be read."""
        self.fault, self._refused = fault, digest

    def accept(self) -> None:
        """The newest content is in use."""
        self._settle()

    def _settle(self) -> None:
        self.fault, self._refused = "", ""

    def _digest(self) -> str:
        try:
            return hashlib.sha256(Path(self._request.config).read_bytes()).hexdigest()
        except OSError as error:
            raise ConfigError(
                f"a strategy file must be readable, {self._request.config} is not ({error.strerror})"
            ) from None


def _shown(series: tuple[str, ...]) -> str:
    named = zip(("main", "exit", "entry"), series, strict=True)
    return ", ".join(f"{name} {label or 'none'}" for name, label in named)
