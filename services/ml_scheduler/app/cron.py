"""A cron line as moments in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from croniter import croniter

from mei.model.errors import ConfigError

_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Cron:
    """Five fields: minute, hour, day of the month, month, day of the week. Moments are epoch ms."""

    line: str

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Raises ConfigError for what is no such line, or one that never comes."""
        line = " ".join(text.split())
        is_right = len(line.split()) == _FIELDS and croniter.is_valid(line)
        if not is_right:
            raise ConfigError(
                "RETRAIN_CRON must be five fields such as '0 */6 * * *' (minute hour day month weekday, UTC), "
                f"was {text!r}"
            )
        cron = cls(line)
        try:
            cron.next_ms(0)
        except ValueError:
            raise ConfigError(
                f"RETRAIN_CRON must come round, {text!r} names a day that no month has"
            ) from None
        return cron

    def latest_ms(self, now_ms: int) -> int:
        """The newest moment that is not after `now_ms`."""
        # croniter looks strictly before; it sees whole seconds, moments are whole minutes.
        return self._ms(_at(now_ms // 1000 * 1000 + 1000), "get_prev")

    def next_ms(self, now_ms: int) -> int:
        """The first moment after `now_ms`."""
        return self._ms(_at(now_ms), "get_next")

    def _ms(self, start: datetime, way: str) -> int:
        moment: datetime = getattr(croniter(self.line, start), way)(datetime)
        return round(moment.timestamp() * 1000)


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
