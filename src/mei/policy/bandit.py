"""Linear Thompson sampling with hysteresis: one posterior a preset, one drawn score a bar and preset."""

from __future__ import annotations

from typing import Any

from mei.jit import compiled
from mei.policy.draws import normal

#: A change of preset needs this drawn advantage (in rewards: 0.1 = 2 bps) ...
MIN_ADVANTAGE = 0.1
#: ... and there may be so many a UTC day. The first choice is no change.
MAX_CHANGES_A_DAY = 4

#: "none" where a kernel needs an integer.
NONE = -1
DAY_MS = 86_400_000


def _drawn_score(
    context: Any,
    mean: Any,
    lower: Any,
    places: Any,
    theta: Any,
    series: Any,
    close_ms: Any,
    preset: Any,
) -> Any:
    """x·theta with theta = mean + lower⁻ᵀ·z; only `places` (ascending) can be non-zero in x or couple."""
    n = places.shape[0]
    score = 0.0
    for a in range(n - 1, -1, -1):
        i = places[a]
        total = normal(series, close_ms, preset, i)
        for b in range(a + 1, n):
            total -= lower[places[b], i] * theta[places[b]]
        theta[i] = total / lower[i, i]
    for a in range(n):
        i = places[a]
        score += context[i] * (mean[i] + theta[i])
    return score


drawn_score = compiled(_drawn_score)


def _choose(
    as_of_ms: Any,
    contexts: Any,
    mean: Any,
    lower: Any,
    places: Any,
    theta: Any,
    scores: Any,
    series: Any,
    preset_keys: Any,
    min_advantage: Any,
    max_changes: Any,
    state: Any,
    chosen: Any,
) -> None:
    """Choose a preset for each bar; `state` = [preset, changed_at_ms, changes_today] is carried along.

    `chosen` (n, 3) gets the state after each bar. `theta` (10,) and `scores` (presets,) are scratch.
    """
    n_presets = preset_keys.shape[0]
    for row in range(as_of_ms.shape[0]):
        now_ms = as_of_ms[row]
        best = 0
        for arm in range(n_presets):
            scores[arm] = drawn_score(
                contexts[row],
                mean[arm],
                lower[arm],
                places,
                theta,
                series,
                now_ms,
                preset_keys[arm],
            )
            if scores[arm] > scores[best]:
                best = arm
        if state[1] == NONE or state[1] // DAY_MS != now_ms // DAY_MS:
            state[2] = 0
        current = state[0]
        if current == NONE:
            state[0] = best
        elif scores[best] - scores[current] >= min_advantage and state[2] < max_changes:
            # The advantage is above zero, so best is another preset than the current one.
            state[0] = best
            state[1] = now_ms
            state[2] += 1
        chosen[row, 0] = state[0]
        chosen[row, 1] = state[1]
        chosen[row, 2] = state[2]


choose = compiled(_choose)


def _follow(as_of_ms: Any, preset: Any, state: Any, chosen: Any) -> None:
    """Take `preset` at once on every bar, and count what changed in `state` as `choose` does."""
    for row in range(as_of_ms.shape[0]):
        now_ms = as_of_ms[row]
        if state[1] == NONE or state[1] // DAY_MS != now_ms // DAY_MS:
            state[2] = 0
        if state[0] != preset:
            if state[0] != NONE:
                state[1] = now_ms
                state[2] += 1
            state[0] = preset
        chosen[row, 0] = state[0]
        chosen[row, 1] = state[1]
        chosen[row, 2] = state[2]


follow = compiled(_follow)
