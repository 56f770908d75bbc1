"""`Snapshot.retention_curve`: every candidate of ``default_retention_days``, as a DataFrame."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from storekit.errors import QueryError
from storekit.frames.assumptions import of_curve
from storekit.frames.instants import as_instant, as_text
from storekit.retention.rows import as_instant_us

if TYPE_CHECKING:
    from storekit.frames.snapshot import Snapshot

__all__ = ["curve_frame"]

_MOST_DAYS = 2**62
_LOOKING_BACK = (
    "The instant lies before the snapshot, which does not show the store of that time: a row that was written later "
    "counts as kept, and one that was deleted since, or written again, is not seen as it was.",
)


def curve_frame(
    snapshot: Snapshot,
    days: Iterable[int],
    now: datetime | str | None,
    selection: tuple[str | None, str | None, str | None],
    defaults: Iterable[int] | None,
    skew: timedelta | str,
) -> pd.DataFrame:
    """Return what `Snapshot.retention_curve` returns."""
    candidates = _checked(days)
    for name, text in zip(("dag_id", "task_id", "key"), selection, strict=True):
        if text is not None:
            as_text(text, name)
    at = snapshot.info.taken_at if now is None else as_instant(now)
    understood = snapshot._retained.understood(defaults, skew)
    dag_id, task_id, key = selection
    curve = understood.ages.curve(candidates, as_instant_us(at), dag_id=dag_id, task_id=task_id, key=key)
    frame = pd.DataFrame(
        {
            "days": curve.days,
            "deleted": curve.deleted,
            "deleted_bytes": curve.deleted_bytes,
            "kept": curve.rows - curve.deleted,
            "kept_bytes": curve.value_bytes - curve.deleted_bytes,
            "deleted_high": curve.deleted_high,
            "deleted_bytes_high": curve.deleted_bytes_high,
            "kept_low": curve.rows - curve.deleted_high,
            "kept_bytes_low": curve.value_bytes - curve.deleted_bytes_high,
        }
    )
    frame.attrs["assumptions"] = (*of_curve(understood), *(_LOOKING_BACK if at < snapshot.info.taken_at else ()))
    return frame


def _checked(days: Iterable[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    one = isinstance(days, Integral | str) or not isinstance(days, Iterable)
    values: list[Any] = [days] if one else list(days)
    for each in values:
        if isinstance(each, bool) or not isinstance(each, Integral) or not 0 <= int(each) <= _MOST_DAYS:
            raise QueryError(
                f"days: {each!r} is no default_retention_days", hint="whole numbers of at least 0: range(366), [7, 14]"
            )
    return np.array(values, np.int64)
