"""The count of what was ever tried on a market, kept in the ledger while a sweep runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mei.metrics.overfitting import Spread, Trials
from mei.workflows.sweep.plan import Market
from mei.workflows.trial_spread import trials_so_spread

if TYPE_CHECKING:
    from mei.ledger.database import Ledger
    from mei.ledger.sweeps import TrialsRow

#: What `--ledger` says to count nothing.
NO_LEDGER: Final = "none"
_DEFAULT_LEDGER: Final = "shared/manifest.sqlite"
#: Symbols named in the line on what was counted.
_MOST_NAMED: Final = 10


def ledger_location(given: str | None) -> str | None:
    """Path or URL of the ledger: the flag's, that of LEDGER_DB, or the usual one; None for `none`."""
    location = given or os.environ.get("LEDGER_DB") or _DEFAULT_LEDGER
    return None if location == NO_LEDGER else location


class TrialCount:
    """Trials of one sweep, and of all sweeps on its market or on another one that shares a symbol."""

    def __init__(
        self,
        ledger: str | None,
        market: Market,
        sweep_id: str,
        strategy: str,
        now_ms: Callable[[], int],
    ) -> None:
        """ledger: where to count, None = nowhere. Raises LedgerError when it cannot be opened."""
        self._is_new = ledger is not None and "://" not in ledger and not Path(ledger).exists()
        self._ledger = None if ledger is None else _open(ledger)
        self._market = market
        self._sweep_id = sweep_id
        self._strategy = strategy
        self._now_ms = now_ms

    def count(self, n_trials: int, spread: Spread) -> None:
        """Write down that this sweep has tried so many."""
        if self._ledger is None:
            return
        from mei.ledger.sweeps import TrialsRow, count_sweep

        row = TrialsRow(
            self._market.market_id,
            self._sweep_id,
            self._strategy,
            n_trials,
            spread.n,
            spread.mean,
            spread.m2,
            self._now_ms(),
            self._market.symbols,
            self._market.interval,
        )
        with self._ledger.unit_of_work() as work:
            count_sweep(work.connection, row)
            work.commit("sweep_trials")

    def all(self, n_trials: int, spread: Spread) -> Trials:
        """Trials ever counted on the market, this sweep's included, and how the Sharpe ratios a day of those that
        traded are spread."""
        total, counted = n_trials, Spread(spread.n, spread.mean, spread.m2)
        for row in self._others():
            total += row.n_trials
            counted.add_all(Spread(row.n_sharpes, row.sharpe_mean, row.sharpe_m2))
        return trials_so_spread(total, counted)

    def counted_line(self) -> str:
        """Where trials are counted, and how many sweeps over which symbols count with this one."""
        if self._ledger is None:
            return "[sweep] No ledger counts trials: those of other sweeps are not known"
        others = self._others()
        symbols = sorted(set(self._market.symbols).union(*(row.symbols for row in others)))
        more = len(symbols) - _MOST_NAMED
        named = ", ".join(symbols[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        where = self._ledger.where
        where = where if "://" in where else str(Path(where).resolve())
        sweeps = f"{len(others) + 1} sweeps" if others else "this sweep alone"
        new = ", a ledger made by this sweep: what was tried before is not in it"
        return f"[sweep] Counted: trials of {sweeps} over {named} in {where}{new if self._is_new else ''}"

    @property
    def is_counting(self) -> bool:
        """Whether a ledger keeps the count."""
        return self._ledger is not None

    def close(self) -> None:
        """Let go of the ledger."""
        if self._ledger is not None:
            self._ledger.close()

    def _others(self) -> list[TrialsRow]:
        if self._ledger is None:
            return []
        from mei.ledger.sweeps import trials_on

        with self._ledger.reader() as conn:
            found = trials_on(conn, self._market.market_id, self._market.symbols)
        return [row for row in found if row.sweep_id != self._sweep_id]


def _open(location: str) -> Ledger:
    from mei.ledger.database import Ledger

    return Ledger.open(location)
