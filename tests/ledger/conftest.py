"""Every test of the ledger that takes `ledger` or `location` runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from mei.ledger.database import Ledger
from tests.ports import free_port

_PASSWORD = "throw-away"
_schema_numbers = count(1)


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    return Path(on_path).resolve().parent if on_path else None


def _unprivileged_user() -> str | None:
    """Whom to run the server as: PostgreSQL refuses to be root."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a cluster on loopback that lives as long as the test session."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    pytest.importorskip("psycopg", reason='pip install "mei-backtester[postgres]"')
    user = _unprivileged_user()
    # A short path, since that of a Unix socket is limited and pytest's are long.
    folder = Path(tempfile.mkdtemp(prefix="mei-pg-"))
    if user is not None:
        shutil.chown(folder, user)
    password_file = folder / "password"
    password_file.write_text(_PASSWORD)
    password_file.chmod(0o644)

    def run(tool: str, *arguments: str) -> None:
        subprocess.run(
            [str(binaries / tool), *arguments],
            check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip

    data, port = str(folder / "data"), free_port()
    # An ICU or libc locale other than C would be the harder case for ordering; C.UTF-8 is everywhere.
    run(
        "initdb", "-D", data, "-U", "mei", "--auth=scram-sha-256", "--encoding=UTF8",
        f"--pwfile={password_file}", "--no-sync", "--locale-provider=icu", "--icu-locale=en-US",
    )  # fmt: skip
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off -c max_connections=60"
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield f"postgresql+psycopg://mei:{_PASSWORD}@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a manifest can be made: a path, or the URL of an empty schema."""
    if request.param == "sqlite":
        return str(tmp_path / "shared" / "manifest.sqlite")
    server = request.getfixturevalue("postgres_server")
    schema = f"ledger_{next(_schema_numbers)}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    engine.dispose()
    url = make_url(server).update_query_dict({"options": f"-c search_path={schema}"})
    return url.render_as_string(hide_password=False)


@pytest.fixture
def reopen(location: str) -> Iterator[Callable[[], Ledger]]:
    """Open the manifest of this test again, as another process would."""
    opened: list[Ledger] = []

    def open_again() -> Ledger:
        opened.append(Ledger.open(location))
        return opened[-1]

    yield open_again
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(reopen: Callable[[], Ledger]) -> Ledger:
    """An empty manifest."""
    return reopen()
