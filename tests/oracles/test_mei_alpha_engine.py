"""The compiled engine against the oracle: every trade, point and counter, bit for bit, in both semantics."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mei.engines import mei_alpha
from mei.model.semantics import CHOICES
from tests.oracles.comparison import first_difference, first_indicator_difference
from tests.oracles.mei_alpha.cases import Case, cases
from tests.oracles.mei_alpha.switches import ENGINE_SWITCHES

REFERENCE = {name: CHOICES[name][0] for name in ENGINE_SWITCHES}
STRICT = {name: CHOICES[name][1] for name in ENGINE_SWITCHES}

_COMPARED = settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[
        Phase.explicit,
        Phase.generate,
    ],  # a case is small as it is; shrinking one takes minutes
    suppress_health_check=list(HealthCheck),
)


@_COMPARED
@given(case=cases())
def test_the_engine_equals_the_oracle_in_reference_semantics(case: Case) -> None:
    assert first_difference(case, REFERENCE) is None


@_COMPARED
@given(case=cases())
def test_the_engine_equals_the_oracle_in_strict_semantics(case: Case) -> None:
    assert first_difference(case, STRICT) is None


@pytest.mark.parametrize("switch", sorted(ENGINE_SWITCHES))
@settings(_COMPARED, max_examples=40)
@given(case=cases())
def test_the_engine_equals_the_oracle_with_one_switch_repaired(case: Case, switch: str) -> None:
    assert first_difference(case, REFERENCE | {switch: STRICT[switch]}) is None


@settings(_COMPARED, max_examples=300)
@given(case=cases(), repaired=st.sets(st.sampled_from(sorted(ENGINE_SWITCHES))))
def test_the_engine_equals_the_oracle_with_any_switches_repaired(
    case: Case, repaired: set[str]
) -> None:
    assert first_difference(case, REFERENCE | {name: STRICT[name] for name in repaired}) is None


@settings(_COMPARED, max_examples=60)
@given(case=cases())
def test_every_indicator_equals_the_oracles(case: Case) -> None:
    assert first_indicator_difference(case) is None


@settings(_COMPARED, max_examples=60)
@given(case=cases())
def test_chunks_of_few_bars_and_a_log_that_grows_change_nothing(case: Case) -> None:
    with patch.multiple(mei_alpha, _BANK_BARS=16, _FIRST_LOG=2):
        assert first_difference(case, STRICT) is None
