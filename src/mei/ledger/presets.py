"""Presets registered at run time, beside those of a strategy's schema."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection, bindparam, select

from mei.ledger.tables import presets
from mei.model.errors import ConflictError


@dataclass(frozen=True, slots=True)
class PresetRow:
    """A preset of a strategy on an instrument, from `known_at_ms` on. params_json: canonical JSON."""

    stream: str
    strategy: str
    instrument: str
    preset_id: str
    known_at_ms: int
    params_json: str


_OF_POLICY = (
    presets.c.stream == bindparam("k_stream"),
    presets.c.strategy == bindparam("k_strategy"),
    presets.c.instrument == bindparam("k_instrument"),
)
_FIND = select(presets).where(*_OF_POLICY, presets.c.preset_id == bindparam("k_preset_id"))
_AS_OF = select(presets).where(*_OF_POLICY, presets.c.known_at_ms <= bindparam("as_of"))


def register_preset(conn: Connection, row: PresetRow) -> bool:
    """Keep a preset. False when it is known already with the same parameters, whenever that was.

    Raises ConflictError when its name is taken by other parameters: a preset never changes its meaning.
    """
    params = {**_policy(row.stream, row.strategy, row.instrument), "k_preset_id": row.preset_id}
    known = conn.execute(_FIND, params).one_or_none()
    if known is None:
        conn.execute(presets.insert(), asdict(row))
        return True
    if known.params_json != row.params_json:
        raise ConflictError(
            f"a preset must keep its parameters, {row.preset_id!r} of {row.strategy} on {row.instrument} in "
            f"stream {row.stream!r} is {known.params_json} and would be {row.params_json}; use a new name"
        )
    return False


def presets_as_of(
    conn: Connection, stream: str, strategy: str, instrument: str, as_of_ms: int
) -> list[PresetRow]:
    """The presets registered by `as_of_ms`, in order of that time, then of name."""
    params = {**_policy(stream, strategy, instrument), "as_of": as_of_ms}
    rows = [PresetRow(*row) for row in conn.execute(_AS_OF, params)]
    return sorted(rows, key=lambda row: (row.known_at_ms, row.preset_id))


def _policy(stream: str, strategy: str, instrument: str) -> dict[str, object]:
    return {"k_stream": stream, "k_strategy": strategy, "k_instrument": instrument}
