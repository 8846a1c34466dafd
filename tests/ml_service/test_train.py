"""Trainings: what they use, consume, answer and record."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.learning import hmm
from mei.learning.features import PREDICT_WARM_UP_BARS
from mei.ledger.files import ChunkFile, file_states
from mei.ledger.ranges import consumed_ranges, pending_ranges
from mei.ledger.series import BarRange, SeriesKey, count_bars
from mei.model.bars import BarArray
from mei.model.errors import LookAheadError
from services.ml_service.app import candidate, window
from services.ml_service.app.training import fit_seed
from services.ml_service.app.window import assert_known
from tests.learning.market import START_MS, STEP_MS, regime_bars
from tests.ml_service.desk import KEY, Desk, train_body

CHUNK_BARS = 400


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def train_on_chunks(desk: Desk, bars: BarArray, **training: Any) -> list[dict[str, Any]]:
    """Register chunk after chunk, each followed by a training at its close."""
    return [
        desk.train(desk.register(bars[first : first + CHUNK_BARS]), **training)
        for first in range(0, bars.size, CHUNK_BARS)
    ]


def consumed(desk: Desk, mode: Any) -> list[BarRange]:
    with desk.ledger.reader() as conn:
        return consumed_ranges(conn, KEY, mode)


def test_first_training_fits_validates_and_is_promoted(desk: Desk) -> None:
    as_of_ms = desk.register(regime_bars(1000))

    result = desk.train(as_of_ms)

    assert result["status"] == "completed"
    assert (result["decision"], result["reason"]) == ("promoted", "first_model")
    assert (result["n_fit"], result["n_validation"]) == (740, 200)
    assert result["model_version"] == result["champion_version"] == 1
    assert result["parent_version"] is None
    assert result["trained_through_ms"] == START_MS + 740 * STEP_MS
    assert result["serves_from_ms"] == as_of_ms
    assert consumed(desk, "sliding") == [(START_MS, START_MS + 739 * STEP_MS)]


def test_same_training_again_is_the_same_bytes_also_after_a_restart(desk: Desk) -> None:
    body = train_body(desk.register(regime_bars(1000)))
    first = desk.ask("POST", "/train", body)
    desk.register(regime_bars(400, seed=2, start_ms=START_MS + 1000 * STEP_MS))

    again = desk.ask("POST", "/train", body)
    restarted = Desk(desk.folder).ask("POST", "/train", body)

    assert first.content == again.content == restarted.content
    assert float(first.headers["server-timing"].removeprefix("fit;dur=")) > 0
    assert again.headers["server-timing"] == "fit;dur=0.000"


def test_two_services_on_ledgers_of_their_own_answer_the_same_bytes(tmp_path: Path) -> None:
    bars = regime_bars(2000)
    answers = []
    for name in ("a", "b"):
        desk = Desk(tmp_path / name)
        desk.now_ms += 12345
        for first in (0, 1000):
            body = train_body(desk.register(bars[first : first + 1000]))
            answers.append(desk.ask("POST", "/train", body).content)

    assert answers[:2] == answers[2:]


def test_stream_does_not_change_the_fit(desk: Desk) -> None:
    other = SeriesKey("backtest/other/2", *KEY[1:])
    bars = regime_bars(1000)
    desk.register(bars, key=other)

    here = desk.train(desk.register(bars))
    there = desk.train(here["as_of_ms"], key=other)

    assert {**here, "stream": ""} == {**there, "stream": ""}


def test_exactly_once_consumes_each_bar_once_and_loses_none(desk: Desk) -> None:
    bars = regime_bars(10 * CHUNK_BARS)
    results = train_on_chunks(desk, bars, exactly_once=True, train_window_days=0.1)

    completed = [r for r in results if r["status"] == "completed"]
    spans = consumed(desk, "exactly_once")
    with desk.ledger.reader() as conn:
        pending = pending_ranges(conn, KEY, "exactly_once", results[-1]["as_of_ms"])
        states = list(file_states(conn, KEY).values())
    assert len(completed) >= 5
    assert count_bars(spans, STEP_MS) == sum(r["n_fit"] for r in completed)
    assert count_bars(spans, STEP_MS) + count_bars(pending, STEP_MS) == bars.size
    # The holes are what validated or was purged, and is fitted later: only the newest bars stay pending.
    assert pending[0].first_ms >= START_MS + 7 * CHUNK_BARS * STEP_MS
    assert states.count("processed") >= 7


def test_exactly_once_validation_bars_are_fitted_by_the_next_training(desk: Desk) -> None:
    bars = regime_bars(2000)
    first = desk.train(desk.register(bars[:1000]), exactly_once=True)

    second = desk.train(desk.register(bars[1000:]), exactly_once=True)

    assert (first["n_fit"], second["n_fit"], second["n_validation"]) == (740, 948, 252)
    assert consumed(desk, "exactly_once") == [(START_MS, START_MS + 1687 * STEP_MS)]


def test_exactly_once_takes_up_bars_that_arrive_late_and_none_again(desk: Desk) -> None:
    bars = regime_bars(2400)
    first = desk.train(desk.register(bars[1000:2000]), exactly_once=True)
    desk.register(bars[:1000], at_ms=first["as_of_ms"] + 1)

    second = desk.train(desk.register(bars[2000:]), exactly_once=True)

    # Pending: 0..999, the 260 the first did not fit, and 400 new ones; the newest fifth of them validates.
    assert first["n_fit"] == 740
    assert second["n_validation"] == (1000 + 260 + 400) // 5
    assert consumed(desk, "exactly_once") == [
        (START_MS, START_MS + (2400 - 332 - 60 - 1) * STEP_MS),
    ]


def test_window_has_its_context_also_where_files_overlap(desk: Desk) -> None:
    bars = regime_bars(2500)
    desk.register(bars[:1000])
    for volume in range(1, 9):
        redelivered = bars[1000:1100].copy()
        redelivered["volume"] = volume
        desk.register(redelivered)
    seen: list[Any] = []
    spy = candidate.make_candidate

    def spying(window: Any, *args: Any, **options: Any) -> Any:
        seen.append(window)
        return spy(window, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.ml_service.app.training.make_candidate", spying)
        result = desk.train(desk.register(bars[1100:]), train_window_days=1400 / 1440)

    assert result["metrics"]["n_fit_with_features"] == result["n_fit"]
    assert seen[0].rows[0] >= PREDICT_WARM_UP_BARS
    assert (np.diff(seen[0].bars["timestamp"]) == STEP_MS).all()


def test_seed_of_a_fit_is_of_the_question_and_not_of_the_stream() -> None:
    seed = fit_seed(42, KEY, 1000)

    assert fit_seed(42, KEY._replace(stream="live"), 1000) == seed
    others = [
        fit_seed(43, KEY, 1000),
        fit_seed(42, KEY._replace(symbol="ETH/USDT"), 1000),
        fit_seed(42, KEY._replace(timeframe="5m"), 1000),
        fit_seed(42, KEY, 1001),
    ]
    assert seed not in others
    assert len(set(others)) == 4


def test_sliding_window_holds_the_last_days_and_no_bar_twice(desk: Desk) -> None:
    bars = regime_bars(3000)
    desk.register(bars[:1600])
    desk.register(bars[1400:])
    seen: list[np.ndarray[Any, Any]] = []
    spy = candidate.make_candidate

    def spying(window: Any, *args: Any, **options: Any) -> Any:
        seen.append(window.bars["timestamp"][window.rows])
        return spy(window, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("services.ml_service.app.training.make_candidate", spying)
        result = desk.train(START_MS + 3000 * STEP_MS, train_window_days=1.0)

    np.testing.assert_array_equal(seen[0], bars["timestamp"][-1440:])
    assert result["n_fit"] + result["n_validation"] == 1440 - 60


def test_bar_held_by_two_files_is_that_of_the_first_registered(desk: Desk) -> None:
    bars = regime_bars(1000)
    redelivered = bars[300:700].copy()
    redelivered["volume"] *= 7
    plain = Desk(desk.folder / "plain")
    as_of_ms = desk.register(bars)
    desk.register(redelivered, at_ms=as_of_ms)
    plain.register(bars)

    assert desk.train(as_of_ms) == plain.train(as_of_ms)


def test_chunks_registered_later_are_not_seen(desk: Desk) -> None:
    bars = regime_bars(2000)
    as_of_ms = desk.register(bars[:1000])
    desk.register(bars[1000:])
    plain = Desk(desk.folder / "plain")
    plain.register(bars[:1000])

    assert desk.train(as_of_ms) == plain.train(as_of_ms)


def test_bars_that_close_after_the_as_of_are_cut_even_if_registered(desk: Desk) -> None:
    bars = regime_bars(1000)
    as_of_ms = START_MS + 900 * STEP_MS
    desk.register(bars, at_ms=as_of_ms)
    changed = bars.copy()
    changed[900:] = regime_bars(1000, seed=5)[900:]
    other = Desk(desk.folder / "other")
    other.register(changed, at_ms=as_of_ms)

    result = desk.train(as_of_ms)

    assert result["status"] == "completed"
    assert result == other.train(as_of_ms)


@pytest.mark.parametrize(("late_file_ms", "late_bars"), [(1, 0), (0, 1)])
def test_horizon_is_asserted_at_run_time(late_file_ms: int, late_bars: int) -> None:
    as_of_ms = START_MS + 10 * STEP_MS
    file = ChunkFile("0", "late.npy", START_MS, as_of_ms, 10, as_of_ms + late_file_ms)

    assert_known([replace(file, registered_at_ms=as_of_ms)], regime_bars(10), as_of_ms, STEP_MS)
    with pytest.raises(LookAheadError, match="only what was known"):
        assert_known([file], regime_bars(10 + late_bars), as_of_ms, STEP_MS)


def test_horizon_is_asserted_in_every_training(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    as_of_ms = desk.register(regime_bars(1000))
    checked: list[int] = []

    def checking(files: Any, bars: BarArray, as_of_ms: int, step_ms: int) -> None:
        checked.append(as_of_ms)

    monkeypatch.setattr(window, "assert_known", checking)
    desk.train(as_of_ms)

    assert checked == [as_of_ms]


def test_too_small_training_is_recorded_and_consumes_nothing(desk: Desk) -> None:
    as_of_ms = desk.register(regime_bars(500))

    result = desk.train(as_of_ms, exactly_once=True)

    assert (result["status"], result["reason"]) == ("too_small", "440_of_500_points")
    assert consumed(desk, "exactly_once") == []
    assert desk.train(as_of_ms) == result
    more = desk.register(regime_bars(1000)[500:])
    assert desk.train(more, exactly_once=True)["n_fit"] == 740


@pytest.mark.parametrize(
    ("purge_bars", "reason"), [(799, "201_of_500_points"), (800, "no_fit_bars_after_purge")]
)
def test_training_whose_fit_part_is_purged_away_says_so(
    desk: Desk, purge_bars: int, reason: str
) -> None:
    result = desk.train(desk.register(regime_bars(1000)), purge_bars=purge_bars)

    assert (result["status"], result["reason"]) == ("too_small", reason)
    few = desk.train(desk.register(regime_bars(2600)[1000:]), purge_bars=2080)
    assert (few["status"], few["reason"]) == ("too_small", "no_fit_bars_after_purge")


def test_failed_fit_is_recorded_with_its_reason_and_consumes_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = regime_bars(2000)
    as_of_ms = desk.register(bars[:1000])

    def failing(*args: object, **options: object) -> None:
        raise hmm.FitError("likelihood_not_finite")

    monkeypatch.setattr(candidate, "fit_regimes", failing)
    result = desk.train(as_of_ms, exactly_once=True)
    monkeypatch.undo()

    assert (result["status"], result["reason"]) == ("failed", "likelihood_not_finite")
    assert result["model_version"] is None
    assert consumed(desk, "exactly_once") == []
    assert desk.train(as_of_ms, exactly_once=True) == result
    later = desk.train(desk.register(bars[1000:]), exactly_once=True)
    assert (later["status"], later["n_fit"]) == ("completed", 1540)


def test_training_without_new_bars_is_skipped(desk: Desk) -> None:
    as_of_ms = desk.register(regime_bars(1000))
    trained = desk.train(as_of_ms)

    result = desk.train(as_of_ms + 1)

    assert (result["status"], result["reason"]) == ("skipped", "no_new_bars")
    assert result["champion_version"] == trained["model_version"]


@pytest.mark.parametrize("exactly_once", [False, True])
def test_older_bars_that_arrive_late_are_new_bars(desk: Desk, exactly_once: bool) -> None:
    bars = regime_bars(2000)
    how = {"exactly_once": exactly_once}
    as_of_ms = desk.register(bars[1000:])
    desk.train(as_of_ms, **how)
    desk.register(bars[:1000], at_ms=as_of_ms + 2)

    before = desk.train(as_of_ms + 1, **how)
    late = desk.train(as_of_ms + 2, **how)
    after = desk.train(as_of_ms + 3, **how)

    assert (before["status"], before["reason"]) == ("skipped", "no_new_bars")
    assert late["status"] == "completed"
    assert (after["status"], after["reason"]) == ("skipped", "no_new_bars")
    assert [desk.train(as_of_ms + wait, **how) for wait in (1, 2, 3)] == [before, late, after]
    if exactly_once:
        # Pending were 0..999 and the 260 newest; the newest fifth of these 1260 validates, 60 before it are purged.
        assert (late["n_fit"], late["n_validation"]) == (1000, 252)


def test_question_older_than_the_newest_answered_is_a_conflict(desk: Desk) -> None:
    as_of_ms = desk.register(regime_bars(1000))
    desk.train(as_of_ms)

    reply = desk.ask("POST", "/train", train_body(as_of_ms - STEP_MS))

    assert reply.status_code == 409
    assert reply.json()["code"] == "conflict"
    assert "in order of time" in reply.json()["message"]


def test_next_fit_starts_from_the_last_one_even_if_that_was_rejected(desk: Desk) -> None:
    bars = regime_bars(3000)
    results = [
        desk.train(desk.register(bars[first : first + 1000]), promotion_min_delta=1e9)
        for first in (0, 1000, 2000)
    ]

    assert [r["decision"] for r in results] == ["promoted", "rejected", "rejected"]
    assert [r["parent_version"] for r in results] == [None, 1, 2]
    assert [r["champion_version"] for r in results] == [1, 1, 1]
    assert all(r["metrics"]["warm_start"] for r in results[1:])


def test_candidate_and_champion_meet_on_the_same_bars_outside_both_lineages(desk: Desk) -> None:
    bars = regime_bars(2000)
    desk.train(desk.register(bars[:1000]))
    scored: list[np.ndarray[Any, Any]] = []
    spy = candidate._scores

    def spying(model: Any, features: Any, opens: Any, rows: Any, step_ms: int) -> Any:
        scored.append(opens[rows])
        return spy(model, features, opens, rows, step_ms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidate, "_scores", spying)
        result = desk.train(desk.register(bars[1000:]))

    np.testing.assert_array_equal(scored[0], scored[1])
    assert scored[0].size == result["metrics"]["gate"]["n_bars"] == 400
    assert scored[0][0] == START_MS + 1600 * STEP_MS


def test_bars_the_champion_was_fitted_on_do_not_judge_it(desk: Desk) -> None:
    bars = regime_bars(1010)
    narrow = {"train_window_days": 400 / 1440, "train_min_points": 100}
    first = desk.train(desk.register(bars[:1000]), **narrow)

    result = desk.train(desk.register(bars[1000:]))

    # The champion saw bars 600..859; with the embargo of 60, 920..1009 of the 202 that validate are clean.
    assert first["trained_through_ms"] == START_MS + 860 * STEP_MS
    assert (result["n_validation"], result["metrics"]["gate"]["n_bars"]) == (202, 90)


@pytest.mark.parametrize(
    ("purge_bars", "n_fit", "first_scored"),
    [(0, 800, 860), (20, 780, 840), (60, 740, 800), (90, 710, 800)],
)
def test_no_bar_that_judges_has_a_fitted_one_in_its_features(
    desk: Desk, purge_bars: int, n_fit: int, first_scored: int
) -> None:
    scored: list[np.ndarray[Any, Any]] = []
    spy = candidate._scores

    def spying(model: Any, features: Any, opens: Any, rows: Any, step_ms: int) -> Any:
        scored.append(opens[rows])
        return spy(model, features, opens, rows, step_ms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidate, "_scores", spying)
        result = desk.train(desk.register(regime_bars(1000)), purge_bars=purge_bars)

    assert (result["n_fit"], result["n_validation"]) == (n_fit, 200)
    np.testing.assert_array_equal(scored[0], START_MS + np.arange(first_scored, 1000) * STEP_MS)


def test_embargo_around_the_champions_bars_is_a_window_of_features_at_least(desk: Desk) -> None:
    narrow = {"train_window_days": 400 / 1440, "train_min_points": 100, "purge_bars": 0}
    first = desk.train(desk.register(regime_bars(1000)), **narrow)

    result = desk.train(desk.register(regime_bars(1010)[1000:]), purge_bars=0)

    # The champion saw bars 600..919; its own fit ends at 807: 980..1009 are clean of both.
    assert first["trained_through_ms"] == START_MS + 920 * STEP_MS
    assert result["metrics"]["gate"]["n_bars"] == 30
    assert result["reason"] == "too_few_clean_validation_bars"


def test_too_few_clean_bars_are_a_rejection_with_a_reason(desk: Desk) -> None:
    bars = regime_bars(1010)
    desk.train(desk.register(bars[:1000]))
    # 290 bars: the 58 that validate are fewer than a gate needs.
    result = desk.train(
        desk.register(bars[1000:]), train_window_days=290 / 1440, train_min_points=50
    )

    assert (result["decision"], result["reason"]) == ("rejected", "too_few_clean_validation_bars")
    assert result["champion_version"] == 1


def test_gaps_are_neither_consumed_nor_fitted_across(desk: Desk) -> None:
    bars = regime_bars(1000)
    bars["timestamp"][300:] += 7 * STEP_MS
    lengths: list[list[int]] = []
    spy = candidate.fit_regimes

    def spying(rows: Any, cuts: list[int], **options: Any) -> Any:
        lengths.append(cuts)
        return spy(rows, cuts, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidate, "fit_regimes", spying)
        desk.train(desk.register(bars))

    assert lengths == [[240, 440]]
    assert consumed(desk, "sliding") == [
        (START_MS, START_MS + 299 * STEP_MS),
        (START_MS + 307 * STEP_MS, START_MS + 746 * STEP_MS),
    ]


def test_concurrent_questions_get_one_training(desk: Desk) -> None:
    body = train_body(desk.register(regime_bars(1000)))

    async def ask_eight() -> list[bytes]:
        replies = await asyncio.gather(*(desk.ask_async("POST", "/train", body) for _ in range(8)))
        return [reply.content for reply in replies if reply.status_code == 200]

    answers = asyncio.run(ask_eight())

    assert len(answers) == 8
    assert len(set(answers)) == 1
    assert len(desk.ask("GET", f"/models?stream={KEY.stream}").json()["models"]) == 1


def test_two_services_asked_at_once_publish_once(tmp_path: Path) -> None:
    desks = [Desk(tmp_path, service_name=name) for name in ("one", "two")]
    body = train_body(desks[0].register(regime_bars(1000)))

    async def ask_both() -> list[Any]:
        return await asyncio.gather(*(desk.ask_async("POST", "/train", body) for desk in desks))

    replies = asyncio.run(ask_both())

    good = {reply.content for reply in replies if reply.status_code == 200}
    codes = {reply.json()["code"] for reply in replies if reply.status_code != 200}
    assert len(good) == 1
    assert codes <= {"claim_busy"}
    assert desks[1].ask("POST", "/train", body).content in good
    assert count_bars(consumed(desks[0], "sliding"), STEP_MS) == 740


def test_missing_chunk_is_an_error_that_can_be_repaired(desk: Desk) -> None:
    as_of_ms = desk.register(regime_bars(1000))
    (chunk,) = desk.settings.data_incoming.rglob("*.npy")
    away = chunk.rename(chunk.with_suffix(".away"))

    reply = desk.ask("POST", "/train", train_body(as_of_ms))
    away.rename(chunk)

    assert reply.status_code == 422
    assert reply.json()["code"] == "data"
    # The claim was given back: a service of another name need not wait for its lease.
    other = Desk(desk.folder, service_name="other")
    assert other.train(as_of_ms)["status"] == "completed"


def test_empty_body_trains_every_symbol_of_the_live_stream_now(tmp_path: Path) -> None:
    desk = Desk(tmp_path, symbols="BTC/USDT,ETH/USDT", train_min_points=500, hmm_states=2)
    bars = regime_bars(1000)
    for symbol in ("BTC/USDT", "ETH/USDT"):
        desk.now_ms = desk.register(bars, key=SeriesKey("live", symbol, "1m"))

    results = desk.ask("POST", "/train").json()["results"]

    assert [(r["symbol"], r["status"], r["model_version"]) for r in results] == [
        ("BTC/USDT", "completed", 1),
        ("ETH/USDT", "completed", 2),
    ]
    assert {r["as_of_ms"] for r in results} == {desk.now_ms}


def test_latency_delays_service_but_not_the_decision(desk: Desk) -> None:
    as_of_ms = desk.register(regime_bars(1000))

    result = desk.train(as_of_ms, latency_ms=90_000)

    assert result["serves_from_ms"] == as_of_ms + 90_000
    path = f"/model?stream={KEY.stream}&as_of_ms="
    assert desk.ask("GET", f"{path}{as_of_ms + 89_999}").status_code == 404
    assert desk.ask("GET", f"{path}{as_of_ms + 90_000}").json()["version"] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[
            (name, value)
            for name in ("train_window_days", "promotion_min_delta")
            for value in ("NaN", "Infinity", "1e999")
        ],
        ("train_window_days", "3651"),
        ("latency_ms", "2592000001"),
        ("train_min_points", "1e30"),
        ("purge_bars", "99999999999999999999"),
        ("keep_n_models", "99999999999999999999"),
        ("seed", "-1"),
        ("seed", "9223372036854775808"),
    ],
)
def test_number_that_cannot_be_meant_is_one_line_and_no_defect(
    desk: Desk, name: str, value: str
) -> None:
    as_of_ms = desk.register(regime_bars(100))
    text = train_body(as_of_ms, seed=1).decode()
    content = text.replace('"seed":1', f'"{name}":{value}').encode()
    assert content != text.encode()

    reply = desk.ask("POST", "/train", content)

    assert (reply.status_code, reply.json()["code"]) == (422, "request")
    assert name in reply.json()["message"]
    assert "\n" not in reply.json()["message"]


def test_largest_numbers_allowed_are_trained_by(desk: Desk) -> None:
    largest = {
        "train_window_days": 3650.0,
        "promotion_min_delta": 1e308,
        "latency_ms": 2_592_000_000,
        "keep_n_models": 1_000_000,
        "seed": 2**63 - 1,
    }
    bars = regime_bars(2000)
    results = [desk.train(desk.register(part), **largest) for part in (bars[:1000], bars[1000:])]

    assert [r["status"] for r in results] == ["completed"] * 2
    more = desk.train(desk.register(regime_bars(2010)[2000:]), purge_bars=1_000_000)
    assert more["status"] == "too_small"
