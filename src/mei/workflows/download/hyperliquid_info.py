"""What Hyperliquid tells without an account: POST /info, for its universe and its funding history."""

from __future__ import annotations

import math
from typing import Any

from mei.data.funding_writer import FundingRate
from mei.model.errors import ConfigError, DataError
from mei.workflows.download.exchange import checked_url
from mei.workflows.download.patience import PassingFault

BASE_URL = "https://api.hyperliquid.xyz"
_BUSY = (408, 425, 429)


class HyperliquidInfo:
    """Every method raises PassingFault for what may pass and DataError for an answer that cannot be meant."""

    def __init__(self, base_url: str = BASE_URL, timeout_s: float = 10.0) -> None:
        """Raises ConfigError for what is no address."""
        self._url = f"{checked_url(base_url)}/info"
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise ConfigError(f"--timeout-s must be above 0, was {timeout_s}")
        self._timeout_s = timeout_s

    def universe(self) -> list[str]:
        """Names of the perpetuals that are listed now, as the exchange writes them (kPEPE), in its order."""
        answer = self._post({"type": "meta"})
        try:
            return [str(one["name"]) for one in answer["universe"] if not one.get("isDelisted")]
        except (TypeError, KeyError, AttributeError):
            raise DataError(
                f"{self._url} must answer meta with a universe of names, answered {answer!r:.100}"
            ) from None

    def funding(self, coin: str, from_ms: int, to_ms: int) -> list[FundingRate]:
        """Rates with from_ms <= time <= to_ms, ascending and unique; one page, from the oldest on.

        DataError when the exchange does not know `coin` in this spelling.
        """
        body = {"type": "fundingHistory", "coin": coin, "startTime": from_ms, "endTime": to_ms}
        answer = self._post(body)
        if not isinstance(answer, list):
            raise DataError(f"{self._url} has no funding history of {coin}: {answer!r:.100}")
        found: dict[int, FundingRate] = {}
        for row in answer:
            rate = _rate(row)
            if rate is None:
                raise PassingFault(f"a funding rate must have a time and a rate, was {row!r:.100}")
            if from_ms <= rate.time_ms <= to_ms:
                found[rate.time_ms] = rate
        return [found[time_ms] for time_ms in sorted(found)]

    def _post(self, body: dict[str, Any]) -> Any:
        import httpx

        try:
            reply = httpx.post(self._url, json=body, timeout=self._timeout_s)
        except httpx.HTTPError as error:
            raise PassingFault(f"no answer ({type(error).__name__}: {error})") from error
        if reply.status_code in _BUSY or reply.status_code >= 500:
            raise PassingFault(f"HTTP {reply.status_code}", _seconds(reply.headers))
        if reply.status_code != 200:
            raise DataError(
                f"{self._url} refused {body['type']} with HTTP {reply.status_code}: {reply.text[:100]!r}"
            )
        try:
            return reply.json()
        except ValueError:
            raise PassingFault(f"the answer must be JSON, was {reply.text[:60]!r}") from None


def _rate(row: Any) -> FundingRate | None:
    """A row of an answer; None if it is none."""
    try:
        time_ms, rate = row["time"], float(row["fundingRate"])
        premium = None if row.get("premium") is None else float(row["premium"])
    except (TypeError, KeyError, ValueError, AttributeError):
        return None
    is_rate = isinstance(time_ms, int) and math.isfinite(rate)
    return FundingRate(time_ms, rate, premium) if is_rate else None


def _seconds(headers: Any) -> float | None:
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
