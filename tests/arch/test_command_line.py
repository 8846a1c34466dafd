"""mei-backtester: lazy commands, one-line errors, exit codes."""

from __future__ import annotations

import resource
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer

from mei.cli import contributed, main
from mei.model.errors import ConfigError, MeiError, OutputError, ServiceUnavailableError

PROGRAM = Path(sys.executable).parent / "mei-backtester"
HEAVY = ("numpy", "pandas", "numba", "hmmlearn", "sqlalchemy", "fastapi", "plotly")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program."""
    return subprocess.run(
        [str(PROGRAM), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def use_commands(monkeypatch: pytest.MonkeyPatch, **commands: str) -> None:
    """Let entry points contribute exactly these commands."""
    entries = [EntryPoint(name, value, contributed.GROUP) for name, value in commands.items()]
    monkeypatch.setattr(contributed, "entry_points", lambda group: entries)


def planted(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> None:
    """Contribute command `planted`, whose module is `source` and imports nothing of its own."""
    (folder / "planted_module.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "planted_module", raising=False)
    use_commands(monkeypatch, planted="planted_module:planted")


def test_help_lists_every_command_with_its_line() -> None:
    done = run("--help")
    assert done.returncode == 0
    for name in ("sample", "loop", "replay", "sweep", "dump-indicators"):
        assert name in done.stdout
    assert "cannot be loaded" not in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("loop", "--help"), ("replay", "--help"), ("sweep", "--version")],
)
def test_help_answers_at_once(arguments: tuple[str, ...]) -> None:
    def best_s(*command: str) -> float:
        times = []
        for _ in range(5):
            start = spent_s()
            subprocess.run(command, capture_output=True, check=True)
            times.append(spent_s() - start)
        return min(times)

    def spent_s() -> float:
        """Of the processor, by processes that ended: what other programs take from it is none of theirs."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    bare_s = best_s(sys.executable, "-c", "pass")
    help_s = best_s(str(PROGRAM), *arguments)
    assert help_s < max(0.5, 25 * bare_s), f"help took {help_s:.3f} s, bare python {bare_s:.3f} s"
    assert help_s < 2.0


@pytest.mark.parametrize("arguments", [["--help"], ["loop", "--help"], ["sweep", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom mei.cli.main import run\n"
        f"code = run({arguments!r})\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_contributed_module_is_imported_only_when_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (
        'print("imported")\ndef planted(size: int = 3) -> None:\n'
        '    """Do the planted thing.\n\n    More.\n    """\n    print("size", size)\n'
    )
    planted(monkeypatch, tmp_path, source)
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "Do the planted thing." in shown
    assert "imported" not in shown
    assert main.run(["planted", "--size", "4"]) == 0
    assert capsys.readouterr().out == "imported\nsize 4\n"


def test_contributed_app_brings_its_own_commands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (
        '"""Planted commands."""\nimport typer\nplanted = typer.Typer()\n'
        '@planted.command()\ndef one() -> None:\n    """One."""\n    print("one done")\n'
        '@planted.command()\ndef two() -> None:\n    """Two."""\n'
    )
    planted(monkeypatch, tmp_path, source)
    assert main.run(["--help"]) == 0
    assert "Planted commands." in capsys.readouterr().out
    assert main.run(["planted", "one"]) == 0
    assert capsys.readouterr().out == "one done\n"


def test_command_that_cannot_be_imported_is_shown_and_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_commands(monkeypatch, gone="no_such_module_at_all:gone")
    assert main.run(["--help"]) == 0
    assert "cannot be loaded" in capsys.readouterr().out
    assert main.run(["gone"]) == 2
    assert "must be importable as no_such_module_at_all:gone" in capsys.readouterr().err


def test_two_contributions_of_one_name_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_commands(monkeypatch, sample="json:loads")
    assert main.run(["--help"]) == 2
    assert "'sample' is contributed by json:loads and the program itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("SEED must be whole, was 'x'"), 2, "error: SEED must be whole, was 'x'\n"),
        (ServiceUnavailableError("ml_service is away"), 3, "error: ml_service is away\n"),
        (OutputError("two\nlines"), 6, "error: two lines\n"),
    ],
)
def test_known_error_is_one_line_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: MeiError,
    code: int,
    line: str,
) -> None:
    source = (
        f"from mei.model.errors import {type(error).__name__}\n"
        f"def planted() -> None:\n    raise {type(error).__name__}({str(error)!r})\n"
    )
    planted(monkeypatch, tmp_path, source)
    assert main.run(["planted"]) == code
    assert capsys.readouterr().err == line


def test_unexpected_error_is_one_line_and_a_traceback_on_demand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(monkeypatch, tmp_path, "def planted() -> None:\n    raise ValueError('a\\nb')\n")
    assert main.run(["planted"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "ValueError: a b" in told
    assert "--traceback" in told
    assert main.run(["planted", "--traceback"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_interrupt_exits_130_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted(monkeypatch, tmp_path, "def planted() -> None:\n    raise KeyboardInterrupt\n")
    assert main.run(["planted"]) == 130
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "start the same command again" in told


def test_exit_of_a_command_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planted(
        monkeypatch, tmp_path, "import typer\ndef planted() -> None:\n    raise typer.Exit(7)\n"
    )
    assert main.run(["planted"]) == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smaple"], "No such command 'smaple'. Did you mean 'sample'?"),
        (["sample", "--days", "x"], "--days"),
        (["sample", "--foo"], "No such option: --foo; see mei-backtester sample --help"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_program_without_a_command_shows_its_help_and_fails() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Commands" in done.stderr


def test_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{PROGRAM} --help | true"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_sample_writes_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = run("sample", "--research-dir", str(tmp_path / name), "--days", "2")
        assert done.returncode == 0, done.stderr
    written = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.csv*"))
    assert {path.parts[0] for path in written} == {"BTC_USDT", "ETH_USDT"}
    for path in written:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_typer_still_has_what_the_handler_relies_on() -> None:
    assert main._UsageError.__name__ == "UsageError"
    assert issubclass(typer.BadParameter, main._UsageError)
