"""Many worlds side by side, one configuration each: what a card's thread runs (`walk_configs` over one of them)."""

from typing import Any, NamedTuple

import numpy as np

from mei.model.bars import IntArray
from mei.rules.mei_alpha.tally import Grouping, walk_configs
from mei.rules.mei_alpha.world import State, World

#: Where a world's own part of `Worlds` lies. indicators: its row there; candidates and ticks: first to end - 1.
PLACE_DTYPE = np.dtype(
    [
        ("indicators", "<i8"),
        ("first_candidate", "<i8"),
        ("end_candidate", "<i8"),
        ("first_tick", "<i8"),
        ("end_tick", "<i8"),
    ]
)


class Worlds(NamedTuple):
    """Worlds of one market, as `World` but with one axis more where they differ.

    indicators: (n_indicators, n_bars), shared by worlds with the same windows. symbols: (n_worlds, n_symbols). steps:
    (n_worlds, n_steps + 1), counting candidates from the start of the world's own. candidates, ticks: world after
    world. places: PLACE_DTYPE, (n_worlds,).
    """

    main: Any
    exits: Any
    entries: Any
    indicators: Any
    symbols: Any
    steps: Any
    candidates: Any
    ticks: Any
    places: Any
    funding: Any
    run: Any


def walk_one(
    worlds: Worlds,
    world_of: IntArray,
    risks: Any,
    number: int,
    balance_usd: float,
    first_walked: int,
    states: State,
    grouping: Grouping,
    tallies: Any,
    groups: Any,
) -> None:
    """Run configuration `number` in its world.

    world_of: the world of each configuration. risks, tallies, groups: as of `walk_configs`. states: scratch, as
    `State` with an axis of configurations in front.
    """
    which = world_of[number]
    place = worlds.places[which]
    world = World(
        worlds.main,
        worlds.exits,
        worlds.entries,
        worlds.indicators[place.indicators],
        worlds.symbols[which],
        risks[number],
        worlds.steps[which],
        worlds.candidates[place.first_candidate : place.end_candidate],
        worlds.ticks[place.first_tick : place.end_tick],
        worlds.funding,
        worlds.run,
    )
    state = State(
        states.slots[number],
        states.account[number],
        states.log[number],
        states.active[number],
        states.picks[number],
        states.equity[number],
    )
    walk_configs(
        world,
        risks,
        number,
        number + 1,
        balance_usd,
        first_walked,
        state,
        grouping,
        tallies,
        groups,
    )
