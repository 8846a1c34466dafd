"""Closing positions before another strategy takes over: those of the account, those on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from mei.data.trading_db import open_trading_db, position_rows
from mei.model.errors import DataError, MeiError, OutputError

if TYPE_CHECKING:
    from mei.workflows.account.hyperliquid import HyperliquidAccount

PAPER_REASON: Final = "deploy_sweep close"


@dataclass(frozen=True, slots=True)
class Closed:
    """What a closing came to: lines, one for each position, and why it failed, None if nothing is open any more."""

    lines: tuple[str, ...]
    failure: MeiError | None = None


class Closer(Protocol):
    """Something that closes positions."""

    def check(self) -> None:
        """Find what would keep it from closing, without closing. Raises MeiError."""

    def close(self) -> Closed:
        """Close everything; what was and was not closed. Raises MeiError when nothing was closed."""


@dataclass(frozen=True, slots=True)
class PaperCloser:
    """Of a paper trader's database; one that is not there has no positions, unless it was named."""

    path: str
    now_ms: Callable[[], int]
    is_named: bool = False

    def check(self) -> None:
        """DataError when the database cannot be read, or was named and is not there."""
        if self.is_named and not Path(self.path).is_file():
            raise DataError(
                f"--close-paper needs the paper trader's database, {self.path} is none: name it with --paper-db or "
                "AI_QUANT_PAPER_DB_PATH; nothing was closed"
            )
        if Path(self.path).exists():
            with open_trading_db(self.path, create=False, read_only=True) as conn:
                position_rows(conn)

    def close(self) -> Closed:
        """All of them in one transaction."""
        from mei.workflows.paper.flatten import close_paper

        if not Path(self.path).exists():
            return Closed((f"paper: {self.path} is not there, nothing was open",))
        found = close_paper(self.path, reason=PAPER_REASON, now_ms=self.now_ms())
        lines = tuple(
            f"paper: {one.symbol} {one.side} {one.qty:.10g}: closed at {one.px:.10g}"
            if one.is_priced
            else f"paper: {one.symbol}: closed, at no known price"
            for one in found
        )
        return Closed(lines or ("paper: nothing was open",))


@dataclass(frozen=True, slots=True)
class LiveCloser:
    """Of an account on an exchange. open_account: to it, once it is needed."""

    open_account: Callable[[], HyperliquidAccount]
    tell: Callable[[str], None]
    sleep: Callable[[float], object]

    def check(self) -> None:
        """The account must answer: what it holds is told. ServiceUnavailableError, ConfigError."""
        with self.open_account() as account:
            state = account.state()
        held = ", ".join(f"{one.symbol} {one.side} {one.qty:.10g}" for one in state.positions)
        self.tell(f"live positions to close: {held or 'none'}")

    def close(self) -> Closed:
        """At most three orders a position, at most 2 % from the mid price."""
        from mei.workflows.account.close import close_all

        with self.open_account() as account:
            report = close_all(
                account, max_attempts=3, slippage_frac=0.02, sleep=self.sleep, tell=self.tell
            )
        lines = tuple(f"live: {line}" for line in report.lines())
        if report.closed:
            return Closed(lines or ("live: nothing was open",))
        left = ", ".join(one.symbol for one in report.symbols if not one.closed)
        return Closed(
            lines,
            OutputError(
                f"every live position must be closed before a deployment, {left} could not be: nothing was deployed; "
                "look at the account, then start again"
            ),
        )
