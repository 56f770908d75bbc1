"""Deleting, and putting back: dry unless it is said twice, by the command and by ``--yes``."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storekit.cli.reading import opened, options_in_force, progress_bar, snapshot_of
from storekit.cli.wording import report_as_typed
from storekit.cli.writing import check_name
from storekit.errors import CleanupStoppedError, QueryError

if TYPE_CHECKING:
    import pyarrow as pa

    from storekit.frames.outcomes import CleanupReport, RestoreReport
    from storekit.frames.plan import Plan

__all__ = ["clean", "make_plan", "restore", "show_plan"]

_INTERRUPTED = 130
_TABLE_ROWS = 20


def clean(options: argparse.Namespace) -> int:
    """Delete the task rows that have expired; without --yes, say only what would go.

    Each row is looked at again when it is deleted: one that is refreshed meanwhile lives on. With --plan only what it
    names is deleted, and only if it still is what the plan shows. With --archive the deleted rows are in a folder of
    Parquet, which `storekit restore` puts back.
    """
    from storekit.frames.plan import open_plan

    plan = open_plan(options.plan) if options.plan else None
    config = options_in_force(options)
    writable = options.yes
    with (
        opened(options, config=config, writable=writable) as store,
        progress_bar() as progress,
    ):
        try:
            report = store.cleanup(
                plan,
                now=options.now,
                batch_size=options.batch_size,
                archive=options.archive if writable else None,
                dry_run=not writable,
                progress=progress,
                call_backend=options.call_backend,
            )
        except CleanupStoppedError as error:
            if error.report is not None and error.deleted:
                _print_report(error.report, options.format, ())
            raise
    _print_report(report, options.format, _what_next(report, options))
    return _INTERRUPTED if report.stopped is not None else 0


def _what_next(report: CleanupReport, options: argparse.Namespace) -> tuple[str, ...]:
    if not report.dry_run or report.skipped is not None:
        return ()
    if not report.to_delete:
        return ("nothing to delete",)
    archive = "" if options.archive else " --archive FOLDER, to be able to undo it, and"
    return (f"nothing was deleted: add{archive} --yes",)


def restore(options: argparse.Namespace) -> int:
    """Put back what is missing of an archive; without --yes, say only what would be.

    Nothing that is there is touched: a key that was written again keeps its new row. Rows whose DagRun is gone stay in
    the archive.
    """
    from storekit.store import restore as put_back

    if Path(options.archive).is_file():
        raise QueryError(
            f"{options.archive} is a file, and an archive is a folder: ARCHIVE comes first, then URL",
            hint=f"storekit restore {options.url or 'FOLDER'} {options.archive}",
        )
    config = options_in_force(options)
    with (
        opened(options, config=config, writable=options.yes) as store,
        progress_bar() as progress,
    ):
        report = put_back(options.archive, store, dry_run=not options.yes, progress=progress)
    hint = ("nothing was written: add --yes",) if report.dry_run and report.restored else ()
    _print_report(report, options.format, hint)
    return 0


def make_plan(options: argparse.Namespace) -> int:
    """Save what cleanup would delete as a plan: one Parquet file, to be reviewed, then given to `storekit clean`."""
    from storekit.cli.render import print_lines
    from storekit.frames.planview import plan_text

    check_name(options.file, "storekit plan make URL tonight.parquet")
    with snapshot_of(options) as taken:
        plan = taken.plan(options.now)
        where = plan.save(options.file, overwrite=options.overwrite)
        print_lines([*plan_text(plan, 0).split("\n"), "", f"saved to {where}"])
        if plan:
            print_lines(
                [f"look it over: storekit plan show {where}", f"carry it out: storekit clean URL --plan {where}"]
            )
    return 0


def show_plan(options: argparse.Namespace) -> int:
    """Show a saved plan, after checking that it is what was saved."""
    from storekit.cli.render import print_lines
    from storekit.frames.plan import open_plan
    from storekit.frames.planview import plan_text

    plan = open_plan(options.file)
    if options.format == "csv":
        _write_csv(plan.batches(), options.limit or None)
        return 0
    limit = _TABLE_ROWS if options.limit is None else options.limit or len(plan)
    if plan and sys.stdout.isatty():
        _print_plan(plan, limit)
    else:
        print_lines(plan_text(plan, limit).split("\n"))
    return 0


def _print_plan(plan: Plan, limit: int) -> None:
    """Print a plan for a terminal, whose width its tables heed."""
    from storekit.cli.render import print_frame, print_lines
    from storekit.frames.planview import plan_text

    print_lines([*plan_text(plan, 0).split("\n"), "", "by Dag:"])
    groups = plan.by("dag_id")
    print_frame(groups.head(limit), ["dag_id", "rows", "value_bytes"])
    if len(groups) > limit:
        print_lines([f"… and {len(groups) - limit:,} more Dags"])
    rows = plan.rows(limit)
    region = ["region_id"] if rows["region_id"].notna().any() else []
    print_lines(["", "rows:"])
    print_frame(rows, ["dag_id", "run_id", "task_id", "map_index", *region, "key", "value_bytes", "expires_at"])
    if len(plan) > len(rows):
        print_lines(["", f"… and {len(plan) - len(rows):,} more (--limit 0 lists all, --format csv exports them)"])


def _write_csv(reader: Any, limit: int | None) -> None:
    from pyarrow import csv

    sys.stdout.flush()
    with csv.CSVWriter(sys.stdout.buffer, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch if limit is None else batch.slice(0, limit))
            if limit is not None and (limit := limit - batch.num_rows) <= 0:
                return


def _print_report(report: CleanupReport | RestoreReport, form: str, more: tuple[str, ...]) -> None:
    from storekit.cli.render import print_lines

    if form == "json":
        sys.stdout.write(json.dumps(_jsonable(report)) + "\n")
    else:
        print_lines([*report_as_typed(repr(report)).split("\n"), *(("", *more) if more else ())])
        _print_rows(report)


def _print_rows(report: CleanupReport | RestoreReport) -> None:
    """Print the rows that were left alone, the first of them."""
    from storekit.cli.render import print_frame, print_lines
    from storekit.frames.answers import answer_frame

    for name, table in _tables(report).items():
        if not table.num_rows:
            continue
        columns = [each for each in table.column_names if each != "region_id" or table["region_id"].null_count == 0]
        print_lines(["", f"{name}:"])
        print_frame(answer_frame(table.slice(0, _TABLE_ROWS)), columns)
        if table.num_rows > _TABLE_ROWS:
            print_lines([f"… and {table.num_rows - _TABLE_ROWS:,} more (--format json lists all)"])


def _tables(report: CleanupReport | RestoreReport) -> dict[str, pa.Table]:
    names = {"drift_table": "drift", "conflict_table": "conflict_rows", "orphan_table": "orphan_rows"}
    return {said: getattr(report, name) for name, said in names.items() if hasattr(report, name)}


def _jsonable(report: CleanupReport | RestoreReport) -> dict[str, Any]:
    from dataclasses import fields

    said: dict[str, Any] = {}
    for each in fields(report):
        value = getattr(report, each.name)
        if each.name.endswith("_table"):
            continue
        if isinstance(value, timedelta):
            said[f"{each.name}_us"] = value // timedelta(microseconds=1)
        elif isinstance(value, Path):
            said[each.name] = str(value)
        elif hasattr(value, "isoformat"):
            said[each.name] = value.isoformat(timespec="microseconds")
        else:
            said[each.name] = dict(value) if hasattr(value, "items") else value
    for name, table in _tables(report).items():
        said[name] = [_jsonable_row(row) for row in table.to_pylist()]
    return said


def _jsonable_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: cell.isoformat(timespec="microseconds") if hasattr(cell, "isoformat") else cell
        for name, cell in row.items()
    }
