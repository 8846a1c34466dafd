"""Parameters per bar and in batches: the same bytes, as of any time, whoever wrote the outcomes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from mei.ledger.database import Ledger
from mei.model.http import ParamsResponse
from tests.param_controller.conftest import NOW_MS, Controller, open_controller

BTC = "/params/momentum_breakout/BTC_USDT"
LEARN = "/learn/outcome/momentum_breakout/BTC_USDT"
STREAM = "backtest/0123456789ab"
FIRST_MS = 1_672_531_260_000
BAR_MS = 60_000
PRESETS = ("fast", "medium", "slow")


def _times(n: int) -> list[int]:
    return [FIRST_MS + 13 * BAR_MS * i for i in range(n)]


def _features(n: int, seed: int = 1) -> dict[str, list[float | None]]:
    rng = np.random.default_rng(seed)
    columns: dict[str, list[float | None]] = {}
    for i, column in enumerate(rng.dirichlet([1, 1, 1, 1], n).T.tolist()):
        columns[f"regime_{i}"] = [None if row < n // 10 else p for row, p in enumerate(column)]
    columns["volatility_z"] = rng.normal(size=n).tolist()
    return columns


def _outcomes(n: int, n_bars: int, stream: str = STREAM) -> list[tuple[str, dict[str, Any]]]:
    rng = random.Random(5)
    columns = _features(n, seed=9)
    return [
        (
            rng.choice(PRESETS),
            {
                "stream": stream,
                "trade_id": f"trade-{i}",
                "known_at_ms": FIRST_MS + 13 * BAR_MS * rng.randrange(n_bars),
                "net_pnl_bps": rng.gauss(0, 40),
                "features": {name: column[i] for name, column in columns.items()},
            },
        )
        for i in range(n)
    ]


def _tell(controller: Controller, outcomes: list[tuple[str, dict[str, Any]]]) -> None:
    for preset, body in outcomes:
        assert controller.post(f"{LEARN}/{preset}", body)["recorded"] is True


def _batch(
    controller: Controller, n: int, size: int | None = None, stream: str = STREAM, **more: Any
) -> Any:
    """Rows of `n` bars, asked in batches of `size`, the policy state handed on."""
    times, features = _times(n), _features(n)
    state: dict[str, Any] = {}
    rows: list[tuple[str, int | None, int]] = []
    for start in range(0, n, size or n):
        cut = slice(start, start + (size or n))
        body = {
            "stream": stream,
            "as_of_ms": times[cut],
            "features": {name: column[cut] for name, column in features.items()},
            "policy_state": state,
            **more,
        }
        columns = controller.post(f"{BTC}/batch", body)["policy_state"]
        part = list(zip(*(columns[key] for key in STATE), strict=True))
        rows += part
        state = dict(zip(STATE, part[-1], strict=True))
    return rows


STATE = ("preset", "changed_at_ms", "changes_today")


def test_single_queries_batches_of_37_and_one_batch_agree(controller: Controller) -> None:
    n = 120
    _tell(controller, _outcomes(60, n))
    whole = _batch(controller, n)
    assert _batch(controller, n, 37) == whole
    assert _batch(controller, n, 1) == whole
    assert len({row[0] for row in whole}) == 3


def test_a_get_is_a_batch_of_one_row_byte_for_byte(controller: Controller) -> None:
    n = 30
    _tell(controller, _outcomes(20, n))
    times, features = _times(n), _features(n)
    state: dict[str, Any] = {}
    for row in range(n):
        body = {
            "stream": STREAM,
            "as_of_ms": [times[row]],
            "features": {name: [column[row]] for name, column in features.items()},
            "policy_state": state,
        }
        batch = controller.call("POST", f"{BTC}/batch", body)
        query = [f"stream={quote(STREAM)}", f"as_of_ms={times[row]}"]
        for name, column in features.items():
            query.append(
                f"features[{name}]={'' if column[row] is None else repr(float(column[row] or 0))}"
            )
        query += [f"policy_state[{key}]={'' if v is None else v}" for key, v in state.items()]
        single = controller.call("GET", f"{BTC}?{'&'.join(query)}")
        assert single.content == batch.content
        columns = batch.json()["policy_state"]
        state = {key: columns[key][0] for key in STATE}


def test_an_answer_has_the_agreed_shape_with_the_parameters_of_its_presets(
    controller: Controller,
) -> None:
    answer = controller.get(f"{BTC}?as_of_ms=5&policy=fixed:slow")
    ParamsResponse.model_validate(answer)
    assert answer == {
        "stream": "live",
        "strategy": "momentum_breakout",
        "instrument": "BTC/USDT",
        "policy": "fixed:slow",
        "presets": {
            "slow": {
                "lookback": 120, "breakout_bps": 0.0, "stop_bps": 60.0, "take_profit_bps": 120.0,
                "max_hold_bars": 360,
            }
        },
        "policy_state": {"preset": ["slow"], "changed_at_ms": [None], "changes_today": [0]},
    }  # fmt: skip


def test_the_alias_answers_the_same(controller: Controller) -> None:
    path = "/momentum_breakout/BTC_USDT?as_of_ms=5"
    assert (
        controller.call("GET", f"/param{path}").content
        == controller.call("GET", f"/params{path}").content
    )
    assert controller.get("/param") == controller.get("/params")
    body = {"as_of_ms": [5]}
    assert controller.post("/param/momentum_breakout/BTC_USDT/batch", body)


def test_an_answer_as_of_a_time_is_never_moved_by_later_outcomes(controller: Controller) -> None:
    n = 100
    _tell(controller, _outcomes(50, n))
    before = _batch(controller, n)
    late = [
        ("slow", {"stream": STREAM, "trade_id": f"late-{i}", "known_at_ms": _times(n)[-1] + 1 + i,
                  "net_pnl_bps": 1e5})
        for i in range(20)
    ]  # fmt: skip
    _tell(controller, late)
    body = {"stream": STREAM, "as_of_ms": [_times(n)[-1] + 10**8]}
    assert controller.post(f"{BTC}/batch", body)["policy_state"]["preset"] == ["slow"]
    assert _batch(controller, n) == before
    assert _batch(controller, n, 37) == before


def test_outcomes_of_another_process_repeated_and_out_of_order_give_the_same(
    ledger_path: Path, tmp_path: Path
) -> None:
    n = 100
    outcomes = _outcomes(50, n)
    in_order = open_controller(tmp_path / "other" / "manifest.sqlite")
    _tell(in_order, outcomes)
    expected = _batch(in_order, n)
    one, two = open_controller(ledger_path), open_controller(ledger_path)
    shuffled = outcomes[:]
    random.Random(1).shuffle(shuffled)
    for i, told in enumerate(shuffled):
        _tell(one if i % 2 else two, [told])
        if i % 7 == 0:
            _batch(one, n)
            preset, body = shuffled[i // 2]
            assert two.post(f"{LEARN}/{preset}", body)["recorded"] is False
    assert _batch(one, n) == _batch(two, n) == expected
    assert _batch(open_controller(ledger_path), n) == expected


def test_draws_do_not_depend_on_the_stream_but_outcomes_belong_to_theirs(
    controller: Controller,
) -> None:
    n = 60
    empty = _batch(controller, n, stream="backtest/a")
    assert _batch(controller, n, stream="backtest/b/2") == empty
    _tell(controller, _outcomes(40, n, stream="backtest/a"))
    assert _batch(controller, n, stream="backtest/a") != empty
    assert _batch(controller, n, stream="backtest/b/2") == empty


def test_seed_and_policy_of_a_request_win_over_the_service(ledger_path: Path) -> None:
    one = open_controller(ledger_path, seed=1, policy="fixed:fast")
    assert {row[0] for row in _batch(one, 40)} == {"fast"}
    other = open_controller(ledger_path, seed=2)
    drawn = _batch(one, 40, seed=3, policy="thompson")
    assert drawn == _batch(other, 40, seed=3)
    assert drawn != _batch(other, 40)


def test_without_a_time_it_is_now(controller: Controller) -> None:
    assert (
        controller.call("GET", BTC).content
        == controller.call("GET", f"{BTC}?as_of_ms={NOW_MS}").content
    )


def test_no_rows_are_answered_with_no_rows(controller: Controller) -> None:
    answer = controller.post(f"{BTC}/batch", {"as_of_ms": []})
    assert answer["policy_state"] == {"preset": [], "changed_at_ms": [], "changes_today": []}
    assert answer["presets"] == {}


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        (
            "GET",
            "/params/momentum/BTC_USDT",
            "no strategy 'momentum'; there are mei_alpha, momentum_breakout",
        ),
        ("GET", "/params/momentum_breakout/XRP_USDT", "there are BTC_USDT, ETH_USDT"),
        ("POST", "/params/nope/BTC_USDT/batch", "there are mei_alpha, momentum_breakout"),
        ("POST", "/params/momentum_breakout/nope/batch", "there are BTC_USDT, ETH_USDT"),
        ("GET", f"{BTC}?policy=fixed:quick", "no preset 'quick'; there are fast, medium, slow"),
        ("GET", f"{BTC}?policy_state[preset]=quick", "no preset 'quick'; there are fast, medium"),
    ],
)
def test_unknown_names_are_404_with_what_exists(
    controller: Controller, method: str, path: str, said: str
) -> None:
    status, error = controller.refused(
        method, path, {"as_of_ms": [1]} if method == "POST" else None
    )
    assert (status, error.code) == (404, "not_found")
    assert said in error.message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "ParamsRequest in JSON"),
        (b"{}", "as_of_ms: Field required"),
        (b'{"as_of_ms": [2, 1]}', "strictly ascending"),
        (b'{"as_of_ms": [-1]}', "epoch ms"),
        (b'{"as_of_ms": [99999999999999999999]}', "as_of_ms"),
        (b'{"as_of_ms": [1], "stream": "no spaces"}', "stream"),
        (b'{"as_of_ms": [1], "features": {"volatility_z": [NaN]}}', "NaN"),
        (b'{"as_of_ms": [1], "features": {"volatility_z": [1e999]}}', "infinity"),
        (b'{"as_of_ms": [1], "features": {"volatility_z": []}}', "must have 1 rows"),
        (b'{"as_of_ms": [1], "features": {"regime_0": [1], "regime_1": [null]}}', "null in part"),
        (b'{"as_of_ms": [1], "feature": {}}', "feature: Extra inputs"),
        (b'{"as_of_ms": [1], "seed": -1}', "seed: Input should be greater than or equal to 0"),
        (b'{"as_of_ms": [1], "seed": 9223372036854775808}', "seed: Input should be less than"),
        (b'{"as_of_ms": [1], "seed": NaN}', "seed"),
        (
            b'{"as_of_ms": [1], "policy_state": {"changed_at_ms": 99999999999999999999}}',
            "policy_state.changed_at_ms",
        ),
        (
            b'{"as_of_ms": [1], "policy_state": {"changes_today": 99999999999999999999}}',
            "policy_state.changes_today",
        ),
        (b'{"as_of_ms": [1], "policy": "best"}', "POLICY must be"),
        (
            b'{"as_of_ms": [1], "policy_state": {"preset": "fast", "changed_at_ms": 2}}',
            "not be after",
        ),
    ],
)
def test_requests_that_cannot_be_meant_are_422_and_say_why(
    controller: Controller, body: bytes, said: str
) -> None:
    status, error = controller.refused("POST", f"{BTC}/batch", body)
    assert (status, error.code) == (422, "request")
    assert said in error.message


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("as_of=1", "did you mean 'as_of_ms'"),
        ("as_of_ms=soon", "as_of_ms"),
        ("features[volatility]=1", "did you mean 'volatility_z'"),
        ("features[volatility_z]=x", "volatility_z"),
        ("policy_state[presett]=fast", "presett"),
    ],
)
def test_queries_that_cannot_be_meant_are_422(
    controller: Controller, query: str, said: str
) -> None:
    status, error = controller.refused("GET", f"{BTC}?{query}")
    assert (status, error.code) == (422, "request")
    assert said in error.message


def test_the_catalogue_lists_strategies_instruments_presets_and_bounds(
    controller: Controller,
) -> None:
    known = controller.get("/params")["strategies"]["momentum_breakout"]
    assert list(known["instruments"]) == ["BTC_USDT", "ETH_USDT"]
    assert list(known["instruments"]["BTC_USDT"]["presets"]) == ["fast", "medium", "slow"]
    assert known["parameters"]["stop_bps"]["max"] == 500


def test_ready_names_the_ledger_that_services_share(ledger_path: Path, tmp_path: Path) -> None:
    one, two = open_controller(ledger_path), open_controller(ledger_path)
    other = open_controller(tmp_path / "other" / "manifest.sqlite")
    ids = [controller.get("/ready")["ledger_id"] for controller in (one, two, other)]
    with Ledger.open(ledger_path) as ledger:
        assert ids[0] == ids[1] == ledger.ledger_id
    assert ids[2] != ids[0]


def test_ready_and_operations(controller: Controller) -> None:
    assert controller.get("/ready")["instruments"] == ["BTC/USDT", "ETH/USDT"]
    controller.get(f"{BTC}?as_of_ms=1")
    text = controller.call("GET", "/metrics").text
    assert 'route="/params/{strategy}/{instrument}",status="200"' in text
