"""Where a run goes on after a kill: the newest state of each stream."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select

from mei.ledger.tables import checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after everything known by `as_of_ms`; what is in `state_json` is the runner's business."""

    as_of_ms: int
    state_json: str


_FIND = select(checkpoints.c.as_of_ms, checkpoints.c.state_json).where(
    checkpoints.c.stream == bindparam("k_stream")
)
_DROP = delete(checkpoints).where(checkpoints.c.stream == bindparam("k_stream"))


def save_checkpoint(conn: Connection, stream: str, *, as_of_ms: int, state_json: str) -> None:
    """Replace the checkpoint of `stream`."""
    conn.execute(_DROP, {"k_stream": stream})
    conn.execute(
        checkpoints.insert(), {"stream": stream, "as_of_ms": as_of_ms, "state_json": state_json}
    )


def load_checkpoint(conn: Connection, stream: str) -> Checkpoint | None:
    """The checkpoint of `stream`, or None before its first."""
    row = conn.execute(_FIND, {"k_stream": stream}).one_or_none()
    return None if row is None else Checkpoint(*row)
