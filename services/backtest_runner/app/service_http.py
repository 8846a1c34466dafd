"""The loop's two services over HTTP: over sockets, or the real apps mounted in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from mei.loop.ports import PolicyPoint, PresetRows, Regimes
from mei.model.bars import BarArray, path_name
from mei.model.errors import VerificationError
from mei.model.http import Outcome, TrainingSettings, TrainRequest, TrainResult
from mei.model.settings import LoopSettings
from services.backtest_runner.app.connect import Clients

#: A fit over months of bars may take long; the connection breaks at once if the service dies.
TRAIN_TIMEOUT_S = 3600.0


class HttpLoopServices:
    """Asks ml_service and param_controller on behalf of one stream."""

    def __init__(
        self,
        clients: Clients,
        *,
        stream: str,
        loop: LoopSettings,
        presets: Mapping[str, Mapping[str, Mapping[str, float]]],
    ) -> None:
        self._ml_service = clients.ml_service
        self._param_controller = clients.param_controller
        self._stream = stream
        self._timeframe = loop.timeframe
        self._policy = loop.policy
        self._seed = loop.seed
        self._presets = presets

    async def train(
        self, symbol: str, as_of_ms: int, settings: TrainingSettings
    ) -> tuple[TrainResult, float]:
        """Train one symbol; the stored result, and the fit's milliseconds (0 when it was stored already)."""
        request = TrainRequest(
            stream=self._stream,
            symbol=symbol,
            timeframe=self._timeframe,
            as_of_ms=as_of_ms,
            training=settings,
        )
        reply = await self._ml_service.post_bytes(
            "/train", request.model_dump_json().encode(), timeout_s=TRAIN_TIMEOUT_S
        )
        result = TrainResult.model_validate(reply.json()["results"][0])
        return result, _fit_ms(reply.headers.get("server-timing", ""))

    async def regimes(self, symbol: str, as_of_ms: list[int], bars: BarArray) -> Regimes:
        """Regimes at each close, asked with the bars they depend on."""
        body = {
            "stream": self._stream,
            "symbol": symbol,
            "timeframe": self._timeframe,
            "as_of_ms": as_of_ms,
            "bars": {name: np.ascontiguousarray(bars[name]) for name in bars.dtype.names or ()},
        }
        content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
        answer = (await self._ml_service.post_bytes("/predict", content)).json()
        return _regimes(answer)

    async def presets(
        self,
        strategy: str,
        symbol: str,
        as_of_ms: list[int],
        features: dict[str, list[float | None]],
        state: PolicyPoint,
    ) -> PresetRows:
        """Presets at each close, from the policy state after the bar before the first."""
        body = {
            "stream": self._stream,
            "as_of_ms": as_of_ms,
            "features": features,
            "policy_state": state._asdict(),
            "policy": self._policy,
            "seed": self._seed,
        }
        reply = await self._param_controller.post_bytes(
            f"/params/{strategy}/{path_name(symbol)}/batch", orjson.dumps(body)
        )
        answer = reply.json()
        self._check_presets(strategy, answer["presets"])
        columns = answer["policy_state"]
        return PresetRows(
            preset=columns["preset"],
            changed_at_ms=columns["changed_at_ms"],
            changes_today=columns["changes_today"],
            presets=answer["presets"],
        )

    def _check_presets(self, strategy: str, answered: Mapping[str, Mapping[str, float]]) -> None:
        """The run id covers the presets of its start; a controller started again with others must not go unnoticed."""
        known = self._presets[strategy]
        for name, values in answered.items():
            if known.get(name) != values:
                raise VerificationError(
                    f"presets must stay what they were at the run's start, {strategy}.{name} was {known.get(name)} and "
                    f"{self._param_controller.where} now answers {values}: restore the schema and start it again"
                )

    async def outcome(self, strategy: str, symbol: str, preset: str, outcome: Outcome) -> None:
        """Report a closed trade; idempotent by its id."""
        body = {**outcome.model_dump(exclude={"stream"}), "stream": self._stream}
        await self._param_controller.post_bytes(
            f"/learn/outcome/{strategy}/{path_name(symbol)}/{preset}", orjson.dumps(body)
        )


def _regimes(answer: dict[str, Any]) -> Regimes:
    has_model = answer["n_states"] is not None
    columns: list[list[float | None]] = answer["probabilities"]
    regime = [-1 if label is None else label for label in answer["regime"]]
    if has_model:
        probs = [
            (columns[label][row] or 0.0) if label >= 0 else 0.0 for row, label in enumerate(regime)
        ]
    else:
        probs = [0.0] * len(regime)
    return Regimes(
        regime=regime,
        regime_prob=probs,
        probabilities=columns if has_model else None,
        volatility_z=answer["volatility_z"],
        model_version=answer["model_version"],
        trained_through_ms={int(v): ms for v, ms in answer["trained_through_ms"].items()},
    )


def _fit_ms(server_timing: str) -> float:
    """Milliseconds in a header such as `fit;dur=84.2`; 0 when it names no fit."""
    name, _, duration = server_timing.partition(";dur=")
    return float(duration) if name.strip() == "fit" and duration else 0.0
