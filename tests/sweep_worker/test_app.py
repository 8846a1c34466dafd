"""The routes over the real app, ledger and sweeps: what is asked, shown, refused, cancelled and continued."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from mei.engines.cuda_device import fault_of_card
from mei.engines.select import DEVICES
from mei.ledger.database import Ledger
from mei.model import faults
from mei.model.errors import ConfigError
from mei.workflows.sweep.request import PARITY_MODES
from services.sweep_worker.app.asked import _stamp
from services.sweep_worker.app.bodies import SweepBody
from services.sweep_worker.app.settings import Settings
from tests.sweep_worker.desk import LAST_TS, LIMIT_S, Desk, add_bar, body
from tests.sweeps.markets import CONFIG, N_ROWS, SPEC

#: Long enough to be met under way.
LONG_SPEC = """
axes:
- {path: trade.sl_atr_mult, min: 0.5, max: 100, step: 0.01}
- {path: indicators.ema_slow_window, values: [21, 34]}
lookback: 100
"""


def refused(desk: Desk, status: int, code: str, **more: Any) -> str:
    """The message of a body that is refused."""
    return error(desk.ask("POST", "/sweeps", body(**more)), status, code)


def error(reply: Any, status: int, code: str) -> str:
    assert reply.status_code == status, reply.text
    found = reply.json()
    assert set(found) == {"code", "message"}
    assert found["code"] == code
    assert "\n" not in found["message"]
    return str(found["message"])


def test_a_sweep_from_post_to_rows(desk: Desk, undisturbed: bytes) -> None:
    reply = desk.ask("POST", "/sweeps", body(top_n=2))
    assert reply.status_code == 202
    posted = reply.json()
    assert reply.headers["Location"] == f"/sweeps/{posted['id']}"
    assert posted["state"] in ("queued", "running")
    done = desk.wait(posted["id"])
    assert (done["rows_done"], done["rows_total"], done["attempts"]) == (N_ROWS, N_ROWS, 1)
    assert (done["reason"], done["worker"], done["lease_ends_at_ms"]) == ("", None, None)
    assert done["queued_at_ms"] <= done["started_at_ms"] <= done["ended_at_ms"]
    assert done["rows_per_s"] > 0
    assert desk.rows(posted["id"]) == undisturbed
    rows = undisturbed.splitlines(keepends=True)
    first = json.loads(rows[0])
    assert done["best"] == {
        "config_id": first["config_id"],
        "overrides": first["overrides"],
        "total_pnl": first["total_pnl"],
    }
    assert any(line.startswith(f"[sweep] Generated {N_ROWS} config") for line in done["lines"])
    assert sum("sweep_00" in line for line in done["lines"]) >= 2
    top = desk.ask("GET", f"/sweeps/{posted['id']}/results?top=3")
    assert top.headers["content-type"].startswith("application/x-ndjson")
    assert top.content == b"".join(rows[:3])
    assert desk.ask("GET", f"/sweeps/{posted['id']}/results?top=10000").content == undisturbed
    folder = desk.folder / "results/sweeps" / posted["id"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "results.jsonl",
        "results.jsonl.best",
        "strategy.yaml",
        "sweep_spec.yaml",
    ]


def test_the_same_question_is_the_same_sweep(desk: Desk, folder: Path) -> None:
    (folder / "config").mkdir()
    (folder / "config/c.yaml").write_text(CONFIG)
    (folder / "config/spec.yaml").write_text(SPEC)
    first = desk.post()["id"]
    desk.wait(first)
    again = desk.ask("POST", "/sweeps", body())
    assert (again.status_code, again.json()["id"]) == (200, first)
    by_path = desk.post(
        config="config/c.yaml",
        config_yaml=None,
        sweep_spec="config/spec.yaml",
        sweep_spec_yaml=None,
    )
    assert by_path["id"] == first
    assert by_path["attempts"] == 1
    assert desk.post(initial_balance=5000.0)["id"] != first
    (folder / "config/c.yaml").write_text(CONFIG + "\n# another thought\n")
    assert desk.post(config="config/c.yaml", config_yaml=None)["id"] != first
    database = folder / "candles_dbs/candles_1h.db"
    os.utime(database, ns=(0, 0))
    assert desk.post()["id"] != first
    listed = desk.ask("GET", "/sweeps").json()["sweeps"]
    assert len(listed) == 4
    assert listed[-1]["id"] == first


def test_candles_that_change_before_or_while_it_runs_are_another_sweep(
    desk: Desk, folder: Path
) -> None:
    database = folder / "candles_dbs/candles_1h.db"
    waiting = desk.post(sweep_spec_yaml=LONG_SPEC)["id"]
    behind = desk.post()["id"]
    desk.wait(waiting, "running")
    os.utime(database, ns=(7, 7))
    desk.ask("DELETE", f"/sweeps/{waiting}")
    view = desk.wait(behind, "failed")
    assert view["state"] == "failed"
    assert "has changed: post the sweep again" in view["reason"]
    assert desk.ask("GET", f"/sweeps/{behind}/results").status_code == 409
    again = desk.post()["id"]
    assert again != behind
    desk.wait(again)


def test_a_bar_that_comes_after_the_window_while_it_runs_changes_nothing(
    desk: Desk, folder: Path
) -> None:
    more = {"sweep_spec_yaml": LONG_SPEC.replace("max: 100", "max: 3"), "rerun": 0}
    is_under_way, may_go_on = threading.Event(), threading.Event()

    def hold(name: str) -> None:
        if name == "sweep.journal.appended" and not is_under_way.is_set():
            is_under_way.set()
            may_go_on.wait()

    faults.install(hold)
    try:
        job_id = desk.post(**more, end_ts=LAST_TS)["id"]
        assert is_under_way.wait(LIMIT_S)
        add_bar(folder)
        assert desk.view(job_id)["state"] == "running"
    finally:
        faults.install(None)
        may_go_on.set()
    view = desk.wait(job_id)
    assert view["rows_done"] == view["rows_total"]
    again = desk.post(**more, end_ts=LAST_TS)["id"]
    assert again != job_id  # by the file's size and time, since nobody has looked into it yet
    desk.wait(again)
    assert desk.rows(job_id) == desk.rows(again)


def test_rows_that_are_gone_are_run_again(desk: Desk, undisturbed: bytes) -> None:
    job_id = desk.post()["id"]
    desk.wait(job_id)
    (desk.folder / "results/sweeps" / job_id / "results.jsonl").unlink()
    message = error(desk.ask("GET", f"/sweeps/{job_id}/results"), 404, "not_found")
    assert "post the sweep again" in message
    assert desk.post()["state"] in ("queued", "running")
    desk.wait(job_id)
    assert desk.rows(job_id) == undisturbed


def test_a_sweep_that_finishes_while_it_is_posted_is_not_run_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = desk.post()["id"]
    desk.wait(job_id)
    path = desk.folder / "results/sweeps" / job_id / "results.jsonl"
    begin, content = Ledger.unit_of_work, path.read_bytes()
    path.unlink()

    def late(ledger: Ledger) -> Any:
        monkeypatch.setattr(Ledger, "unit_of_work", begin)
        path.write_bytes(content)
        return begin(ledger)

    monkeypatch.setattr(Ledger, "unit_of_work", late)
    again = desk.post()
    assert (again["state"], again["attempts"]) == ("finished", 1)


def test_a_log_that_goes_while_it_is_looked_for_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever closes a database as the last one removes its WAL."""
    database = folder / "candles_dbs/candles_1h.db"
    found = database.stat()
    monkeypatch.setattr(Path, "exists", lambda _self: True)
    assert _stamp(str(database)) == [found.st_size, found.st_mtime_ns]


def test_cancelled_and_posted_again_goes_on(desk: Desk) -> None:
    job_id = desk.post(sweep_spec_yaml=LONG_SPEC, rerun=0)["id"]
    desk.until(lambda: desk.view(job_id), lambda view: view["rows_done"] > 20)
    message = error(desk.ask("GET", f"/sweeps/{job_id}/results"), 409, "conflict")
    assert "must be finished to have results" in message
    reply = desk.ask("DELETE", f"/sweeps/{job_id}")
    assert reply.status_code == 202
    assert reply.json()["cancel_asked"] is True
    done = desk.wait(job_id, "cancelled")["rows_done"]
    assert desk.ask("DELETE", f"/sweeps/{job_id}").status_code == 200
    journal = next((desk.folder / "results/sweeps" / job_id).glob("*.journal"))
    assert journal.stat().st_size > 0
    assert error(desk.ask("GET", f"/sweeps/{job_id}/results"), 409, "conflict")
    desk.post(sweep_spec_yaml=LONG_SPEC, rerun=0)
    view = desk.until(
        lambda: desk.view(job_id),
        lambda view: any("and are not run again" in line for line in view["lines"]),
    )
    assert view["attempts"] == 2
    assert view["rows_done"] >= done
    desk.ask("DELETE", f"/sweeps/{job_id}")
    desk.wait(job_id, "cancelled")


def test_a_finished_sweep_cannot_be_cancelled(desk: Desk) -> None:
    job_id = desk.post()["id"]
    desk.wait(job_id)
    assert "is finished" in error(desk.ask("DELETE", f"/sweeps/{job_id}"), 409, "conflict")


def test_sweeps_wait_for_each_other_and_a_waiting_one_is_cancelled_at_once(desk: Desk) -> None:
    first = desk.post(sweep_spec_yaml=LONG_SPEC)["id"]
    desk.until(lambda: desk.view(first), lambda view: view["state"] == "running")
    second = desk.post()["id"]
    assert desk.view(second)["state"] == "queued"
    reply = desk.ask("DELETE", f"/sweeps/{second}")
    assert (reply.status_code, reply.json()["state"]) == (200, "cancelled")
    third = desk.post(initial_balance=1.0)["id"]
    desk.ask("DELETE", f"/sweeps/{first}")
    desk.wait(third)
    assert desk.view(first)["state"] == "cancelled"


@pytest.mark.skipif(fault_of_card() is None, reason="there is a card")
def test_a_card_that_is_not_there(desk: Desk, undisturbed: bytes) -> None:
    failed = desk.post(device="gpu")["id"]
    view = desk.wait(failed, "failed")
    assert "a sweep on the GPU needs an NVIDIA card" in view["reason"]
    assert "a sweep on the GPU" in error(
        desk.ask("GET", f"/sweeps/{failed}/results"), 409, "conflict"
    )
    auto = desk.post(device="auto")["id"]
    lines = desk.wait(auto)["lines"]
    assert any(line.startswith("[sweep] Device: CPU: a sweep on the GPU needs") for line in lines)
    assert desk.rows(auto) == undisturbed


def test_a_search(desk: Desk) -> None:
    terms = {"trials": 30, "batch": 10, "seed": 7}
    view = desk.wait(desk.post(tpe=terms, chunk_size=None, rerun=0)["id"])
    assert (view["rows_done"], view["rows_total"]) == (30, 30)
    assert view["best"]["config_id"].startswith("tpe_")


def test_no_database_fails_before_it_is_a_sweep(desk: Desk) -> None:
    message = refused(desk, 422, "data", candles_db="candles_dbs/none.db")
    assert (
        message
        == "candles_db: candles_dbs/none.db must be readable, is not: No such file or directory"
    )
    assert desk.ask("GET", "/sweeps").json() == {"sweeps": []}


def test_a_market_that_cannot_be_swept_is_a_failed_sweep(desk: Desk) -> None:
    view = desk.wait(desk.post(start_ts="2035-01-01")["id"], "failed")
    assert view["reason"]
    assert desk.post(start_ts="2035-01-01")["state"] in ("queued", "running")


REFUSED = [
    (
        {"config": "config/c.yaml"},
        "request",
        "either config or config_yaml must be given, both were",
    ),
    (
        {"sweep_spec_yaml": None},
        "request",
        "either sweep_spec or sweep_spec_yaml must be given, neither",
    ),
    (
        {"config_yaml": None, "config": "/etc/passwd"},
        "request",
        "config must name files below config",
    ),
    ({"candles_db": "../x.db"}, "request", "candles_db must name files below"),
    ({"candles_db": "candles_dbs/a.db,/etc"}, "request", "was '/etc'"),
    ({"candles_db": "link/candles_1h.db"}, "request", "links followed"),
    ({"candles_db": "candles_dbs/\x00"}, "request", "candles_db"),
    ({"candles_db": "candles_dbs/" + "x" * 300}, "request", "candles_db must be readable"),
    (
        {"config_yaml": None, "config": "config"},
        "request",
        "must be a readable file, config is not",
    ),
    ({"funding_db": "/etc/passwd"}, "request", "funding_db must name"),
    ({"universe_filter": True, "universe_db": "/u.db"}, "request", "universe_db must name"),
    ({"output": "x.jsonl"}, "request", "output"),
    ({"device": "tpu"}, "request", "device"),
    ({"initial_balance": "nan"}, "request", "initial_balance"),
    ({"start_ts": "yesterday"}, "request", "start_ts: a time must be a moment"),
    ({"semantics": "loose"}, "config", "semantics"),
    ({"strategy": "mei_omega"}, "config", "--strategy must be one of"),
    ({"on_cluster": True}, "request", "on_cluster needs a worker with SWEEP_SCHEDULER"),
    ({"tpe": {"trials": 0}}, "request", "tpe.trials"),
    ({"chunk_size": 0}, "request", "chunk_size"),
    ({"sweep_spec_yaml": "axes: 3"}, "data", "sweep_spec.yaml: a sweep spec must be a mapping"),
    (
        {"sweep_spec_yaml": "axes: [{path: trade.nope, values: [1]}]"},
        "config",
        "trade.nope is none",
    ),
    ({"config_yaml": "global: {trade: {nope: 1}}"}, "config", "nope"),
    ({"config_yaml": "{"}, "config", "strategy.yaml"),
]


@pytest.mark.parametrize(("more", "code", "said"), REFUSED, ids=[said for _, _, said in REFUSED])
def test_refused_in_the_one_shape(
    desk: Desk, folder: Path, more: dict[str, Any], code: str, said: str
) -> None:
    (folder / "config").mkdir()
    (folder / "elsewhere").mkdir()
    (folder / "candles_dbs/link").symlink_to(folder / "elsewhere")
    if more.get("candles_db", "").startswith("link/"):
        more = {"candles_db": "candles_dbs/link/candles_1h.db"}
    message = refused(desk, 422, code, **more)
    assert said in message
    assert "/tmp" not in message.replace(str(folder), "")
    assert desk.ask("GET", "/sweeps").json() == {"sweeps": []}
    assert list((folder / "results/sweeps").iterdir()) == []


def test_no_body_and_no_sweep(desk: Desk) -> None:
    assert "SweepBody" in error(desk.ask("POST", "/sweeps", b""), 422, "request")
    assert "SweepBody" in error(desk.ask("POST", "/sweeps", b"[1"), 422, "request")
    for path in ("/sweeps/abc", "/sweeps/abc/results"):
        assert "no sweep has the id" in error(desk.ask("GET", path), 404, "not_found")
    error(desk.ask("DELETE", "/sweeps/abc"), 404, "not_found")
    error(desk.ask("GET", "/sweeps/..%2Fx"), 404, "not_found")
    error(desk.ask("GET", "/sweeps/XYZ"), 422, "request")
    error(desk.ask("GET", "/sweeps/abc/results?top=0"), 422, "request")


def test_operations(desk: Desk) -> None:
    assert desk.ask("GET", "/health").json()["service"] == "sweep_worker"
    ready = desk.ask("GET", "/ready").json()
    assert ready["ready"] is True
    assert ready["worker"].startswith("sweep_worker@id")
    assert b'route="/ready"' in desk.ask("GET", "/metrics").content
    paths = desk.ask("GET", "/openapi.json").json()["paths"]
    assert {(path, method) for path, of in paths.items() for method in of} == {
        ("/sweeps", "get"),
        ("/sweeps", "post"),
        ("/sweeps/{id}", "get"),
        ("/sweeps/{id}", "delete"),
        ("/sweeps/{id}/results", "get"),
        ("/health", "get"),
        ("/ready", "get"),
        ("/metrics", "get"),
    }


def test_not_ready_without_its_thread(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    desk.app.state.close()
    reply = desk.ask("GET", "/ready")
    assert reply.status_code == 503
    assert "the thread that runs sweeps has ended" in reply.json()["message"]


def test_a_token_is_asked_for(open_desk: Callable[..., Desk], folder: Path) -> None:
    (folder / "token").write_text("secret")
    desk = open_desk(auth_token_file=folder / "token")
    error(desk.ask("POST", "/sweeps", body()), 401, "unauthorized")
    assert desk.ask("GET", "/health").status_code == 200


def test_choices_are_those_of_the_command_line() -> None:
    fields = SweepBody.model_fields
    assert set(get_args(fields["device"].annotation)) == set(DEVICES)
    assert set(get_args(fields["parity_mode"].annotation)) == set(PARITY_MODES)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SWEEP_DIRS", " , ", "SWEEP_DIRS must name a folder"),
        ("SWEEP_SCHEDULER", "host:8786", "SWEEP_SCHEDULER must be an address"),
        ("SWEEP_LEASE_SECONDS", "0.1", "SWEEP_LEASE_SECONDS must be"),
        ("SWEEP_THREADS", "-1", "SWEEP_THREADS must be"),
    ],
)
def test_wrong_settings(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        Settings.load().check()
