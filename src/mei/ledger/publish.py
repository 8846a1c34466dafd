"""The one transaction that publishes a training: model, ranges, answer, promotion and file states together."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, null, select, update

from mei.ledger.claims import Claim, assert_held, release_claim
from mei.ledger.models import model, record_promotion
from mei.ledger.ranges import consumed_ranges, record_ranges
from mei.ledger.series import BarRange, TrainingRule, count_bars, covers, merged
from mei.ledger.tables import files, in_series, models, series_params
from mei.ledger.trainings import TrainingRow, find_training, insert_training
from mei.model.bars import interval_ms
from mei.model.errors import ConflictError, LedgerError, LookAheadError


@dataclass(frozen=True, slots=True)
class Publication:
    """A completed training.

    fitted: exactly the bars given to `fit`, as runs without a gap (`series.ranges_of`); n_fit: how many they are.
    trained_through_ms: close of the newest of them. version: `next_version` in the same unit of work.
    path, sha256: of the model's files, which are in place before. seen_through_ms: newest bar registered.
    promote: the gate let it through.
    """

    claim: Claim
    version: int
    parent_version: int | None
    trained_through_ms: int
    serves_from_ms: int
    path: str
    sha256: str
    metrics_json: str
    mode: TrainingRule
    fitted: tuple[BarRange, ...]
    n_fit: int
    promote: bool
    reason: str
    response_json: str
    seen_through_ms: int


_NEXT_VERSION = select(func.coalesce(func.max(models.c.version), 0) + 1).where(
    models.c.stream == bindparam("k_stream")
)
_SETTLE = (
    update(files)
    .where(in_series(files), files.c.claim_token == bindparam("k_token"))
    .values(state="processed", claim_token=null(), claimed_from=null())
)
_KEEP_PENDING = (
    update(files)
    .where(in_series(files), files.c.sha256 == bindparam("k_sha256"))
    .values(state="downloaded")
)


def next_version(conn: Connection, stream: str) -> int:
    """The number after the newest model of `stream`, over all its series; good until the unit of work ends."""
    version: int = conn.execute(_NEXT_VERSION, {"k_stream": stream}).scalar_one()
    return version


def publish_training(conn: Connection, publication: Publication, now_ms: int) -> None:
    """Record everything a completed training changes and release its claim; the caller commits.

    Raises FencedOffError when the claim is lost, TrainedTwiceError when a bar is spent already, ConflictError when
    the training or its version exists, LookAheadError and LedgerError when the numbers cannot be.
    """
    assert_held(conn, publication.claim, now_ms)
    _refuse_second_answer(conn, publication)
    _check_times(publication)
    _check_bars(publication)
    key = publication.claim.key
    conn.execute(models.insert(), _model_row(publication))
    record_ranges(conn, key, publication.version, publication.mode, publication.fitted)
    insert_training(conn, _training(publication))
    if publication.promote:
        record_promotion(
            conn,
            key,
            publication.version,
            decided_at_ms=publication.claim.as_of_ms,
            serves_from_ms=publication.serves_from_ms,
            kind="gate",
        )
    _settle_files(conn, publication)
    release_claim(conn, publication.claim)


def _refuse_second_answer(conn: Connection, publication: Publication) -> None:
    claim, version = publication.claim, publication.version
    if find_training(conn, claim.key, claim.as_of_ms) is not None:
        raise ConflictError(
            f"a training must be published once, that of {claim.key.symbol} {claim.key.timeframe} in stream "
            f"{claim.key.stream!r} as of {claim.as_of_ms} was answered already; give that answer"
        )
    if version != next_version(conn, claim.key.stream):
        taken = model(conn, claim.key.stream, version) is not None
        raise ConflictError(
            f"a new model must have the next version of its stream, {version} of {claim.key.stream!r} "
            f"{'is taken' if taken else 'leaves a hole'}; call next_version in the same unit of work"
        )


def _check_times(publication: Publication) -> None:
    claim = publication.claim
    if not publication.fitted:
        raise LedgerError(
            "a completed training must have fitted bars, it had none; record it as too_small"
        )
    newest_ms = max(span.last_ms for span in publication.fitted) + interval_ms(claim.key.timeframe)
    if not newest_ms <= publication.trained_through_ms <= claim.as_of_ms:
        raise LookAheadError(
            f"a model must know at most what was known, as of {claim.as_of_ms} it says trained through "
            f"{publication.trained_through_ms} and was fitted on bars that close at {newest_ms}; see ranges_of"
        )
    if publication.serves_from_ms < claim.as_of_ms:
        raise LookAheadError(
            f"a model must serve from its training on, as of {claim.as_of_ms} it would from "
            f"{publication.serves_from_ms}; add the latency"
        )


def _check_bars(publication: Publication) -> None:
    claim = publication.claim
    step_ms = interval_ms(claim.key.timeframe)
    n_slots = count_bars(publication.fitted, step_ms)
    if publication.n_fit != n_slots:
        raise LedgerError(
            f"fitted ranges must hold exactly the bars fitted, they hold {n_slots} and {publication.n_fit} were "
            f"fitted for {claim.key.symbol} as of {claim.as_of_ms}; make them with ranges_of"
        )
    registered = merged((run for file in claim.files for run in file.runs()), step_ms)
    for span in publication.fitted:
        if not covers(registered, span):
            raise LedgerError(
                f"fitted bars must be registered by the time of the training, {span.first_ms}..{span.last_ms} of "
                f"{claim.key.symbol} were not as of {claim.as_of_ms}; fit on the claim's files only"
            )


def _settle_files(conn: Connection, publication: Publication) -> None:
    """Claimed files become processed when all their bars are spent, and go back to downloaded otherwise."""
    claim = publication.claim
    consumed = consumed_ranges(conn, claim.key, publication.mode)
    conn.execute(_SETTLE, series_params(claim.key, k_token=claim.token))
    pending = [
        series_params(claim.key, k_sha256=file.sha256)
        for file in claim.files
        if not all(covers(consumed, run) for run in file.runs())
    ]
    if pending:
        conn.execute(_KEEP_PENDING, pending)


def _model_row(publication: Publication) -> dict[str, object]:
    return {
        **publication.claim.key._asdict(),
        "version": publication.version,
        "as_of_ms": publication.claim.as_of_ms,
        "parent_version": publication.parent_version,
        "trained_through_ms": publication.trained_through_ms,
        "serves_from_ms": publication.serves_from_ms,
        "decision": "accepted" if publication.promote else "rejected",
        "is_archived": 0,
        "path": publication.path,
        "sha256": publication.sha256,
        "metrics_json": publication.metrics_json,
    }


def _training(publication: Publication) -> TrainingRow:
    return TrainingRow(
        key=publication.claim.key,
        as_of_ms=publication.claim.as_of_ms,
        status="completed",
        response_json=publication.response_json,
        reason=publication.reason,
        seen_through_ms=publication.seen_through_ms,
        model_version=publication.version,
    )
