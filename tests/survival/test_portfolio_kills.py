"""kill -9 of any process while a portfolio of several instruments trades: the outputs do not change."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest
import yaml

from mei.data.strategy_faults import written
from mei.rules.mei_alpha.keys import BY_PATH
from tests.backtest_runner.test_mei_alpha import LIVELY
from tests.survival.conftest import SMALL
from tests.survival.stack import ML, PARAMS, ROOT, RUNNER, Stack

pytestmark = pytest.mark.slow

N_KILLS = 12


@pytest.fixture
def portfolio(tmp_path: Path, research_of_two: Path) -> dict[str, str]:
    """Settings of a run of Mei Alpha that trades often."""
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    words = {path: written(BY_PATH[path].kind, value) for path, value in LIVELY.items()}
    section = {**words, "lookback": 60}
    (config / "strategy.yaml").write_text(yaml.safe_dump({"mei_alpha": section}))
    return {
        **SMALL,
        "STRATEGIES": "mei_alpha",
        "SYMBOLS": "BTC/USDT,ETH/USDT",
        "RESEARCH_DIR": str(research_of_two),
        "CONFIG_DIR": str(config),
    }


@pytest.fixture(scope="module")
def research_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from mei.data.sample import write_sample

    folder = tmp_path_factory.mktemp("candles") / "research"
    write_sample(folder, symbols=("BTC/USDT", "ETH/USDT"), days=4)
    return folder


def test_three_processes_killed_again_and_again_equal_the_embedded_run(
    tmp_path: Path, portfolio: dict[str, str]
) -> None:
    alone = Stack(tmp_path / "alone", portfolio, embedded=True)
    alone.start(RUNNER)
    assert alone.finish() == 0, alone.log_of(RUNNER)
    undisturbed = alone.outputs()
    assert undisturbed["trades.csv"].count(b"\n") > 100
    assert undisturbed["trainings.jsonl"].count(b'"promoted"') >= 3
    stack = Stack(tmp_path / "stack", dict(portfolio))
    rng = random.Random(3)
    n_kills = 0
    try:
        stack.start_services()
        stack.start(RUNNER)
        while n_kills < N_KILLS:
            time.sleep(rng.uniform(0.3, 2.5))
            if stack.is_dead(RUNNER):
                assert stack.finish() == 0, stack.log_of(RUNNER)
                assert stack.outputs() == undisturbed
                stack.settings["RERUN"] = "true"
                stack.start(RUNNER)
                continue
            victim = rng.choice((RUNNER, RUNNER, ML, PARAMS))
            stack.kill(victim)
            n_kills += 1
            stack.start(victim)
        assert stack.finish() == 0, stack.log_of(RUNNER)[-3000:]
        assert stack.outputs() == undisturbed
    finally:
        stack.stop()
