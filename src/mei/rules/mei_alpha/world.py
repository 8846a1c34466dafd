"""What a walk reads and what it changes."""

from typing import Any, NamedTuple

from mei.model.bars import FloatArray, IntArray
from mei.rules.mei_alpha.snapshot import Bars, Columns


class World(NamedTuple):
    """Everything that stays as it is during a walk. Arrays without a comment have one value for each symbol.

    step_ms: the timeline, (n_steps,). step_of_row: step of each main bar. risk: RISK_DTYPE records, the first one that of the
    portfolio; risk_of: which one is a symbol's. exit_bars: bars a symbol needs before smart exits.
    from_ms, to_ms: window on known times. switches: (1,), SWITCHES_DTYPE.
    """

    main: Bars
    exits: Bars
    entries: Bars
    columns: Columns
    step_ms: IntArray
    step_of_row: IntArray
    funding_first: IntArray
    funding_end: IntArray
    funding_ms: IntArray
    funding_rate: FloatArray
    risk: Any
    risk_of: IntArray
    exit_bars: IntArray
    is_gold: Any
    switches: Any
    from_ms: int
    to_ms: int
    has_exits: bool
    has_entries: bool
    has_funding: bool


class Candidates(NamedTuple):
    """Candidates of the main bars and of the entry sub-bars (CANDIDATE_DTYPE), by step: first[i] to first[i + 1] - 1."""

    main: Any
    main_first: IntArray
    ticks: Any
    ticks_first: IntArray


class State(NamedTuple):
    """Everything a walk changes. slots: SLOT_DTYPE, one a symbol. account: (1,). log: TRADE_DTYPE.

    active: the symbols with a position or an order, ascending, account.n_active of them; picks: scratch for a step's
    candidates and their scores; visited: scratch. equity: a point for each step.
    """

    slots: Any
    account: Any
    log: Any
    active: IntArray
    visited: IntArray
    picks: IntArray
    scores: IntArray
    equity: FloatArray
