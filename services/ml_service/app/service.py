"""What ml_service does, without HTTP."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any, Literal

import orjson

from mei.data.chunks import read_chunk
from mei.ledger.claims import claim_owners, release_owner
from mei.ledger.database import Ledger
from mei.ledger.files import series_of_stream
from mei.ledger.models import (
    ModelRow,
    champion_as_of,
    models_of,
    promotions_of,
    record_promotion,
    serving_as_of,
)
from mei.ledger.series import SeriesKey
from mei.model.bars import symbol_name
from mei.model.errors import ConflictError, NotFoundError, RequestError
from mei.model.http import PredictRequest, TrainRequest, refuse_future
from mei.web.logs import stream_fields
from services.ml_service.app.bodies import Promotion, SeriesRequest
from services.ml_service.app.instance import Instance, is_dead, sweep
from services.ml_service.app.models import ModelShelf
from services.ml_service.app.prediction import predict
from services.ml_service.app.settings import Settings
from services.ml_service.app.training import Answer, Trainer
from services.ml_service.app.window import ChunkCache

_log = logging.getLogger("ml_service")

_FOREVER_MS = 2**62
#: Later times are a mistake of units, and sums with them would not fit.
_LATEST_MS = 2**53 - 1


class MlService:
    """Trains, serves and promotes. now_ms: wall clock, epoch ms; what no request names is as of then."""

    def __init__(self, settings: Settings, ledger: Ledger, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._ledger = ledger
        self._now_ms = now_ms
        self._training = settings.training_settings()
        self.shelf = ModelShelf(settings.models_dir, ledger)
        self.instance = Instance(settings.models_dir, settings.service_name, uuid.uuid4().hex)
        incoming = settings.data_incoming
        self._trainer = Trainer(
            ledger,
            self.shelf,
            ChunkCache(lambda file: read_chunk(incoming, file.path, file.sha256)),
            owner=self.instance.owner,
            clock_ms=now_ms,
            stopwatch_ms=lambda: time.perf_counter() * 1e3,
            new_token=lambda: uuid.uuid4().hex,
        )

    def recover(self) -> None:
        """Give back what ended incarnations held, and repair the live stream's links."""
        root = self._settings.models_dir
        with self._ledger.reader() as conn:
            dead = [owner for owner in claim_owners(conn) if is_dead(root, owner)]
        self._release(dead)
        sweep(root)
        with self._ledger.reader() as conn:
            live = series_of_stream(conn, "live")
        for key in live:
            self.shelf.follow_once(key)

    def close(self) -> None:
        """Give back every claim of this incarnation; a fit still under way is fenced off by that."""
        self._release([self.instance.owner])
        self.instance.end()

    def _release(self, owners: list[str]) -> None:
        if not owners:
            return
        with self._ledger.unit_of_work() as unit:
            n_claims = sum(release_owner(unit.connection, owner) for owner in owners)
            unit.commit("release_owner")
        if n_claims:
            _log.info("claims released", extra={"n_claims": n_claims})

    def train(self, request: TrainRequest) -> tuple[bytes, float]:
        """The TrainResponse in JSON, and the milliseconds its fits took just now."""
        as_of_ms = self._now_ms() if request.as_of_ms is None else request.as_of_ms
        if not 0 <= as_of_ms <= _LATEST_MS:
            raise RequestError(
                f"as_of_ms must be epoch milliseconds from 0 to {_LATEST_MS}, was {as_of_ms}"
            )
        refuse_future(request.stream, "as_of_ms", as_of_ms, self._now_ms())
        symbols = (request.symbol,) if request.symbol else self._settings.symbol_names
        answers: list[Answer] = [
            self._trainer.train(
                self._key(request.stream, symbol, request.timeframe),
                as_of_ms,
                request.training or self._training,
            )
            for symbol in symbols
        ]
        for answer in answers:
            _log_training(request.stream, answer)
        results = ",".join(answer.json for answer in answers)
        return f'{{"results":[{results}]}}'.encode(), sum(answer.fit_ms for answer in answers)

    def predict(self, request: PredictRequest) -> dict[str, Any]:
        """The fields of PredictResponse."""
        newest_ms = max(request.as_of_ms, default=0)
        refuse_future(request.stream, "as_of_ms", newest_ms, self._now_ms())
        return predict(self._ledger, self.shelf, request)

    def serving(self, request: SeriesRequest) -> ModelRow:
        """The model that answers as of then. Raises NotFoundError while there is none."""
        key = self._key(request.stream, request.symbol, request.timeframe)
        as_of_ms = self._as_of(request)
        with self._ledger.reader() as conn:
            row = serving_as_of(conn, key, as_of_ms)
        if row is None:
            raise NotFoundError(
                f"no model serves {key.symbol} {key.timeframe} of stream {key.stream!r} as of {as_of_ms} yet; "
                "POST /train makes one"
            )
        return row

    def models(self, request: SeriesRequest) -> list[ModelRow]:
        """Every completed fit by then."""
        key = self._key(request.stream, request.symbol, request.timeframe)
        with self._ledger.reader() as conn:
            return models_of(conn, key, request.as_of_ms)

    def promote(self, version: int, request: SeriesRequest) -> Promotion:
        """Make a model champion by hand, serving from the moment of the decision."""
        key = self._key(request.stream, request.symbol, request.timeframe)
        return self._decide(key, self._as_of(request), version, "manual")

    def rollback(self, request: SeriesRequest) -> Promotion:
        """Make the champion before the present one champion again. Raises ConflictError if there is none."""
        key = self._key(request.stream, request.symbol, request.timeframe)
        return self._decide(key, self._as_of(request), None, "rollback")

    def readiness(self) -> dict[str, Any]:
        """Which ledger this is, and the live champions of SYMBOLS; reading them proves that the ledger is reachable."""
        champions: dict[str, int | str] = {}
        with self._ledger.reader() as conn:
            for symbol in self._settings.symbol_names:
                row = champion_as_of(conn, self._key("live", symbol, None), _FOREVER_MS)
                champions[symbol] = "no model yet" if row is None else row.version
        return {"ledger_id": self._ledger.ledger_id, "champions": champions}

    def _decide(
        self,
        key: SeriesKey,
        as_of_ms: int,
        version: int | None,
        kind: Literal["manual", "rollback"],
    ) -> Promotion:
        """version: None = the champion before the present one."""
        refuse_future(key.stream, "as_of_ms", as_of_ms, self._now_ms())
        with self._ledger.unit_of_work() as unit:
            events = promotions_of(unit.connection, key, _FOREVER_MS)
            if events and events[-1].decided_at_ms > as_of_ms:
                raise ConflictError(
                    f"a promotion must not rewrite the past, as of {as_of_ms} came after the decision of "
                    f"{events[-1].decided_at_ms} on {key.symbol} of stream {key.stream!r}; ask as of a later time"
                )
            if version is None:
                version = _champion_before(key, [event.version for event in events])
            changed = not events or events[-1].version != version
            if changed:
                record_promotion(
                    unit.connection,
                    key,
                    version,
                    decided_at_ms=as_of_ms,
                    serves_from_ms=as_of_ms,
                    kind=kind,
                )
                unit.commit("promote")
        self.shelf.follow(key)
        return Promotion(**key._asdict(), version=version, decided_at_ms=as_of_ms, changed=changed)

    def _as_of(self, request: SeriesRequest) -> int:
        return self._now_ms() if request.as_of_ms is None else request.as_of_ms

    def _key(self, stream: str, symbol: str | None, timeframe: str | None) -> SeriesKey:
        name = symbol_name(symbol or self._settings.symbol_names[0])
        return SeriesKey(stream, name, timeframe or self._settings.timeframe)


def _champion_before(key: SeriesKey, versions: list[int]) -> int:
    """versions: of the promotions, in order of decision. Raises ConflictError when there was one champion at most."""
    earlier = [version for version in versions if version != versions[-1]]
    if not earlier:
        raise ConflictError(
            f"a rollback needs an earlier champion, {key.symbol} {key.timeframe} of stream {key.stream!r} "
            f"has had {len(set(versions))}; see GET /models"
        )
    return earlier[-1]


def _log_training(stream: str, answer: Answer) -> None:
    if not _log.isEnabledFor(logging.INFO):
        return
    told = ("symbol", "timeframe", "as_of_ms", "status", "decision", "model_version", "reason")
    result = orjson.loads(answer.json)
    fields = {name: result[name] for name in told}
    extra = {**stream_fields(stream), **fields, "fit_ms": round(answer.fit_ms, 1)}
    _log.info("training", extra=extra)
