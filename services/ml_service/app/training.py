"""One training: claim, window, fit, gate, files, one publishing transaction."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import orjson

from mei.learning.hmm import FitError
from mei.learning.regime_model import RegimeModel
from mei.ledger.claims import Claim, claim_series, release_claim
from mei.ledger.database import Ledger
from mei.ledger.files import count_registered, registered_through_ms
from mei.ledger.models import ModelRow, champion_as_of, last_completed_fit
from mei.ledger.publish import Publication, next_version, publish_training
from mei.ledger.ranges import consumed_ranges, lineage_ranges
from mei.ledger.series import BarRange, SeriesKey
from mei.ledger.trainings import TrainingRow, find_training, last_training, record_training
from mei.model import faults
from mei.model.bars import interval_ms
from mei.model.errors import ClaimBusyError, ConflictError, FencedOffError
from mei.model.http import TrainingSettings, TrainResult
from services.ml_service.app.candidate import Candidate, Rival, make_candidate
from services.ml_service.app.models import ModelShelf
from services.ml_service.app.renewal import LEASE_MS, renewing
from services.ml_service.app.window import ChunkCache, TrainingWindow, load_window

_FOREVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class Answer:
    """A training's stored result as JSON, and the milliseconds its fit took just now (0 if it was stored already)."""

    json: str
    fit_ms: float


@dataclass(frozen=True, slots=True)
class _Job:
    """A claimed training and what the ledger said when it was claimed."""

    claim: Claim
    settings: TrainingSettings
    seen_through_ms: int
    consumed: tuple[BarRange, ...]
    parent: ModelRow | None
    champion: ModelRow | None
    lineage: tuple[BarRange, ...]


class Trainer:
    """Trains series, one at a time in this process. clock_ms: wall clock, for leases only."""

    def __init__(
        self,
        ledger: Ledger,
        shelf: ModelShelf,
        chunks: ChunkCache,
        *,
        owner: str,
        clock_ms: Callable[[], int],
        stopwatch_ms: Callable[[], float],
        new_token: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._shelf = shelf
        self._chunks = chunks
        self._owner = owner
        self._clock_ms = clock_ms
        self._stopwatch_ms = stopwatch_ms
        self._new_token = new_token
        self._one_training = threading.Lock()

    def train(self, key: SeriesKey, as_of_ms: int, settings: TrainingSettings) -> Answer:
        """The answer of (stream, symbol, timeframe, as of): the stored one, or that of a training made now.

        Raises ConflictError for a question older than the newest answered, ClaimBusyError when another trainer
        holds the series, DataError and LedgerError when files or manifest are not what they must be.
        """
        with self._one_training:
            try:
                return self._train(key, as_of_ms, settings)
            except FencedOffError as error:
                stored = self._stored(key, as_of_ms)
                if stored is None:
                    raise ClaimBusyError(
                        f"a trainer must hold its claim until it has published, {key.symbol} of stream "
                        f"{key.stream!r} was taken over meanwhile ({error}); try again later"
                    ) from error
                return stored

    def _train(self, key: SeriesKey, as_of_ms: int, settings: TrainingSettings) -> Answer:
        self._shelf.follow_once(key)
        begun = self._stored(key, as_of_ms) or self._begin(key, as_of_ms, settings)
        if isinstance(begun, Answer):
            return begun
        try:
            with renewing(self._ledger, begun.claim, self._clock_ms):
                return self._finish(begun)
        except BaseException:
            # An interrupted process leaves its claim to its successor; one that lives gives it back.
            self._give_back(begun.claim)
            raise

    def _stored(self, key: SeriesKey, as_of_ms: int) -> Answer | None:
        with self._ledger.reader() as conn:
            known = find_training(conn, key, as_of_ms)
        return None if known is None else Answer(known.response_json, 0.0)

    def _begin(self, key: SeriesKey, as_of_ms: int, settings: TrainingSettings) -> _Job | Answer:
        """Claim the series, or answer at once that it has no new bars."""
        with self._ledger.unit_of_work() as unit:
            conn = unit.connection
            newest = last_training(conn, key, _FOREVER_MS)
            if newest is not None and newest.as_of_ms == as_of_ms:
                return Answer(newest.response_json, 0.0)
            if newest is not None and newest.as_of_ms > as_of_ms:
                raise _too_old(key, as_of_ms, newest.as_of_ms)
            through_ms = _news_through_ms(conn, key, newest, as_of_ms)
            if through_ms is None:
                champion = champion_as_of(conn, key, as_of_ms)
                result = _unpublished(key, as_of_ms, "skipped", "no_new_bars", champion)
                _record(conn, key, result, None if newest is None else newest.seen_through_ms)
                unit.commit("skip_training")
                return Answer(_json(result), 0.0)
            claim = claim_series(
                conn,
                key,
                as_of_ms=as_of_ms,
                owner=self._owner,
                token=self._new_token(),
                now_ms=self._clock_ms(),
                lease_ms=LEASE_MS,
            )
            job = _describe(conn, claim, settings, through_ms)
            unit.commit("claim")
            return job

    def _finish(self, job: _Job) -> Answer:
        window = self._window(job)
        rival = Rival(self._loaded(job.champion), [*job.lineage])
        started_ms = self._stopwatch_ms()
        made = self._attempt(job, window, rival)
        fit_ms = self._stopwatch_ms() - started_ms
        if isinstance(made, TrainResult):
            return self._record_unpublished(job, made, fit_ms)
        return self._publish(job, made, fit_ms)

    def _window(self, job: _Job) -> TrainingWindow:
        return load_window(
            job.claim.files,
            self._chunks,
            job.consumed,
            job.settings,
            as_of_ms=job.claim.as_of_ms,
            step_ms=interval_ms(job.claim.key.timeframe),
        )

    def _attempt(self, job: _Job, window: TrainingWindow, rival: Rival) -> Candidate | TrainResult:
        """A candidate, or the result of a training that came to nothing."""
        key, as_of_ms = job.claim.key, job.claim.as_of_ms
        try:
            made = make_candidate(
                window,
                job.settings,
                parent=self._loaded(job.parent),
                rival=rival,
                step_ms=interval_ms(key.timeframe),
                seed=fit_seed(job.settings.seed, key, as_of_ms),
            )
        except FitError as error:
            return _unpublished(key, as_of_ms, "failed", str(error), job.champion)
        if isinstance(made, str):
            return _unpublished(key, as_of_ms, "too_small", made, job.champion)
        return made

    def _record_unpublished(self, job: _Job, result: TrainResult, fit_ms: float) -> Answer:
        with self._ledger.unit_of_work() as unit:
            _record(unit.connection, job.claim.key, result, job.seen_through_ms)
            release_claim(unit.connection, job.claim)
            unit.commit("record_training")
        return Answer(_json(result), fit_ms)

    def _publish(self, job: _Job, candidate: Candidate, fit_ms: float) -> Answer:
        key = job.claim.key
        with self._ledger.reader() as conn:
            version = next_version(conn, key.stream)
        while True:
            fitted = candidate.model(version)
            publication = _publication(job, candidate, version)
            saved = self._shelf.save(key, fitted)
            publication = replace(publication, path=saved.path, sha256=saved.sha256)
            with self._ledger.unit_of_work() as unit:
                # Another series of the stream may have taken the number since: then write the files once more.
                taken = version
                version = next_version(unit.connection, key.stream)
                if version != taken:
                    continue
                publish_training(unit.connection, publication, self._clock_ms())
                unit.commit("publish")
            break
        faults.hit("ml.train.before_current")
        self._shelf.follow(key)
        faults.hit("ml.train.after_current")
        self._shelf.prune(key, keep_n=job.settings.keep_n_models, as_of_ms=job.claim.as_of_ms)
        return Answer(publication.response_json, fit_ms)

    def _loaded(self, row: ModelRow | None) -> RegimeModel | None:
        return None if row is None else self._shelf.load(row)

    def _give_back(self, claim: Claim) -> None:
        with self._ledger.unit_of_work() as unit:
            release_claim(unit.connection, claim)
            unit.commit("release")


def fit_seed(seed: int, key: SeriesKey, as_of_ms: int) -> int:
    """Seed of a fit: the same in every stream and run, so that a rerun fits the same models."""
    text = f"{seed}|{key.symbol}|{key.timeframe}|{as_of_ms}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")


def _news_through_ms(
    conn: Any, key: SeriesKey, newest: TrainingRow | None, as_of_ms: int
) -> int | None:
    """Open of the newest bar that can be used as of then; None if the training before knew all there is.

    News are bars that closed since, and files registered since, however old their bars are.
    """
    registered_ms = registered_through_ms(conn, key, as_of_ms)
    if registered_ms is None:
        return None
    through_ms = min(registered_ms, as_of_ms - interval_ms(key.timeframe))
    if newest is None or newest.seen_through_ms is None or through_ms > newest.seen_through_ms:
        return through_ms
    n_late = count_registered(conn, key, after_ms=newest.as_of_ms, as_of_ms=as_of_ms)
    return through_ms if n_late else None


def _describe(conn: Any, claim: Claim, settings: TrainingSettings, through_ms: int) -> _Job:
    key, as_of_ms = claim.key, claim.as_of_ms
    parent = last_completed_fit(conn, key, as_of_ms)
    champion = champion_as_of(conn, key, as_of_ms)
    lineage = [
        span
        for row in (parent, champion)
        if row is not None
        for span in lineage_ranges(conn, key.stream, row.version)
    ]
    mode: Literal["exactly_once", "sliding"] = (
        "exactly_once" if settings.exactly_once else "sliding"
    )
    consumed = tuple(consumed_ranges(conn, key, mode))
    return _Job(claim, settings, through_ms, consumed, parent, champion, tuple(lineage))


def _publication(job: _Job, candidate: Candidate, version: int) -> Publication:
    """Everything the ledger is told, but for the files."""
    claim, verdict = job.claim, candidate.verdict
    serves_from_ms = claim.as_of_ms + job.settings.latency_ms
    parent_version = job.parent.version if candidate.is_warm and job.parent is not None else None
    champion_version = version if verdict.promote else _version(job.champion)
    result = TrainResult(
        **claim.key._asdict(),
        as_of_ms=claim.as_of_ms,
        status="completed",
        decision="promoted" if verdict.promote else "rejected",
        reason=verdict.reason,
        model_version=version,
        parent_version=parent_version,
        champion_version=champion_version,
        serves_from_ms=serves_from_ms if verdict.promote else None,
        trained_through_ms=candidate.trained_through_ms,
        n_fit=candidate.n_fit,
        n_validation=candidate.n_validation,
        metrics={**candidate.metrics, "gate": asdict(verdict)},
    )
    return Publication(
        claim=claim,
        version=version,
        parent_version=parent_version,
        trained_through_ms=candidate.trained_through_ms,
        serves_from_ms=serves_from_ms,
        path="",
        sha256="",
        metrics_json=orjson.dumps(result.metrics).decode(),
        mode="exactly_once" if job.settings.exactly_once else "sliding",
        fitted=tuple(BarRange(*span) for span in candidate.fitted),
        n_fit=candidate.n_fit,
        promote=verdict.promote,
        reason=verdict.reason,
        response_json=_json(result),
        seen_through_ms=job.seen_through_ms,
    )


def _unpublished(
    key: SeriesKey,
    as_of_ms: int,
    status: Literal["skipped", "too_small", "failed"],
    reason: str,
    champion: ModelRow | None,
) -> TrainResult:
    return TrainResult(
        **key._asdict(),
        as_of_ms=as_of_ms,
        status=status,
        reason=reason,
        champion_version=_version(champion),
    )


def _record(conn: Any, key: SeriesKey, result: TrainResult, seen_through_ms: int | None) -> None:
    assert result.status != "completed"
    record_training(
        conn,
        key,
        as_of_ms=result.as_of_ms,
        status=result.status,
        reason=result.reason,
        seen_through_ms=seen_through_ms,
        response_json=_json(result),
    )


def _version(row: ModelRow | None) -> int | None:
    return None if row is None else row.version


def _json(result: TrainResult) -> str:
    return orjson.dumps(result.model_dump()).decode()


def _too_old(key: SeriesKey, as_of_ms: int, newest_ms: int) -> ConflictError:
    return ConflictError(
        f"trainings of a series must be asked for in order of time, as of {as_of_ms} came after {newest_ms} "
        f"for {key.symbol} {key.timeframe} in stream {key.stream!r}; ask as of a later time or in another stream"
    )
