"""HTTP bodies that only ml_service has; those of /train and /predict are in mei.model.http."""

from __future__ import annotations

from typing import Any

import orjson
from pydantic import Field

from mei.ledger.models import ModelRow
from mei.model.http import Body, Stream, Symbol, Timeframe


class SeriesRequest(Body):
    """Which series, as of when. An empty body means the live stream's first symbol, now."""

    stream: Stream = "live"
    symbol: Symbol | None = Field(None, description="default: the first of the service's SYMBOLS")
    timeframe: Timeframe | None = Field(None, description="default: the service's TIMEFRAME")
    as_of_ms: int | None = Field(None, ge=0, lt=2**53, description="default: now")


class ModelInfo(Body):
    """One completed fit."""

    stream: str
    symbol: str
    timeframe: str
    version: int
    as_of_ms: int
    parent_version: int | None
    trained_through_ms: int
    serves_from_ms: int = Field(description="by its training's latency, if it was promoted")
    decision: str = Field(description="accepted, rejected, champion or archived")
    metrics: dict[str, Any]


class ModelList(Body):
    """Every completed fit of a series by the time asked, ascending in version."""

    models: list[ModelInfo]


class Promotion(Body):
    """Who is champion now. `changed` is false when it was so before."""

    stream: str
    symbol: str
    timeframe: str
    version: int
    decided_at_ms: int
    changed: bool


def model_info(row: ModelRow) -> ModelInfo:
    """A ledger row as it is told."""
    return ModelInfo(
        **row.key._asdict(),
        version=row.version,
        as_of_ms=row.as_of_ms,
        parent_version=row.parent_version,
        trained_through_ms=row.trained_through_ms,
        serves_from_ms=row.serves_from_ms,
        decision=row.decision,
        metrics=orjson.loads(row.metrics_json),
    )
