"""Rows of a momentum_breakout sweep as the numbers of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mei.engines.momentum_breakout_sweep import Sweep
from mei.metrics.reason_codes import exit_category, reason_code
from mei.metrics.replay import SIDES, Group, ReplayNumbers, RunSums, assembled
from mei.model.replay import CONFIDENCES, ReplayInputs
from mei.model.settings import Costs, EntryFill
from mei.rules.momentum_breakout.reasons import REVERSE, reason_text
from mei.rules.momentum_breakout.tally import FIRST_REASON, FIRST_SIDE, FIRST_SYMBOL
from mei.workflows.engine_rows import EngineRows, counted, groups_of

if TYPE_CHECKING:
    from mei.engines.cuda_device import Card

_EXITS = tuple(reason_text(reason, 0, 0.0, 0.0) for reason in range(FIRST_REASON, REVERSE + 1))
#: Every exit has a code and a category of its own, so sums by exit are sums by either.
_CODES = tuple(reason_code("CLOSE_LONG", text) for text in _EXITS)
_CATEGORIES = tuple(exit_category(text) for text in _EXITS)
#: The walk logs no other confidence.
_CONFIDENCE = CONFIDENCES[0]


class MomentumSweep(EngineRows):
    """A SweepEngine of momentum_breakout over the inputs."""

    def __init__(
        self,
        inputs: ReplayInputs,
        params: Mapping[str, Any],
        costs: Costs,
        entry_fill: EntryFill,
        n_threads: int,
        card: Card | None = None,
    ) -> None:
        """Raises what `Sweep` raises. card: what walks, None = threads here."""
        if card is None:
            self._sweep = Sweep(inputs, params, costs, entry_fill, n_threads)
        else:
            # What a sweep on the CPU can do without.
            from mei.engines.momentum_breakout_cuda import CudaSweep

            self._sweep = CudaSweep(inputs, params, costs, entry_fill, n_threads, card)
        super().__init__(self._sweep)

    def numbers(self, row: Any) -> ReplayNumbers:
        """One row as the numbers of a report."""
        sweep, tally = self._sweep, row["tally"]
        closes = Group(int(tally["trades"]), int(tally["wins"]), float(tally["pnl"]))
        counters = {
            "total_checks": sweep.n_bars,
            "buy_count": row["buys"],
            "sell_count": row["sells"],
        }
        return assembled(
            RunSums(
                initial_balance_usd=sweep.balance_usd,
                final_balance_usd=float(tally["final_balance"]),
                closes=closes,
                wins=counted(tally, "wins", "gross_profit"),
                losses=counted(tally, "losses", "gross_loss"),
                fees_usd=float(tally["fees"]),
                n_signals=int(row["buys"]) + int(row["sells"]),
                sharpe_ratio=float(tally["sharpe"]),
                drawdown=(float(tally["drawdown"]), float(tally["drawdown_frac"])),
                gates={name: int(count) for name, count in counters.items()},
                by_confidence={_CONFIDENCE: closes} if closes.trades else {},
                by_exit_reason=groups_of(row, 0, _CATEGORIES),
                by_reason_code=groups_of(row, 0, _CODES),
                by_symbol=groups_of(row, FIRST_SYMBOL, sweep.names),
                by_side=groups_of(row, FIRST_SIDE, SIDES),
            )
        )
