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
    CHECKED,
    Screened,
    SymbolConfigs,
    check_configs,
    indicators_of,
    screen,
    world_of,
)
from mei.engines.mei_alpha_market import Market, prepare
from mei.engines.mei_alpha_settings import Columns, SweptSettings
from mei.engines.mei_alpha_state import first_state
from mei.model.bars import IntArray
from mei.model.errors import ConfigError, DataError
from mei.model.replay import ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.codes import END_OF_BACKTEST
from mei.rules.mei_alpha.records import (
    GATES,
    reads_indicators,
    reads_screen,
    risk_record,
)
from mei.rules.mei_alpha.tally import GROUP_DTYPE, TALLY_DTYPE, Grouping, walk_configs
from mei.rules.mei_alpha.world import State, World

#: Configurations a thread takes at a time.
_BLOCK = 16
_FIRST_LOG = 8192
#: Results of stages kept for groups to come.
_KEPT_STAGES = 4

N_REASONS = END_OF_BACKTEST + 1

Overrides = Mapping[str, Any]
StageKey = tuple[tuple[str, Any], ...]


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


@dataclass(frozen=True, slots=True)
class Staged:
    """What stages 1 and 2 leave for the configurations of a group; the risk records of `world` are the first one's."""

    world: World
    screened: Screened


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
    def balance_usd(self) -> float:
        """What every run starts with."""
        return float(self._inputs.initial_balance_usd)

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols, as groups number them."""
        return self.market.names

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """One configuration's numbers: tally, groups, counters of stage 2 (as records.GATES names them), signals."""
        return np.dtype(
            [
                ("tally", TALLY_DTYPE),
                ("groups", GROUP_DTYPE, (self.layout.width,)),
                ("gates", "<i8", (len(GATES),)),
                ("n_signals", "<i8"),
            ]
        )

    def run(self, columns: Columns, n: int) -> Any:
        """Rows, (n,) of `row_dtype`, of the base with the values of every column (dotted path -> numbers) set.

        Raises ConfigError for a window or bound no run can be made with. Unknown paths are without effect.
        """
        settings = self.checked(columns, n)
        blocks = [
            members[start : start + _BLOCK]
            for members in settings.alike(reads_stages)
            for start in range(0, len(members), _BLOCK)
        ]
        rows = np.zeros(n, dtype=self.row_dtype)
        with ThreadPoolExecutor(self._n_threads) as pool:
            found = pool.map(lambda block: self._run_block(settings, block), blocks)
            for block, block_rows in zip(blocks, found, strict=True):
                rows[block] = block_rows
        return rows

    def configs(self, settings: Overrides) -> SymbolConfigs:
        """The base with settings (dotted path -> typed value) in every layer."""
        by_symbol = {name: {**one, **settings} for name, one in self._base.by_symbol.items()}
        return SymbolConfigs({**self._base.portfolio, **settings}, by_symbol)

    def checked(self, columns: Columns, n: int) -> SweptSettings:
        """Settings of `n` configurations. Raises ConfigError for what no run can be made with."""
        settings = SweptSettings(columns, n)
        for members in settings.alike(CHECKED.__contains__):
            check_configs(self.configs(settings.of(members[0])))
        return settings

    def staged(self, settings: Overrides) -> Staged:
        """Stages 1 and 2 of the configurations that agree with this one on what these read."""
        configs = self.configs(settings)
        found = self._indicators.get(
            _indicators_key(settings), lambda: indicators_of(self.market, configs)
        )
        lookback = self._inputs.lookback
        screened = self._screens.get(
            _screen_key(settings),
            lambda: screen(self.market, found, configs, self._semantics, lookback),
        )
        return Staged(world_of(self.market, found, screened, configs), screened)

    def scratch(self, n_log: int) -> State:
        """What one walk at a time changes, with room for `n_log` trade records."""
        return first_state(self.market, self._inputs, n_log)

    def _run_block(self, settings: SweptSettings, members: IntArray) -> Any:
        """Configurations of one group, one after another."""
        staged = self.staged(settings.of(members[0]))
        risks = self.risks_of(settings, members)
        tallies = np.zeros(len(members), dtype=TALLY_DTYPE)
        groups = np.zeros((len(members), self.layout.width), dtype=GROUP_DTYPE)
        n_log = _FIRST_LOG
        while True:
            bind_cpu(walk_configs)(
                staged.world,
                risks,
                0,
                len(members),
                self.balance_usd,
                self.market.first_walked,
                self.scratch(n_log),
                self.layout.grouping,
                tallies,
                groups,
            )
            most = int(np.max(tallies["n_records"]))
            if most <= n_log:
                break
            n_log = most
        return self.rows_of(staged, tallies, groups)

    def rows_of(self, staged: Staged, tallies: Any, groups: Any) -> Any:
        """Rows of `row_dtype` of one group's tallies and groups."""
        rows = np.zeros(len(tallies), dtype=self.row_dtype)
        rows["tally"], rows["groups"] = tallies, groups
        rows["gates"] = [staged.screened.gates[name] for name in GATES]
        rows["n_signals"] = staged.screened.n_signals
        return rows

    def risks_of(self, settings: SweptSettings, members: Sequence[int] | IntArray) -> Any:
        """Risk records of some configurations, (n, n_records): an override holds for every symbol."""
        return settings.risks(self._risks, members)


def reads_stages(path: str) -> bool:
    """Stage 1 or 2 reads the path."""
    return reads_indicators(path) or reads_screen(path)


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
