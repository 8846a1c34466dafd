"""Which machine walks: the CPU's threads or a card. What is chosen is said; a card asked for is never left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mei.model.errors import ConfigError

if TYPE_CHECKING:
    from mei.engines.cuda_device import Card

AUTO, CPU, GPU = "auto", "cpu", "gpu"
DEVICES: Final = (AUTO, CPU, GPU)


@dataclass(frozen=True, slots=True)
class Device:
    """card: what walks, None = the CPU. said: what was chosen and why, one line."""

    card: Card | None
    said: str


def select_device(
    wanted: str,
    fault: Callable[[], str | None] | None = None,
    open_card: Callable[[], Card] | None = None,
) -> Device:
    """The card for `gpu`, the CPU for `cpu`, and for `auto` a card where one can be used.

    fault: why no card can be used, None if one can; open_card: opens it; as `cuda_device` has them unless given.
    Raises ConfigError for any other word, and for `gpu` without a usable card: with the reason and what to do.
    """
    if wanted not in DEVICES:
        raise ConfigError(f"--device must be one of {', '.join(DEVICES)}, was {wanted!r}")
    if wanted == CPU:
        return Device(None, "CPU, as asked for")
    # What a sweep on the CPU can do without.
    from mei.engines.cuda_device import CupyCard, fault_of_card

    reason = (fault or fault_of_card)()
    if reason is None:
        card = (open_card or CupyCard)()
        why = "as asked for" if wanted == GPU else "a usable card is there"
        return Device(card, f"GPU {card.name}, {why}")
    if wanted == GPU:
        raise ConfigError(reason)
    return Device(None, f"CPU: {reason}")
