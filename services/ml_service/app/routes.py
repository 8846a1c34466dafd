"""Routes of ml_service. Trainings run in a worker thread; /predict is short enough for the event loop."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from mei.model import faults
from mei.model.http import (
    PredictRequest,
    PredictResponse,
    Stream,
    Symbol,
    Timeframe,
    TrainRequest,
    TrainResponse,
)
from mei.web.bodies import json_reply, parse_body, raw_body
from services.ml_service.app.bodies import (
    ModelInfo,
    ModelList,
    Promotion,
    SeriesRequest,
    model_info,
)
from services.ml_service.app.service import MlService

_Version = Annotated[int, Path(ge=1, lt=2**53, description="the stream's model number")]
_AsOf = Annotated[int | None, Query(ge=0, lt=2**53, description="epoch ms; default: now")]


def routers(service: MlService) -> list[APIRouter]:
    """All routes over `service`."""
    return [_learning(service), _models(service), _decisions(service)]


def _learning(service: MlService) -> APIRouter:
    router = APIRouter(tags=["learning"])

    @router.post(
        "/train",
        summary="Train as of a time; asked again, the stored answer",
        responses={200: {"model": TrainResponse}},
        openapi_extra=raw_body(TrainRequest, required=False),
    )
    async def train(request: Request) -> Response:
        asked = parse_body(TrainRequest, await request.body(), empty_is_default=True)
        content, fit_ms = await asyncio.to_thread(service.train, asked)
        faults.hit("ml.train.before_reply")
        headers = {"Server-Timing": f"fit;dur={fit_ms:.3f}"}
        return Response(content, headers=headers, media_type="application/json")

    @router.post(
        "/predict",
        summary="Filtered regimes of the given bars, by the models that served at each",
        responses={200: {"model": PredictResponse}},
        openapi_extra=raw_body(PredictRequest),
    )
    async def predict(request: Request) -> Response:
        asked = parse_body(PredictRequest, await request.body())
        reply = json_reply(service.predict(asked))
        faults.hit("ml.predict.before_reply")
        return reply

    return router


def _models(service: MlService) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/model", summary="The model that serves as of a time", response_model=ModelInfo)
    async def model(
        stream: Stream = "live",
        symbol: Symbol | None = None,
        timeframe: Timeframe | None = None,
        as_of_ms: _AsOf = None,
    ) -> ModelInfo:
        return model_info(service.serving(_series(stream, symbol, timeframe, as_of_ms)))

    @router.get("/models", summary="Every completed fit by a time", response_model=ModelList)
    async def models(
        stream: Stream = "live",
        symbol: Symbol | None = None,
        timeframe: Timeframe | None = None,
        as_of_ms: _AsOf = None,
    ) -> ModelList:
        rows = service.models(_series(stream, symbol, timeframe, as_of_ms))
        return ModelList(models=[model_info(row) for row in rows])

    return router


def _decisions(service: MlService) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.post(
        "/models/{version}/promote",
        summary="Make a model champion by hand",
        responses={200: {"model": Promotion}},
        openapi_extra=raw_body(SeriesRequest, required=False),
    )
    async def promote(version: _Version, request: Request) -> Response:
        asked = parse_body(SeriesRequest, await request.body(), empty_is_default=True)
        done = await asyncio.to_thread(service.promote, version, asked)
        faults.hit("ml.promote.before_reply")
        return json_reply(done.model_dump())

    @router.post(
        "/rollback",
        summary="Make the champion before the present one champion again",
        responses={200: {"model": Promotion}},
        openapi_extra=raw_body(SeriesRequest, required=False),
    )
    async def rollback(request: Request) -> Response:
        asked = parse_body(SeriesRequest, await request.body(), empty_is_default=True)
        done = await asyncio.to_thread(service.rollback, asked)
        faults.hit("ml.rollback.before_reply")
        return json_reply(done.model_dump())

    return router


def _series(
    stream: str, symbol: str | None, timeframe: str | None, as_of_ms: int | None
) -> SeriesRequest:
    return SeriesRequest(stream=stream, symbol=symbol, timeframe=timeframe, as_of_ms=as_of_ms)
