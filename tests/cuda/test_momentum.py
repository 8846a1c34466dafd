"""A sweep of momentum_breakout on a card, whatever the packs, batches and memory: the rows of the CPU, bit for bit."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mei.engines.bind import Rule
from mei.engines.momentum_breakout_cuda_packs import Staged, packs_of
from mei.model.errors import OutputError
from tests.cuda.host import HostCard
from tests.cuda.momentum import FILLS, ONE, SEVERAL, SIGNALS, Case, case_of

EVERY = list(itertools.product((ONE, SEVERAL), SIGNALS, FILLS))


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "signal", "entry_fill"), EVERY)
def test_rows_are_those_of_the_cpu(shape: str, signal: str, entry_fill: str) -> None:
    for seed in (1, 2):
        case = case_of(shape, signal, entry_fill, n=150, n_bars=700, seed=seed)
        card = HostCard()
        found = case.on_card(card, most_walks=64)
        assert found.tobytes() == case.on_cpu().tobytes()
        assert len(card.sizes) > 2
        assert max(card.sizes) <= 64
        assert sum(card.sizes) == 150
        assert int(found["tally"]["trades"].sum()) > 500


@pytest.mark.slow
@pytest.mark.parametrize("shape", [ONE, SEVERAL])
def test_rows_do_not_depend_on_the_memory_there_is(shape: str) -> None:
    """Much of it: all groups in one pack. Little: many packs, groups in parts, a few walks at a time."""
    case = case_of(shape, "channel", "next_open", n=120, n_bars=700, seed=3, n_values=3)
    n_launches = []
    for free in (1 << 30, 1 << 18, 3 << 15):
        card = HostCard(free=free)
        assert case.on_card(card).tobytes() == case.on_cpu().tobytes()
        assert sum(card.sizes) == 120
        n_launches.append(len(card.sizes))
    assert n_launches[0] == 1
    assert n_launches[0] < n_launches[1] < n_launches[2]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [ONE, SEVERAL])
def test_whole_numbers_in_the_file_cut_no_swept_value(shape: str) -> None:
    """A file's `stop_bps: 50` is 50.0."""
    case = case_of(shape, "zscore", "next_open", n=40, n_bars=300, seed=4)
    whole = {"breakout_z": 2, "stop_bps": 50, "take_profit_bps": 80, "allocation_frac": 1}
    columns = {
        "breakout_z": np.linspace(0.25, 1.75, 40),
        "stop_bps": np.linspace(0.5, 60.5, 40),
        "allocation_frac": np.linspace(0.1, 0.9, 40),
    }
    found = [
        Case(case.inputs, {**case.settings, **settings}, "next_open", columns, 40).on_card(
            HostCard()
        )
        for settings in (whole, {name: float(value) for name, value in whole.items()})
    ]
    assert found[0].tobytes() == found[1].tobytes()
    assert len(np.unique(found[0]["tally"]["final_balance"])) > 20


class WatchedCard(HostCard):
    """Looks at the tables of exits before walks and after. n_shared, n_own: rows seen of each kind."""

    n_shared, n_own, n_groups = 0, 0, 0

    def run(self, kernel: Rule, arguments: tuple[Any, ...], n_threads: int) -> None:
        if kernel.__name__ != "leaps_kernel":
            super().run(kernel, arguments, n_threads)
            return
        leaps, group_of, cases = arguments[:3]
        self.n_groups += len(leaps.places)
        readers: Counter[tuple[int, int]] = Counter()
        for group, case in zip(group_of.tolist(), cases, strict=True):
            readers.update((group, int(case[name])) for name in ("stop", "target", "plan"))
        shared = [place for place, n in readers.items() if n > 1]
        self.n_shared += len(shared)
        self.n_own += len(readers) - len(shared)
        before = rows_of(leaps, shared)
        assert all((keys >= 0).all() for keys, _ in before)
        super().run(kernel, arguments, n_threads)
        after = rows_of(leaps, shared)
        for one, other in zip(before, after, strict=True):
            assert [part.tobytes() for part in one] == [part.tobytes() for part in other]


def rows_of(leaps: Any, places: list[tuple[int, int]]) -> list[tuple[Any, Any]]:
    """Copies of the keys and leavings of rows of the tables, (group, row)."""
    found = []
    for group, row in places:
        some = slice(int(leaps.places["first"][group]), int(leaps.places["end"][group]))
        found.append((leaps.keys[row, some].copy(), leaps.leavings[row, some].copy()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("entry_fill", FILLS)
def test_walks_leave_what_they_share_as_it_is(entry_fill: str) -> None:
    """They run side by side on a card: what one writes while another reads it would be anything."""
    card = WatchedCard()
    case = case_of(ONE, "channel", entry_fill, n=200, n_bars=700, seed=5, n_values=3)
    assert case.on_card(card).tobytes() == case.on_cpu().tobytes()
    assert min(card.n_shared, card.n_own) > 10


@pytest.mark.slow
def test_configurations_with_the_same_signals_are_one_group() -> None:
    card = WatchedCard()
    case = case_of(ONE, "channel", "next_open", n=300, n_bars=300, seed=5, n_values=3)
    columns = {**case.columns, "allow_short": np.ones(300), "lookback": np.arange(300) % 2 + 5.5}
    columns["breakout_bps"] = np.zeros(300)
    Case(case.inputs, case.settings, "next_open", columns, 300).on_card(card)
    assert (card.sizes, card.n_groups) == ([300], 2)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [ONE, SEVERAL])
def test_windows_without_bars_signals_or_money(shape: str) -> None:
    case = case_of(shape, "channel", "next_open", n=6, n_bars=80, seed=1)
    bars = case.inputs.candles
    for changes in (
        {"from_ms": int(bars.open_ms.max()) * 2},
        {"to_ms": 1, "from_ms": None},
        {"initial_balance_usd": 0.0},
        {"initial_balance_usd": -5.0},
    ):
        other = Case(replace(case.inputs, **changes), case.settings, "next_open", case.columns, 6)
        assert other.on_card(HostCard()).tobytes() == other.on_cpu().tobytes(), changes
    silent = Case(case.inputs, case.settings, "next_open", {"breakout_bps": np.full(6, 9e9)}, 6)
    rows = silent.on_card(HostCard())
    assert rows.tobytes() == silent.on_cpu().tobytes()
    assert not rows["buys"].any()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [ONE, SEVERAL])
def test_equity_that_overflows_is_refused(shape: str) -> None:
    case = case_of(shape, "channel", "next_open", n=3, n_bars=300, seed=1)
    columns = {"notional_usd": np.full(3, 1.7e308)}
    with pytest.raises(OutputError, match="equity must hold finite numbers"):
        Case(case.inputs, case.settings, "next_open", columns, 3).on_card(HostCard())


def staged(n_walks: int, own_bytes: int, n_rows: int = 0, n_columns: int = 0) -> Staged:
    return Staged(np.arange(n_walks), 0, 0, None, own_bytes, n_rows, n_columns, cell_bytes=10)


def test_packs_hold_as_much_as_there_is_room_for() -> None:
    """The table of a pack is as tall as its tallest group and as wide as all of them."""
    groups = [staged(1, 5, 3, 2), staged(1, 5, 1, 4), staged(1, 5, 4, 1), staged(1, 5)]
    sizes = {
        room: [len(pack) for pack in packs_of(groups, room, 99, 99)] for room in (300, 299, 189)
    }
    # 3 x 6 cells after two groups, 4 x 7 after three, and 4 x 7 with a group that brings no cell.
    assert sizes == {300: [4], 299: [3, 1], 189: [1, 1, 2]}


def test_packs_are_full_at_so_many_walks() -> None:
    groups = [staged(3, 1) for _ in range(5)]
    assert [len(pack) for pack in packs_of(groups, 1000, 6, 99)] == [2, 2, 1]
    assert [len(pack) for pack in packs_of(groups, 1000, 1, 99)] == [1] * 5
    assert [len(pack) for pack in packs_of(groups, 1000, 99, 2)] == [2, 2, 1]
    assert [len(pack) for pack in packs_of(groups, 1000, 99, 0)] == [1] * 5
    assert not list(packs_of([], 1000, 1, 99))


def test_a_sweep_on_the_cpu_imports_nothing_of_cards() -> None:
    program = """
import sys
import mei.cli.sweep, mei.workflows.sweep.run, mei.workflows.swept_rows, mei.workflows.momentum_rows
from mei.engines.select import select_device
assert select_device("cpu").card is None
ours = [name for name in sys.modules if name.startswith(("mei.", "numba.", "cupy"))]
print([name for name in ours if "cuda" in name or name.startswith("cupy")])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
