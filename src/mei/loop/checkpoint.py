"""Checkpoints of a run in the ledger: state and output offsets, replaced in one transaction."""

from __future__ import annotations

from typing import Any

import orjson

from mei.ledger import checkpoints
from mei.ledger.database import Ledger


class LedgerCheckpoints:
    """Saves and loads the newest checkpoint of one stream."""

    def __init__(self, ledger: Ledger, stream: str) -> None:
        self._ledger = ledger
        self._stream = stream

    def save(self, as_of_ms: int, state: dict[str, Any]) -> None:
        """Replace the checkpoint; floats keep their bits (shortest round-trip decimals)."""
        text = orjson.dumps(state).decode()
        with self._ledger.unit_of_work() as unit:
            checkpoints.save_checkpoint(
                unit.connection, self._stream, as_of_ms=as_of_ms, state_json=text
            )
            unit.commit("checkpoint")

    def load(self) -> dict[str, Any] | None:
        """The newest checkpoint's state, None before the first."""
        with self._ledger.reader() as connection:
            row = checkpoints.load_checkpoint(connection, self._stream)
        if row is None:
            return None
        state: dict[str, Any] = orjson.loads(row.state_json)
        return state
