"""Routes of data_ingester. A pass runs in a worker thread."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from mei.web.bodies import json_reply, parse_body, raw_body
from services.data_ingester.app.bodies import IngestBody, IngestReport, Watermarks
from services.data_ingester.app.service import IngestService


def routers(service: IngestService) -> list[APIRouter]:
    """All routes over `service`."""
    router = APIRouter(tags=["ingest"])

    @router.post(
        "/ingest_once",
        summary="Bring what is new; the same again changes nothing",
        description="Waits for a pass under way. 503, naming them, when series failed; the others are done.",
        responses={200: {"model": IngestReport}},
        openapi_extra=raw_body(IngestBody, required=False),
    )
    async def ingest_once(request: Request) -> Response:
        asked = parse_body(IngestBody, await request.body(), empty_is_default=True)
        report = await asyncio.to_thread(service.ingest, asked)
        return json_reply(report.model_dump())

    @router.get("/watermarks", summary="How far every series is", response_model=Watermarks)
    async def watermarks() -> Response:
        found = await asyncio.to_thread(service.watermarks)
        return json_reply(found.model_dump())

    return [router]
