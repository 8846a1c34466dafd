"""Versions of the schema: what a database was written by, and how it becomes ours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sqlalchemy import Connection, inspect, select, text

from mei.ledger.tables import identity, schema_version
from mei.model import faults
from mei.model.errors import LedgerSchemaError

#: Marks a database as a manifest of this product; a foreign `schema_version` table has another.
APPLICATION = "mei-backtester manifest"

_CREATE_SCHEMA_VERSION = (
    "CREATE TABLE schema_version (application TEXT NOT NULL, version BIGINT NOT NULL PRIMARY KEY, "
    "name TEXT NOT NULL, sha256 TEXT NOT NULL)"
)

#: The step that creates the table of the manifest's id, which SQL alone cannot draw on both databases.
_IDENTITY_STEP = 2


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: the file `migrations/<version>_<name>.sql`."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Hash of the SQL, so that a step edited after it was applied is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def statements(self) -> list[str]:
        """The statements, in order, without comments."""
        lines = (line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


@cache
def migrations() -> tuple[Migration, ...]:
    """Every step this release knows, ascending and without a hole in the numbers."""
    folder = resources.files("mei.ledger.migrations")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    steps = []
    for name in names:
        number, _, title = name.removesuffix(".sql").partition("_")
        sql = folder.joinpath(name).read_text(encoding="utf-8")
        steps.append(Migration(int(number), title, sql))
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise LedgerSchemaError(
            f"migrations must be numbered 0001, 0002, ... without a hole, were {names}; reinstall"
        )
    return tuple(steps)


def missing_migrations(connection: Connection, where: str) -> Sequence[Migration]:
    """The steps the database at `where` still needs; reads only.

    Raises LedgerSchemaError when it is not a manifest, or one of a newer or changed release.
    """
    tables = inspect(connection).get_table_names()
    if not tables:
        return migrations()
    if schema_version.name not in tables:
        raise _foreign(where, f"tables {', '.join(sorted(tables)[:5])}")
    columns = {column["name"] for column in inspect(connection).get_columns(schema_version.name)}
    if not columns >= {"application", "version", "name", "sha256"}:
        raise _foreign(where, f"a schema_version table with the columns {sorted(columns)}")
    applied = connection.execute(select(schema_version).order_by(schema_version.c.version)).all()
    if not applied:
        raise _foreign(where, "an empty schema_version table")
    for row in applied:
        if row.application != APPLICATION:
            raise _foreign(where, f"one of {row.application!r}")
    known = migrations()
    _check_known([(row.version, row.name, row.sha256) for row in applied], known, where)
    return known[len(applied) :]


def apply_migrations(
    connection: Connection, steps: Sequence[Migration], new_ledger_id: Callable[[], str]
) -> None:
    """Run `steps` in the caller's transaction, so that a kill leaves the database as it was.

    `new_ledger_id` draws the manifest's id; it is asked only if there is none yet.
    """
    for step in steps:
        if step.version == 1:
            connection.execute(text(_CREATE_SCHEMA_VERSION))
        for statement in step.statements():
            connection.exec_driver_sql(statement)
        if step.version == _IDENTITY_STEP:
            connection.execute(identity.insert(), {"ledger_id": new_ledger_id()})
        connection.execute(
            schema_version.insert(),
            {
                "application": APPLICATION,
                "version": step.version,
                "name": step.name,
                "sha256": step.sha256,
            },
        )
        faults.hit("ledger.migrate.between_steps")


def _check_known(
    applied: list[tuple[int, str, str]], known: Sequence[Migration], where: str
) -> None:
    newest = applied[-1][0]
    if newest > len(known):
        raise LedgerSchemaError(
            f"the manifest must have schema version {len(known)} or older, {where} has {newest}; "
            "it was written by a newer release: install that one, or name another LEDGER_DB"
        )
    if applied != [(step.version, step.name, step.sha256) for step in known[: len(applied)]]:
        raise LedgerSchemaError(
            f"the manifest must have the schema of this release, {where} has another one numbered "
            f"{newest}; install the release that wrote it, or name another LEDGER_DB"
        )


def _foreign(where: str, found: str) -> LedgerSchemaError:
    return LedgerSchemaError(
        f"LEDGER_DB must be a manifest of mei-backtester, {where} is another database "
        f"({found}) and was left as it is; name another LEDGER_DB"
    )
