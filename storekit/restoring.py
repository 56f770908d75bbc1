"""An archive back into its tables; joins `storekit.frames` (the archive) and `storekit.metastore` (the tables)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from storekit.clock import as_utc
from storekit.errors import ReadOnlyError, StorekitError, WriteError
from storekit.frames.archived import Archive, open_archive
from storekit.frames.display import plain
from storekit.frames.outcomes import CONFLICTS, ORPHANS, Progress, RestoreReport
from storekit.metastore.deletions import TaskKey
from storekit.metastore.engines import Database
from storekit.metastore.restoring import ArchivedRow, Outcome, Restored, restore_rows

__all__ = ["restore_into"]


def restore_into(
    database: Database, archive: str | Path, *, dry_run: bool, writable: bool, progress: Progress | None
) -> RestoreReport:
    """Do what `storekit.restore` says."""
    if not dry_run and not writable:
        raise ReadOnlyError(
            f"{database.description} is open for reading only", hint="open it with connect(url, writable=True)"
        )
    held = open_archive(Path(archive).expanduser())
    counts = dict.fromkeys(Outcome, 0)
    conflicts: list[pa.RecordBatch] = []
    orphans: list[pa.RecordBatch] = []
    for rows in _rows(held):
        try:
            outcomes = restore_rows(database, rows, dry_run=dry_run)
        except StorekitError as error:
            if dry_run or not counts[Outcome.RESTORED]:
                raise
            raise WriteError(
                f"{error.message}; at least {counts[Outcome.RESTORED]:,} rows are restored already",
                hint=f"{error.hint or 'mend it'}; then run it again: what is there is left alone",
            ) from error
        for each in outcomes:
            counts[each.outcome] += 1
        in_conflict = [_conflict(each) for each in outcomes if each.outcome is Outcome.CONFLICT]
        conflicts.append(pa.RecordBatch.from_pylist(in_conflict, schema=CONFLICTS))
        orphaned = [_orphan(each) for each in outcomes if each.outcome is Outcome.ORPHAN]
        orphans.append(pa.RecordBatch.from_pylist(orphaned, schema=ORPHANS))
        if progress is not None:
            progress(sum(counts.values()), held.rows)
    return RestoreReport(
        archive=Path(archive),
        database=database.description,
        layout=database.layout.name,
        dry_run=dry_run,
        archived=held.rows,
        restored=counts[Outcome.RESTORED],
        present=counts[Outcome.PRESENT],
        conflicts=counts[Outcome.CONFLICT],
        orphans=counts[Outcome.ORPHAN],
        notes=_notes(held, database),
        conflict_table=pa.Table.from_batches(conflicts, CONFLICTS),
        orphan_table=pa.Table.from_batches(orphans, ORPHANS),
    )


def _notes(held: Archive, database: Database) -> tuple[str, ...]:
    notes = []
    if not held.complete:
        notes.append("The cleanup that wrote this archive was cut off; what it had archived by then is all here.")
    if held.origin.database_id != database.identity:
        notes.append(f"The rows come from {plain(held.origin.database)}, another database.")
    return tuple(notes)


def _rows(held: Archive) -> Iterator[list[ArchivedRow]]:
    names = [*TaskKey._fields, "value", "updated_at", "expires_at", "never_expire"]
    for batch in held.batches():
        columns = [batch.column(name).to_pylist() for name in names]
        yield [
            ArchivedRow(
                key=TaskKey(*cells[:6]),
                value=cells[6],
                updated_at=as_utc(cells[7]),
                expires_at=cells[8] and as_utc(cells[8]),
                never_expire=bool(cells[9]),
            )
            for cells in zip(*columns, strict=True)
        ]


def _conflict(each: Restored) -> dict[str, object]:
    present = each.present
    return {
        **each.row.key._asdict(),
        "archived_updated_at": each.row.updated_at,
        "updated_at": present and present.updated_at,
        "expires_at": present and present.expires_at,
    }


def _orphan(each: Restored) -> dict[str, object]:
    return {**each.row.key._asdict(), "archived_updated_at": each.row.updated_at}
