"""What is asked of data_ingester, and what it answers. Times are epoch ms UTC."""

from __future__ import annotations

from pydantic import BaseModel, Field

from mei.model.http import Body, Symbol, Timeframe


class IngestBody(Body):
    """What to bring. An empty body means everything the service is set to, up to now."""

    symbols: list[Symbol] | None = Field(None, description="of SYMBOLS; default: all")
    timeframes: list[Timeframe] | None = Field(None, description="of its timeframes; default: all")
    until: str | None = Field(None, max_length=64, description="opens before this moment or day")


class SeriesResult(BaseModel):
    """What one pass did to a series."""

    symbol: str
    timeframe: str
    new_bars: int
    empty_slots: int = Field(description="noted now as empty")
    faulty_rows: int = Field(description="rows that were no candles")
    through_ms: int | None = Field(description="open up to which nothing is missing")
    newest_closed_ms: int = Field(description="the newest open asked for")
    new_chunks: int
    deleted_chunks: int


class IngestReport(BaseModel):
    """A pass in which nothing failed."""

    exchange: str
    took_ms: int
    series: list[SeriesResult]


class Watermark(BaseModel):
    """How far a series is."""

    symbol: str
    timeframe: str
    exchange: str
    bars: int
    oldest_ms: int | None
    newest_ms: int | None = Field(description="open of the newest closed bar")
    empty_slots: int = Field(description="known to be empty")
    chunks_through_ms: int | None = Field(description="open of the newest bar in a chunk")
    chunk_files: dict[str, int] = Field(description="state in the ledger -> how many")
    last_pass_ms: int | None = Field(description="when it last went well, here and since the start")
    last_error: str = Field(description="why it failed since; empty if it did not")


class Watermarks(BaseModel):
    """Every series the service is set to."""

    series: list[Watermark]
