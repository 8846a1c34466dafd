"""Claims: who may train on a series now. A claim has a lease; whoever takes it over fences the old owner off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, null, select, update

from mei.ledger.files import ChunkFile, files_as_of
from mei.ledger.series import SeriesKey
from mei.ledger.tables import claims, files, in_series, series_params
from mei.model.errors import ClaimBusyError, FencedOffError


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to train on `files` of a series until `expires_at_ms` (wall clock). The token is the proof."""

    key: SeriesKey
    token: str
    owner: str
    as_of_ms: int
    expires_at_ms: int
    files: tuple[ChunkFile, ...]


_HOLDER = select(claims).where(in_series(claims))
_DROP = delete(claims).where(in_series(claims), claims.c.token == bindparam("k_token"))
_RENEW = (
    update(claims)
    .where(in_series(claims), claims.c.token == bindparam("k_token"))
    .values(expires_at_ms=bindparam("expires"))
)
_TAKE_FILES = (
    update(files)
    .where(
        in_series(files),
        files.c.registered_at_ms <= bindparam("as_of"),
        files.c.state.in_(("downloaded", "processed")),
    )
    .values(claimed_from=files.c.state, state="processing", claim_token=bindparam("taken_by"))
)
_RETURN_FILES = (
    update(files)
    .where(in_series(files), files.c.claim_token == bindparam("k_token"))
    .values(state=files.c.claimed_from, claimed_from=null(), claim_token=null())
)


def claim_series(
    conn: Connection,
    key: SeriesKey,
    *,
    as_of_ms: int,
    owner: str,
    token: str,
    now_ms: int,
    lease_ms: int,
) -> Claim:
    """Take the series, with every file registered by `as_of_ms`, until `now_ms + lease_ms` (wall clock).

    An expired claim, one of the same owner (so no two living may have one name) and one of the same token are
    taken over. Raises ClaimBusyError when another owner's is live. `token` must be unique a claim.
    """
    holder = conn.execute(_HOLDER, series_params(key)).one_or_none()
    if holder is not None:
        if token != holder.token and owner != holder.owner and now_ms < holder.expires_at_ms:
            raise _busy(key, holder, now_ms)
        _drop(conn, key, holder.token)
    claim = Claim(
        key, token, owner, as_of_ms, now_ms + lease_ms, tuple(files_as_of(conn, key, as_of_ms))
    )
    conn.execute(claims.insert(), _row(claim))
    conn.execute(_TAKE_FILES, series_params(key, as_of=as_of_ms, taken_by=token))
    return claim


def renew_claim(conn: Connection, claim: Claim, *, now_ms: int, lease_ms: int) -> Claim:
    """The claim with a lease from `now_ms` on. Raises FencedOffError when it is not held any more."""
    assert_held(conn, claim, now_ms)
    renewed = replace(claim, expires_at_ms=now_ms + lease_ms)
    conn.execute(
        _RENEW,
        series_params(claim.key, k_token=claim.token, expires=renewed.expires_at_ms),
    )
    return renewed


def assert_held(conn: Connection, claim: Claim, now_ms: int) -> None:
    """Raise FencedOffError unless `claim` is the one in force and its lease lasts."""
    holder = conn.execute(_HOLDER, series_params(claim.key)).one_or_none()
    if holder is not None and holder.token == claim.token and now_ms < holder.expires_at_ms:
        return
    if holder is None:
        found = "it was released"
    elif holder.token != claim.token:
        found = f"{holder.owner!r} took it over"
    else:
        found = f"its lease ended {now_ms - holder.expires_at_ms} ms ago"
    raise FencedOffError(
        f"a trainer must hold its claim until it has published, {claim.owner!r} lost that on "
        f"{claim.key.symbol} {claim.key.timeframe} of stream {claim.key.stream!r}: {found}; drop this result "
        "and claim again"
    )


def release_claim(conn: Connection, claim: Claim) -> None:
    """Give the series back as it was. Does nothing when the claim was lost already."""
    _drop(conn, claim.key, claim.token)


def claim_owners(conn: Connection) -> list[str]:
    """Who holds claims now, each once, ascending."""
    return sorted(set(conn.execute(select(claims.c.owner)).scalars()))


def release_owner(conn: Connection, owner: str) -> int:
    """Give back every claim of `owner`, who has ended or is about to; how many they were."""
    return _drop_all(conn, conn.execute(select(claims).where(claims.c.owner == owner)).all())


def release_expired(conn: Connection, now_ms: int) -> int:
    """Give back every claim whose lease is over; how many they were. Claiming does so by itself."""
    expired = conn.execute(select(claims).where(claims.c.expires_at_ms <= now_ms)).all()
    return _drop_all(conn, expired)


def _drop_all(conn: Connection, rows: Sequence[Row[Any]]) -> int:
    for row in rows:
        _drop(conn, SeriesKey(row.stream, row.symbol, row.timeframe), row.token)
    return len(rows)


def _drop(conn: Connection, key: SeriesKey, token: str) -> None:
    conn.execute(_RETURN_FILES, series_params(key, k_token=token))
    conn.execute(_DROP, series_params(key, k_token=token))


def _row(claim: Claim) -> dict[str, object]:
    return {
        **claim.key._asdict(),
        "token": claim.token,
        "owner": claim.owner,
        "as_of_ms": claim.as_of_ms,
        "expires_at_ms": claim.expires_at_ms,
    }


def _busy(key: SeriesKey, holder: Row[Any], now_ms: int) -> ClaimBusyError:
    return ClaimBusyError(
        f"one trainer at a time may hold a series, {key.symbol} {key.timeframe} of stream "
        f"{key.stream!r} is held by {holder.owner!r} for {holder.expires_at_ms - now_ms} ms more; "
        "try again later"
    )
