"""Settings and the app as a whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mei.model.errors import ConfigError
from services.ml_service.app.main import create_app
from services.ml_service.app.settings import Settings
from tests.ml_service.desk import Desk

REPO = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRAIN_MIN_POINTS", "few"),
        ("HMM_STATES", "1"),
        ("PROMOTION_MIN_DELTA", "-1"),
        *[
            (variable, value)
            for variable in ("TRAIN_WINDOW_DAYS", "PROMOTION_MIN_DELTA", "TRAIN_LATENCY_SECONDS")
            for value in ("nan", "inf", "-inf", "1e999")
        ],
        ("TRAIN_WINDOW_DAYS", "3651"),
        ("TRAIN_LATENCY_SECONDS", "2592001"),
        ("TRAIN_MIN_POINTS", "100000001"),
        ("PURGE_BARS", "1000001"),
        ("KEEP_N_MODELS", "1e30"),
        ("SEED", "-1"),
        ("SEED", "9223372036854775808"),
        ("SEED", "inf"),
        ("EXACTLY_ONCE", "perhaps"),
        ("TRAIN_WINDOW_DAYS", "0"),
        ("TIMEFRAME", "1x"),
        ("SYMBOLS", " , "),
        ("AUTH_TOKEN_FILE", "/nowhere/token"),
    ],
)
def test_wrong_value_names_variable_and_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str
) -> None:
    monkeypatch.setenv("LEDGER_DB", str(tmp_path / "manifest.sqlite"))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigError) as caught:
        create_app(Settings.load())

    assert variable in str(caught.value)
    assert value in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_window_that_can_never_train_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LEDGER_DB", str(tmp_path / "manifest.sqlite"))
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("TIMEFRAME", "1h")
    with pytest.raises(ConfigError, match="TIMEFRAME=1h: no model would ever be trained"):
        create_app()
    for name, value in (
        ("TRAIN_WINDOW_DAYS", "86"),
        ("TRAIN_MIN_POINTS", "108"),
        ("EXACTLY_ONCE", "true"),
        ("TRAINING", "off"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            create_app()
    # Mounted in a runner, each /train brings its settings.
    create_app(Settings.load())


@pytest.mark.slow
def test_process_with_a_wrong_value_ends_with_one_line_and_code_2(tmp_path: Path) -> None:
    environment = {**os.environ, "HMM_STATES": "many", "LEDGER_DB": str(tmp_path / "m.sqlite")}

    ended = subprocess.run(
        [sys.executable, "-m", "services.ml_service.app.main"],
        capture_output=True,
        text=True,
        cwd=REPO,
        env=environment,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "HMM_STATES" in ended.stderr


def test_environment_decides_what_an_empty_request_trains_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRAIN_LATENCY_SECONDS", "1.5")
    monkeypatch.setenv("EXACTLY_ONCE", "true")
    monkeypatch.setenv("KEEP_N_MODELS", "9")

    training = Settings.load().training_settings()

    assert (training.latency_ms, training.exactly_once, training.keep_n_models) == (1500, True, 9)


def test_unreachable_ledger_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path)
    assert desk.ask("GET", "/ready").status_code == 200
    for file in tmp_path.glob("manifest.sqlite*"):
        file.write_bytes(b"not a database, but long enough to be read as one" * 100)
    restarted_reader = desk.ask("GET", "/ready")

    assert restarted_reader.status_code == 503


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_request_the_documentation_allows_breaks_the_service(tmp_path: Path) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import CHECKS, not_a_server_error  # noqa: F401

    schema = schemathesis.openapi.from_asgi("/openapi.json", Desk(tmp_path).app)
    exercised = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy())
        @settings(
            max_examples=20,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        def answers_below_500(case: schemathesis.Case) -> None:
            response = case.call()
            assert response.status_code < 500, response.text
            exercised.add(case.operation.label)

        answers_below_500()

    assert {"POST /train", "POST /predict", "GET /model", "POST /rollback"} <= exercised
