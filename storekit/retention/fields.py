"""What a field of a policy may be. A reader returns the value as it is kept, or raises ValueError with the remedy."""

from __future__ import annotations

import operator
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from storekit.config.sources import suggest
from storekit.retention.durations import read_duration
from storekit.retention.matching import check_pattern
from storekit.retention.mistakes import shown

__all__ = [
    "MOST",
    "TASK_STATES",
    "count",
    "days",
    "flag",
    "interval",
    "label",
    "not_a_name",
    "pattern",
    "states",
    "whole",
]

TASK_STATES = (
    "removed",
    "scheduled",
    "queued",
    "running",
    "success",
    "restarting",
    "failed",
    "up_for_retry",
    "up_for_reschedule",
    "upstream_failed",
    "skipped",
    "deferred",
    "awaiting_input",
    "none",
)
"""States of a task instance in Airflow 3.3.2 (``airflow.utils.state.TaskInstanceState``), and ``none``: not started."""

MOST = 2**63 - 1  # of the databases' BIGINT, and of TOML


def whole(value: Any, most: int = MOST) -> int | None:
    """Read a whole number of at least 0, or None. ``14.0`` is one: to JSON Schema it is an integer."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # numpy's integers too
    except TypeError:
        number = None
    if number is None:
        raise ValueError(f"{shown(value)} is no whole number: write digits, without quotes")
    if number < 0:
        raise ValueError(f"{shown(value)} is negative: write 0 or more")
    if number > most:
        raise ValueError(f"{shown(value)} is too large: write {most} or less")
    return number


def days(value: Any) -> int | None:
    """Read a number of days, or None."""
    return whole(value, timedelta.max.days)


def count(value: Any) -> int:
    """Read a whole number of at least 0."""
    number = whole(value)
    if number is None:
        raise ValueError("None is no whole number: write 0 for all in one transaction, or leave it out")
    return number


def flag(value: Any) -> bool:
    """Read true or false."""
    # By name, so that numpy need not be asked: its booleans are no bool.
    if not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        raise ValueError(f"{shown(value)} is neither true nor false: write one of them, without quotes")
    return bool(value)


def interval(value: Any) -> timedelta | None:
    """Read a duration of more than 0; None or ``never``: None."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "never"):
        return None
    try:
        span = read_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}; 'never' may stand here as well") from None
    if not span:
        raise ValueError(f"{shown(value)} is no time at all: write how often cleanup runs, such as '1d', or 'never'")
    return span


def label(value: Any) -> str | None:
    """Read a name, or None."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no text: write the name in quotes")
    if any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in value):
        raise ValueError(f"{shown(value)} holds control characters: leave them out")
    return value


def not_a_name(value: Any) -> str | None:
    """Return why no Dag, task, key or state can be called so; None: one can."""
    if not isinstance(value, str):
        return f"{shown(value)} is no text: write it as it is stored"
    if any(unicodedata.category(each) == "Cs" for each in value):
        return f"{shown(value)} holds a lone surrogate, which no row can: write it as it is stored"
    return None


def pattern(value: Any) -> str | None:
    """Read a pattern, or None."""
    return None if value is None else check_pattern(value)


def states(value: Any) -> tuple[str, ...] | None:
    """Read one task state or several, or None."""
    if value is None:
        return None
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise ValueError(f"{shown(value)} is no task state: write one or a list of {', '.join(TASK_STATES)}")
    given = [value] if isinstance(value, str) else list(value)
    if isinstance(value, set | frozenset):
        given.sort(key=str)
    if not given:
        raise ValueError("an empty list matches no row: leave it out to match every state")
    wrong = [each for each in given if not isinstance(each, str) or each not in TASK_STATES]
    if wrong:
        close = suggest(wrong[0], TASK_STATES) if isinstance(wrong[0], str) else ""
        are = "is no task state" if len(wrong) == 1 else "are no task states"
        raise ValueError(f"{', '.join(map(shown, wrong[:10]))} {are}{close}: choose from {', '.join(TASK_STATES)}")
    # Airflow's own enum is a str as well; what is kept is plain text, each once.
    return tuple(dict.fromkeys(str.__str__(each) for each in given))
