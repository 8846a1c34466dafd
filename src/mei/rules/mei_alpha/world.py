"""What a walk reads and what it changes. Few arrays of records: compiled rules hand records on as single pointers."""

from typing import Any, NamedTuple

from mei.model.bars import FloatArray, IntArray


class World(NamedTuple):
    """Everything that stays as it is during a walk.

    main, exits, entries: BAR_ROW_DTYPE, flat, symbol after symbol. indicators: INDICATOR_ROW_DTYPE, a row for each
    main bar. symbols: SYMBOL_DTYPE. risk: RISK_DTYPE, the first one that of the portfolio. steps: STEP_DTYPE,
    (n_steps + 1,). candidates, ticks: CANDIDATE_DTYPE of main bars and entry sub-bars, in the order of steps.
    funding: FUNDING_DTYPE. run: RUN_DTYPE, (1,).
    """

    main: Any
    exits: Any
    entries: Any
    indicators: Any
    symbols: Any
    risk: Any
    steps: Any
    candidates: Any
    ticks: Any
    funding: Any
    run: Any


class State(NamedTuple):
    """Everything a walk changes.

    slots: SLOT_DTYPE, one a symbol. account: ACCOUNT_DTYPE, (1,). log: TRADE_DTYPE. active: the symbols with a
    position or an order, ascending, account.n_active of them. picks: scratch, rows: symbols visited, candidates
    picked, their scores. equity: a point for each step.
    """

    slots: Any
    account: Any
    log: Any
    active: IntArray
    picks: Any
    equity: FloatArray


#: Rows of State.picks.
VISITED, PICKED, SCORES = 0, 1, 2
