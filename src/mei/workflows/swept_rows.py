"""Rows of a Mei Alpha sweep as the numbers of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mei.engines.mei_alpha import SymbolConfigs
from mei.engines.mei_alpha_sweep import N_REASONS, GroupLayout, Row, Sweep, group_layout
from mei.metrics.reason_codes import exit_category, reason_code
from mei.metrics.replay import SIDES, Group, ReplayNumbers, RunSums, assembled
from mei.model.replay import CONFIDENCES, ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.reasons import reason_text
from mei.workflows.strategy import SweepRun


def sweep_of(
    inputs: ReplayInputs, base: SymbolConfigs, semantics: Semantics, n_threads: int
) -> SweepRun:
    """A sweep over the inputs: what it returns runs any number of configurations and shares their stages."""
    sweep = Sweep(inputs, base, semantics, report_layout, n_threads)
    balance_usd = float(inputs.initial_balance_usd)

    def run(overrides: Sequence[Mapping[str, float]]) -> list[ReplayNumbers]:
        return [row_numbers(row, sweep, balance_usd) for row in sweep.run(overrides)]

    return run


def report_layout(n_symbols: int) -> GroupLayout:
    """Groups by the words of the report."""
    texts = [reason_text(reason, 0, 0.0, 0.0) for reason in range(N_REASONS)]
    codes = [reason_code("CLOSE_LONG", text) for text in texts]
    return group_layout(n_symbols, [exit_category(text) for text in texts], codes)


def row_numbers(row: Row, sweep: Sweep, balance_usd: float) -> ReplayNumbers:
    """One row in the numbers of a report."""
    tally, layout = row.tally, sweep.layout
    places = layout.grouping
    blocked = [name for name in tally.dtype.names if name.startswith("blocked_by_")]

    def groups(first: int, words: Sequence[str]) -> dict[str, Group]:
        found = zip(words, row.groups[first : first + len(words)].tolist(), strict=True)
        return {word: Group(*counted) for word, counted in found if counted[0]}

    def summed(count: str, money: str) -> Group:
        return Group(int(tally[count]), 0, float(tally[money]))

    return assembled(
        RunSums(
            initial_balance_usd=balance_usd,
            final_balance_usd=float(tally["final_balance"]),
            closes=summed("trades", "pnl"),
            wins=summed("wins", "gross_profit"),
            losses=summed("losses", "gross_loss"),
            fees_usd=float(tally["fees"]),
            n_signals=row.n_signals,
            sharpe_ratio=float(tally["sharpe"]),
            drawdown=(float(tally["drawdown"]), float(tally["drawdown_frac"])),
            gates={**row.gates, **{name: int(tally[name]) for name in blocked}},
            by_confidence=groups(0, CONFIDENCES),
            by_exit_reason=groups(places.first_category, layout.categories),
            by_reason_code=groups(places.first_code, layout.codes),
            by_symbol=groups(places.first_symbol, sweep.names),
            by_side=groups(places.first_side, SIDES),
        )
    )
