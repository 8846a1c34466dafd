"""A run cut anywhere, exported through JSON and continued gives what the uninterrupted run gives, bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mei.engines.mei_alpha import SymbolConfigs, replay
from mei.metrics.replay import max_drawdown
from mei.model.candles import Candles
from mei.model.errors import ConfigError
from mei.model.replay import InitState, ReplayInputs, ReplayResult
from mei.model.semantics import REFERENCE, STRICT, Semantics
from mei.report.replay_csv import Brought, brought_by, trades_csv, with_open_trades
from tests.oracles.comparison import engine_rows, replay_inputs
from tests.oracles.mei_alpha.cases import Case, cases

END = "End of Backtest"


def exported(result: ReplayResult, inputs: ReplayInputs) -> InitState:
    """The state at the end of a run, as it comes back from JSON."""
    interval_ms = inputs.candles.interval_ms
    content = with_open_trades(result, inputs.candles, interval_ms, Brought())
    kept = json.loads(json.dumps(content))
    return InitState(2, "test", 0, result.left_usd, result.left_positions, kept)


def cut_in_two(
    inputs: ReplayInputs, configs: SymbolConfigs, semantics: Semantics, cut_ms: int
) -> tuple[ReplayResult, ReplayResult, ReplayInputs]:
    """A run to `cut_ms` and the run that goes on from its export, without a candle from before it, and its inputs."""
    before = replay(replace(inputs, to_ms=cut_ms, exports_state=True), configs, semantics)
    goes_on = replace(
        inputs,
        candles=bars_after(inputs.candles, cut_ms),
        exit_candles=inputs.exit_candles and bars_after(inputs.exit_candles, cut_ms),
        entry_candles=inputs.entry_candles and bars_after(inputs.entry_candles, cut_ms),
        from_ms=None,
        init_state=exported(before, inputs),
        exports_state=True,
    )
    return before, replay(goes_on, configs, semantics), goes_on


def bars_after(candles: Candles, cut_ms: int) -> Candles:
    """The bars that are known after the cut."""
    is_late = candles.open_ms + candles.interval_ms > cut_ms
    lengths = [int(np.sum(is_late[candles.rows_of(name)])) for name in candles.symbols]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    columns = [column[is_late] for column in candles.columns()]
    names = ("open_ms", "open", "high", "low", "close", "volume")
    return replace(candles, offsets=offsets, **dict(zip(names, columns, strict=True)))


def plain_rows(result: ReplayResult) -> list[dict[str, object]]:
    return [row for row in engine_rows(result) if row["reason"] != END]


@settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
@given(case=cases(), where=st.floats(0.05, 0.95))
def test_a_continued_run_equals_the_uninterrupted_one(case: Case, where: float) -> None:
    # One entry a step: a cut inside a step must not refill the budget.
    case = replace(case, config=case.config | {"trade.max_entry_orders_per_loop": 1})
    inputs, configs = replay_inputs(case, STRICT)
    whole = replay(replace(inputs, exports_state=True), configs, STRICT)
    if len(whole.equity_ms) < 3:
        return
    first_ms, last_ms = int(whole.equity_ms[0]), int(whole.equity_ms[-1])
    cut_ms = first_ms + int((last_ms - first_ms) * where)
    cut_ms -= cut_ms % 900_000  # where sub-bars and steps become known
    if cut_ms < first_ms:
        return
    before, after, late = cut_in_two(inputs, configs, STRICT, cut_ms)
    assert plain_rows(before) + plain_rows(after) == plain_rows(whole)
    points = list(zip(before.equity_ms, before.equity_usd, strict=True))[:-1]
    points += zip(after.equity_ms, after.equity_usd, strict=True)
    assert points == list(zip(whole.equity_ms, whole.equity_usd, strict=True))
    assert after.final_balance_usd == whole.final_balance_usd
    assert (after.left_usd, after.left_positions) == (whole.left_usd, whole.left_positions)
    assert without_banks(after) == without_banks(whole)
    assert drawdown_from(whole, len(before.equity_ms) - 1) == max_drawdown(
        after.equity_usd, after.peak_usd
    )
    brought = brought_by(late.init_state, None)
    rows = csv_rows(before, inputs, Brought()) + csv_rows(after, late, brought)
    assert rows == csv_rows(whole, inputs, Brought())


def without_banks(result: ReplayResult) -> dict[str, object]:
    """The continuation without its banks: columns that nothing reads hold what was there before."""
    content = dict(result.continuation or {})
    symbols = content.pop("symbols")
    return content | {
        name: {key: value for key, value in kept.items() if key != "bank"}
        for name, kept in symbols.items()
    }


def drawdown_from(whole: ReplayResult, first: int) -> tuple[float, float]:
    """The largest falls of the points from number `first` on, from the highest point there was."""
    if first == len(whole.equity_usd):
        return 0.0, 0.0
    peaks = np.maximum.accumulate(whole.equity_usd).tolist()
    points = list(zip(peaks, whole.equity_usd.tolist(), strict=True))[first:]
    usd = max(peak - value for peak, value in points)
    return usd, max((peak - value) / peak if peak > 1e-12 else 0.0 for peak, value in points)


def csv_rows(result: ReplayResult, inputs: ReplayInputs, brought: Brought) -> list[str]:
    """Lines of the trade CSV without what only the end of the run closed."""
    text = trades_csv(
        result,
        [str(row["reason"]).replace(",", ";") for row in engine_rows(result)],
        inputs.candles,
        unique_ids=True,
        known_after_ms=inputs.candles.interval_ms,
        brought=brought,
    )
    return [line for line in text.splitlines()[1:] if not line.endswith(END)]


@settings(max_examples=1, deadline=None, derandomize=True, database=None)
@given(case=cases())
def test_a_continuation_in_other_semantics_is_refused(case: Case) -> None:
    inputs, configs = replay_inputs(case, STRICT)
    before = replay(replace(inputs, exports_state=True), configs, STRICT)
    goes_on = replace(inputs, from_ms=None, init_state=exported(before, inputs))
    with pytest.raises(
        ConfigError, match="with semantics 'reference', it continues one with 'strict'"
    ):
        replay(goes_on, configs, REFERENCE)


def test_what_a_continuation_cannot_go_on_from_is_refused() -> None:
    """Other windows, an end before the state, and a held symbol that is left out."""

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(case=cases())
    def find(case: Case) -> None:
        if found or case.traded is not None:
            return
        inputs, configs = replay_inputs(case, STRICT)
        cut_ms = int(inputs.candles.open_ms.min()) + 40 * inputs.candles.interval_ms
        cut = replace(inputs, from_ms=None, to_ms=cut_ms, exports_state=True)
        before = replay(cut, configs, STRICT)
        if before.left_positions:
            found.append((inputs, configs, before, cut_ms))

    found: list[tuple[ReplayInputs, SymbolConfigs, ReplayResult, int]] = []
    find()
    inputs, configs, before, cut_ms = found[0]
    goes_on = replace(inputs, from_ms=None, to_ms=None, init_state=exported(before, inputs))
    window = "indicators.ema_slow_window"
    changed = {**configs.portfolio, window: configs.portfolio[window] + 1}
    with pytest.raises(ConfigError, match="ema_slow_window of"):
        replay(goes_on, SymbolConfigs(changed), STRICT)
    with pytest.raises(ConfigError, match="there must be something later"):
        replay(replace(goes_on, to_ms=cut_ms - 1), configs, STRICT)
    held = before.left_positions[0].symbol
    with pytest.raises(ConfigError, match=f"holds {held}"):
        replay(replace(goes_on, traded=frozenset({"nothing"})), configs, STRICT)
