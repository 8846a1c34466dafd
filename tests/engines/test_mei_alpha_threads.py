"""Stages on several threads are the stages on one, to the last bit, however the bars are shared out."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mei.engines import mei_alpha as engine
from mei.model.replay import ReplayResult
from mei.model.semantics import REFERENCE, STRICT, Semantics
from tests.oracles.comparison import replay_inputs
from tests.oracles.mei_alpha.cases import Case, cases
from tests.oracles.test_mei_alpha_continuation import cut_in_two


@pytest.fixture(autouse=True)
def threads_for_few_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_BARS_A_THREAD", 7)
    monkeypatch.setattr(engine, "_FIRST_CANDIDATES", 1)


def plain(value: Any) -> Any:
    """Something that is equal where every bit is."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return repr(value)


def everything_of(result: ReplayResult) -> dict[str, Any]:
    return {one.name: plain(getattr(result, one.name)) for one in fields(result)}


@pytest.mark.parametrize("semantics", [STRICT, REFERENCE], ids=["strict", "reference"])
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(case=cases())
def test_threads_change_nothing(semantics: Semantics, case: Case) -> None:
    inputs, configs = replay_inputs(case, semantics)
    inputs = replace(inputs, exports_state=semantics is STRICT)
    alone = everything_of(engine.replay(inputs, configs, semantics))
    for n_threads in (2, 5):
        assert everything_of(engine.replay(inputs, configs, semantics, n_threads)) == alone


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(case=cases(), where=st.floats(0.2, 0.8))
def test_threads_change_nothing_of_a_run_that_goes_on(case: Case, where: float) -> None:
    inputs, configs = replay_inputs(case, STRICT)
    known_ms = np.unique(inputs.candles.open_ms) + inputs.candles.interval_ms
    cut_ms = int(known_ms[int(len(known_ms) * where)])
    _, alone, late = cut_in_two(inputs, configs, STRICT, cut_ms)
    for n_threads in (2, 5):
        together = engine.replay(late, configs, STRICT, n_threads)
        assert everything_of(together) == everything_of(alone)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
def test_shares_hold_every_bar_once(n_threads: int) -> None:
    symbols = np.array(
        [(0, 10), (10, 10), (10, 11), (11, 60), (60, 61)], dtype=[("first", int), ("end", int)]
    )
    shares = engine._shares(symbols, [0, 1, 3, 4], n_threads)
    bars = [(one.symbol, bar) for share in shares for one in share for bar in range(*one[1:])]
    assert bars == [
        *((0, bar) for bar in range(10)),
        *((3, bar) for bar in range(11, 60)),
        (4, 60),
    ]
    sizes = [sum(one.end - one.first for one in share) for share in shares]
    assert len(shares) == (1 if n_threads == 1 else -(-60 // -(-60 // (4 * n_threads))))
    assert max(sizes) == (60 if n_threads == 1 else -(-60 // (4 * n_threads)))


def test_no_symbol_is_no_share_but_an_empty_one() -> None:
    none = np.zeros(0, dtype=[("first", int), ("end", int)])
    assert engine._shares(none, [], 1) == [[]] == engine._shares(none, [], 2)
