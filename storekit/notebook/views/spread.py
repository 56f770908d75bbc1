"""Distributions as lines to show: a name, rows, bytes."""

from __future__ import annotations

import pandas as pd

from storekit.frames.display import human_bytes

__all__ = ["age_lines", "size_lines"]


def size_lines(sizes: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return `Selection.sizes` as lines."""
    return [
        (
            "empty" if row["to_bytes"] == 0 else f"{human_bytes(row['from_bytes'])} to {human_bytes(row['to_bytes'])}",
            int(row["rows"]),
            int(row["value_bytes"]),
        )
        for row in sizes.to_dict("records")
    ]


def age_lines(ages: pd.DataFrame) -> list[tuple[str, int, int]]:
    """Return `Selection.ages` as lines."""
    return [
        (_age(row["from_age"], row["to_age"]), int(row["rows"]), int(row["value_bytes"]))
        for row in ages.to_dict("records")
    ]


def _age(start: pd.Timedelta, end: pd.Timedelta) -> str:
    if pd.isna(start):
        return "after the instant"
    if pd.isna(end):
        return f"{start.days:,} days and more"
    return "less than a day" if start.days == 0 else f"{start.days:,} to {end.days:,} days"
