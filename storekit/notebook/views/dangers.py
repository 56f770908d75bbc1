"""What else goes with a row unsaid, as views show it: marks of rows, and lines above them."""

from __future__ import annotations

import pandas as pd

from storekit.frames.dangers import Danger
from storekit.frames.display import escape, human_bytes, human_rows

__all__ = ["danger_marks", "danger_name", "dangers_html", "marks", "of_deletion"]


def marks(rows: pd.DataFrame) -> list[str]:
    """Return each row's mark: what cleanup would delete, and where that is a danger."""
    return [
        danger or ("delete" if verdict == "delete" else "")
        for danger, verdict in zip(danger_marks(rows), rows["verdict"], strict=True)
    ]


def danger_marks(rows: pd.DataFrame) -> list[str]:
    """Return each row's mark where all rows are deleted: that need not be said of each."""
    endangered = rows["dangers"].notna() & (rows["dangers"] != "")
    return ["danger" if each else "" for each in endangered]


def danger_name(danger: str) -> str:
    """Return a danger's name as people read it."""
    return danger.replace("-", " ")


def of_deletion(dangers: pd.DataFrame) -> pd.DataFrame:
    """Return those of `Preview.dangers` that rows to delete are in; others are of rows that cleanup keeps."""
    return dangers[dangers["danger"].isin([Danger.UNFINISHED_TASK.value, Danger.ORPHANED_OBJECT.value])]


def dangers_html(dangers: pd.DataFrame) -> str:
    """Return a line for each of `Preview.dangers`."""
    return "".join(
        f'<p class="sk-note"><strong>⚠ {escape(danger_name(each["danger"]))}</strong>: '
        f"{human_rows(each['rows'])}, {human_bytes(each['value_bytes'])}: {escape(each['about'])}</p>"
        for each in dangers.to_dict("records")
    )
