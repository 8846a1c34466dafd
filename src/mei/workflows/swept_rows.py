"""Rows of a Mei Alpha sweep as the numbers of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mei.engines.mei_alpha import SymbolConfigs
from mei.engines.mei_alpha_sweep import N_REASONS, GroupLayout, Sweep, group_layout
from mei.metrics.reason_codes import exit_category, reason_code
from mei.metrics.replay import SIDES, ReplayNumbers, RunSums, assembled
from mei.model.replay import CONFIDENCES, ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.reasons import reason_text
from mei.rules.mei_alpha.records import GATES
from mei.workflows.engine_rows import EngineRows, counted, groups_of

if TYPE_CHECKING:
    from mei.engines.cuda_device import Card


class MeiAlphaSweep(EngineRows):
    """A SweepEngine of Mei Alpha over the inputs; it runs any number of configurations and shares their stages."""

    def __init__(
        self,
        inputs: ReplayInputs,
        base: SymbolConfigs,
        semantics: Semantics,
        n_threads: int,
        card: Card | None = None,
    ) -> None:
        """Raises ConfigError for an init-state (a sweep starts clean), DataError when there is no bar."""
        if card is None:
            self._sweep = Sweep(inputs, base, semantics, report_layout, n_threads)
        else:
            # What a sweep on the CPU can do without.
            from mei.engines.mei_alpha_cuda import CudaSweep

            self._sweep = CudaSweep(inputs, base, semantics, report_layout, n_threads, card)
        super().__init__(self._sweep)

    def numbers(self, row: Any) -> ReplayNumbers:
        """One row as the numbers of a report."""
        return row_numbers(row, self._sweep)


def report_layout(n_symbols: int) -> GroupLayout:
    """Groups by the words of the report."""
    texts = [reason_text(reason, 0, 0.0, 0.0) for reason in range(N_REASONS)]
    codes = [reason_code("CLOSE_LONG", text) for text in texts]
    return group_layout(n_symbols, [exit_category(text) for text in texts], codes)


def row_numbers(row: Any, sweep: Sweep) -> ReplayNumbers:
    """One row in the numbers of a report."""
    tally, layout = row["tally"], sweep.layout
    places = layout.grouping
    gates = dict(zip(GATES, row["gates"].tolist(), strict=True))
    blocked = [name for name in tally.dtype.names if name.startswith("blocked_by_")]
    return assembled(
        RunSums(
            initial_balance_usd=sweep.balance_usd,
            final_balance_usd=float(tally["final_balance"]),
            closes=counted(tally, "trades", "pnl"),
            wins=counted(tally, "wins", "gross_profit"),
            losses=counted(tally, "losses", "gross_loss"),
            fees_usd=float(tally["fees"]),
            n_signals=int(row["n_signals"]),
            sharpe_ratio=float(tally["sharpe"]),
            drawdown=(float(tally["drawdown"]), float(tally["drawdown_frac"])),
            gates={**gates, **{name: int(tally[name]) for name in blocked}},
            by_confidence=groups_of(row, 0, CONFIDENCES),
            by_exit_reason=groups_of(row, places.first_category, layout.categories),
            by_reason_code=groups_of(row, places.first_code, layout.codes),
            by_symbol=groups_of(row, places.first_symbol, sweep.names),
            by_side=groups_of(row, places.first_side, SIDES),
        )
    )
