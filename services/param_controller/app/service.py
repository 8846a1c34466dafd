"""What param_controller does: answer parameters, take presets and outcomes. No state of its own but a cache."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection

from mei.ledger.database import Ledger
from mei.ledger.outcomes import OutcomeRow, find_outcome, record_outcome
from mei.ledger.presets import PresetRow, presets_as_of, register_preset
from mei.model import faults
from mei.model.bars import path_name, symbol_name
from mei.model.errors import ConflictError, NotFoundError, RequestError
from mei.model.http import (
    Outcome,
    OutcomeResponse,
    ParamsRequest,
    PresetRegistration,
    refuse_future,
)
from mei.policy.context import context_of, context_rows
from mei.policy.decide import Integers, Policy, PresetTimeline, Question, decide
from mei.policy.schemas import Number, StrategySchema
from mei.web.logs import stream_fields
from services.param_controller.app.outcome_logs import END_OF_TIME_MS, OutcomeLogs, PolicyKey

_log = logging.getLogger("param_controller")

_ALWAYS_MS = -(2**62)


@dataclass(frozen=True, slots=True)
class PresetBook:
    """The presets of one (stream, strategy, instrument): those of the schema, then registered ones."""

    timeline: PresetTimeline
    params: Mapping[str, Mapping[str, Number]]


class ParamService:
    """Answers from the ledger's outcome log as of each bar. Raises NotFoundError, RequestError."""

    def __init__(
        self,
        ledger: Ledger,
        schemas: Mapping[str, StrategySchema],
        instruments: tuple[str, ...],
        policy: Policy,
        seed: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._ledger = ledger
        self._schemas = schemas
        self._instruments = instruments
        self._policy = policy
        self._seed = seed
        self._now_ms = now_ms
        self._logs = OutcomeLogs()

    def now_ms(self) -> int:
        """Epoch ms of the service's clock."""
        return self._now_ms()

    def params(self, strategy: str, instrument: str, request: ParamsRequest) -> dict[str, Any]:
        """A ParamsResponse as plain objects, one row an `as_of_ms`."""
        schema, symbol = self._known(strategy, instrument)
        policy = self._policy
        if request.policy is not None:
            policy = Policy.parse(request.policy, RequestError)
        question = Question(
            strategy=strategy,
            instrument=symbol,
            seed=self._seed if request.seed is None else request.seed,
            policy=policy,
            as_of_ms=_times(request.as_of_ms),
            contexts=context_rows(request.features, len(request.as_of_ms)),
        )
        key = PolicyKey(request.stream, strategy, symbol)
        through_ms = request.as_of_ms[-1] if request.as_of_ms else _ALWAYS_MS
        with self._ledger.reader() as connection:
            book = _book(connection, key, schema, through_ms)
            log = self._logs.current(connection, key)
        chosen = decide(question, log, book.timeline, request.policy_state)
        return {
            "stream": request.stream,
            "strategy": strategy,
            "instrument": symbol,
            "policy": str(policy),
            **_rows(chosen, book),
        }

    def learn(
        self, strategy: str, instrument: str, preset: str, outcome: Outcome
    ) -> OutcomeResponse:
        """Record how a trade ended. The same outcome again changes nothing; ConflictError if it differs."""
        schema, symbol = self._known(strategy, instrument)
        key = PolicyKey(outcome.stream, strategy, symbol)
        if not math.isfinite(outcome.net_pnl_bps):
            raise RequestError(f"net_pnl_bps must be finite, found {outcome.net_pnl_bps}")
        context_of(outcome.features)
        known_at_ms = self._known_at_ms(outcome)
        with self._ledger.reader() as connection:
            _require_preset(preset, _book(connection, key, schema, known_at_ms))
        row = OutcomeRow(
            stream=outcome.stream,
            trade_id=outcome.trade_id,
            strategy=strategy,
            instrument=symbol,
            preset_id=preset,
            known_at_ms=known_at_ms,
            net_pnl_bps=outcome.net_pnl_bps,
            features_json=orjson.dumps(outcome.features, option=orjson.OPT_SORT_KEYS).decode(),
        )
        with self._ledger.unit_of_work() as unit:
            is_new = record_outcome(unit.connection, row)
            if is_new:
                unit.commit("outcome")
        if is_new:
            _log.info("outcome", extra={**stream_fields(row.stream), "trade_id": row.trade_id})
        self._logs.recorded(key, row)
        faults.hit("params.outcome.before_reply")
        return OutcomeResponse(trade_id=row.trade_id, known_at_ms=known_at_ms, recorded=is_new)

    def register(
        self,
        strategy: str,
        instrument: str,
        registration: PresetRegistration,
        stream: str,
        known_at_ms: int | None,
    ) -> dict[str, Any]:
        """Add a preset, known from `known_at_ms` (default: now). ConflictError if the name is taken."""
        schema, symbol = self._known(strategy, instrument)
        preset = registration.preset_id
        params = schema.checked(registration.params, f"preset {preset}", RequestError)
        key = PolicyKey(stream, strategy, symbol)
        with self._ledger.reader() as connection:
            book = _book(connection, key, schema, END_OF_TIME_MS)
        if preset in book.params:
            _require_same(preset, book.params[preset], params)
            known = int(book.timeline.known_at_ms[book.timeline.names.index(preset)])
            known_at_ms = known if known_at_ms is None or known == _ALWAYS_MS else known_at_ms
        elif known_at_ms is None:
            known_at_ms = self._now_ms()
        is_new = preset not in schema.presets and self._record_preset(
            PresetRow(*key, preset, known_at_ms, orjson.dumps(params).decode())
        )
        faults.hit("params.preset.before_reply")
        known_from = None if preset in schema.presets else known_at_ms
        return {
            "preset_id": preset,
            "known_at_ms": known_from,
            "recorded": is_new,
            "params": params,
        }

    def catalogue(self) -> dict[str, Any]:
        """Strategies with their parameters, bounds, instruments (as in URLs) and live presets."""
        with self._ledger.reader() as connection:
            strategies = {
                name: self._describe(connection, schema) for name, schema in self._schemas.items()
            }
        return {"policy": str(self._policy), "seed": self._seed, "strategies": strategies}

    def _describe(self, connection: Connection, schema: StrategySchema) -> dict[str, Any]:
        return {
            "description": schema.description,
            "presets": {name: dict(values) for name, values in schema.presets.items()},
            "parameters": {
                one.name: {
                    "type": one.type,
                    "min": one.minimum,
                    "max": one.maximum,
                    "unit": one.unit,
                    "description": one.description,
                }
                for one in schema.parameters.values()
            },
            "instruments": {
                path_name(symbol): {
                    "presets": _book(
                        connection,
                        PolicyKey("live", schema.strategy, symbol),
                        schema,
                        END_OF_TIME_MS,
                    ).params
                }
                for symbol in self._instruments_of(schema)
            },
        }

    def _record_preset(self, row: PresetRow) -> bool:
        with self._ledger.unit_of_work() as unit:
            is_new = register_preset(unit.connection, row)
            if is_new:
                unit.commit("preset")
        return is_new

    def _known_at_ms(self, outcome: Outcome) -> int:
        if outcome.known_at_ms is not None:
            if not 0 <= outcome.known_at_ms < END_OF_TIME_MS:
                raise RequestError(f"known_at_ms must be epoch ms, found {outcome.known_at_ms}")
            refuse_future(outcome.stream, "known_at_ms", outcome.known_at_ms, self._now_ms())
            return outcome.known_at_ms
        # Delivered again without a time, an outcome keeps the one it got first.
        with self._ledger.reader() as connection:
            before = find_outcome(connection, outcome.stream, outcome.trade_id)
        return self._now_ms() if before is None else before.known_at_ms

    def _known(self, strategy: str, instrument: str) -> tuple[StrategySchema, str]:
        """(schema, symbol) or NotFoundError, which lists what exists."""
        schema = self._schemas.get(strategy)
        if schema is None:
            raise NotFoundError(f"no strategy {strategy!r}; there are {', '.join(self._schemas)}")
        symbol = symbol_name(instrument)
        existing = self._instruments_of(schema)
        if symbol not in existing:
            names = ", ".join(path_name(one) for one in existing) or "none"
            raise NotFoundError(f"no instrument {instrument!r} of {strategy}; there are {names}")
        return schema, symbol

    def _instruments_of(self, schema: StrategySchema) -> tuple[str, ...]:
        if schema.instruments is None:
            return self._instruments
        return tuple(one for one in self._instruments if one in schema.instruments)


def _times(as_of_ms: list[int]) -> Integers:
    if as_of_ms and not (min(as_of_ms) >= 0 and max(as_of_ms) < END_OF_TIME_MS):
        raise RequestError("as_of_ms must be epoch ms, from 0 to 2**62")
    return np.array(as_of_ms, dtype=np.int64)


def _book(
    connection: Connection, key: PolicyKey, schema: StrategySchema, through_ms: int
) -> PresetBook:
    """The presets known at `through_ms`, in order: of the schema, then as they became known."""
    rows = presets_as_of(connection, *key, through_ms)
    registered = sorted(rows, key=lambda row: (row.known_at_ms, row.preset_id))
    # A preset that the schema has got since under the same name is the schema's.
    registered = [row for row in registered if row.preset_id not in schema.presets]
    params = dict(schema.presets)
    params.update({row.preset_id: orjson.loads(row.params_json) for row in registered})
    times = [_ALWAYS_MS] * len(schema.presets) + [row.known_at_ms for row in registered]
    timeline = PresetTimeline(tuple(params), np.array(times, dtype=np.int64))
    return PresetBook(timeline, params)


def _rows(chosen: Integers, book: PresetBook) -> dict[str, Any]:
    names = book.timeline.names
    used = np.unique(chosen[:, 0]).tolist()
    changed_at_ms = chosen[:, 1].tolist()
    return {
        "presets": {names[index]: book.params[names[index]] for index in used},
        "policy_state": {
            "preset": [names[index] for index in chosen[:, 0].tolist()],
            "changed_at_ms": [None if moment < 0 else moment for moment in changed_at_ms],
            "changes_today": chosen[:, 2].tolist(),
        },
    }


def _require_preset(preset: str, book: PresetBook) -> None:
    if preset not in book.params:
        raise NotFoundError(f"no preset {preset!r}; there are {', '.join(book.params)}")


def _require_same(
    preset: str, existing: Mapping[str, Number], params: Mapping[str, Number]
) -> None:
    if dict(existing) != dict(params):
        raise ConflictError(
            f"preset {preset!r} exists with {dict(existing)}; register {dict(params)} by another name"
        )
