"""The row of a sweep that is to be deployed, and whether it stands against the number of trials it was picked from."""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mei.data.sweep_results import sweep_results
from mei.metrics.overfitting import (
    Moments,
    Spread,
    Trials,
    deflated_sharpe_ratio,
    expected_best_sharpe,
    moments,
    per_period,
)
from mei.metrics.replay import daily_returns
from mei.model.errors import MeiError, NotFoundError
from mei.workflows.swept_config import Standing, standing
from mei.workflows.trial_spread import add_traded, trials_so_spread

_DAYS_A_YEAR: Final = 365
#: A deflated Sharpe ratio from here on is commonly taken to survive the number of trials.
SURVIVES_FRAC: Final = 0.95


@dataclass(frozen=True, slots=True)
class Choice:
    """A row by its rank. n_rows: of the file; spread: of the annualised Sharpe ratios of those that traded."""

    path: str
    rank: int
    standing: Standing
    n_rows: int
    spread: Spread

    @property
    def name(self) -> str:
        """The row's id, or where it stands."""
        return str(self.standing.row.fields.get("config_id") or self.standing.row.where)


def choose(path: str, rank: int) -> Choice:
    """The row of `rank`, 1 the best, by profit; equal ones as in the file, an absent profit is 0, one of null is last.

    DataError, with file and line, for a file that is wrong; NotFoundError for no row, no such rank, no overrides.
    """
    n_rows, spread = 0, Spread()

    def rows() -> Iterator[Standing]:
        nonlocal n_rows
        for row in sweep_results(path):
            n_rows += 1
            sharpe = row.number("sharpe_ratio", absent=math.nan, null=math.nan)
            # Without a count of trades: what never trades has a Sharpe ratio of 0.
            no_count = float(sharpe != 0.0)
            n_trades = row.number("total_trades", absent=no_count, null=no_count)
            add_traded(spread, [(sharpe, n_trades)])
            yield standing(row, "pnl")

    best = heapq.nsmallest(max(rank, 1), rows(), key=lambda one: -one.score)
    if n_rows == 0:
        raise NotFoundError(f"{path} must have a row to deploy, has none: sweep first")
    if not 1 <= rank <= n_rows:
        raise NotFoundError(f"--rank must be 1 to {n_rows}, the rows of {path}, was {rank}")
    chosen = best[rank - 1]
    if not chosen.row.overrides:
        raise NotFoundError(
            f"{chosen.row.where}: the row must have overrides to apply, has none: the base is its configuration"
        )
    return Choice(path, rank, chosen, n_rows, spread)


@dataclass(frozen=True, slots=True)
class Survival:
    """Whether the choice is more than luck: survives, True or False, None = it cannot be told; line: why."""

    survives: bool | None
    line: str


def survival(choice: Choice, ledger: str | None) -> Survival:
    """Hold the row's Sharpe ratio against the best that luck makes of all trials on its market.

    Trials are those of the ledger (path or URL, None = none), else those in `sweep.json` beside the sweep's output.
    Never raises for what is not there: it says that it cannot tell.
    """
    about = about_sweep(choice)
    trials, counted = _trials(choice, about, ledger)
    sharpe = choice.standing.row.number("sharpe_ratio", absent=math.nan, null=math.nan)
    found = None if about is None else _moments(choice)
    head = f"deflated Sharpe ratio, {trials.n_trials:,} trials"
    if found is not None and counted is not None:
        return _verdict(found, trials, f"{head} {counted}")
    best = expected_best_sharpe(trials)
    if per_period(sharpe, _DAYS_A_YEAR) <= best:
        at_least = counted or "in this file alone"
        return Survival(
            False,
            f"{head} {at_least}: does not survive, luck alone makes a best Sharpe ratio of "
            f"{best * math.sqrt(_DAYS_A_YEAR):.2f} of so many, this one is {sharpe:.2f}",
        )
    if counted is None:
        why = f"neither a ledger nor {_folder(choice)}/sweep.json counts the trials"
    elif math.isnan(sharpe):
        why = "the row has no Sharpe ratio"
    else:
        why = f"the sweep kept no curve of this row (sweep with --rerun {choice.rank})"
    return Survival(
        None,
        f"deflated Sharpe ratio: it cannot be told whether the choice survives its trials, {why}",
    )


def about_sweep(choice: Choice) -> Mapping[str, Any] | None:
    """What `sweep.json` says of the sweep; None when it is not there, or is of another one."""
    about = _json(_folder(choice) / "sweep.json")
    return about if about is not None and about.get("rows") == choice.n_rows else None


def _verdict(found: Moments, trials: Trials, head: str) -> Survival:
    number = deflated_sharpe_ratio(found, trials)
    if number.value is None:
        return Survival(
            None, f"{head}: it cannot be told whether the choice survives them, {number.reason}"
        )
    if number.value >= SURVIVES_FRAC:
        return Survival(True, f"{head}: {number.value:.3f}, survives (at least {SURVIVES_FRAC})")
    return Survival(
        False,
        f"{head}: {number.value:.3f}, does not survive (below {SURVIVES_FRAC}): luck alone could have made it",
    )


def _trials(
    choice: Choice, about: Mapping[str, Any] | None, ledger: str | None
) -> tuple[Trials, str | None]:
    """All trials that are known of, and who counted them; None = nobody, they are the rows of the file."""
    n_trials, counted = choice.n_rows, None
    spread = choice.spread
    if about is None:
        return trials_so_spread(n_trials, spread), None
    told = about.get("trials_on_this_market")
    if isinstance(told, int) and told >= n_trials:
        n_trials, counted = told, "on this market by sweep.json"
    n_kept, kept = _in_ledger(about.get("market_id"), ledger)
    if n_kept >= n_trials:
        n_trials, counted, spread = n_kept, f"on this market by {ledger}", kept
    return trials_so_spread(n_trials, spread), counted


def _in_ledger(market_id: Any, ledger: str | None) -> tuple[int, Spread]:
    """Trials ever counted on a market and how their Sharpe ratios are spread; 0 without a ledger that can be read."""
    spread = Spread()
    is_there = ledger is not None and ("://" in ledger or Path(ledger).is_file())
    if not is_there or not isinstance(market_id, str):
        return 0, spread
    from mei.ledger.database import Ledger
    from mei.ledger.sweeps import trials_on

    try:
        with closing(Ledger.open(str(ledger))) as opened, opened.reader() as connection:
            rows = trials_on(connection, market_id)
    except MeiError:
        return 0, spread
    for row in rows:
        spread.add_all(Spread(row.n_sharpes, row.sharpe_mean, row.sharpe_m2))
    return sum(row.n_trials for row in rows), spread


def _moments(choice: Choice) -> Moments | None:
    """Those of the daily returns in the report that the sweep kept of this row; None without one."""
    row = choice.standing.row
    for path in sorted(_folder(choice).glob("[0-9]*_*.json")):
        report = _json(path)
        is_its = report is not None and report.get("config_id") == row.fields.get("config_id")
        if report is None or not is_its or report.get("overrides") != dict(row.overrides):
            continue
        try:
            curve = report["equity_curve"]
            equity_ms = np.array([at_ms for at_ms, _ in curve], dtype=np.int64)
            equity_usd = np.array([usd for _, usd in curve], dtype=np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):
            return None
        return moments(daily_returns(equity_ms, equity_usd))
    return None


def _folder(choice: Choice) -> Path:
    """Where the sweep left its best: `sweep.jsonl.best` beside `sweep.jsonl`."""
    path = Path(choice.path)
    return path.with_name(f"{path.name}.best")


def _json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
