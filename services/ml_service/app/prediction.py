"""Regimes of given bars by whatever model served at each of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from mei.learning.features import regime_features, volatility_z
from mei.learning.regime_filter import filtered_probabilities
from mei.learning.regime_model import RegimeModel
from mei.ledger.database import Ledger
from mei.ledger.models import serving_timeline
from mei.ledger.series import SeriesKey
from mei.model.bars import BAR_DTYPE, BarArray, FloatArray, IntArray, interval_ms, symbol_name
from mei.model.errors import LookAheadError, RequestError
from mei.model.http import BarColumns, PredictRequest
from services.ml_service.app.models import ModelShelf


def predict(ledger: Ledger, shelf: ModelShelf, request: PredictRequest) -> dict[str, Any]:
    """The fields of PredictResponse, ready for JSON (numpy arrays among them). Raises RequestError."""
    key = SeriesKey(request.stream, symbol_name(request.symbol), request.timeframe)
    step_ms = interval_ms(request.timeframe)
    bars = _bars(request.bars)
    as_of_ms = _column("as_of_ms", request.as_of_ms, np.dtype(np.int64))
    rows = _rows(bars, as_of_ms, step_ms)
    with ledger.reader() as conn:
        timeline = serving_timeline(conn, key, int(as_of_ms[0]), int(as_of_ms[-1]))
    models = {version: shelf.version(key.stream, version) for _, version in timeline}
    spans = _spans(timeline, as_of_ms)
    used = [models[version] for _, _, version in spans]
    for (lo, _, _), model in zip(spans, used, strict=True):
        _assert_horizon(model, int(as_of_ms[lo]), key)
    probabilities = _probabilities(bars, rows, spans, models, step_ms)
    return {
        "stream": key.stream,
        "symbol": request.symbol,
        "timeframe": key.timeframe,
        "n_states": max((model.n_states for model in used), default=None),
        "model_version": _versions(spans, rows.size),
        "trained_through_ms": {model.version: model.trained_through_ms for model in used},
        "regime": _labels(probabilities),
        "probabilities": np.ascontiguousarray(probabilities.T),
        "volatility_z": volatility_z(bars)[rows],
    }


def _bars(columns: BarColumns) -> BarArray:
    """The columns as candles, checked."""
    n_bars = len(columns.timestamp)
    bars = np.empty(n_bars, dtype=BAR_DTYPE)
    for name in BAR_DTYPE.names or ():
        values = getattr(columns, name)
        if len(values) != n_bars:
            raise RequestError(
                f"bars must have columns of one length, {name} has {len(values)} and timestamp {n_bars}"
            )
        bars[name] = _column(f"bars.{name}", values, BAR_DTYPE[name])
    if not (np.diff(bars["timestamp"]) > 0).all():
        raise RequestError(
            "bars.timestamp must ascend without repeats; sort the bars and send each once"
        )
    _check_prices(bars)
    return bars


def _column(name: str, values: list[int] | list[float], dtype: np.dtype[Any]) -> Any:
    try:
        return np.array(values, dtype=dtype)
    except OverflowError:
        raise RequestError(f"{name} must hold 64-bit numbers, found a larger one") from None


def _check_prices(bars: BarArray) -> None:
    low_px, volume = bars["low"], bars["volume"]
    body_low_px = np.minimum(bars["open"], bars["close"])
    body_high_px = np.maximum(bars["open"], bars["close"])
    is_candle = (low_px > 0) & (low_px <= body_low_px) & (body_high_px <= bars["high"])
    is_candle &= np.isfinite(bars["high"]) & (volume >= 0) & np.isfinite(volume)
    if not is_candle.all():
        row = int(np.argmin(is_candle))
        raise RequestError(
            "bars must be candles (0 < low <= open, close <= high, volume >= 0, all finite), "
            f"row {row} is {bars[row].item()}"
        )


def _rows(bars: BarArray, as_of_ms: IntArray, step_ms: int) -> IntArray:
    """The row of the bar that closes at each `as_of_ms`."""
    if as_of_ms.size == 0 or not (np.diff(as_of_ms) > 0).all():
        raise RequestError("as_of_ms must hold at least one bar close, ascending without repeats")
    closes = bars["timestamp"] + step_ms
    rows = np.searchsorted(closes, as_of_ms)
    found = rows < closes.size
    found[found] = closes[rows[found]] == as_of_ms[found]
    if not found.all():
        missing = int(as_of_ms[np.argmin(found)])
        raise RequestError(
            f"bars must hold the bar that closes at each as_of_ms, none closes at {missing}; send it too"
        )
    if closes[-1] > as_of_ms[-1]:
        raise RequestError(
            f"bars must not close after the last as_of_ms {int(as_of_ms[-1])}, one closes at {int(closes[-1])}: "
            "that would be the future; leave it out"
        )
    return rows.astype(np.int64)


def _spans(timeline: list[tuple[int, int]], as_of_ms: IntArray) -> list[tuple[int, int, int]]:
    """(lo, hi, version): rows lo..hi-1 were served by that model; rows before the first model are in none."""
    starts = np.searchsorted(as_of_ms, [from_ms for from_ms, _ in timeline]).tolist()
    ends = [*starts[1:], as_of_ms.size]
    return [
        (lo, hi, version)
        for lo, hi, (_, version) in zip(starts, ends, timeline, strict=False)
        if lo < hi
    ]


def _assert_horizon(model: RegimeModel, as_of_ms: int, key: SeriesKey) -> None:
    if model.trained_through_ms > as_of_ms:
        raise LookAheadError(
            f"a model may answer only for bars closing after those it was trained on, version {model.version} "
            f"of {key.stream} was trained through {model.trained_through_ms} and served at {as_of_ms}; "
            "this is a defect, report it"
        )


def _probabilities(
    bars: BarArray,
    rows: IntArray,
    spans: list[tuple[int, int, int]],
    models: dict[int, RegimeModel],
    step_ms: int,
) -> FloatArray:
    """(rows.size, most states of a model used); NaN where no model served or the bar has no features."""
    n_states = max((models[version].n_states for _, _, version in spans), default=0)
    probabilities = np.full((rows.size, n_states), np.nan)
    if not spans:
        return probabilities
    features = regime_features(bars, step_ms)
    opens = np.ascontiguousarray(bars["timestamp"])
    for lo, hi, version in spans:
        model = models[version]
        probabilities[lo:hi, : model.n_states] = filtered_probabilities(
            model, features, opens, rows[lo:hi], step_ms
        )
    return probabilities


def _versions(spans: list[tuple[int, int, int]], n_rows: int) -> list[int | None]:
    versions: list[int | None] = [None] * n_rows
    for lo, hi, version in spans:
        versions[lo:hi] = [version] * (hi - lo)
    return versions


def _labels(probabilities: FloatArray) -> list[int | None]:
    """The most probable label of each row, of equals the lower; None where there are no probabilities."""
    if probabilities.shape[1] == 0:
        return [None] * probabilities.shape[0]
    is_defined = ~np.isnan(probabilities[:, 0])
    labels = np.argmax(np.where(np.isnan(probabilities), -1.0, probabilities), axis=1)
    return [
        label if defined else None
        for label, defined in zip(labels.tolist(), is_defined.tolist(), strict=True)
    ]
