"""The log of closed trades from which the policy learns."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, func, select

from mei.ledger.tables import outcomes
from mei.model.errors import ConflictError, RequestError


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """A closed trade, known at the close of the bar it closed in. features_json: canonical JSON, compared as text."""

    stream: str
    trade_id: str
    strategy: str
    instrument: str
    preset_id: str
    known_at_ms: int
    net_pnl_bps: float
    features_json: str


#: Earlier than anything.
_NEVER_MS = -(2**62)
_FIND = select(outcomes).where(
    outcomes.c.stream == bindparam("k_stream"), outcomes.c.trade_id == bindparam("k_trade_id")
)
_OF_POLICY = (
    outcomes.c.stream == bindparam("k_stream"),
    outcomes.c.strategy == bindparam("k_strategy"),
    outcomes.c.instrument == bindparam("k_instrument"),
)
_BETWEEN = (
    select(outcomes)
    .where(
        *_OF_POLICY,
        outcomes.c.known_at_ms > bindparam("after"),
        outcomes.c.known_at_ms <= bindparam("through"),
    )
    .order_by(outcomes.c.known_at_ms, outcomes.c.trade_id)
)
_COUNT = select(func.count()).select_from(outcomes).where(*_OF_POLICY)


def record_outcome(conn: Connection, row: OutcomeRow) -> bool:
    """Keep a closed trade. False when the same one is known already.

    Raises ConflictError when the trade id is known with other content, RequestError for a P&L that is no number.
    """
    if not math.isfinite(row.net_pnl_bps):
        raise RequestError(
            f"net_pnl_bps must be a finite number, was {row.net_pnl_bps} (trade {row.trade_id!r} of stream "
            f"{row.stream!r}); look for a division by zero in the notional"
        )
    known = find_outcome(conn, row.stream, row.trade_id)
    if known is None:
        conn.execute(outcomes.insert(), asdict(row))
        return True
    if known != row:
        raise ConflictError(
            f"a trade must have one outcome, {row.trade_id!r} of stream {row.stream!r} was {known} and now "
            f"is {row}; give every trade an id of its own"
        )
    return False


def find_outcome(conn: Connection, stream: str, trade_id: str) -> OutcomeRow | None:
    """One closed trade, or None."""
    row = conn.execute(_FIND, {"k_stream": stream, "k_trade_id": trade_id}).one_or_none()
    return None if row is None else OutcomeRow(*row)


def outcomes_between(
    conn: Connection,
    stream: str,
    strategy: str,
    instrument: str,
    *,
    after_ms: int | None,
    through_ms: int,
) -> list[OutcomeRow]:
    """The trades known in (after_ms, through_ms], in order of that time, then of trade id; None: from the first."""
    params = {
        **_policy(stream, strategy, instrument),
        "after": _NEVER_MS if after_ms is None else after_ms,
        "through": through_ms,
    }
    rows = [OutcomeRow(*row) for row in conn.execute(_BETWEEN, params)]
    # Again here, because a server may order text by its locale.
    return sorted(rows, key=lambda row: (row.known_at_ms, row.trade_id))


def count_outcomes(conn: Connection, stream: str, strategy: str, instrument: str) -> int:
    """How many trades the policy was told of in all."""
    n_outcomes: int = conn.execute(_COUNT, _policy(stream, strategy, instrument)).scalar_one()
    return n_outcomes


def _policy(stream: str, strategy: str, instrument: str) -> dict[str, object]:
    return {"k_stream": stream, "k_strategy": strategy, "k_instrument": instrument}
