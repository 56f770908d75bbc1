"""Arguments that several commands share, and what their texts may be."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime, timedelta

from storekit.clock import as_utc

LAYOUTS = ("storekit", "airflow-3.3", "airflow-3.4")
"""Those of `storekit.metastore`, which is not imported to read what was typed."""

__all__ = [
    "DATABASE_HELP",
    "DRY_RUN_HELP",
    "LAYOUTS",
    "REQUIRED_HELP",
    "URL_HELP",
    "add_config",
    "add_format",
    "add_layout",
    "add_limit",
    "add_now",
    "add_output",
    "add_url",
    "count",
    "day_ranges",
    "instant",
    "whole_days",
]

_FORMS = ("table", "json", "csv")
_MOST_CANDIDATES = 100_000

_DATABASE = "database URL (sqlite:///…, postgresql://…, mysql://…) or the path of a SQLite file"
_LEFT_OUT = "; left out: the database that Airflow's own configuration names"
REQUIRED_HELP = (
    "database URL (sqlite:///…, postgresql://…, mysql://…), the path of a SQLite file, or a saved snapshot's folder"
)
URL_HELP = REQUIRED_HELP + _LEFT_OUT
DATABASE_HELP = _DATABASE + _LEFT_OUT
DRY_RUN_HELP = f"{_DATABASE}; with --dry-run also a saved snapshot's folder{_LEFT_OUT}"


def add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="the airflow.cfg whose options apply (default: with a URL none, without one Airflow's own)",
    )


def add_url(parser: argparse.ArgumentParser, about: str | None = None) -> None:
    parser.add_argument("url", nargs="?", metavar="URL", help=about or URL_HELP)
    add_layout(parser)


def add_layout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        metavar="LAYOUT",
        help="storekit, airflow-3.3 or airflow-3.4, where a database holds more than one",
    )


def add_now(parser: argparse.ArgumentParser, *, only_past: str = "") -> None:
    parser.add_argument(
        "--now",
        type=instant,
        metavar="INSTANT",
        help="the instant of the cleanup, with its zone: 2026-11-22T10:00:00Z (default: now)." + only_past,
    )


def add_output(parser: argparse.ArgumentParser, forms: Sequence[str] = _FORMS) -> None:
    add_format(parser, forms)
    add_limit(parser, [form for form in forms if form != "table"])


def add_format(parser: argparse.ArgumentParser, forms: Sequence[str] = _FORMS) -> None:
    parser.add_argument("--format", choices=forms, default="table", help="default: table")


def add_limit(parser: argparse.ArgumentParser, whole: Sequence[str] = ("json", "csv")) -> None:
    parser.add_argument(
        "--limit",
        type=count,
        metavar="N",
        help=f"rows to list; 0: all (default: 20 in a table, all in {' and '.join(whole)})",
    )


def instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not an instant with a zone, like 2026-11-22T10:00:00Z") from None
    if at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} has no zone: write {at.isoformat()}Z")
    try:
        return as_utc(at)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} lies outside the years 1 to 9999 in UTC") from None


def count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return number


def whole_days(text: str) -> list[int]:
    """Read values of default_retention_days: ``14`` or ``7,14,30``."""
    return [_days(each, text, "7,14,30") for each in text.split(",")]


def day_ranges(text: str) -> list[int]:
    """Read values of it, ranges among them, their end included: ``0-365``, ``1-7,14,30``."""
    days: list[int] = []
    for each in text.split(","):
        first, dash, last = each.partition("-")
        low = _days(first, text, "0-365 or 7,14,30")
        high = _days(last, text, "0-365 or 7,14,30") if dash else low
        if high < low:
            raise argparse.ArgumentTypeError(f"{text!r}: {each.strip()!r} ends before it begins: write {high}-{low}")
        if len(days) + high - low >= _MOST_CANDIDATES:
            raise argparse.ArgumentTypeError(f"{text!r} is more than {_MOST_CANDIDATES:,} candidates: write fewer")
        days += range(low, high + 1)
    return days


def _days(part: str, text: str, example: str) -> int:
    digits = part.strip()
    # Digits only: int() also reads signs, underscores and the digits of every script.
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= timedelta.max.days):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not whole days of at least 0 and at most {timedelta.max.days}, like {example}"
        )
    return int(digits)
