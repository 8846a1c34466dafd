"""The shape of the project: arrows, sizes, names, documentation. Each rule is shown to catch a breach."""

from __future__ import annotations

import importlib
import itertools
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic_settings import BaseSettings

import mei

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MAX_LINES = 600
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def run(*command: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a tool; its output is kept."""
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )


def sources() -> list[Path]:
    """Every Python file of the project."""
    folders = ("src", "services", "tests", "tools", "benchmarks")
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_import_contracts_hold() -> None:
    done = run(BIN / "lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("src/mei/rules", "import mei.engines.bind"),
        ("src/mei/report", "import mei.ledger.tables"),
        ("src/mei/web", "import services.ml_service.app.main"),
        ("services/ml_service/app", "import services.backtest_runner.app.cli"),
        ("services/param_controller/app", "import services.ml_service.app.main"),
    ],
)
def test_planted_upward_import_is_caught(tmp_path: Path, folder: str, line: str) -> None:
    for name in ("src", "services"):
        for path in (ROOT / name).rglob("*.py"):
            target = tmp_path / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for package in ROOT.glob("src/mei/*/"):
        (tmp_path / package.relative_to(ROOT)).mkdir(exist_ok=True)
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / folder / "planted.py").write_text(f"{line}\n")
    script = (
        f"import sys; sys.path[:0] = [{str(tmp_path / 'src')!r}, {str(tmp_path)!r}]\n"
        "from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    )
    done = run(sys.executable, "-c", script, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "planted" in done.stdout


def test_ruff_finds_nothing() -> None:
    done = run(BIN / "ruff", "check", ".")
    assert done.returncode == 0, done.stdout
    done = run(BIN / "ruff", "format", "--check", ".")
    assert done.returncode == 0, done.stdout


def test_no_file_is_too_long() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources()}
    assert len(lengths) > 20
    assert not {str(path): n for path, n in lengths.items() if n > MAX_LINES}


def test_modules_say_what_they_hold() -> None:
    parts = {part for path in sources() for part in path.relative_to(ROOT).with_suffix("").parts}
    assert not parts & BANNED_NAMES
    assert "report" in parts


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert mei.__version__ == project["version"] == version("mei-backtester")
    said = run(BIN / "mei-backtester", "--version").stdout
    assert said.startswith(f"mei-backtester {mei.__version__} git:")


def test_every_public_name_is_documented() -> None:
    done = run(sys.executable, "tools/check_docstrings.py")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", "1: the module has no docstring"),
        ('"""M."""\ndef f(): ...\n', "2: f has no docstring"),
        ('"""M."""\nclass A:\n    """A."""\n    def g(self): ...\n', "4: A.g has no docstring"),
        (
            '"""M."""\ndef f(a, b):\n    """F.\n\n    Parameters\n    ----------\n    a : int\n        one\n    """\n',
            "2: f documents ['a'], its parameters are ['a', 'b']",
        ),
    ],
)
def test_missing_or_wrong_documentation_is_caught(
    tmp_path: Path, source: str, message: str
) -> None:
    (tmp_path / "planted.py").write_text(source)
    done = run(sys.executable, "tools/check_docstrings.py", tmp_path)
    assert done.returncode == 1
    assert message in done.stdout


def test_documented_parameters_that_match_are_accepted(tmp_path: Path) -> None:
    (tmp_path / "fine.py").write_text(
        '"""M."""\ndef f(a, *, b=1):\n    """F.\n\n    Parameters\n    ----------\n    a : int\n        one\n'
        '    b : int\n        two\n\n    Returns\n    -------\n    int\n        three\n    """\n'
    )
    assert run(sys.executable, "tools/check_docstrings.py", tmp_path).returncode == 0


def settings_modules() -> list[ModuleType]:
    """The settings module of every service that has one."""
    paths = sorted(ROOT.glob("services/*/app/settings.py"))
    return [importlib.import_module(f"services.{path.parts[-3]}.app.settings") for path in paths]


def settings_read() -> dict[str, list[Any]]:
    """Environment variable -> its defaults in the services that read it."""
    defaults: dict[str, list[Any]] = {}
    for module in settings_modules():
        for kind in vars(module).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, BaseSettings)
                and kind is not BaseSettings
            ):
                for name, field in kind.model_fields.items():
                    defaults.setdefault(name.upper(), []).append(field.default)
    return defaults


def env_example() -> dict[str, str]:
    """Name -> value of the lines of .env.example."""
    lines = (ROOT / ".env.example").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Z_]+", name) for name, _, _ in pairs)
    return {name: value for name, _, value in pairs}


def test_env_example_documents_exactly_the_settings_read() -> None:
    documented, read = set(env_example()), set(settings_read())
    assert documented - read == set(), "documented, but nothing reads it"
    assert read - documented == set(), "read, but not documented in .env.example"


def test_env_example_shows_the_defaults() -> None:
    shown = env_example()
    for name, defaults in settings_read().items():
        texts = {
            "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            for value in defaults
        }
        assert shown[name] in texts, name


def test_every_line_of_env_example_is_explained() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    for before, line in itertools.pairwise(lines):
        if line and not line.startswith("#"):
            assert before.startswith("# "), line
