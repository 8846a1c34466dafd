"""HTTP bodies. Times are epoch ms UTC; columns are lists with one value a bar, in the order of `as_of_ms`.

Float columns travel as shortest round-trip decimals, so both ends see the same bits. JSON null = not defined.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mei.model.errors import RequestError

#: Caps on what one request may carry.
MAX_BATCH_BARS = 20_000
MAX_BODY_BYTES = 32 * 1024 * 1024

#: Bounds of numbers that a person sets; larger ones are a mistake of units and would not fit into sums.
MAX_TIME_MS = 2**53 - 1
MAX_SEED = 2**63 - 1
MAX_TRAIN_POINTS = 100_000_000
MAX_WINDOW_DAYS = 3650.0
MAX_PURGE_BARS = 1_000_000
MAX_LATENCY_MS = 30 * 86_400_000
MAX_KEPT_MODELS = 1_000_000
MAX_CHANGES_A_DAY = 1_000_000
MAX_PNL_BPS = 1e9
#: The stream whose times are those of the wall clock.
LIVE_STREAM = "live"
#: `live`, or `backtest/<run id>[/<attempt>]`; anything of that alphabet is a stream of its own.
Stream = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-/]{0,127}$")]
SYMBOL_PATTERN = r"^[A-Za-z0-9]{1,24}[/_][A-Za-z0-9:]{1,24}$"
Symbol = Annotated[str, StringConstraints(pattern=SYMBOL_PATTERN)]
Timeframe = Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,3}[smhdw]$")]
Column = list[float | None]


class Body(BaseModel):
    """Base of all bodies: immutable, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def refuse_future(stream: str, name: str, found_ms: int, now_ms: int) -> None:
    """Raise RequestError if field `name` lies after the clock in the live stream; others have a time of their own."""
    if stream == LIVE_STREAM and found_ms > now_ms:
        raise RequestError(
            f"{name} of the live stream must not be in the future, was {found_ms} and the service's clock says "
            f"{now_ms}; send a time that has passed, or name a stream of your own"
        )


class TrainingSettings(Body):
    """What decides the result of a training. The runner sends all of it, so that a run id covers it."""

    exactly_once: bool = False
    train_min_points: int = Field(
        2000, ge=50, le=MAX_TRAIN_POINTS, description="fit + validation bars"
    )
    train_window_days: float = Field(
        7.0,
        gt=0,
        le=MAX_WINDOW_DAYS,
        allow_inf_nan=False,
        description="sliding window, ignored if exactly_once",
    )
    hmm_states: int = Field(4, ge=2, le=8)
    promotion_min_delta: float = Field(
        0.02, ge=0, allow_inf_nan=False, description="nats per bar, raw feature units"
    )
    purge_bars: int = Field(60, ge=0, le=MAX_PURGE_BARS)
    latency_ms: int = Field(
        0, ge=0, le=MAX_LATENCY_MS, description="a model serves from as_of + latency"
    )
    keep_n_models: int = Field(5, ge=1, le=MAX_KEPT_MODELS)
    seed: int = Field(42, ge=0, le=MAX_SEED)


class TrainRequest(Body):
    """Train one model per (stream, symbol, timeframe) on the chunks registered by `as_of_ms`."""

    stream: Stream = "live"
    symbol: Symbol | None = Field(
        None, description="default: every symbol of the service's SYMBOLS"
    )
    timeframe: Timeframe | None = Field(None, description="default: the service's TIMEFRAME")
    as_of_ms: int | None = Field(None, ge=0, le=MAX_TIME_MS, description="default: now")
    training: TrainingSettings | None = Field(None, description="default: the service's settings")


TrainStatus = Literal["completed", "skipped", "too_small", "failed"]
TrainDecision = Literal["promoted", "rejected"]


class TrainResult(Body):
    """What one training did. Stored, and given again byte for byte when the same training is asked for."""

    stream: str
    symbol: str
    timeframe: str
    as_of_ms: int
    status: TrainStatus
    decision: TrainDecision | None = None
    reason: str
    model_version: int | None = Field(None, description="the candidate, if a fit completed")
    parent_version: int | None = Field(None, description="the fit it was warm-started from")
    champion_version: int | None = Field(None, description="who is champion after the decision")
    serves_from_ms: int | None = Field(None, description="as_of + latency, if promoted")
    trained_through_ms: int | None = Field(None, description="close of the newest bar fitted")
    n_fit: int = 0
    n_validation: int = 0
    metrics: dict[str, Any] = Field(default_factory=dict)


class TrainResponse(Body):
    """One result a symbol trained, in the order of SYMBOLS."""

    results: list[TrainResult]


class BarColumns(Body):
    """Candles as columns, ascending in `timestamp` (bar open, epoch ms)."""

    timestamp: list[int]
    open: list[float]
    high: list[float]
    low: list[float]
    close: list[float]
    volume: list[float]


class PredictRequest(Body):
    """Ask for the regime at each of `as_of_ms` (bar closes, ascending), given bars up to them.

    `bars` must contain the bar that closes at each `as_of_ms`, and should start `PREDICT_WARM_UP_BARS`
    before the first.
    """

    stream: Stream = "live"
    symbol: Symbol
    timeframe: Timeframe
    as_of_ms: list[int] = Field(max_length=MAX_BATCH_BARS)
    bars: BarColumns


class PredictResponse(Body):
    """Filtered (forward-only) regimes. Before the first model, and in warm-up, a row is null."""

    stream: str
    symbol: str
    timeframe: str
    n_states: int | None = Field(
        description="of the models that answered; null = no model at any row"
    )
    model_version: list[int | None]
    trained_through_ms: dict[int, int] = Field(
        description="model version -> close of its newest bar"
    )
    regime: list[int | None] = Field(
        description="most probable aligned regime, 0 = calmest at birth"
    )
    probabilities: list[Column] = Field(description="one column a regime")
    volatility_z: Column


class PolicyState(Body):
    """Everything the controller must be told about the past that is not in the outcome log."""

    preset: str | None = None
    changed_at_ms: int | None = Field(None, ge=0, lt=2**62)
    changes_today: int = Field(0, ge=0, le=MAX_CHANGES_A_DAY)


class ParamsRequest(Body):
    """Ask for the parameters of each of `as_of_ms` (bar closes, ascending), starting from `policy_state`."""

    stream: Stream = "live"
    as_of_ms: list[int] = Field(max_length=MAX_BATCH_BARS)
    features: dict[str, Column] = Field(
        default_factory=dict, description="regime_0.., volatility_z; null = not defined at that bar"
    )
    policy_state: PolicyState = PolicyState()
    policy: str | None = Field(None, description="default: the service's POLICY")
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="default: the service's SEED")


class PolicyStateColumns(Body):
    """The policy state after each row."""

    preset: list[str]
    changed_at_ms: list[int | None]
    changes_today: list[int]


class ParamsResponse(Body):
    """One row an `as_of_ms`; `presets` holds the parameters of every preset named in the rows."""

    stream: str
    strategy: str
    instrument: str
    policy: str
    presets: dict[str, dict[str, float]]
    policy_state: PolicyStateColumns


class PresetRegistration(Body):
    """A new preset of a strategy on an instrument, within the bounds of the strategy's schema."""

    preset_id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_\-]{0,31}$")]
    params: dict[str, float]


class Outcome(Body):
    """A closed trade, told to the policy. Idempotent by (stream, trade_id)."""

    stream: Stream = "live"
    trade_id: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    known_at_ms: int | None = Field(
        None, description="close of the bar in which the trade closed; default: now"
    )
    net_pnl_bps: float = Field(
        ge=-MAX_PNL_BPS,
        le=MAX_PNL_BPS,
        allow_inf_nan=False,
        description="P&L after fees and slippage, bps of the entry notional",
    )
    features: dict[str, float | None] = Field(
        default_factory=dict, description="as they were at the decision to enter"
    )


class OutcomeResponse(Body):
    """`recorded` is false when the same outcome was known already."""

    trade_id: str
    known_at_ms: int
    recorded: bool


class ErrorBody(BaseModel):
    """The one shape of every error."""

    code: str
    message: str
