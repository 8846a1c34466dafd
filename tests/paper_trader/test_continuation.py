"""A paper trader's state, exported through the real file, goes on in a replay as the trader itself goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.data.init_state import read_init_state
from mei.model.replay import InitPosition
from tests.paper_trader.desk import Desk, nothing
from tests.paper_trader.market import SYMBOLS, make_market
from tools.export_state import main as export

#: (sub-bars, funding, holes, seed) and how many cuts of each.
MARKETS = [
    ({}, 21, 60),
    ({"funding": True, "holes": 0.04}, 22, 50),
    ({"sub_bars": True, "funding": True}, 23, 50),
    ({"sub_bars": True, "funding": True, "holes": 0.04}, 24, 50),
]
#: Fields of a position that version 1 tells otherwise: the row's time instead of the fill's, the average ATR of opens
#: and adds instead of the open's.
TOLD_OTHERWISE = ("opened_ms", "entry_atr")


def exported(desk: Desk, version: str) -> str:
    """The file that the tool writes."""
    path = str(desk.folder / f"{version}.json")
    line = f"--source paper --db {desk.request.db} --format {version} --output {path}"
    assert export(line.split()) == 0
    return path


def test_the_markets_are_cut_often_enough() -> None:
    assert sum(n for _, _, n in MARKETS) >= 200


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "seed", "n_cuts"), MARKETS)
def test_every_later_trade_is_the_uninterrupted_runs(
    tmp_path: Path, kind: dict[str, Any], seed: int, n_cuts: int
) -> None:
    desk = Desk(tmp_path, make_market(tmp_path / "databases", seed, 150, **kind))
    desk.open()
    desk.market.feed(desk.market.end_ms)
    whole_deals, whole_points = desk.replayed()
    rng = np.random.default_rng(seed)
    cuts = sorted(rng.choice(list(desk.boundaries())[:-1], n_cuts, replace=False).tolist())
    n_held = 0
    for cut_ms in cuts:
        desk.trader.advance(cut_ms)
        n_held += bool(desk.state().held())
        deals, points = desk.replayed(init_state=exported(desk, "v2"))
        assert desk.deals() == [deal for deal in whole_deals if deal[0] <= cut_ms]
        assert deals == [deal for deal in whole_deals if deal[0] > cut_ms]
        assert points == [point for point in whole_points if point[0] > cut_ms]
    assert n_held > n_cuts // 3


def position_parts(position: InitPosition) -> dict[str, Any]:
    return {name: getattr(position, name) for name in position.__slots__}


def test_version_1_tells_the_same_positions_but_for_two_fields(tmp_path: Path) -> None:
    desk = Desk(tmp_path, make_market(tmp_path / "databases", 25, 150, funding=True))
    desk.open()
    n_compared, differing = 0, set()
    for at_ms in desk.boundaries():
        desk.advance(at_ms)
        if (at_ms // desk.step_ms) % 5 or not desk.state().held():
            continue
        short = read_init_state(exported(desk, "v1"), SYMBOLS, nothing, strict=True)
        full = read_init_state(exported(desk, "v2"), SYMBOLS, nothing, strict=True)
        # The balance of the newest trade, to 4 digits: without a trade since, cash itself.
        assert short.balance_usd == round(full.balance_usd, 4)
        assert [one.symbol for one in short.positions] == [one.symbol for one in full.positions]
        for less, more in zip(short.positions, full.positions, strict=True):
            n_compared += 1
            for name, value in position_parts(more).items():
                told = position_parts(less)[name]
                if isinstance(value, float):
                    value = pytest.approx(value, rel=0.0, abs=1e-4 if "usd" in name else 1e-9)
                if told != value:
                    differing.add(name)
            # The row is stamped when the fill was known, a bar after it.
            assert less.opened_ms == more.opened_ms + desk.step_ms
    assert n_compared > 20
    assert differing == set(TOLD_OTHERWISE)


def test_version_1_loses_what_waits_and_what_was(tmp_path: Path) -> None:
    """Orders for the next open, cooldowns, resting stops, position numbers and the peak are in version 2 alone."""
    desk = Desk(tmp_path, make_market(tmp_path / "databases", 26, 150))
    desk.open()
    desk.market.feed(desk.market.end_ms)
    stops = desk.boundaries()
    ordered_ms = next(at for at in stops if desk.trader.advance(at) and desk.state().ordered())
    v1, v2 = exported(desk, "v1"), exported(desk, "v2")
    assert "continuation" not in json.loads(Path(v1).read_text())
    by_v2, _ = desk.replayed(init_state=v2)
    by_v1, _ = desk.replayed(init_state=v1, from_ms=ordered_ms + 1)
    opened = [deal for deal in by_v2 if deal[0] == ordered_ms + desk.step_ms]
    assert {deal[2].partition("_")[0] for deal in opened} & {"OPEN", "ADD"}
    assert [deal for deal in by_v1 if deal[0] == ordered_ms + desk.step_ms] != opened
