"""A cleanup from end to end: what may be refused is refused first, then batch by batch, then a report.

Joins `storekit.metastore` (which deletes) and `storekit.frames` (plans, archives, reports); `Store.cleanup` and
`restore` are the doors to it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from storekit import __version__
from storekit.clock import as_utc
from storekit.config import StateStoreConfig
from storekit.errors import (
    CleanupStoppedError,
    FutureInstantError,
    QueryError,
    ReadOnlyError,
    StorekitError,
    WriteError,
)
from storekit.frames.archive import ArchiveOrigin, ArchivePart, ArchiveWriter
from storekit.frames.contract import TASKS
from storekit.frames.cursor import CursorRoute
from storekit.frames.instants import as_instant
from storekit.frames.outcomes import DRIFT, CleanupReport, Progress
from storekit.frames.plan import Plan
from storekit.frames.wire import to_contract
from storekit.interrupts import Interrupts
from storekit.metastore.cleanup import Batch, count_expired, count_expired_rows, delete_expired
from storekit.metastore.deletions import TaskKey
from storekit.metastore.engines import Database
from storekit.metastore.planned import Drift, PlannedBatch, PlannedRow, ReadPlan, check_planned, delete_planned

__all__ = ["clean"]


def clean(
    database: Database,
    config: StateStoreConfig,
    present: datetime,
    *,
    plan: Plan | None,
    now: datetime | str | None,
    batch_size: int | None,
    archive: str | Path | None,
    dry_run: bool,
    writable: bool,
    progress: Progress | None,
    call_backend: bool,
) -> CleanupReport:
    """Do what `Store.cleanup` says; ``present`` is the instant by the store's clock."""
    instant = _instant(now, present, dry_run=dry_run)
    size = _batch_size(config.state_cleanup_batch_size if batch_size is None else batch_size)
    if plan is not None and not isinstance(plan, Plan):
        raise QueryError(
            f"plan= is {type(plan).__name__}, no plan", hint="snap.plan() makes one, storekit.open_plan(path) reads one"
        )
    report = CleanupReport(
        database=database.description,
        layout=database.layout.name,
        now=instant,
        dry_run=dry_run,
        planned=None if plan is None else len(plan),
    )
    if not dry_run and not writable:
        raise ReadOnlyError(
            f"{database.description} is open for reading only", hint="open it with connect(url, writable=True)"
        )
    if archive is not None and (not isinstance(archive, str | Path) or not str(archive).strip()):
        raise QueryError(f"archive={archive!r} is not a folder's name", hint="name a folder that does not exist yet")
    if progress is not None and not callable(progress):
        raise QueryError(f"progress={progress!r} cannot be called", hint="give a function of (rows done, rows in all)")
    if config.custom_backend is not None:
        if call_backend and (plan, now, batch_size, archive) != (None,) * 4:
            raise QueryError(
                f"{config.custom_backend}.cleanup() takes no plan, now, batch_size or archive",
                hint="leave them out, or leave call_backend out: a custom backend is skipped then",
            )
        return _leave_to_the_backend(report, config, call_backend=call_backend)
    if plan is not None:
        plan.check_for(layout=report.layout, database_id=database.identity, database=database.description)
        plan.verify()
    return (
        _look(report, database, plan)
        if dry_run
        else _Cleanup(report, database, plan, progress, present, size).run(archive)
    )


def _instant(now: datetime | str | None, present: datetime, *, dry_run: bool) -> datetime:
    instant = present if now is None else as_instant(now)
    if instant > present and not dry_run:
        raise FutureInstantError(
            f"now={instant.isoformat()} has not come yet: rows that are alive would be deleted",
            hint="preview(now=...) shows what would go by then",
        )
    return instant


def _batch_size(given: object) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < 2**31:
        raise QueryError(
            f"batch_size={given!r} is not a number of rows", hint="0 (all in one statement) or more, less than 2**31"
        )
    return given


def _leave_to_the_backend(report: CleanupReport, config: StateStoreConfig, *, call_backend: bool) -> CleanupReport:
    if not call_backend or report.dry_run:
        return replace(report, skipped=config.custom_backend)
    backend = config.make_custom_backend()
    started = time.perf_counter()
    try:
        removed = backend.cleanup() if backend is not None else None
    except Exception as error:
        raise WriteError(
            f"{config.custom_backend}.cleanup() failed: {type(error).__name__}: {error}",
            hint="what it had done by then only it can say",
        ) from error
    elapsed = timedelta(seconds=time.perf_counter() - started)
    return replace(report, called=config.custom_backend, deleted=removed or 0, elapsed=elapsed)


def _look(report: CleanupReport, database: Database, plan: Plan | None) -> CleanupReport:
    started = time.perf_counter()
    if plan is None:
        rows, size = count_expired(database, report.now)
        report = replace(report, to_delete=rows, to_delete_bytes=size)
    else:
        tally = _Tally()
        for batch in check_planned(database, _reading(plan), now=report.now):
            tally.add(batch)
        report = replace(
            report,
            to_delete=tally.deleted,
            to_delete_bytes=tally.deleted_bytes,
            drifted=tally.drifted,
            drift_table=tally.drift_table(),
        )
    return replace(report, elapsed=timedelta(seconds=time.perf_counter() - started))


@dataclass
class _Tally:
    """What the committed batches did, added up."""

    deleted: int = 0
    deleted_bytes: int = 0
    seen: int = 0
    batches: int = 0
    longest: timedelta = timedelta(0)
    drifted: dict[str, int] = field(default_factory=dict)
    parts: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, batch: Batch | PlannedBatch) -> None:
        self.deleted += batch.deleted
        self.deleted_bytes += batch.deleted_bytes
        self.seen += batch.deleted
        self.batches += batch.deleted > 0
        self.longest = max(self.longest, batch.elapsed)
        if isinstance(batch, PlannedBatch) and batch.drifted:
            self.seen += len(batch.drifted)
            for each in batch.drifted:
                self.drifted[each.kind.value] = self.drifted.get(each.kind.value, 0) + 1
            self.parts.append(_drift_batch(batch.drifted))

    def drift_table(self) -> pa.Table:
        return pa.Table.from_batches(self.parts, DRIFT)


class _Cleanup:
    """One run that deletes."""

    def __init__(
        self,
        report: CleanupReport,
        database: Database,
        plan: Plan | None,
        progress: Progress | None,
        started_at: datetime,
        batch_size: int,
    ) -> None:
        self.report, self.database, self.plan, self.progress = report, database, plan, progress
        self.started_at, self.batch_size = started_at, batch_size
        self.interrupts = Interrupts(in_batches=batch_size > 0)
        self.tally = _Tally()
        self.total = 0

    def run(self, archive: str | Path | None) -> CleanupReport:
        if self.progress is not None:
            self.total = count_expired_rows(self.database, self.report.now) if self.plan is None else len(self.plan)
        started = time.perf_counter()
        stopped: str | None = None
        failure: StorekitError | None = None
        with self.interrupts.noted():
            # Refused before anything is deleted, where it cannot be made.
            writer = ArchiveWriter(Path(archive).expanduser(), self._origin()) if archive is not None else None
            try:
                for batch in self._batches(writer):
                    self.tally.add(batch)
                    if self._interrupted() and not 0 < self.total <= self.tally.seen:
                        stopped = "interrupted between two batches"
                        break
            except KeyboardInterrupt:
                stopped = "interrupted; the batch that was under way was rolled back"
            except StorekitError as error:
                failure, stopped = error, error.message
            except BaseException as error:  # of a progress callback
                error.add_note(f"storekit: {self.tally.deleted:,} rows are deleted by then, in whole batches")
                raise
            finally:
                # Also where a progress callback raised: what is archived must say that it is whole.
                archived, unfinished = self._close(writer)
        if unfinished is not None and failure is None:
            failure, stopped = unfinished, unfinished.message
        report = replace(
            self.report,
            to_delete=self.tally.deleted,
            to_delete_bytes=self.tally.deleted_bytes,
            deleted=self.tally.deleted,
            deleted_bytes=self.tally.deleted_bytes,
            drifted=self.tally.drifted,
            drift_table=self.tally.drift_table(),
            batches=self.tally.batches,
            longest_batch=self.tally.longest,
            elapsed=timedelta(seconds=time.perf_counter() - started),
            archive=archived,
            stopped=stopped,
        )
        if failure is not None:
            raise _stopped(failure, report) from failure
        return report

    def _interrupted(self) -> bool:
        """Tell the progress; return whether Ctrl-C was pressed, also while it was told."""
        try:
            if self.progress is not None:
                self.progress(self.tally.seen, self.total)
        except KeyboardInterrupt:
            return True
        return self.interrupts.asked

    def _origin(self) -> ArchiveOrigin:
        return ArchiveOrigin(
            layout=self.report.layout,
            database=self.database.description,
            database_id=self.database.identity,
            dialect=self.database.engine.dialect.name,
            now=self.report.now,
            started_at=self.started_at,
            storekit_version=__version__,
            plan_sha256=None if self.plan is None else self.plan.info.sha256,
        )

    def _batches(self, writer: ArchiveWriter | None) -> Iterable[Batch | PlannedBatch]:
        sink = None if writer is None else _ArchiveSink(writer)
        now, size, within = self.report.now, self.batch_size, self.interrupts.may_break_in
        if self.plan is None:
            return delete_expired(self.database, now=now, batch_size=size, sink=sink, within=within)
        read = _reading(self.plan)
        return delete_planned(self.database, read, now=now, batch_size=size, sink=sink, within=within)

    @staticmethod
    def _close(writer: ArchiveWriter | None) -> tuple[Path | None, StorekitError | None]:
        if writer is None:
            return None, None
        if not writer.rows:
            writer.abandon_if_empty()
            return None, None
        try:
            writer.finish()
        except StorekitError as error:
            return writer.path, error
        return writer.path, None


def _stopped(failure: StorekitError, report: CleanupReport) -> CleanupStoppedError:
    before = f"{report.deleted:,} rows of earlier batches are deleted" if report.deleted else "nothing is deleted"
    if report.archive is not None and report.deleted:
        before += f", and archived in {report.archive}"
    hint = "run it again: it goes on with what is left"
    return CleanupStoppedError(
        f"{failure.message}; {before}",
        deleted=report.deleted,
        report=report,
        hint=f"{failure.hint}; then {hint}" if failure.hint else hint,
    )


# --- between Arrow and rows ------------------------------------------------------------------------------------


def _reading(plan: Plan) -> ReadPlan:
    def rows() -> Iterator[PlannedRow]:
        for batch in plan.batches():
            columns = [batch.column(name).to_pylist() for name in PLANNED_COLUMNS]
            for dag, run, task, index, region, key, updated_at, expires_at in zip(*columns, strict=True):
                named = TaskKey(dag, run, task, index, region, key)
                yield PlannedRow(named, as_utc(updated_at), as_utc(expires_at))

    return rows


_ROW_GROUP_BYTES = 8_000_000
"""Held before it is written: a row group of a few rows compresses badly."""

PLANNED_COLUMNS = ("dag_id", "run_id", "task_id", "map_index", "region_id", "key", "updated_at", "expires_at")


def _drift_batch(drifted: list[Drift]) -> pa.RecordBatch:
    rows = [
        {
            **each.planned.key._asdict(),
            "drift": each.kind.value,
            "planned_updated_at": each.planned.updated_at,
            "planned_expires_at": each.planned.expires_at,
            "updated_at": each.present and each.present.updated_at,
            "expires_at": each.present and each.present.expires_at,
            "value_bytes": None if each.present is None else each.present.value_bytes,
        }
        for each in drifted
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DRIFT)


class _ArchiveSink:
    """An archive as `storekit.metastore.cleanup.Sink`."""

    def __init__(self, writer: ArchiveWriter) -> None:
        self._writer = writer

    def begin(self) -> _PartSink:
        return _PartSink(self._writer.begin())


class _PartSink:
    def __init__(self, part: ArchivePart) -> None:
        self._part = part
        self._held: list[pa.RecordBatch] = []

    def write(self, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        wire = CursorRoute(lambda _sql, _parameters: nullcontext([rows]), names)
        with wire.open() as reader:
            self._held += to_contract(reader, TASKS, values=True)
        if sum(batch.nbytes for batch in self._held) >= _ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            self._part.write(pa.concat_batches(self._held))
            self._held = []

    def seal(self) -> None:
        self._flush()
        self._part.seal()

    def discard(self) -> None:
        self._part.discard()
