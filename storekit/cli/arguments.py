"""What may be typed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from storekit import __version__
from storekit.cli.options import (
    DATABASE_HELP,
    DRY_RUN_HELP,
    REQUIRED_HELP,
    add_config,
    add_layout,
    add_now,
    add_output,
    add_url,
    count,
    instant,
)

__all__ = ["parse"]

_EPILOG = """\
examples:
  storekit tables airflow.db
  storekit snapshot airflow.db monday
  storekit preview airflow.db --by dag_id,task_id
  storekit tables airflow.db --where dag_id=etl --format json
  storekit preview postgresql://reader@db/airflow --format csv > rows.csv
  storekit plan make airflow.db tonight.parquet
  storekit clean airflow.db --plan tonight.parquet --archive gone.parquet --yes
  storekit restore gone.parquet airflow.db
  storekit simulate airflow.db --days 14 --days 30 --mode as-if
  storekit curve airflow.db --days 0-365 --format csv > curve.csv
  storekit recommend airflow.db
  storekit report airflow.db store.html

exit codes:
  0    done
  1    the database, file or snapshot cannot be used, or an output not written
  2    the call or the configuration is wrong
  130  interrupted
  141  what read the pipe went away
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; ``run`` of the result is the command's function."""
    from storekit.cli import commands
    from storekit.cli.retention_arguments import add_simulating
    from storekit.cli.tables import tables as list_tables

    parser = argparse.ArgumentParser(
        prog="storekit",
        description="See what is in Apache Airflow's task and asset state store, preview what cleanup\n"
        "would delete, delete it, and play retention policies before they are in force.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"storekit {__version__}")
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    tables = subcommands.add_parser("tables", help="list what is in the store", description=list_tables.__doc__)
    add_url(tables)
    tables.add_argument("--store", choices=["tasks", "assets"], help="one of the two tables (default: both)")
    tables.add_argument("--values", action="store_true", help="show values too; they may be secrets")
    tables.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="COLUMN=VALUE",
        help="only these rows, of the tables that have the column; "
        "may be repeated: another value of one column is one more, another column narrows",
    )
    add_output(tables)
    tables.set_defaults(run=list_tables)

    preview = subcommands.add_parser(
        "preview", help="what cleanup would delete, and why", description=commands.preview.__doc__
    )
    add_url(preview)
    add_now(preview)
    preview.add_argument(
        "--by",
        action="append",
        metavar="COLUMN[,COLUMN…]",
        help="group by, for example dag_id,key; may be repeated (default: dag_id)",
    )
    preview.add_argument(
        "--rows", choices=["delete", "keep", "all"], default="delete", help="which rows to list (default: delete)"
    )
    preview.add_argument(
        "--db-clean-before",
        type=instant,
        metavar="INSTANT",
        help="list the dangers, with what `airflow db clean --clean-before-timestamp INSTANT --tables dag_run` would "
        "take along",
    )
    add_output(preview)
    preview.set_defaults(run=commands.preview)

    snapshot = subcommands.add_parser(
        "snapshot", help="save a snapshot as Parquet", description=commands.snapshot.__doc__
    )
    snapshot.add_argument("url", metavar="URL", help=REQUIRED_HELP)
    add_layout(snapshot)
    snapshot.add_argument("directory", metavar="DIRECTORY", help="folder to make")
    snapshot.add_argument("--overwrite", action="store_true", help="replace a snapshot that is there")
    snapshot.set_defaults(run=commands.snapshot)

    _add_cleaning(subcommands)
    add_simulating(subcommands)

    state_store = subcommands.add_parser("state-store", help="Airflow's own commands, under the same names")
    actions = state_store.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, about in (
        ("cleanup-task-store", "delete expired task rows (the seed document's name)"),
        ("clean", "the same, under the name of released Airflow"),
    ):
        clean = actions.add_parser(name, help=about, description=commands.cleanup_task_store.__doc__)
        add_url(clean, DRY_RUN_HELP)
        add_now(clean, only_past=" A real deletion refuses one that lies ahead of the clock.")
        add_config(clean)
        clean.add_argument("--dry-run", action="store_true", help="say what would be deleted; delete nothing")
        add_output(clean)
        clean.set_defaults(run=commands.cleanup_task_store)
    return parser.parse_args(arguments)


def _add_cleaning(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from storekit.cli import cleaning

    clean = subcommands.add_parser(
        "clean", help="delete what has expired (dry by default)", description=cleaning.clean.__doc__
    )
    add_url(clean, DATABASE_HELP)
    clean.add_argument("--yes", action="store_true", help="delete; without it nothing is written")
    clean.add_argument("--plan", metavar="FILE", help="delete only what this plan names (storekit plan make)")
    clean.add_argument("--archive", metavar="FOLDER", help="keep the deleted rows in this new folder, values included")
    clean.add_argument(
        "--batch-size",
        type=count,
        metavar="N",
        help="rows per transaction; 0: all in one (default: [state_store] state_cleanup_batch_size)",
    )
    add_now(clean, only_past=" With --yes it may not lie ahead of the clock.")
    add_config(clean)
    clean.add_argument(
        "--call-backend",
        action="store_true",
        help="where [state_store] backend is a custom one, call its own cleanup() rather than skip it",
    )
    clean.add_argument("--format", choices=["table", "json"], default="table", help="default: table")
    clean.set_defaults(run=cleaning.clean)

    plan = subcommands.add_parser("plan", help="make and show plans: what exactly shall be deleted")
    actions = plan.add_subparsers(dest="action", required=True, metavar="ACTION")
    make = actions.add_parser("make", help="save what cleanup would delete", description=cleaning.make_plan.__doc__)
    make.add_argument("url", metavar="URL", help=REQUIRED_HELP)
    make.add_argument("file", metavar="FILE", help="Parquet file to make")
    add_layout(make)
    add_now(make)
    make.add_argument("--overwrite", action="store_true", help="replace a plan that is there")
    make.set_defaults(run=cleaning.make_plan)
    show = actions.add_parser("show", help="show a saved plan", description=cleaning.show_plan.__doc__)
    show.add_argument("file", metavar="FILE", help="a plan that storekit made")
    add_output(show, ["table", "csv"])
    show.set_defaults(run=cleaning.show_plan)

    restore = subcommands.add_parser(
        "restore", help="put archived rows back (dry by default)", description=cleaning.restore.__doc__
    )
    restore.add_argument("archive", metavar="ARCHIVE", help="the folder that storekit clean --archive wrote")
    add_url(restore, DATABASE_HELP)
    restore.add_argument("--yes", action="store_true", help="write; without it nothing is")
    restore.add_argument("--format", choices=["table", "json"], default="table", help="default: table")
    restore.set_defaults(run=cleaning.restore)
