"""Every row of a sweep is the report of a replay of the same configuration, bit for bit, in both semantics."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from mei.engines.mei_alpha import SymbolConfigs, replay
from mei.engines.mei_alpha_sweep import N_REASONS, GroupLayout, Sweep, group_layout
from mei.metrics.reason_codes import exit_category, reason_code
from mei.metrics.replay import ReplayNumbers, replay_numbers
from mei.model.errors import ConfigError
from mei.model.replay import CONFIDENCES, InitState, ReplayInputs
from mei.model.semantics import REFERENCE, STRICT, Semantics
from mei.rules.mei_alpha.keys import BY_PATH, DEFAULTS, SWEPT, set_swept
from mei.rules.mei_alpha.reasons import reason_text
from mei.rules.mei_alpha.records import GATES
from tests.oracles.comparison import as_candles, as_funding
from tests.oracles.mei_alpha.cases import LOOSE, VALUES, joined, walk

_SIDES = ("LONG", "SHORT")
#: Sub-bar base, ms; main bars are four of them.
_QUARTER_MS = 900_000


def layout(n_symbols: int) -> GroupLayout:
    """Groups by the words of the report."""
    texts = [reason_text(reason, 0, 0.0, 0.0) for reason in range(N_REASONS)]
    codes = [reason_code("CLOSE_LONG", text) for text in texts]
    return group_layout(n_symbols, [exit_category(text) for text in texts], codes)


def market(seed: int, with_sub_bars: bool) -> ReplayInputs:
    """Four symbols of 160 main bars, some with sub-bars and funding."""
    rng = random.Random(seed)
    quarters = {name: walk(rng, 160, _QUARTER_MS) for name in ("BTC", "ETH", "PAXG", "kPEPE")}
    main = {name: joined(bars, 4 * _QUARTER_MS) for name, bars in quarters.items()}
    candles = as_candles(main, 4 * _QUARTER_MS)
    assert candles is not None
    if not with_sub_bars:
        return ReplayInputs(candles, lookback=12)
    sub_bars = as_candles(quarters, _QUARTER_MS)
    times = range(int(candles.open_ms.min()), int(candles.open_ms.max()), 3_600_000)
    rates = {name: [(time, rng.uniform(-1e-3, 1e-3)) for time in times] for name in main}
    return ReplayInputs(candles, sub_bars, sub_bars, as_funding(rates), lookback=12)


def random_overrides(rng: random.Random) -> dict[str, float]:
    """One to five axes of any stage, with values as a sweep gives them: numbers."""
    paths = rng.sample([path for path in VALUES if path in SWEPT], rng.randrange(1, 6))
    found = {path: float(rng.choice(VALUES[path])) for path in paths}
    fast = found.get("indicators.ema_fast_window", LOOSE["indicators.ema_fast_window"])
    return found | ({"indicators.ema_slow_window": fast + 3.0} if rng.random() < 0.2 else {})


def columns_of(
    overrides: Sequence[Mapping[str, float]], base: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The same for all configurations: what one does not override has the number of the base."""
    paths = sorted({path for one in overrides for path in one})
    assert "indicators.ave_avg_atr_window" not in paths  # sets another path, too
    return {
        path: np.array([one.get(path, float(base[path])) for one in overrides]) for path in paths
    }


def bits(value: Any) -> Any:
    return struct.pack("<d", value) if isinstance(value, float) else value


def numbers_of_row(row: Any, sweep: Sweep, balance_usd: float) -> dict[str, Any]:
    """A row in the words of a report's numbers."""
    tally, grouping = row["tally"], sweep.layout.grouping
    words: dict[str, tuple[int, tuple[str, ...]]] = {
        "by_confidence": (0, CONFIDENCES),
        "by_exit_reason": (grouping.first_category, sweep.layout.categories),
        "by_reason_code": (grouping.first_code, sweep.layout.codes),
        "by_symbol": (grouping.first_symbol, sweep.names),
        "by_side": (grouping.first_side, _SIDES),
    }
    groups = {
        kind: {
            word: tuple(row["groups"][start + i].item())
            for i, word in enumerate(names)
            if row["groups"]["trades"][start + i]
        }
        for kind, (start, names) in words.items()
    }
    return {
        "balances": (balance_usd, tally["final_balance"].item()),
        "closes": tuple(tally[name].item() for name in ("trades", "wins", "losses")),
        "sums": tuple(tally[name].item() for name in ("pnl", "gross_profit", "gross_loss", "fees")),
        "sharpe": tally["sharpe"].item(),
        "drawdown": (tally["drawdown"].item(), tally["drawdown_frac"].item()),
        "signals": int(row["n_signals"]),
        "groups": groups,
    }


def numbers_of_report(numbers: ReplayNumbers) -> dict[str, Any]:
    """The same of a replay's numbers."""
    kinds = ("by_confidence", "by_exit_reason", "by_reason_code", "by_symbol", "by_side")
    groups = {
        kind: {
            word: (group.trades, group.wins, group.pnl_usd)
            for word, group in getattr(numbers, kind).items()
        }
        for kind in kinds
    }
    n_trades, n_wins, n_losses = numbers.total_trades, numbers.total_wins, numbers.total_losses
    return {
        "balances": (numbers.initial_balance_usd, numbers.final_balance_usd),
        "closes": (n_trades, n_wins, n_losses),
        "sums": (
            numbers.avg_trade_pnl_usd * n_trades if n_trades else 0.0,
            numbers.avg_win_usd * n_wins if n_wins else 0.0,
            numbers.avg_loss_usd * n_losses if n_losses else 0.0,
            numbers.total_fees_usd,
        ),
        "sharpe": numbers.sharpe_ratio,
        "drawdown": (numbers.max_drawdown_usd, numbers.max_drawdown_frac),
        "signals": numbers.total_signals,
        "groups": groups,
    }


def compare(
    row: Any, sweep: Sweep, inputs: ReplayInputs, settings: Mapping[str, Any], semantics: Semantics
) -> int:
    """Assert that the row is what a replay gives; the number of closes."""
    result = replay(inputs, SymbolConfigs(settings), semantics)
    texts = [
        reason_text(int(t["reason"]), int(t["confidence"]), float(t["detail_1"]), 0.0)
        for t in result.trades
    ]
    expected = numbers_of_report(replay_numbers(result, texts))
    found = numbers_of_row(row, sweep, inputs.initial_balance_usd)
    sums = found.pop("sums"), expected.pop("sums")
    # The report keeps averages: its sums are those again but for a rounding.
    assert all(math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-9) for a, b in zip(*sums, strict=True))
    assert bits(sums[0][3]) == bits(sums[1][3])
    assert found == expected
    for name, value in result.gates.items():
        is_blocked = name in row["tally"].dtype.names
        assert (row["tally"][name] if is_blocked else row["gates"][GATES.index(name)]) == value, (
            name
        )
    return int(row["tally"]["trades"])


@pytest.mark.parametrize("semantics", [REFERENCE, STRICT], ids=["reference", "strict"])
@pytest.mark.parametrize("with_sub_bars", [False, True], ids=["main", "sub_bars"])
def test_rows_equal_replays(semantics: Semantics, with_sub_bars: bool) -> None:
    rng = random.Random(7)
    inputs = market(3, with_sub_bars)
    base = dict(DEFAULTS | LOOSE)
    overrides = [random_overrides(rng) for _ in range(160)]
    sweep = Sweep(inputs, SymbolConfigs(base), semantics, layout, n_threads=2)
    rows = sweep.run(columns_of(overrides, base), len(overrides))
    n_closes = []
    for row, one in zip(rows, overrides, strict=True):
        settings = dict(base)
        for path, value in one.items():
            assert set_swept(settings, path, value)
        n_closes.append(compare(row, sweep, inputs, settings, semantics))
    assert np.median(n_closes) > 5
    assert len({bits(row["tally"]["final_balance"].item()) for row in rows}) > 60


def test_every_swept_path_changes_a_stage_it_belongs_to() -> None:
    """A path no record holds would silently be without effect; these are, and the specification says so."""
    from mei.rules.mei_alpha.records import reads_indicators, reads_risk, reads_screen

    idle = {
        path
        for path in SWEPT
        if not (reads_indicators(path) or reads_screen(path) or reads_risk(path))
    }
    assert idle == {
        "trade.use_bbo_for_fills",
        "indicators.ave_avg_atr_window",
        "thresholds.tp_and_momentum.adx_weak_lt",
        "thresholds.tp_and_momentum.tp_mult_strong",
        "thresholds.tp_and_momentum.tp_mult_weak",
    }
    assert {BY_PATH[path].use for path in idle} == {"—"}


def test_the_number_of_threads_and_the_order_do_not_matter() -> None:
    rng = random.Random(11)
    inputs = market(5, with_sub_bars=True)
    overrides = [random_overrides(rng) for _ in range(40)]
    base = dict(DEFAULTS | LOOSE)
    columns = columns_of(overrides, base)
    backwards = {path: values[::-1] for path, values in columns.items()}
    one = Sweep(inputs, SymbolConfigs(base), STRICT, layout, n_threads=1).run(columns, 40)
    other = Sweep(inputs, SymbolConfigs(base), STRICT, layout, n_threads=2).run(backwards, 40)
    assert one.tobytes() == other[::-1].tobytes()


def test_a_sweep_starts_clean() -> None:
    inputs = market(5, with_sub_bars=False)
    state = InitState(1, "test", 0, 5_000.0)
    with_state = ReplayInputs(inputs.candles, init_state=state)
    with pytest.raises(ConfigError, match="takes no --init-state"):
        Sweep(with_state, SymbolConfigs(DEFAULTS), STRICT, layout, n_threads=1)
