"""What may be typed for ``storekit simulate``, ``curve``, ``recommend`` and ``report``."""

from __future__ import annotations

import argparse

from storekit.cli import simulating
from storekit.cli.options import (
    REQUIRED_HELP,
    add_config,
    add_format,
    add_layout,
    add_limit,
    add_now,
    add_url,
    count,
    day_ranges,
    whole_days,
)

__all__ = ["add_simulating"]


def add_simulating(subcommands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the four commands."""

    simulate = subcommands.add_parser(
        "simulate", help="what retention policies would do over time", description=simulating.simulate.__doc__
    )
    add_url(simulate)
    _add_policies(simulate, "play")
    simulate.add_argument(
        "--current", action="store_true", help="play what the configuration says (see --config), named current"
    )
    simulate.add_argument("--horizon", default="90d", metavar="DURATION", help="how long: 90d, 36h (default: 90d)")
    simulate.add_argument(
        "--mode",
        choices=["forward", "as-if"],
        default="forward",
        help="forward, as Airflow works: rows that exist keep their expiry, a policy meets future writes; "
        "as-if: as if it had been in force at every write (default: forward)",
    )
    add_now(simulate, only_past=" The first cleanup; not before the snapshot.")
    _add_defaults(simulate)
    simulate.add_argument("--by", choices=["dag_id", "task_id", "key"], help="also for each of these")
    simulate.add_argument(
        "--top",
        type=count,
        default=20,
        metavar="N",
        help="of --by, 200 at most, and of lists: the N of most bytes (default: 20)",
    )
    simulate.add_argument(
        "--unsafe", action="store_true", help="list the rows of unfinished tasks that would go before the next try"
    )
    _add_retry_wait(simulate)
    simulate.add_argument(
        "--history",
        action="append",
        default=[],
        metavar="FOLDER",
        help="an older saved snapshot of the same store, for the forecast; may be repeated",
    )
    simulate.add_argument("--no-forecast", action="store_true", help="leave out what may be written in future")
    simulate.add_argument(
        "--seed",
        type=count,
        default=0,
        metavar="N",
        help="of the forecast: the same gives the same, of a saved snapshot (default: 0)",
    )
    add_config(simulate)
    add_format(simulate)
    simulate.set_defaults(run=simulating.simulate)

    curve = subcommands.add_parser(
        "curve", help="what every default_retention_days would delete", description=simulating.curve.__doc__
    )
    add_url(curve)
    curve.add_argument(
        "--days",
        type=day_ranges,
        metavar="DAYS",
        help="candidates: 0-365, or 7,14,30 (default: some in a table, 0-365 in json and csv)",
    )
    for name in ("dag-id", "task-id", "key"):
        curve.add_argument(f"--{name}", metavar="TEXT", help="only its rows, exactly so named")
    add_now(curve)
    _add_defaults(curve)
    add_format(curve)
    curve.set_defaults(run=simulating.curve)

    recommend = subcommands.add_parser(
        "recommend", help="which policies are worth choosing", description=simulating.recommend.__doc__
    )
    add_url(recommend)
    _add_policies(recommend, "weigh", " (default: default_retention_days from 1 to 365)")
    recommend.add_argument(
        "--look-back",
        default="7d",
        metavar="DURATION",
        help="for how long someone may want to see what a task stored (default: 7d)",
    )
    _add_retry_wait(recommend)
    add_now(recommend, only_past=" Not before the snapshot.")
    _add_defaults(recommend)
    recommend.add_argument("--risks", metavar="POLICY", help="list the rows that this candidate puts at risk")
    add_format(recommend)
    add_limit(recommend)
    recommend.set_defaults(run=simulating.recommend)

    report = subcommands.add_parser(
        "report", help="write all of it as one HTML file", description=simulating.report.__doc__
    )
    report.add_argument("url", metavar="URL", help=REQUIRED_HELP)
    add_layout(report)
    report.add_argument("file", metavar="FILE", help="HTML file to make")
    _add_policies(report, "compare", " (default: 30, 14 and 7 days)")
    add_now(report, only_past=" Not before the snapshot.")
    report.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    report.set_defaults(run=simulating.report)


def _add_policies(parser: argparse.ArgumentParser, what: str, otherwise: str = "") -> None:
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="FILE",
        help=f"policies to {what}{otherwise}: a .toml, .yaml or .json file; may be repeated",
    )
    parser.add_argument(
        "--days",
        type=day_ranges,
        action="append",
        default=[],
        metavar="DAYS",
        help=f"{what} these default_retention_days; 0: no expiry; several as 7,14,30 or 7-30, or repeated",
    )


def _add_defaults(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--default",
        type=whole_days,
        action="append",
        metavar="N",
        help="every default_retention_days that was ever in force, as 30,14 or repeated (default: inferred)",
    )
    parser.add_argument(
        "--skew",
        default="1min",
        metavar="DURATION",
        help="how far a row's retention may lie from whole days and still be a default's (default: 1min)",
    )


def _add_retry_wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--retry-wait",
        default="1d",
        metavar="DURATION",
        help="the longest wait between two tries of a task (default: 1d, Airflow's own bound)",
    )
