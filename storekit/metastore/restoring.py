"""Putting archived rows back: what is missing is inserted; nothing that is there is touched."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Insert, Select, select, tuple_
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Dialect

from storekit.errors import WriteError
from storekit.metastore import deletions
from storekit.metastore.deletions import TaskKey
from storekit.metastore.engines import Database
from storekit.metastore.layouts import DEFAULT_REGION, Layout
from storekit.metastore.planned import CHUNK_KEYS
from storekit.metastore.rows import StoredTask, read_rows
from storekit.metastore.transactions import in_transaction
from storekit.metastore.types import is_mysql

__all__ = ["ArchivedRow", "Outcome", "Restored", "restore_rows"]


@dataclass(frozen=True, slots=True)
class ArchivedRow:
    """A row as it was when it was deleted; instants are aware, in UTC."""

    key: TaskKey
    value: str
    updated_at: datetime
    expires_at: datetime | None
    never_expire: bool


class Outcome(enum.StrEnum):
    """What becomes of an archived row."""

    RESTORED = "restored"
    """It was missing, and is back."""
    PRESENT = "present"
    """It is there as it was."""
    CONFLICT = "conflict"
    """Its key has another row, which is left alone."""
    ORPHAN = "orphan"
    """Its DagRun is gone."""


@dataclass(frozen=True, slots=True)
class Restored:
    """One archived row, what became of it, and the row that its key has now, if another."""

    row: ArchivedRow
    outcome: Outcome
    present: StoredTask | None = None


def restore_rows(database: Database, rows: Sequence[ArchivedRow], *, dry_run: bool) -> list[Restored]:
    """Put back what is missing of some archived rows, and say of each what became of it.

    Each few hundred rows are one transaction; done again, it finds its own rows present.

    Raises
    ------
    ConnectError, WriteError
        If the database cannot be read, or refuses a row; the chunks before are restored.
    """
    rows = [_on(database.layout, row) for row in rows]
    outcomes: list[Restored] = []
    for start in range(0, len(rows), CHUNK_KEYS):
        chunk = rows[start : start + CHUNK_KEYS]
        if dry_run:
            outcomes += database.run(lambda connection, chunk=chunk: _judge(connection, database, chunk)[0])  # type: ignore[misc]
        else:
            outcomes += in_transaction(database, lambda connection, chunk=chunk: _restore(connection, database, chunk))  # type: ignore[misc]
    return outcomes


def _on(layout: Layout, row: ArchivedRow) -> ArchivedRow:
    """Return the row as this layout names it: what Airflow 3.3 archived goes into 3.4's default region."""
    region = row.key.region_id
    if layout.has_regions:
        return replace(row, key=row.key._replace(region_id=region or str(DEFAULT_REGION)))
    if region not in (None, str(DEFAULT_REGION)):
        raise WriteError(
            f"the row of {row.key.key!r} is of region {region}, which layout {layout.name} cannot hold",
            hint="restore it into a database of Airflow 3.4 or later",
        )
    return replace(row, key=row.key._replace(region_id=None))


def _restore(connection: Connection, database: Database, rows: Sequence[ArchivedRow]) -> list[Restored]:
    outcomes, runs = _judge(connection, database, rows)
    missing = [each.row for each in outcomes if each.outcome is Outcome.RESTORED]
    if not missing:
        return outcomes
    layout, dialect = database.layout, connection.dialect
    given = [_values(layout, row, runs[row.key.dag_id, row.key.run_id]) for row in missing]
    # Without the option psycopg's count of an INSERT is dropped and reads -1.
    inserted = connection.execute(
        _insert_missing(layout, dialect), given, execution_options={"preserve_rowcount": True}
    ).rowcount
    if inserted == len(missing) and not is_mysql(dialect):  # MySQL counts what it did not insert, too
        return outcomes
    # Some keys were written since they were looked for. Look again, in the same transaction: what now is another row
    # was not inserted by us.
    return [
        each
        if each.outcome is not Outcome.RESTORED or seen.outcome is Outcome.PRESENT
        else Restored(each.row, Outcome.CONFLICT, seen.present)
        for each, seen in zip(outcomes, _judge(connection, database, rows)[0], strict=True)
    ]


def _judge(
    connection: Connection, database: Database, rows: Sequence[ArchivedRow]
) -> tuple[list[Restored], dict[tuple[str, str], int]]:
    """Return what is to become of each row, and the ids of the DagRuns that are there."""
    layout = database.layout
    keys = [row.key for row in rows]
    query = deletions.rows_of_keys(layout, connection.dialect, keys, with_values=True)
    fold = deletions.folded(layout, connection.dialect)
    present = {fold(row.key): row for row in read_rows(connection, query)}
    runs = {(dag, run): id_ for id_, dag, run in connection.execute(_runs_of(layout, keys))}
    outcomes = []
    for row in rows:
        found = present.get(fold(row.key))
        if found is not None:
            as_it_was = (found.key, found.value, found.updated_at, found.expires_at) == (
                row.key,
                row.value,
                row.updated_at,
                row.expires_at,
            )
            outcomes.append(Restored(row, Outcome.PRESENT if as_it_was else Outcome.CONFLICT, found))
        else:
            there = (row.key.dag_id, row.key.run_id) in runs
            outcomes.append(Restored(row, Outcome.RESTORED if there else Outcome.ORPHAN))
    return outcomes, runs


def _runs_of(layout: Layout, keys: Sequence[TaskKey]) -> Select[int, str, str]:
    columns = layout.dag_run.c
    wanted = sorted({(key.dag_id, key.run_id) for key in keys})
    return select(columns.id, columns.dag_id, columns.run_id).where(tuple_(columns.dag_id, columns.run_id).in_(wanted))


def _insert_missing(layout: Layout, dialect: Dialect) -> Insert:
    table = layout.task_store
    if is_mysql(dialect):
        # Not INSERT IGNORE, which lets other errors pass as well.
        return mysql.insert(table).on_duplicate_key_update(id=table.c.id)
    insert = postgresql.insert if dialect.name == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()


def _values(layout: Layout, row: ArchivedRow, dag_run_id: int) -> dict[str, Any]:
    values: dict[str, Any] = {
        "dag_run_id": dag_run_id,
        "dag_id": row.key.dag_id,
        "run_id": row.key.run_id,
        "task_id": row.key.task_id,
        "map_index": row.key.map_index,
        "key": row.key.key,
        "value": row.value,
        "updated_at": row.updated_at,
        "expires_at": row.expires_at,
    }
    if layout.has_never_expire:
        values["never_expire"] = row.never_expire
    if layout.has_regions:
        values["region_id"] = uuid.UUID(row.key.region_id)
    return values
