"""Many configurations of Mei Alpha over one market: every stage once for each distinct record it reads.

A configuration's place is found by its records alone: those of stage 1 and 2 are its *group* (all symbols
together), the risk records are its row. Within a group only the walk runs, one configuration after another in a
kernel that lets go of the interpreter, so threads share the rest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from mei.engines.bind import bind_cpu
from mei.engines.mei_alpha import (
    SymbolConfigs,
    check_configs,
    indicators_of,
    screen,
    world_of,
)
from mei.engines.mei_alpha_market import Market, prepare
from mei.engines.mei_alpha_state import first_state
from mei.model.errors import ConfigError, DataError
from mei.model.replay import ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.codes import END_OF_BACKTEST
from mei.rules.mei_alpha.keys import set_swept
from mei.rules.mei_alpha.records import (
    capped,
    field_of,
    reads_indicators,
    reads_risk,
    reads_screen,
    risk_record,
)
from mei.rules.mei_alpha.tally import GROUP_DTYPE, TALLY_DTYPE, Grouping, walk_configs

#: Configurations a thread takes at a time.
_BLOCK = 16
_FIRST_LOG = 8192
#: Results of stages kept for groups to come.
_KEPT_STAGES = 4

N_REASONS = END_OF_BACKTEST + 1

Overrides = Mapping[str, Any]
StageKey = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One configuration's numbers: a record of TALLY_DTYPE, its groups (GROUP_DTYPE) and its gate counters."""

    tally: Any
    groups: Any
    gates: Mapping[str, int]
    n_signals: int


@dataclass(frozen=True, slots=True)
class GroupLayout:
    """Where each kind of group starts in a row. categories, codes: words of a reason code, in the order of first
    use."""

    categories: tuple[str, ...]
    codes: tuple[str, ...]
    n_symbols: int
    grouping: Grouping

    @property
    def width(self) -> int:
        """Groups in a row."""
        return self.grouping.first_side + 2


def group_layout(n_symbols: int, category_of: Sequence[str], code_of: Sequence[str]) -> GroupLayout:
    """Places for tiers, categories, codes, symbols and sides; category_of, code_of: words by reason of a close."""
    categories = tuple(dict.fromkeys(category_of))
    codes = tuple(dict.fromkeys(code_of))
    first_code = 3 + len(categories)
    first_symbol = first_code + len(codes)
    grouping = Grouping(
        np.array([categories.index(word) for word in category_of], dtype=np.int64),
        np.array([codes.index(word) for word in code_of], dtype=np.int64),
        3,
        first_code,
        first_symbol,
        first_symbol + n_symbols,
    )
    return GroupLayout(categories, codes, n_symbols, grouping)


class Sweep:
    """A market, a base configuration, and the stages computed for them so far; overrides come in any order."""

    def __init__(
        self,
        inputs: ReplayInputs,
        base: SymbolConfigs,
        semantics: Semantics,
        layout: Callable[[int], GroupLayout],
        n_threads: int,
    ) -> None:
        """Raises ConfigError for an init-state (a sweep starts clean), DataError when there is no bar."""
        if inputs.init_state is not None:
            raise ConfigError("a sweep always starts clean: it takes no --init-state")
        if inputs.candles.n_rows == 0:
            raise DataError("a sweep needs at least one candle, the set is empty")
        self._inputs = inputs
        self._base = base
        self._semantics = semantics
        self._n_threads = n_threads
        self.market: Market = prepare(inputs, semantics)
        self.layout = layout(len(self.market.names))
        self._indicators, self._screens = _Stages(), _Stages()
        own = [base.of(name) for name in self.names]
        distinct = [base.portfolio, *(one for one in own if one is not base.portfolio)]
        self._risks = np.concatenate([risk_record(one) for one in distinct])

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols, as groups number them."""
        return self.market.names

    def run(self, overrides: Sequence[Overrides]) -> list[Row]:
        """The rows of the base with each of these overrides (dotted path -> number), in their order.

        Raises ConfigError for a window or bound no run can be made with. Unknown paths are without effect.
        """
        settings = [_typed(one) for one in overrides]
        groups: dict[StageKey, list[int]] = {}
        for number, one in enumerate(settings):
            groups.setdefault(_screen_key(one), []).append(number)
        blocks = [
            members[start : start + _BLOCK]
            for members in groups.values()
            for start in range(0, len(members), _BLOCK)
        ]
        rows: dict[int, Row] = {}
        with ThreadPoolExecutor(self._n_threads) as pool:
            found = pool.map(lambda block: self._run_block([settings[n] for n in block]), blocks)
            for block, block_rows in zip(blocks, found, strict=True):
                rows.update(zip(block, block_rows, strict=True))
        return [rows[number] for number in range(len(settings))]

    def configs(self, settings: Overrides) -> SymbolConfigs:
        """The base with settings (dotted path -> typed value) in every layer."""
        by_symbol = {name: {**one, **settings} for name, one in self._base.by_symbol.items()}
        return SymbolConfigs({**self._base.portfolio, **settings}, by_symbol)

    def _run_block(self, settings: list[dict[str, Any]]) -> list[Row]:
        """Configurations of one group, one after another."""
        for one in settings:
            check_configs(self.configs(one))
        configs = self.configs(settings[0])
        found = self._indicators.get(
            _indicators_key(settings[0]), lambda: indicators_of(self.market, configs)
        )
        lookback = self._inputs.lookback
        screened = self._screens.get(
            _screen_key(settings[0]),
            lambda: screen(self.market, found, configs, self._semantics, lookback),
        )
        world = world_of(self.market, found, screened, configs)
        tallies = np.zeros(len(settings), dtype=TALLY_DTYPE)
        groups = np.zeros((len(settings), self.layout.width), dtype=GROUP_DTYPE)
        n_log = _FIRST_LOG
        while True:
            state = first_state(self.market, self._inputs, n_log)
            bind_cpu(walk_configs)(
                world,
                self._risks_of(settings),
                0,
                len(settings),
                float(self._inputs.initial_balance_usd),
                self.market.first_walked,
                state,
                self.layout.grouping,
                tallies,
                groups,
            )
            most = int(np.max(tallies["n_records"]))
            if most <= n_log:
                break
            n_log = most
        return [
            Row(tally, own, screened.gates, screened.n_signals)
            for tally, own in zip(tallies, groups, strict=True)
        ]

    def _risks_of(self, settings: list[dict[str, Any]]) -> Any:
        """Risk records of each configuration, (n_configs, n_records): an override holds for every symbol."""
        risks = np.tile(self._risks, (len(settings), 1))
        for row, one in zip(risks, settings, strict=True):
            for path, value in one.items():
                if reads_risk(path):
                    row[field_of(path)] = capped(value)
        return risks


def _typed(overrides: Overrides) -> dict[str, Any]:
    """Settings by path, as a sweep's numbers set them; aliases set both of theirs."""
    settings: dict[str, Any] = {}
    for path, value in overrides.items():
        set_swept(settings, path, value)
    return settings


def _indicators_key(settings: Mapping[str, Any]) -> StageKey:
    return tuple(sorted(item for item in settings.items() if reads_indicators(item[0])))


def _screen_key(settings: Mapping[str, Any]) -> StageKey:
    """Stage 2 depends on what stage 1 read, too."""
    return tuple(
        sorted(
            item for item in settings.items() if reads_screen(item[0]) or reads_indicators(item[0])
        )
    )


class _Stages:
    """The newest results of a stage by key; whoever asks first computes, others wait for the same."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[StageKey, Future[Any]] = OrderedDict()

    def get(self, key: StageKey, make: Callable[[], Any]) -> Any:
        """What `make` gives for `key`, once."""
        with self._lock:
            result = self._kept.get(key)
            is_mine = result is None
            if result is None:
                result = self._kept[key] = Future()
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT_STAGES:
                self._kept.popitem(last=False)
        if is_mine:
            try:
                result.set_result(make())
            except BaseException as error:
                result.set_exception(error)
        return result.result()
