"""Rules as plain Python, rules compiled, and the oracle: one answer, bit for bit."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mei.engines import mei_alpha, mei_alpha_market
from mei.engines.bind import bind_cpu
from mei.engines.mei_alpha import indicators
from mei.model.replay import ReplayResult
from mei.rules.mei_alpha.keys import DEFAULTS
from tests.oracles.comparison import as_candles, engine_run, first_difference
from tests.oracles.interpreted import interpreted
from tests.oracles.mei_alpha.cases import Case, cases
from tests.oracles.mei_alpha.switches import REFERENCE, STRICT

_COMPARED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def bits(value: Any) -> Any:
    """A value as bytes, so that NaN equals itself and zeros keep their signs; arrays of records field by field."""
    if isinstance(value, np.ndarray) and value.dtype.names:
        return {name: value[name].tobytes() for name in value.dtype.names}
    if isinstance(value, np.ndarray):
        return value.tobytes()
    return value.hex() if isinstance(value, float) else value


def all_bits(result: ReplayResult) -> dict[str, Any]:
    return {field.name: bits(getattr(result, field.name)) for field in fields(result)}


def hold_together(case: Case, switches: dict[str, str]) -> None:
    compiled = engine_run(case, switches)
    with interpreted():
        assert first_difference(case, switches) is None
        plain = engine_run(case, switches)
    assert all_bits(plain) == all_bits(compiled)


@_COMPARED
@given(case=cases())
def test_plain_rules_equal_compiled_ones_and_the_oracle_in_reference_semantics(case: Case) -> None:
    hold_together(case, REFERENCE)


@_COMPARED
@given(case=cases())
def test_plain_rules_equal_compiled_ones_and_the_oracle_in_strict_semantics(case: Case) -> None:
    hold_together(case, STRICT)


@settings(_COMPARED, max_examples=30)
@given(case=cases(), repaired=st.sets(st.sampled_from(sorted(STRICT))))
def test_plain_rules_equal_compiled_ones_and_the_oracle_with_any_switches_repaired(
    case: Case, repaired: set[str]
) -> None:
    hold_together(case, REFERENCE | {name: STRICT[name] for name in repaired})


@settings(_COMPARED, max_examples=20)
@given(case=cases(sub_bars=False, contexts=False, max_symbols=1))
def test_plain_indicators_equal_compiled_ones(case: Case) -> None:
    candles = as_candles(case.candles, case.interval_ms)
    assert candles is not None
    config = DEFAULTS | case.config
    compiled = indicators(candles, candles.symbols[0], config)
    with interpreted():
        plain = indicators(candles, candles.symbols[0], config)
    assert {name: bits(values) for name, values in plain.items()} == {
        name: bits(values) for name, values in compiled.items()
    }


def test_nothing_stays_interpreted() -> None:
    def fail_inside() -> None:
        with interpreted():
            assert mei_alpha.bind_cpu is not bind_cpu
            raise KeyError

    with pytest.raises(KeyError):
        fail_inside()
    assert mei_alpha.bind_cpu is mei_alpha_market.bind_cpu is bind_cpu
