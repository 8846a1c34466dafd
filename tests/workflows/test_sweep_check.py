"""Axes, values and combinations that a strict sweep refuses before it starts."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mei.model.errors import ConfigError
from mei.model.semantics import STRICT
from mei.rules.mei_alpha.keys import BY_PATH, DEFAULTS, SWEPT, set_swept
from mei.rules.mei_alpha.ranges import config_faults
from mei.workflows import sweep_check
from mei.workflows.strategy import MEI_ALPHA, MOMENTUM_BREAKOUT, BacktestStrategy, load_strategy
from mei.workflows.sweep_check import check_swept
from mei.workflows.sweep_constraint import parse_constraint
from mei.workflows.sweep_spec import Axis, SweepSpec

FAST, SLOW = "indicators.ema_fast_window", "indicators.ema_slow_window"
LOW, HIGH = "trade.reentry_cooldown_min_mins", "trade.reentry_cooldown_max_mins"
SWITCH = "trade.reentry_cooldown_minutes"


def strategy_of(folder: Path, name: str = MEI_ALPHA, text: str = "") -> BacktestStrategy:
    """The strategy with a file of this text."""
    (folder / "c.yaml").write_text(text)
    return load_strategy(
        name,
        config=str(folder / "c.yaml"),
        live=False,
        symbol=None,
        slippage_bps=None,
        semantics=STRICT,
        tell=lambda line: None,
    )


def spec_of(*constraints: str, **axes: list[float]) -> SweepSpec:
    """A spec; `__` in the name of an axis is a dot."""
    swept = tuple(Axis(n.replace("__", "."), tuple(map(float, v))) for n, v in axes.items())
    paths = [axis.path for axis in swept]
    conditions = tuple(parse_constraint(text, paths, "c") for text in constraints)
    return SweepSpec(swept, constraints=conditions)


def refusal(strategy: BacktestStrategy, spec: SweepSpec) -> str:
    """Why the spec is refused."""
    with pytest.raises(ConfigError) as caught:
        check_swept(strategy, spec, "s.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "must"),
    [
        (FAST, 10.5, "whole numbers, 0 or more, was 10.5"),
        (FAST, 0.0, "1 to 100000, was 0.0"),
        ("trade.max_adds_per_symbol", -1.0, "whole numbers, 0 or more, was -1.0"),
        ("trade.enable_pyramiding", 0.5, "0 (false) or 1 (true), was 0.5"),
        ("trade.enable_pyramiding", 2.0, "0 (false) or 1 (true), was 2.0"),
        ("trade.entry_min_confidence", 3.0, "0 (low) or 1 (medium) or 2 (high), was 3.0"),
        ("thresholds.entry.macd_hist_entry_mode", 0.5, "0 (accel) or 1 (sign) or 2 (none), was 0.5"),
        ("trade.leverage", 0.0, "above 0, was 0.0"),
    ],
)  # fmt: skip
def test_values_are_those_a_strategy_file_may_have(
    tmp_path: Path, path: str, value: float, must: str
) -> None:
    spec = SweepSpec((Axis(path, (1.0, value)),))
    said = refusal(strategy_of(tmp_path), spec)
    assert said == f"s.yaml: values of axis {path} must be {must}"


def test_every_default_can_be_swept(tmp_path: Path) -> None:
    strategy = strategy_of(tmp_path)
    axes = tuple(Axis(path, (float(DEFAULTS[path]),)) for path in SWEPT)
    alias = "indicators.ave_avg_atr_window"
    check_swept(strategy, SweepSpec(tuple(a for a in axes if a.path != alias)), "s.yaml")
    assert "are the same: leave one out" in refusal(strategy, SweepSpec(axes))
    assert len(axes) > 140


@pytest.mark.parametrize(
    ("path", "value", "must"),
    [
        ("lookback", 1.0, "whole numbers, 2 or more"),
        ("momentum_breakout.lookback", 20.5, "whole numbers, 2 or more"),
        ("lookback", 501.0, "at most max_lookback = 500"),
        ("max_hold_bars", 1.5, "whole numbers, 0 or more"),
        ("allow_short", -1.0, "0 (false) or 1 (true)"),
        ("stop_bps", -1.0, "at least 0"),
        ("breakout_z", 2.0, "left out, they have no effect while signal is channel"),
    ],
)
def test_values_of_momentum_breakout(tmp_path: Path, path: str, value: float, must: str) -> None:
    strategy = strategy_of(tmp_path, MOMENTUM_BREAKOUT)
    spec = SweepSpec((Axis(path, (value,)),))
    assert refusal(strategy, spec) == f"s.yaml: values of axis {path} must be {must}, was {value!r}"


def test_axes_of_momentum_breakout_that_a_replay_does_not_read(tmp_path: Path) -> None:
    text = "momentum_breakout: {signal: zscore}"
    strategy = strategy_of(tmp_path, MOMENTUM_BREAKOUT, text)
    check_swept(strategy, spec_of(breakout_z=[1, 2.5], lookback=[2, 500]), "s.yaml")
    assert "while signal is zscore" in refusal(strategy, spec_of(breakout_bps=[1]))
    for path in ("min_regime_prob", "max_lookback", "regimes", "signal"):
        assert f"{path} is none" in refusal(strategy, SweepSpec((Axis(path, (1.0,)),)))
    both = SweepSpec((Axis("stop_bps", (1.0,)), Axis("momentum_breakout.stop_bps", (2.0,))))
    assert "stop_bps and momentum_breakout.stop_bps are the same" in refusal(strategy, both)
    empty = SweepSpec((), gives_lookback=True)
    assert "lookback has no effect on this strategy" in refusal(strategy, empty)
    check_swept(strategy_of(tmp_path), empty, "s.yaml")


def test_an_order_of_momentum_breakout_must_have_a_size(tmp_path: Path) -> None:
    strategy = strategy_of(tmp_path, MOMENTUM_BREAKOUT)
    check_swept(strategy, spec_of(notional_usd=[0, 500]), "s.yaml")
    assert refusal(strategy, spec_of(notional_usd=[500, 0], allocation_frac=[0.1, 0])) == (
        "s.yaml: notional_usd or allocation_frac must be above 0 in every combination, is not with notional_usd = 0, "
        "allocation_frac = 0: leave such out, constraints: [notional_usd > 0 or allocation_frac > 0]"
    )
    said = refusal(strategy, spec_of(momentum_breakout__allocation_frac=[0.5, 0]))
    assert said.endswith("constraints: [momentum_breakout.allocation_frac > 0]")


def test_the_first_combination_out_of_order_is_named_with_the_constraint_that_helps(
    tmp_path: Path,
) -> None:
    strategy = strategy_of(tmp_path)
    axes = {
        "trade__leverage": [1, 2],
        "indicators__ema_slow_window": [50, 20, 10],
        "indicators__ema_fast_window": [5, 10, 20],
    }
    said = refusal(strategy, spec_of(**axes))
    assert said == (
        f"s.yaml: {FAST} must be below {SLOW} in every combination, is not with {FAST} = 20, {SLOW} = 20: leave such "
        f"out, constraints: [{FAST} < {SLOW}]"
    )
    check_swept(strategy, spec_of(f"{FAST} < {SLOW}", **axes), "s.yaml")
    check_swept(strategy, spec_of(f"{FAST} + 1 <= {SLOW}", **axes), "s.yaml")
    said = refusal(strategy, spec_of(f"{FAST} != 20", **axes))
    assert f"{FAST} = 10, {SLOW} = 10" in said
    check_swept(strategy, spec_of(f"{FAST} != 20 and {SLOW} != 10", **axes), "s.yaml")


def test_a_switch_that_is_off_lets_the_order_be(tmp_path: Path) -> None:
    strategy = strategy_of(tmp_path)
    order = {"trade__reentry_cooldown_min_mins": [200.0, 10.0]}
    assert refusal(strategy, spec_of(**order)).endswith(f"constraints: [{LOW} <= 180]")
    off = {"trade__reentry_cooldown_minutes": [0.0]}
    check_swept(strategy, spec_of(**order, **off), "s.yaml")
    said = refusal(strategy, spec_of(**order, trade__reentry_cooldown_minutes=[0.0, 60.0]))
    assert f"{LOW} = 200, {HIGH} = 180, {SWITCH} = 60" in said
    assert said.endswith(f"constraints: [{SWITCH} == 0 or {LOW} <= 180]")
    closed = strategy_of(tmp_path, text="global: {trade: {reentry_cooldown_minutes: 0}}")
    check_swept(closed, spec_of(**order), "s.yaml")


def test_a_symbol_with_settings_of_its_own_counts_too(tmp_path: Path) -> None:
    text = f"symbols: {{ETH: {{indicators: {{{SLOW.split('.')[1]}: 30}}}}}}"
    strategy = strategy_of(tmp_path, text=text)
    said = refusal(strategy, spec_of(indicators__ema_fast_window=[10, 40]))
    assert f"symbols.ETH: {FAST} must be below {SLOW} in every combination" in said
    assert said.endswith(f"{FAST} = 40, {SLOW} = 30: leave such out, constraints: [{FAST} < 30]")
    check_swept(strategy, spec_of(indicators__ema_fast_window=[10, 29]), "s.yaml")


def test_constraints_over_other_axes_settle_it_too(tmp_path: Path) -> None:
    strategy = strategy_of(tmp_path)
    axes = {
        "indicators__ema_fast_window": [10, 40],
        "trade__leverage": [20, 30],
        "indicators__ema_slow_window": [15, 50],
        "trade__sl_atr_mult": [1, 2],
    }
    through = (f"{FAST} < trade.leverage", f"trade.leverage <= {SLOW}")
    check_swept(strategy, spec_of(*through, **axes), "s.yaml")
    said = refusal(
        strategy,
        spec_of(
            through[0], "trade.sl_atr_mult > 1", **axes | {"indicators__ema_slow_window": [10]}
        ),
    )
    assert f"{FAST} = 10, {SLOW} = 10" in said


def test_a_search_without_an_end_is_refused_with_the_constraint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_check, "_MOST_CHECKED", 100)
    monkeypatch.setattr(sweep_check, "_BLOCK", 10)
    axes = {
        "indicators__ema_fast_window": list(range(1, 60)),
        "indicators__ema_slow_window": [60, 59],
        "trade__leverage": [1, 2],
    }
    check = (f"trade.leverage < {SLOW}", f"{FAST} < 59 or trade.leverage > 2")
    said = refusal(strategy_of(tmp_path), spec_of(*check, **axes))
    assert "which 100 of them do not show" in said
    check_swept(strategy_of(tmp_path), spec_of(*check, f"{FAST} < {SLOW}", **axes), "s.yaml")


@settings(max_examples=60, deadline=None)
@given(
    slow=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    fast=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    minutes=st.lists(st.integers(0, 2), min_size=1, max_size=3),
    low=st.lists(st.integers(0, 3), min_size=1, max_size=3),
    bound=st.integers(0, 8),
)
def test_a_spec_is_refused_if_and_only_if_a_combination_would_be(
    tmp_path_factory: pytest.TempPathFactory,
    slow: list[int],
    fast: list[int],
    minutes: list[int],
    low: list[int],
    bound: int,
) -> None:
    strategy = strategy_of(
        tmp_path_factory.mktemp("s"), text="global: {trade: {reentry_cooldown_max_mins: 45}}"
    )
    axes = {SLOW: slow, FAST: fast, SWITCH: minutes, LOW: [44 + one for one in low]}
    spec = spec_of(
        f"{SLOW} + {FAST} <= {bound} or {SWITCH} == 2",
        **{path.replace(".", "__"): list(map(float, values)) for path, values in axes.items()},
    )
    is_wrong = False
    for values in itertools.product(*axes.values()):
        swept = dict(zip(axes, values, strict=True))
        if swept[SLOW] + swept[FAST] <= bound or swept[SWITCH] == 2:
            config = {**DEFAULTS, HIGH: 45}
            for path, value in swept.items():
                set_swept(config, path, float(value))
            is_wrong = is_wrong or bool(config_faults(config))
    if is_wrong:
        refusal(strategy, spec)
    else:
        check_swept(strategy, spec, "s.yaml")


def test_ten_million_combinations_are_checked_by_their_axes(tmp_path: Path) -> None:
    strategy = strategy_of(tmp_path)
    many = {
        path.replace(".", "__"): [float(n) for n in range(1, 11)]
        for path in (
            "trade.sl_atr_mult",
            "trade.leverage",
            "trade.tp_atr_mult",
            "trade.leverage_low",
        )
    }
    spec = spec_of(
        f"{FAST} + 1 <= {SLOW}",
        indicators__ema_fast_window=list(range(5, 105)),
        indicators__ema_slow_window=list(range(10, 110)),
        **many,
    )
    assert spec.n_product == 100_000_000
    looked_at = [0]
    allowed = SweepSpec.allowed

    def counted(self: SweepSpec, start: int, stop: int) -> object:
        looked_at[0] += min(stop, self.n_product) - start
        return allowed(self, start, stop)

    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(SweepSpec, "allowed", counted)
        check_swept(strategy, spec_of(indicators__ema_fast_window=[5, 49], **many), "s.yaml")
        assert looked_at[0] == 0
        check_swept(strategy, spec, "s.yaml")
        assert looked_at[0] == 10_000
    assert all(path in BY_PATH for path in spec.paths)
