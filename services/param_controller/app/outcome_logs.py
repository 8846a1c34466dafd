"""Outcome logs of the ledger kept in memory, never older than the ledger at the moment of a question."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import orjson
from sqlalchemy import Connection

from mei.ledger.outcomes import OutcomeRow, count_outcomes, outcomes_between
from mei.policy.context import context_of
from mei.policy.posterior import OutcomeLog

#: Streams × strategies × instruments kept; the least recently asked is dropped first.
MAX_LOGS = 64
END_OF_TIME_MS = 2**62


class PolicyKey(NamedTuple):
    """What an outcome log belongs to."""

    stream: str
    strategy: str
    instrument: str


class OutcomeLogs:
    """Caches logs by key. The ledger only ever gains outcomes, so an equal count means an equal log."""

    def __init__(self) -> None:
        self._logs: OrderedDict[PolicyKey, OutcomeLog] = OrderedDict()

    def current(self, connection: Connection, key: PolicyKey) -> OutcomeLog:
        """The whole log of `key`, whoever wrote it and in whatever order."""
        log = self._logs.setdefault(key, OutcomeLog())
        self._logs.move_to_end(key)
        if len(self._logs) > MAX_LOGS:
            self._logs.popitem(last=False)
        if count_outcomes(connection, *key) != len(log):
            for row in outcomes_between(connection, *key, after_ms=None, through_ms=END_OF_TIME_MS):
                insert(log, row)
        return log

    def recorded(self, key: PolicyKey, row: OutcomeRow) -> None:
        """Add an outcome this process has just committed, which saves reading the log again."""
        if key in self._logs:
            insert(self._logs[key], row)


def insert(log: OutcomeLog, row: OutcomeRow) -> None:
    """Put a row of the ledger into a log, unless it is there."""
    if log.known_at_ms(row.trade_id) is None:
        context = context_of(orjson.loads(row.features_json))
        log.insert(row.known_at_ms, row.trade_id, row.preset_id, context, row.net_pnl_bps)
