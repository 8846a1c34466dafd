"""Resting orders against one bar: hand-computed cases, both directions."""

from __future__ import annotations

import pytest

from mei.rules.exits import NO_EXIT, STOP, TARGET, protective_exit, stop_px, target_px

LONG, SHORT = 1, -1


@pytest.mark.parametrize(
    ("direction", "bar", "expected"),
    [
        # A long from 100, stop 99, target 102: (open, high, low).
        (LONG, (100.0, 101.9, 99.1), (NO_EXIT, 0.0)),  # neither is reached
        (LONG, (100.0, 101.0, 99.0), (STOP, 99.0)),  # the low touches the stop exactly
        (LONG, (98.0, 101.0, 97.0), (STOP, 98.0)),  # opens below it: the open, not the level
        (LONG, (100.0, 102.0, 99.5), (TARGET, 102.0)),  # the high touches the target exactly
        (LONG, (103.0, 104.0, 102.5), (TARGET, 103.0)),  # opens above it: the better open
        (LONG, (100.0, 102.5, 98.5), (STOP, 99.0)),  # both: pessimistic
        (LONG, (103.0, 104.0, 98.0), (STOP, 99.0)),  # both, after a good open: still the stop
        # A short from 100, stop 101, target 98.
        (SHORT, (100.0, 100.9, 98.1), (NO_EXIT, 0.0)),
        (SHORT, (100.0, 101.0, 99.0), (STOP, 101.0)),
        (SHORT, (102.0, 103.0, 101.5), (STOP, 102.0)),
        (SHORT, (100.0, 100.5, 98.0), (TARGET, 98.0)),
        (SHORT, (97.0, 97.5, 96.0), (TARGET, 97.0)),
        (SHORT, (100.0, 101.5, 97.5), (STOP, 101.0)),
    ],
)
def test_protective_exit_on_one_bar(
    direction: int, bar: tuple[float, float, float], expected: tuple[int, float]
) -> None:
    stop, target = (99.0, 102.0) if direction == LONG else (101.0, 98.0)
    assert protective_exit(direction, *bar, stop, target) == expected


@pytest.mark.parametrize("direction", [LONG, SHORT])
def test_levels_that_are_off_never_fill(direction: int) -> None:
    assert stop_px(100.0, direction, 0.0) == 0.0
    assert target_px(100.0, direction, 0.0) == 0.0
    assert protective_exit(direction, 100.0, 1e9, 1e-9, 0.0, 0.0) == (NO_EXIT, 0.0)


def test_levels_lie_on_the_side_they_belong_to() -> None:
    assert stop_px(200.0, LONG, 100.0) == 198.0
    assert stop_px(200.0, SHORT, 100.0) == 202.0
    assert target_px(200.0, LONG, 50.0) == pytest.approx(201.0, rel=1e-15)
    assert target_px(200.0, SHORT, 50.0) == pytest.approx(199.0, rel=1e-15)
