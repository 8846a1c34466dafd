"""/predict: forward only, the same however it is batched, by the model that served at each bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sqlalchemy import text

from mei.learning.features import PREDICT_WARM_UP_BARS as WARM_UP
from mei.model.bars import BarArray
from tests.learning.market import START_MS, STEP_MS, regime_bars
from tests.ml_service.desk import KEY, Desk, predict_body

N_BARS = 3000
BARS = regime_bars(N_BARS)


def closes(bars: BarArray) -> list[int]:
    return [int(open_ms) + STEP_MS for open_ms in bars["timestamp"]]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Two models: the first serves from bar 1000 on, the second from bar 2000 on."""
    made = Desk(tmp_path_factory.mktemp("ml"))
    for first in (0, 1000):
        as_of_ms = made.register(BARS[first : first + 1000])
        result = made.train(as_of_ms, promotion_min_delta=0.0, hmm_states=2 + first // 1000)
        if result["decision"] != "promoted":
            body = orjson.dumps({**KEY._asdict(), "as_of_ms": as_of_ms})
            assert made.ask("POST", "/models/2/promote", body).status_code == 200
    return made


def rows_of(answer: dict[str, Any]) -> list[tuple[Any, ...]]:
    """One tuple a bar, floats by their exact value."""
    columns = [
        answer["model_version"],
        answer["regime"],
        answer["volatility_z"],
        *answer["probabilities"],
    ]
    return list(zip(*columns, strict=True))


def ask(desk: Desk, first: int, end: int, bars: BarArray = BARS) -> list[tuple[Any, ...]]:
    """Rows first..end-1, asked with exactly the warm-up they need."""
    sent = bars[max(0, first - WARM_UP) : end]
    return rows_of(desk.predict(sent, closes(bars[first:end])))


@pytest.mark.parametrize("batch", [1, 37])
def test_batching_does_not_change_a_bit(desk: Desk, batch: int) -> None:
    first, end = 2600, 2600 + 3 * batch + 30

    parts = [row for at in range(first, end, batch) for row in ask(desk, at, min(at + batch, end))]

    assert parts == ask(desk, 2000, 3000)[first - 2000 : end - 2000]


def test_batch_across_a_promotion_is_cut_where_the_model_changes(desk: Desk) -> None:
    answer = desk.predict(BARS[:2100], closes(BARS[900:2100]))

    versions = answer["model_version"]
    assert versions == [None] * 99 + [1] * 1000 + [2] * 101
    assert answer["n_states"] == 3
    assert set(answer["trained_through_ms"]) == {"1", "2"}
    assert answer["probabilities"][2][99:1099] == [None] * 1000
    assert rows_of(answer)[1099:] == ask(desk, 1999, 2100)


def test_later_and_altered_later_bars_do_not_move_the_past(desk: Desk) -> None:
    scrambled = BARS.copy()
    scrambled[2500:] = regime_bars(N_BARS, seed=8)[2500:]

    kept = ask(desk, 2300, 2500)

    assert ask(desk, 2300, 3000)[:200] == kept
    assert ask(desk, 2300, 3000, scrambled)[:200] == kept
    assert ask(desk, 2300, 3000, scrambled) != ask(desk, 2300, 3000)


def test_probabilities_sum_to_one_and_the_regime_is_the_most_probable(desk: Desk) -> None:
    answer = desk.predict(BARS[1500:], closes(BARS[2500:]))

    probabilities = np.array(answer["probabilities"])
    np.testing.assert_allclose(probabilities.sum(axis=0), 1.0, rtol=1e-12)
    assert answer["regime"] == probabilities.argmax(axis=0).tolist()
    assert len(set(answer["regime"])) > 1


def test_before_the_first_model_rows_are_null(desk: Desk) -> None:
    answer = desk.predict(BARS[:700], closes(BARS[600:700]))

    assert answer["n_states"] is None
    assert answer["model_version"] == answer["regime"] == [None] * 100
    assert answer["probabilities"] == []
    assert None not in answer["volatility_z"]


def test_warm_up_rows_are_null(desk: Desk) -> None:
    answer = desk.predict(BARS[2500:2600], closes(BARS[2500:2600]))

    assert answer["regime"][:60] == [None] * 60
    assert None not in answer["regime"][60:]
    assert answer["volatility_z"] == [None] * 100


def test_underscored_symbol_is_the_same_series(desk: Desk) -> None:
    bars, as_of_ms = BARS[2400:], closes(BARS[2990:])

    answer = desk.predict(bars, as_of_ms, KEY._replace(symbol="BTC_USDT"))

    assert rows_of(answer) == rows_of(desk.predict(bars, as_of_ms))


def change(name: str, value: Any) -> Any:
    def apply(body: dict[str, Any]) -> None:
        body["bars"][name] = value(body["bars"][name])

    return apply


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda b: b["as_of_ms"].pop(), "must not close after the last as_of_ms"),
        (lambda b: b["as_of_ms"].append(START_MS + N_BARS * STEP_MS + 1), "none closes at"),
        (lambda b: b["as_of_ms"].reverse(), "ascending without repeats"),
        (lambda b: b["as_of_ms"].clear(), "at least one bar close"),
        (change("timestamp", lambda v: [v[1], v[0], *v[2:]]), "must ascend without repeats"),
        (change("volume", lambda v: v[:-1]), "columns of one length, volume has 599"),
        (change("volume", lambda v: [-1.0, *v[1:]]), "row 0 is"),
        (change("high", lambda v: [*v[:-1], 1.0]), "row 599 is"),
        (change("close", lambda v: [0.0, *v[1:]]), "must be candles"),
        (change("timestamp", lambda v: [*v[:-1], 2**70]), "must hold 64-bit numbers"),
        (lambda b: b.update(stream="../../etc"), "stream"),
        (lambda b: b.update(extra=1), "extra"),
    ],
)
def test_request_that_cannot_be_meant_is_refused_with_what_is_wrong(
    desk: Desk, alter: Any, message: str
) -> None:
    body = orjson.loads(predict_body(BARS[-600:], closes(BARS[-10:])))
    alter(body)

    # orjson has no integers beyond 64 bits.
    content = repr(body).replace("'", '"').encode()
    reply = desk.ask("POST", "/predict", content)

    assert reply.status_code == 422
    assert message in reply.json()["message"]


def test_model_that_knows_more_than_the_bar_is_a_defect_and_says_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    as_of_ms = desk.register(BARS[:1000])
    desk.train(as_of_ms)
    early = int(BARS["timestamp"][650])
    with desk.ledger.unit_of_work() as unit:
        unit.connection.execute(
            text(f"UPDATE promotions SET decided_at_ms={early}, serves_from_ms={early}")
        )
        unit.commit("tamper")

    reply = desk.ask("POST", "/predict", predict_body(BARS[:660], closes(BARS[655:660])))

    assert reply.status_code == 500
    assert reply.json()["code"] == "look_ahead"


def test_future_of_the_live_stream_is_not_predicted(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    bars = regime_bars(700)
    close_ms = int(bars["timestamp"][-1]) + STEP_MS
    live = KEY._replace(stream="live")
    desk.now_ms = close_ms
    assert desk.predict(bars, [close_ms], live)["regime"] == [None]
    desk.now_ms = close_ms - 1

    reply = desk.ask("POST", "/predict", predict_body(bars, [close_ms], live))

    assert (reply.status_code, reply.json()["code"]) == (422, "request")
    assert f"was {close_ms} and the service's clock says {close_ms - 1}" in reply.json()["message"]
    assert desk.predict(bars, [close_ms])["regime"] == [None]
