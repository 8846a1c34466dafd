"""No look-ahead: whatever is stamped up to T stays as it is when everything known only after T is changed or cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mei.engines.mei_alpha import replay
from mei.model.candles import Candles, FundingRates
from mei.model.replay import ReplayInputs, ReplayResult
from mei.model.semantics import REFERENCE, STRICT, Semantics
from tests.oracles.comparison import engine_rows, replay_inputs
from tests.oracles.mei_alpha.cases import Case, cases

_DRAWN = settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)


def changed_after(candles: Candles | None, moment_ms: int, how: str) -> Candles | None:
    """The bars, those that close after the moment cut off or given other prices and volumes."""
    if candles is None:
        return None
    is_late = candles.open_ms + candles.interval_ms > moment_ms
    if how == "cut":
        kept = ~is_late
        lengths = [int(np.sum(kept[candles.rows_of(name)])) for name in candles.symbols]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        columns = [column[kept] for column in candles.columns()]
    else:
        offsets = candles.offsets
        factor = np.where(is_late, 1.0 + 0.3 * np.sin(np.arange(len(is_late))), 1.0)
        columns = [candles.open_ms, *(column * factor for column in candles.columns()[1:])]
    names = ("open_ms", "open", "high", "low", "close", "volume")
    return replace(candles, offsets=offsets, **dict(zip(names, columns, strict=True)))


def changed_rates(funding: FundingRates | None, moment_ms: int) -> FundingRates | None:
    """The rates, later ones negated."""
    if funding is None:
        return None
    return replace(
        funding, rate=np.where(funding.time_ms > moment_ms, -funding.rate - 1e-4, funding.rate)
    )


def known_by(result: ReplayResult, moment_ms: int) -> tuple[list[object], list[object]]:
    """Trades and points stamped up to the moment, but what closes the run at its end."""
    rows = [
        row
        for row in engine_rows(result)
        if row["timestamp"] <= moment_ms and row["reason"] != "End of Backtest"
    ]
    points = list(zip(result.equity_ms.tolist(), result.equity_usd.tolist(), strict=True))
    if len(points) > 1 and points[-1][0] == points[-2][0]:
        points.pop()
    return rows, [point for point in points if point[0] <= moment_ms]


def looks_ahead(case: Case, semantics: Semantics, where: float, how: str) -> bool:
    """Whether changing what is known after a moment changes what is stamped up to it."""
    inputs, configs = replay_inputs(case, semantics)
    whole = replay(inputs, configs, semantics)
    if len(whole.equity_ms) < 3:
        return False
    first_ms, last_ms = int(whole.equity_ms[0]), int(whole.equity_ms[-1])
    moment_ms = first_ms + int((last_ms - first_ms) * where)
    moment_ms -= moment_ms % 900_000
    other = _changed(inputs, moment_ms, how)
    return known_by(whole, moment_ms) != known_by(replay(other, configs, semantics), moment_ms)


def _changed(inputs: ReplayInputs, moment_ms: int, how: str) -> ReplayInputs:
    candles = changed_after(inputs.candles, moment_ms, how)
    assert candles is not None
    return replace(
        inputs,
        candles=candles,
        exit_candles=changed_after(inputs.exit_candles, moment_ms, how),
        entry_candles=changed_after(inputs.entry_candles, moment_ms, how),
        funding=changed_rates(inputs.funding, moment_ms),
    )


@pytest.mark.parametrize("how", ["cut", "changed"])
@_DRAWN
@given(case=cases(), where=st.floats(0.05, 0.95))
def test_strict_never_looks_ahead(case: Case, where: float, how: str) -> None:
    assert not looks_ahead(case, STRICT, where, how)


def test_reference_looks_ahead() -> None:
    """That is what bar_time = close repairs: sub-bars are judged with the close of the bar they lie in."""
    found = {"with sub-bars": 0, "all": 0}

    @settings(_DRAWN, max_examples=60)
    @given(case=cases(), where=st.floats(0.2, 0.8))
    def count(case: Case, where: float) -> None:
        found["all"] += looks_ahead(case, REFERENCE, where, "changed")
        if case.entry_bars is not None:
            found["with sub-bars"] += looks_ahead(case, REFERENCE, where, "changed")

    count()
    assert found["with sub-bars"] > 0
    assert found["all"] > 10
