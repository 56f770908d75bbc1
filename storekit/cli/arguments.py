"""What may be typed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime

from storekit import __version__
from storekit.clock import as_utc

__all__ = ["parse"]

_URL_HELP = (
    "database URL (sqlite:///…, postgresql://…, mysql://…), the path of a SQLite file, or a saved snapshot's folder; "
    "left out: the database that Airflow's own configuration names"
)
_DATABASE_HELP = (
    "database URL (sqlite:///…, postgresql://…, mysql://…) or the path of a SQLite file; left out: the database that "
    "Airflow's own configuration names"
)
_EPILOG = """\
examples:
  storekit tables airflow.db
  storekit preview airflow.db --by dag_id,task_id
  storekit tables airflow.db --where dag_id=etl --format json
  storekit preview postgresql://reader@db/airflow --format csv > rows.csv
  storekit plan make airflow.db tonight.parquet
  storekit clean airflow.db --plan tonight.parquet --archive gone.parquet --yes
  storekit restore gone.parquet airflow.db

exit codes: 0 done; 1 the database, file or snapshot cannot be used, or the output not be written; 2 the call or the
configuration is wrong
"""


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; ``run`` of the result is the command's function."""
    from storekit.cli import commands
    from storekit.cli.tables import tables as list_tables

    parser = argparse.ArgumentParser(
        prog="storekit",
        description="See what is in Apache Airflow's task and asset state store, preview what cleanup would delete, "
        "and delete it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"storekit {__version__}")
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    tables = subcommands.add_parser("tables", help="list what is in the store", description=list_tables.__doc__)
    _add_url(tables)
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
    _add_output(tables)
    tables.set_defaults(run=list_tables)

    preview = subcommands.add_parser(
        "preview", help="what cleanup would delete, and why", description=commands.preview.__doc__
    )
    _add_url(preview)
    _add_now(preview)
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
        type=_instant,
        metavar="INSTANT",
        help="list the dangers, with what `airflow db clean --clean-before-timestamp INSTANT --tables dag_run` would "
        "take along",
    )
    _add_output(preview)
    preview.set_defaults(run=commands.preview)

    snapshot = subcommands.add_parser(
        "snapshot", help="save a snapshot as Parquet", description=commands.snapshot.__doc__
    )
    snapshot.add_argument("url", metavar="URL", help=_URL_HELP)
    _add_layout(snapshot)
    snapshot.add_argument("directory", metavar="DIRECTORY", help="folder to make")
    snapshot.add_argument("--overwrite", action="store_true", help="replace a snapshot that is there")
    snapshot.set_defaults(run=commands.snapshot)

    _add_cleaning(subcommands)

    state_store = subcommands.add_parser("state-store", help="Airflow's own commands, under the same names")
    actions = state_store.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, about in (
        ("cleanup-task-store", "delete expired task rows (the seed document's name)"),
        ("clean", "the same, under the name of released Airflow"),
    ):
        clean = actions.add_parser(name, help=about, description=commands.cleanup_task_store.__doc__)
        _add_url(clean)
        _add_now(clean, only_past=" A real deletion refuses one that lies ahead of the clock.")
        _add_config(clean)
        clean.add_argument("--dry-run", action="store_true", help="say what would be deleted; delete nothing")
        _add_output(clean)
        clean.set_defaults(run=commands.cleanup_task_store)
    return parser.parse_args(arguments)


def _add_cleaning(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from storekit.cli import cleaning

    clean = subcommands.add_parser(
        "clean", help="delete what has expired (dry by default)", description=cleaning.clean.__doc__
    )
    _add_url(clean, _DATABASE_HELP)
    clean.add_argument("--yes", action="store_true", help="delete; without it nothing is written")
    clean.add_argument("--plan", metavar="FILE", help="delete only what this plan names (storekit plan make)")
    clean.add_argument("--archive", metavar="FOLDER", help="keep the deleted rows in this new folder, values included")
    clean.add_argument(
        "--batch-size",
        type=_count,
        metavar="N",
        help="rows per transaction; 0: all in one (default: [state_store] state_cleanup_batch_size)",
    )
    _add_now(clean, only_past=" With --yes it may not lie ahead of the clock.")
    _add_config(clean)
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
    make.add_argument("url", metavar="URL", help=_URL_HELP)
    make.add_argument("file", metavar="FILE", help="Parquet file to make")
    _add_layout(make)
    _add_now(make)
    make.add_argument("--overwrite", action="store_true", help="replace a plan that is there")
    make.set_defaults(run=cleaning.make_plan)
    show = actions.add_parser("show", help="show a saved plan", description=cleaning.show_plan.__doc__)
    show.add_argument("file", metavar="FILE", help="a plan that storekit made")
    _add_output(show, ["table", "csv"])
    show.set_defaults(run=cleaning.show_plan)

    restore = subcommands.add_parser(
        "restore", help="put archived rows back (dry by default)", description=cleaning.restore.__doc__
    )
    restore.add_argument("archive", metavar="ARCHIVE", help="the folder that storekit clean --archive wrote")
    _add_url(restore, _DATABASE_HELP)
    restore.add_argument("--yes", action="store_true", help="write; without it nothing is")
    restore.add_argument("--format", choices=["table", "json"], default="table", help="default: table")
    restore.set_defaults(run=cleaning.restore)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the airflow.cfg whose options apply (default: with a URL none, without one Airflow's own)",
    )


def _add_url(parser: argparse.ArgumentParser, about: str | None = None) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help=about or _URL_HELP)
    _add_layout(parser)


def _add_layout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--layout", metavar="LAYOUT", help="storekit, airflow-3.3 or airflow-3.4, where a database holds more than one"
    )


def _add_now(parser: argparse.ArgumentParser, *, only_past: str = "") -> None:
    parser.add_argument(
        "--now",
        type=_instant,
        metavar="INSTANT",
        help="the instant of the cleanup, with its zone: 2026-11-22T10:00:00Z (default: now)." + only_past,
    )


def _add_output(parser: argparse.ArgumentParser, forms: Sequence[str] = ("table", "json", "csv")) -> None:
    parser.add_argument("--format", choices=forms, default="table", help="default: table")
    parser.add_argument(
        "--limit",
        type=_count,
        metavar="N",
        help="rows to list; 0: all (default: 20 in a table, all in json and csv)",
    )


def _instant(text: str) -> datetime:
    try:
        return as_utc(datetime.fromisoformat(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an instant with a zone, like 2026-11-22T10:00:00Z ({error})"
        ) from None


def _count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return count
