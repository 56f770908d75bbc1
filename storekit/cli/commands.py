"""What cleanup would do, and does: calls that a program could make, and their results on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from storekit.cli.reading import opened, options_in_force, snapshot_of
from storekit.cli.writing import check_name
from storekit.errors import QueryError

if TYPE_CHECKING:
    import pandas as pd

    from storekit.config import StateStoreConfig
    from storekit.frames.preview import Preview

__all__ = ["cleanup_task_store", "preview", "snapshot"]

_TABLE_ROWS = 20


def preview(options: argparse.Namespace) -> int:
    """Show what time-based cleanup would delete, and why each row goes or stays. Nothing is changed."""
    from storekit.frames.exports import stream_csv, stream_json

    by, before = _group_columns(options.by), options.db_clean_before
    if before is not None and options.format == "csv":
        raise QueryError("CSV lists rows, and no dangers", hint="add --format json, or leave --db-clean-before")
    with snapshot_of(options) as taken:
        shown = taken.preview(options.now)
        verdict = None if options.rows == "all" else options.rows
        if options.format == "csv":
            stream_csv(shown, sys.stdout.buffer, verdict=verdict, limit=options.limit or None)
        elif options.format == "json":
            limit = options.limit or None
            stream_json(shown, sys.stdout, verdict=verdict, limit=limit, by=by, db_clean_before=before)
        else:
            dangers = None if before is None else shown.dangers(before)
            _print_preview(shown, by, verdict, options.limit, dangers)
    return 0


def snapshot(options: argparse.Namespace) -> int:
    """Save one instant of the store, metadata and sizes without values, as a folder of Parquet."""
    from storekit.cli.render import print_lines

    check_name(options.directory, "storekit snapshot URL monday")
    with snapshot_of(options) as taken:
        where = taken.save(options.directory, overwrite=options.overwrite)
        print_lines([f"{len(taken):,} rows saved to {where}"])
    return 0


def cleanup_task_store(options: argparse.Namespace) -> int:
    """Delete the task rows whose expires_at lies before now; with --dry-run, list them and delete nothing.

    Rows without an expiry and asset rows are never deleted. A custom [state_store] backend is skipped. Rows per
    transaction: [state_store] state_cleanup_batch_size. With a URL this machine's airflow.cfg is not read unless
    --config names it; AIRFLOW__STATE_STORE__… variables always apply.
    """
    if options.format == "csv" and not options.dry_run:
        raise QueryError(
            "a deletion lists no rows, so there is nothing for CSV", hint="add --dry-run, or leave --format"
        )
    config = options_in_force(options)
    if config.custom_backend is not None:
        _say_skipped(config.custom_backend, options)
    elif options.dry_run:
        with snapshot_of(options, config) as taken:
            _show_dry_run(taken.preview(options.now), options)
    else:
        _delete(options, config)
    return 0


def _delete(options: argparse.Namespace, config: StateStoreConfig) -> None:
    from storekit.cli.render import print_lines

    with opened(options, config=config, writable=True) as store:
        deleted = store.backend.cleanup(now=options.now)
    if options.format == "json":
        _write_json({"dry_run": False, "deleted": deleted})
    else:
        print_lines([f"Deleted {deleted:,} expired task store row(s)."])


def _say_skipped(backend: str, options: argparse.Namespace) -> None:
    from storekit.cli.render import print_lines

    said = f"[state_store] backend is {backend}: skipped. Cleanup is for the metastore backend only."
    if options.format == "json":
        _write_json({"dry_run": options.dry_run, "skipped": backend, "to_delete" if options.dry_run else "deleted": 0})
    elif options.format == "csv":
        raise QueryError(said, hint="use --format json or table to be told so without an error")
    else:
        print_lines([said])


def _show_dry_run(shown: Preview, options: argparse.Namespace) -> None:
    from storekit.cli.render import print_frame, print_lines
    from storekit.frames.exports import stream_csv, stream_json

    if options.format == "csv":
        stream_csv(shown, sys.stdout.buffer, verdict="delete", limit=options.limit or None)
    elif options.format == "json":
        stream_json(shown, sys.stdout, verdict="delete", limit=options.limit or None, by=["dag_id"], dry_run=True)
    elif not shown.deleted:
        print_lines(["Nothing to delete."])
    else:
        rows = shown.rows(limit=_table_limit(options.limit))
        print_lines([f"Would delete {shown.deleted:,} task store row(s):", ""])
        print_frame(rows, [*_identity(rows), "value_bytes", "expires_at", "margin"])
        _print_left_out(shown.deleted, len(rows))


def _group_columns(typed: list[str] | None) -> list[str]:
    """Return the columns of --by, checked before anything is read or printed."""
    from storekit.frames.preview import GROUP_COLUMNS

    columns = [name.strip() for each in typed or ["dag_id"] for name in each.split(",")]
    for name in columns:
        if name not in GROUP_COLUMNS:
            raise QueryError(f"--by: cannot group by {name!r}", hint=f"choose from {', '.join(GROUP_COLUMNS)}")
    if len(set(columns)) < len(columns):
        raise QueryError(f"--by: a column is named twice in {','.join(columns)}", hint="name each column once")
    return columns


def _write_json(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")


def _identity(rows: pd.DataFrame) -> list[str]:
    """Return the columns that tell the listed rows apart: the task's, the asset's, or both where both are listed."""
    of_assets = rows["store"] == "asset"
    task = [] if len(rows) and of_assets.all() else ["dag_id", "run_id", "task_id", "map_index"]
    if rows["region_id"].notna().any():  # 3.4: an expansion's rows differ by nothing else
        task.append("region_id")
    return [*task, *(["asset_name"] if of_assets.any() else []), "key"]


def _table_limit(limit: int | None) -> int | None:
    return _TABLE_ROWS if limit is None else limit or None


def _print_left_out(total: int, shown: int) -> None:
    from storekit.cli.render import print_lines

    if total > shown:
        print_lines(["", f"… and {total - shown:,} more (--limit 0 lists all, --format csv exports them)"])


def _print_preview(
    shown: Preview, by: list[str], verdict: Any, limit: int | None, dangers: pd.DataFrame | None
) -> None:
    from storekit.cli.render import print_frame, print_lines

    print_lines(str(shown).split("\n"))
    if dangers is not None:
        print_lines(["", "dangers:" if len(dangers) else "dangers: none"])
        if len(dangers):
            print_frame(dangers, list(dangers.columns))
    print_lines(["", f"by {', '.join(by)}:"])
    grouped = shown.by(*by)
    print_frame(grouped, list(grouped.columns))
    rows = shown.rows(limit=_table_limit(limit), verdict=verdict)
    if len(rows):
        print_lines(["", {"delete": "would be deleted:", "keep": "would be kept:"}.get(verdict, "rows:")])
        why = [] if verdict == "delete" else ["verdict", "reason"]
        print_frame(rows, [*_identity(rows), "value_bytes", "updated_at", "expires_at", *why, "margin"])
        total = {"delete": shown.deleted, "keep": shown.kept}.get(verdict, shown.deleted + shown.kept)
        _print_left_out(total, len(rows))
