"""Mei Alpha: replays against the oracle, live walks against the oracle's replay, sweeps against reports of replays.

The same cases are drawn on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from itertools import chain, count, islice
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers
from numpy import array

from tests.mutants.corners import CORNERS, DEEP, walked
from tests.mutants.deck import Deck, uncompiled
from tests.oracles.mei_alpha import snapshots
from tests.oracles.mei_alpha.cases import Case, cases
from tests.oracles.mei_alpha.engine import Result
from tests.oracles.mei_alpha.switches import REFERENCE, STRICT

#: Cases of the first draw, and of every further one.
_DRAW = 300
#: What a live walk takes either way; everything else must be as in strict.
_LIVE_SWITCHES = ("entry_fill", "exit_fill", "trailing", "context", "btc_symbol", "warm_up")
#: Random cases of live walks, of sweeps.
_N_LIVED = 60
_N_SWEPT = 24
#: A sweep tries these one after another, the first one twice: nothing may be left from the one before.
_SWEPT: tuple[Mapping[str, float], ...] = (
    {},
    {"trade.allocation_pct": 0.3, "trade.max_total_margin_pct": 0.1, "trade.sl_atr_mult": 0.9},
    {"trade.max_open_positions": 2.0, "trade.reentry_cooldown_minutes": 30.0},
    {},
)
_PATHS = tuple(dict.fromkeys(path for one in _SWEPT for path in one))


def drawn(strategy: st.SearchStrategy[Case], number: int) -> list[Case]:
    """_DRAW cases, the same ones for the same number, whatever else is loaded."""
    found: list[Case] = []

    @seed(number)
    @settings(
        max_examples=_DRAW,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def collect(case: Case) -> None:
        found.append(case)

    with no_constants_of_modules():
        collect()
    return found[:_DRAW]


@contextmanager
def no_constants_of_modules() -> Iterator[None]:
    """Hypothesis likes numbers that it finds in loaded modules: cases would change with any line of the tests."""
    name = "_get_local_constants"
    if hasattr(providers, name):
        with patch.object(providers, name, providers.Constants):
            yield
    else:
        yield


def drawn_from(strategy: Callable[[], st.SearchStrategy[Case]]) -> Iterator[Case]:
    """Draw after draw, without end."""
    for number in count():
        yield from drawn(strategy(), number)


def mixed(number: int, names: Sequence[str] = tuple(REFERENCE)) -> dict[str, str]:
    """Strict but for some of these switches, the same ones for the same number."""
    rng = Random(number)
    return STRICT | {name: rng.choice((REFERENCE[name], STRICT[name])) for name in names}


class Replayed(NamedTuple):
    """A case, the switches to run it with, by name, and what the oracle says: of each run, and of the indicators."""

    case: Case
    semantics: dict[str, dict[str, str]]
    runs: dict[str, Result]
    snapshots: dict[str, Any]


def replay_cases() -> Iterator[Case]:
    """Random ones, then those made by hand."""
    return chain(islice(drawn_from(cases), 2 * _DRAW), CORNERS)


def replayed(case: Case, number: int) -> Replayed:
    """In both semantics, and with some switches of each."""
    semantics = {"reference": REFERENCE, "strict": STRICT, "mixed": mixed(number)}
    layers = case.symbol_configs or {}
    runs = {name: case.run(switches) for name, switches in semantics.items()}
    rows = {
        name: snapshots(bars, layers.get(name, case.config)) for name, bars in case.candles.items()
    }
    return Replayed(case, semantics, runs, rows)


def replay_difference(found: Replayed, number: int) -> str | None:
    """Every run, then the indicators. Every other case has so little room that chunks and a longer log are needed."""
    comparison = import_module("tests.oracles.comparison")
    is_tight = number % 2 == 0
    room = {"_BANK_BARS": 16 if is_tight else 1024, "_FIRST_LOG": 2 if is_tight else 4096}
    with uncompiled({"mei_alpha": room, "mei_alpha_market": {}}):
        for name, expected in found.runs.items():
            switches = found.semantics[name]
            difference = comparison.first_difference(found.case, switches, expected)
            if difference is not None:
                return f"{name}: {difference}"
        difference = comparison.first_indicator_difference(found.case, found.snapshots)
    return None if difference is None else str(difference)


class Lived(NamedTuple):
    """A case, the switches of the live walk and what the oracle's replay says, without what it does at its end."""

    case: Case
    switches: dict[str, str]
    result: Result


def live_cases() -> Iterator[Case]:
    """What a live walk knows: no sub-bars, no funding, no positions from before, no end; two that give context."""
    for case in islice(drawn_from(lambda: cases(sub_bars=False)), _N_LIVED):
        yield replace(case, funding=None, init_state=None, to_ms=None)
    for name in ("BTC", "SOL"):
        yield replace(walked(0, {}), traded=frozenset({name}))


def lived(case: Case, number: int) -> Lived:
    """With strict semantics but for some switches."""
    switches = mixed(number, _LIVE_SWITCHES)
    result = case.run(switches)
    trades = [row for row in result.trades if row["reason"] != "End of Backtest"]
    n_points = len(result.equity) - (len(trades) < len(result.trades))
    return Lived(case, switches, replace(result, trades=trades, equity=result.equity[:n_points]))


def live_difference(found: Lived, number: int) -> str | None:
    """Step by step is the replay."""
    del number
    comparison = import_module("tests.oracles.comparison")
    with uncompiled({"mei_alpha": {}, "mei_alpha_market": {}, "mei_alpha_live": {}}):
        trades, gates, curve, difference = live_run(found.case, found.switches)
    if difference is not None:
        return difference
    difference = comparison.trade_difference(found.result, trades, ())
    if difference is not None:
        return str(difference)
    for moment, equity in found.result.equity:
        if not comparison.same(equity, curve[moment]):
            return f"equity at {moment} is {curve[moment]!r}, expected {equity!r}"
    for name, counted in found.result.gates.items():
        if gates.get(name, counted) != counted:
            return f"gate {name} is {gates[name]}, expected {counted}"
    return None


class Told(NamedTuple):
    """As much of a replay's result as its trades need."""

    trades: Any
    symbols: tuple[str, ...]
    has_excursions: bool = True


def live_run(
    case: Case, switches: Mapping[str, str]
) -> tuple[Told, Mapping[str, int], dict[int, float], str | None]:
    """Trades, gates, curve, and where the walk disagrees with itself."""
    live = import_module("mei.engines.mei_alpha_live")
    numpy, bar_of = import_module("numpy"), import_module("mei.model.orders").Bar
    semantics = import_module("mei.model.semantics").STRICT
    semantics = replace(semantics, **{name: switches[name] for name in _LIVE_SWITCHES})
    configs = import_module("mei.engines.mei_alpha").SymbolConfigs(
        case.config, case.symbol_configs or {}
    )
    names = tuple(case.candles)
    if case.traded is not None and switches["context"] == "traded":
        names = tuple(name for name in names if name in case.traded)
    terms = live.LiveTerms(
        case.interval_ms, case.initial_balance, case.lookback, None, case.from_ms, case.traded
    )
    walk = live.LiveWalk(names, configs, terms, semantics)
    steps: dict[int, dict[str, Any]] = {}
    for name in names:
        for open_ms, *prices in case.candles[name]:
            known_ms = open_ms + case.interval_ms
            steps.setdefault(known_ms, {})[name] = bar_of(open_ms, known_ms, *prices)
    trades, curve, difference = [], {}, None
    for known_ms, bars in sorted(steps.items()):
        trades.append(walk.step(known_ms, bars))
        curve[known_ms] = walk.equity_usd
        if walk.equity_usd != walk.balance_usd + walk.unrealised_usd:
            difference = difference or f"equity at {known_ms} is not balance and unrealised profit"
    return Told(numpy.concatenate(trades), walk.names), walk.gates, curve, difference


def swept_cases() -> Iterator[Case]:
    """A sweep starts clean."""
    random = islice(drawn_from(cases), _N_SWEPT)
    return chain((replace(case, init_state=None) for case in random), (DEEP,))


def swept(case: Case, number: int) -> tuple[Case, dict[str, str]]:
    """The report of a replay is the oracle here: all it is made of lies outside of what a sweep adds."""
    return case, mixed(number) if number % 3 == 0 else (STRICT if number % 3 == 1 else REFERENCE)


def sweep_difference(found: tuple[Case, dict[str, str]], number: int) -> str | None:
    """Each row of a sweep has the numbers of a replay's report."""
    case, switches = found
    comparison = import_module("tests.oracles.comparison")
    engine = import_module("mei.engines.mei_alpha")
    sweep_of = import_module("mei.workflows.swept_rows").MeiAlphaSweep
    model = import_module("mei.model.semantics")
    reference = {name: options[0] for name, options in model.CHOICES.items()}
    semantics = model.Semantics(**{**reference, **switches})
    room = {"_FIRST_LOG": 2 if number % 2 == 0 else 8192}
    with uncompiled({"mei_alpha": {}, "mei_alpha_market": {}, "mei_alpha_sweep": room}):
        inputs, configs = comparison.replay_inputs(case, semantics)
        if inputs.candles.n_rows == 0:
            return None
        settings = [{path: one.get(path, case.config[path]) for path in _PATHS} for one in _SWEPT]
        columns = {path: array([float(one[path]) for one in settings]) for path in _PATHS}
        sweep = sweep_of(inputs, configs, semantics, 1)
        rows = sweep.run(columns, len(settings))
        for given, row in zip(settings, rows, strict=True):
            whole = {path: as_set(path, value) for path, value in given.items()}
            by_symbol = {name: {**one, **whole} for name, one in configs.by_symbol.items()}
            own = engine.SymbolConfigs({**configs.portfolio, **whole}, by_symbol)
            found_numbers = sweep.numbers(row)
            expected = report_numbers(engine.replay(inputs, own, semantics))
            for name in expected.__dataclass_fields__:
                one, other = getattr(found_numbers, name), getattr(expected, name)
                if one != other and repr(one) != repr(other):
                    return f"{name} is {one!r}, expected {other!r}"
    return None


def as_set(path: str, value: float) -> float | int:
    """A number of a sweep as a configuration holds it."""
    settings: dict[str, Any] = {}
    import_module("mei.rules.mei_alpha.keys").set_swept(settings, path, value)
    (found,) = settings.values()
    return found  # type: ignore[no-any-return]


def report_numbers(result: Any) -> Any:
    """What the report of a replay says."""
    text = import_module("mei.rules.mei_alpha.reasons").reason_text
    texts = [
        text(int(t["reason"]), int(t["confidence"]), float(t["detail_1"]), float(t["detail_2"]))
        for t in result.trades
    ]
    return import_module("mei.metrics.replay").replay_numbers(result, texts)


REPLAY = Deck(2 * _DRAW + len(CORNERS), replay_cases, replayed, replay_difference)
LIVE = Deck(_N_LIVED + 2, live_cases, lived, live_difference)
SWEEP = Deck(_N_SWEPT + 1, swept_cases, swept, sweep_difference)
