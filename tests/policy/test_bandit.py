"""The policy: answers of the oracle, whatever the batching; hysteresis; learning; what is refused."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from mei.model.errors import ConfigError, NotFoundError, RequestError
from mei.model.http import PolicyState
from mei.policy.context import context_of, context_rows
from mei.policy.decide import Policy, PresetTimeline, Question, decide
from mei.policy.posterior import OutcomeLog
from tests.policy.oracle import DAY_MS, Bandit, Event

BAR_MS = 60_000
#: At four bars a day the cap on changes never binds, so that every score decides.
SIX_HOURS_MS = DAY_MS // 4
FIRST_MS = 1_672_531_260_000
PRESETS = ("fast", "medium", "slow")
ALWAYS = PresetTimeline(PRESETS, np.full(3, -(2**62), dtype=np.int64))

Row = tuple[str, int | None, int]


def _features(n: int, seed: int = 1) -> dict[str, list[float | None]]:
    rng = random.Random(seed)
    columns: dict[str, list[float | None]] = {f"regime_{i}": [] for i in range(3)}
    columns["volatility_z"] = []
    for _ in range(n):
        weights = [rng.random() for _ in range(3)]
        is_known = rng.random() < 0.9
        for i in range(3):
            columns[f"regime_{i}"].append(weights[i] / sum(weights) if is_known else None)
        columns["volatility_z"].append(rng.gauss(0, 1) if rng.random() < 0.9 else None)
    return columns


def _events(n: int, n_bars: int, step_ms: int = BAR_MS, seed: int = 2) -> list[Event]:
    rng = random.Random(seed)
    columns = _features(n, seed)
    events = []
    for i in range(n):
        x = context_of({name: column[i] for name, column in columns.items()}).tolist()
        # Several become known at one bar: then the trade id decides the order.
        known_at_ms = FIRST_MS + step_ms * rng.randrange(-5, n_bars // 3) * 3
        events.append(Event(known_at_ms, f"t{i}", rng.choice(PRESETS), x, rng.gauss(0, 40)))
    return events


def _log(events: Sequence[Event]) -> OutcomeLog:
    log = OutcomeLog()
    for one in events:
        log.insert(one.known_at_ms, one.trade_id, one.preset, np.array(one.x), one.net_pnl_bps)
    return log


def _times(n: int, step_ms: int = BAR_MS) -> list[int]:
    return [FIRST_MS + step_ms * i for i in range(n)]


def _ask(
    times: Sequence[int],
    features: dict[str, list[float | None]],
    log: OutcomeLog,
    state: PolicyState | None = None,
    *,
    policy: str = "thompson",
    presets: PresetTimeline = ALWAYS,
    seed: int = 42,
) -> list[Row]:
    question = Question(
        strategy="momentum_breakout",
        instrument="BTC/USDT",
        seed=seed,
        policy=Policy.parse(policy),
        as_of_ms=np.array(times, dtype=np.int64),
        contexts=context_rows(features, len(times)),
    )
    rows = decide(question, log, presets, PolicyState() if state is None else state).tolist()
    return [(presets.names[i], None if at < 0 else at, n) for i, at, n in rows]


def _in_batches(
    size: int, times: Sequence[int], features: dict[str, Any], log: OutcomeLog, **options: Any
) -> list[Row]:
    rows: list[Row] = []
    state = PolicyState()
    for start in range(0, len(times), size):
        cut = slice(start, start + size)
        part = {name: column[cut] for name, column in features.items()}
        rows += _ask(times[cut], part, log, state, **options)
        preset, changed_at_ms, changes_today = rows[-1]
        state = PolicyState(preset=preset, changed_at_ms=changed_at_ms, changes_today=changes_today)
    return rows


@pytest.mark.parametrize("step_ms", [11 * BAR_MS, SIX_HOURS_MS])
def test_answers_are_those_of_the_oracle_bar_by_bar(step_ms: int) -> None:
    n = 300
    times, features, events = _times(n, step_ms), _features(n), _events(60, n, step_ms)
    bandit = Bandit("momentum_breakout", "BTC/USDT", 42, PRESETS, events)
    for now_ms, x in zip(times, context_rows(features, n).tolist(), strict=True):
        bandit.step(now_ms, x)
    assert _ask(times, features, _log(events)) == bandit.rows
    assert len({preset for preset, _, _ in bandit.rows}) == 3
    assert bandit.rows[-1][1] is not None


@pytest.mark.parametrize("policy", ["thompson", "round_robin", "fixed:slow"])
@pytest.mark.parametrize("size", [1, 37])
def test_batching_is_invisible(policy: str, size: int) -> None:
    n = 600
    times, features, events = _times(n, SIX_HOURS_MS), _features(n), _events(80, n, SIX_HOURS_MS)
    registered = PresetTimeline(
        (*PRESETS, "mine"), np.append(ALWAYS.known_at_ms, times[n // 2] + 1).astype(np.int64)
    )
    whole = _ask(times, features, _log(events), policy=policy, presets=registered)
    parts = _in_batches(size, times, features, _log(events), policy=policy, presets=registered)
    assert parts == whole
    assert policy == "fixed:slow" or "mine" in {preset for preset, _, _ in whole[n // 2 :]}
    assert "mine" not in {preset for preset, _, _ in whole[: n // 2]}


def test_the_order_of_arrival_and_later_outcomes_do_not_matter() -> None:
    n = 200
    times, features, events = _times(n), _features(n), _events(70, n)
    expected = _ask(times, features, _log(events))
    shuffled = events[:]
    random.Random(3).shuffle(shuffled)
    log = OutcomeLog()
    for i, one in enumerate(shuffled):
        log.insert(one.known_at_ms, one.trade_id, one.preset, np.array(one.x), one.net_pnl_bps)
        if i % 10 == 0:
            _ask(times, features, log)  # absorbs a part, which a later arrival may precede
    for i in range(50):
        log.insert(times[-1] + 1 + i, f"later{i}", "slow", np.ones(10), 1e6)
    _ask([times[-1] + BAR_MS], {}, log)
    assert _ask(times, features, log) == expected


@pytest.mark.parametrize("late_ms", [1, 2, 4])
def test_an_outcome_that_arrives_late_takes_its_place(late_ms: int) -> None:
    def insert(log: OutcomeLog, known_at_ms: int) -> None:
        # Each with a magnitude of its own, so that sums show order and repetition.
        log.insert(known_at_ms, f"t{known_at_ms}", "fast", context_of({}), 10.0**known_at_ms)

    log, ordered = OutcomeLog(), OutcomeLog()
    for moment in sorted([0, 3, 5, late_ms]):
        insert(ordered, moment)
    for moment in (0, 3, 5):
        insert(log, moment)
    for n_known in (1, 2, 3):
        log.posterior(n_known, PRESETS)
    insert(log, late_ms)
    for n_known in (3, 4, 1, 2):
        found = log.posterior(n_known, PRESETS)
        assert (found.mean == ordered.posterior(n_known, PRESETS).mean).all()
        assert (found.lower == ordered.posterior(n_known, PRESETS).lower).all()


def test_a_preset_registered_within_a_batch_is_there_from_its_row_on() -> None:
    times = _times(4)
    presets = PresetTimeline((*PRESETS, "mine"), np.append(ALWAYS.known_at_ms, times[2]))
    log = OutcomeLog()
    for i in range(3):
        log.insert(1, f"t{i}", "fast", context_of({}), 1.0)
    rows = _ask(times, {}, log, policy="round_robin", presets=presets)
    assert [preset for preset, _, _ in rows] == ["fast", "fast", "mine", "mine"]


def test_an_outcome_applies_from_its_own_time_on_and_to_its_preset() -> None:
    times = _times(40, DAY_MS)  # a day each: the cap on changes does not bind
    log = OutcomeLog()
    for i in range(400):
        log.insert(times[20], f"t{i}", "slow", context_of({}), 200.0)
    chosen = [preset for preset, _, _ in _ask(times, {}, log)]
    assert {"fast", "medium"} <= set(chosen[:20])
    assert set(chosen[20:]) == {"slow"}


def test_a_trade_can_be_in_the_log_only_once() -> None:
    log = OutcomeLog()
    log.insert(1, "t", "fast", context_of({}), 1.0)
    with pytest.raises(ValueError, match="already"):
        log.insert(2, "t", "fast", context_of({}), 1.0)


def test_changes_are_at_most_four_a_utc_day_and_the_first_choice_is_none() -> None:
    step_ms = 10 * BAR_MS
    rows = _ask(_times(1000, step_ms), {}, OutcomeLog())
    assert rows[0][1:] == (None, 0)
    changes_of_day: dict[int, int] = {}
    for i in range(1, len(rows)):
        now_ms = FIRST_MS + step_ms * i
        if rows[i][0] != rows[i - 1][0]:
            assert rows[i][1] == now_ms
            changes_of_day[now_ms // DAY_MS] = changes_of_day.get(now_ms // DAY_MS, 0) + 1
        else:
            assert rows[i][1] == rows[i - 1][1]
        assert rows[i][2] == changes_of_day.get(now_ms // DAY_MS, 0)
    assert len(changes_of_day) >= 6
    assert set(changes_of_day.values()) <= {1, 2, 3, 4}
    assert list(changes_of_day.values()).count(4) >= 5


def test_a_small_drawn_advantage_changes_nothing() -> None:
    # With 4,000 equal outcomes a preset, draws differ by about 0.02: never by 0.1.
    log = OutcomeLog()
    for i in range(12_000):
        log.insert(1, f"t{i}", PRESETS[i % 3], context_of({}), 5.0)
    rows = _ask(_times(500), {}, log, PolicyState(preset="medium"))
    assert {preset for preset, _, _ in rows} == {"medium"}


def test_the_day_rolls_over_at_midnight_utc() -> None:
    midnight_ms = FIRST_MS // DAY_MS * DAY_MS + DAY_MS
    state = PolicyState(preset="medium", changed_at_ms=midnight_ms - 5, changes_today=4)
    log = OutcomeLog()
    for i in range(300):
        log.insert(1, f"t{i}", "fast", context_of({}), 100.0)
    rows = _ask([midnight_ms - 1, midnight_ms], {}, log, state)
    assert rows == [("medium", midnight_ms - 5, 4), ("fast", midnight_ms, 1)]


def test_round_robin_goes_by_the_number_of_outcomes_known() -> None:
    times = _times(5)
    log = OutcomeLog()
    for i, moment in enumerate([times[1], times[1] + 1, times[3], times[4]]):
        log.insert(moment, f"t{i}", "fast", context_of({}), 1.0)
    rows = _ask(times, {}, log, policy="round_robin")
    assert [preset for preset, _, _ in rows] == ["fast", "medium", "slow", "fast", "medium"]
    assert [changes for _, _, changes in rows] == [0, 1, 2, 3, 4]


def test_the_bandit_learns_which_preset_suits_which_context() -> None:
    rng = random.Random(7)
    log = OutcomeLog()
    right = [0, 0]
    for i in range(400):
        context = rng.randrange(2)
        features: dict[str, list[float | None]] = {
            "regime_0": [float(context == 0)],
            "regime_1": [float(context == 1)],
        }
        now_ms = FIRST_MS + DAY_MS * i  # a day each: the cap on changes does not bind
        chosen = _ask([now_ms], features, log)[0][0]
        is_right = chosen == ("fast", "slow")[context]
        right[i >= 200] += is_right
        x = context_of({name: column[0] for name, column in features.items()})
        log.insert(now_ms + 1, f"t{i}", chosen, x, (25.0 if is_right else -15.0) + rng.gauss(0, 20))
    assert right[1] > 170
    assert right[1] > right[0]


def test_seed_instrument_and_strategy_change_the_draws() -> None:
    one = _ask(_times(300), {}, OutcomeLog())
    assert one == _ask(_times(300), {}, OutcomeLog())
    assert one != _ask(_times(300), {}, OutcomeLog(), seed=43)


def test_a_regime_block_without_a_model_is_as_no_regimes_at_all() -> None:
    nulls: dict[str, list[float | None]] = {"regime_0": [None], "regime_1": [None]}
    assert (context_rows(nulls, 1) == context_rows({}, 1)).all()
    assert context_rows({"volatility_z": [None]}, 1).tolist() == [[1.0] + [0.0] * 9]
    assert context_of({"regime_0": 0.25, "regime_1": 0.75, "volatility_z": -2.0}).tolist() == [
        1.0, 0.25, 0.75, 0, 0, 0, 0, 0, 0, -2.0
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ({"regime_0": [0.5, 0.5], "regime_1": [0.5, None]}, "row 1.*null in part"),
        ({"regime_0": [1.0, 1.0], "regime_2": [0.0, 0.0]}, "regime_1 is missing"),
        ({"regime_8": [1.0, 1.0]}, "no feature 'regime_8'"),
        ({"volatility": [1.0, 1.0]}, "did you mean 'volatility_z'"),
        ({"volatility_z": [1.0]}, "must have 2 rows"),
        ({"volatility_z": [float("nan"), None]}, "NaN or infinity"),
        ({"volatility_z": [float("inf"), None]}, "NaN or infinity"),
    ],
)
def test_features_that_cannot_be_meant_are_refused(features: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        context_rows(features, 2)


@pytest.mark.parametrize(
    ("times", "state", "said"),
    [
        ([2, 1], PolicyState(), "strictly ascending"),
        ([1, 1], PolicyState(), "strictly ascending"),
        ([-1], PolicyState(), "epoch ms"),
        ([10], PolicyState(preset="fast", changed_at_ms=11, changes_today=1), "not be after"),
        ([10], PolicyState(preset="fast", changes_today=1), "changes_today"),
        (
            [10],
            PolicyState.model_construct(preset="fast", changed_at_ms=1, changes_today=-1),
            "changes_today",
        ),
        ([10], PolicyState(changed_at_ms=1), "without a preset"),
    ],
)
def test_times_and_states_that_cannot_be_meant_are_refused(
    times: list[int], state: PolicyState, said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        _ask(times, {}, OutcomeLog(), state)


def test_an_unknown_preset_lists_what_there_is() -> None:
    for policy, state in [("fixed:quick", None), ("thompson", PolicyState(preset="quick"))]:
        with pytest.raises(NotFoundError, match="'quick'; there are fast, medium, slow"):
            _ask([1], {}, OutcomeLog(), state, policy=policy)


@pytest.mark.parametrize("text", ["", "thomson", "fixed", "fixed:", "Round_Robin"])
def test_a_policy_of_another_name_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match="POLICY must be thompson, round_robin or fixed:<preset>"):
        Policy.parse(text)
