"""``df.storekit``: what can be asked of a frame of rows, wherever it was filtered and sorted since.

Registered when `storekit.frames` is imported, which making a frame does.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from storekit.clock import SYSTEM_CLOCK
from storekit.errors import QueryError
from storekit.frames.instants import as_instant
from storekit.retention import Reason

__all__ = ["StorekitAccessor", "decode", "verdicts"]

_ROWS = "rows of store.tasks(), store.assets(), a snapshot or preview.rows()"
_OF_ASSETS = {"asset_id", "asset_name", "asset_uri"}
_OF_OTHERS = {"store", "dag_id", "run_id", "task_id", "expires_at", "never_expire"}
_TEXT = pd.StringDtype("pyarrow", na_value=np.nan)


@pd.api.extensions.register_dataframe_accessor("storekit")
class StorekitAccessor:
    """The ``storekit`` accessor of a DataFrame with the columns of ``Store.tasks()`` or ``Store.assets()``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def decode(self) -> pd.DataFrame:
        """Return a copy with ``decoded`` and ``decode_error``; see `decode`."""
        return decode(self._frame)

    def verdicts(self, now: datetime | str | None = None) -> pd.DataFrame:
        """Return a copy with ``verdict``, ``reason`` and ``margin``; see `verdicts`."""
        return verdicts(self._frame, now)


def decode(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of a frame with its values decoded from JSON.

    Parameters
    ----------
    frame
        Needs ``value``.

    Returns
    -------
    pandas.DataFrame
        With two columns more: ``decoded`` (object: str, int, float, bool, list, dict; None for JSON's null and
        where ``value`` is not JSON) and ``decode_error`` (``str``: why it is not; NaN where it is).

    Raises
    ------
    QueryError
        If ``value`` is missing.
    """
    _need(frame, "value", about="values: store.tasks(values=True)")
    decoded = np.empty(len(frame), dtype=object)  # not a list: numpy would make a matrix of lists
    errors: list[str | None] = [None] * len(frame)
    for position, value in enumerate(frame["value"].array):
        decoded[position], errors[position] = _decoded(value)
    return frame.assign(
        decoded=pd.Series(decoded, index=frame.index, dtype=object),
        decode_error=pd.Series(pd.array(errors, dtype=_TEXT), index=frame.index),
    )


def _decoded(value: Any) -> tuple[Any, str | None]:
    if not isinstance(value, str):
        return None, "there is no text"
    try:
        return json.loads(value), None
    except json.JSONDecodeError as error:
        return None, f"not JSON: {error}"
    except RecursionError:
        return None, "not decoded: nested too deeply"
    except ValueError as error:  # an integer of more digits than Python converts
        return None, f"not decoded: {error}"


def verdicts(frame: pd.DataFrame, now: datetime | str | None = None) -> pd.DataFrame:
    """Return a copy of a frame with each row's fate, by the rules of `storekit.retention.judge`.

    Parameters
    ----------
    frame
        Rows of ``Store.tasks()``, ``Store.assets()``, a snapshot or a preview, of any ``dtype_backend``: with
        ``expires_at`` and ``never_expire`` (a preview's rows have ``reason`` instead, which tells as much); or with
        an asset's columns and neither, all of which are an asset's rows. A ``store`` column marks those by ``asset``.
    now
        The instant of the cleanup: aware, or ISO text with a zone; None: now.

    Returns
    -------
    pandas.DataFrame
        With three columns more, or anew: ``verdict`` (``str``: delete or keep), ``reason`` (``str``: a value of
        `storekit.retention.Reason`) and ``margin`` (``timedelta64[us]``: ``expires_at - now``; NaT: no expiry).

    Raises
    ------
    QueryError
        If a column is missing, ``expires_at`` is no column of aware instants, or ``store`` or ``reason`` holds what
        it never holds; if ``now`` has no zone.
    """
    instant = pd.Timestamp(SYSTEM_CLOCK.now() if now is None else as_instant(now)).as_unit("us")
    asset: Any  # where a rule holds: for each row, or for all alike
    flagged: Any
    told: Any
    if _all_of_assets(frame):
        asset, flagged, told = True, False, False
        margin = pd.Series(pd.NaT, index=frame.index, dtype="timedelta64[us]")
    else:
        _need(frame, "expires_at", about=_ROWS)
        asset = _holds(frame, "store", "asset", known={"task", "asset"}) if "store" in frame else False
        flagged, told = _flags(frame)
        margin = _instants(frame["expires_at"]) - instant
    open_ended = margin.isna().to_numpy()
    expired = (margin < pd.Timedelta(0)).to_numpy()
    # As in `judge`, the first that holds decides.
    rules = {
        Reason.ASSET: asset,
        Reason.NEVER_EXPIRE: flagged,
        Reason.NO_EXPIRY: open_ended & told,
        Reason.NO_EXPIRY_UNTOLD: open_ended,
        Reason.EXPIRED: expired,
    }
    conditions = [np.broadcast_to(holds, len(frame)) for holds in rules.values()]
    reason = np.select(conditions, [str(each) for each in rules], default=str(Reason.NOT_YET))
    verdict = np.select(conditions, [str(each.fate) for each in rules], default=str(Reason.NOT_YET.fate))
    return frame.assign(
        verdict=pd.Series(pd.array(verdict, dtype=_TEXT), index=frame.index),
        reason=pd.Series(pd.array(reason, dtype=_TEXT), index=frame.index),
        margin=margin,
    )


def _all_of_assets(frame: pd.DataFrame) -> bool:
    """Tell whether these are rows of ``Store.assets()``: with an asset's columns, and none of a task's or of both."""
    columns = set(frame.columns)
    return bool(columns & _OF_ASSETS) and not columns & _OF_OTHERS


def _flags(frame: pd.DataFrame) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return where the flag is set, and where it is known."""
    if "never_expire" in frame or "reason" not in frame:
        _need(frame, "never_expire", about=_ROWS)
        flag = pd.array(frame["never_expire"].array, dtype="boolean")
        return flag.fillna(False).to_numpy(dtype=bool), ~flag.isna()
    known = {str(each) for each in Reason}
    untold = _holds(frame, "reason", str(Reason.NO_EXPIRY_UNTOLD), known=known)
    return _holds(frame, "reason", str(Reason.NEVER_EXPIRE), known=known), ~untold


def _holds(frame: pd.DataFrame, name: str, wanted: str, *, known: set[str]) -> np.ndarray[Any, Any]:
    cells = frame[name].astype(object)
    strange = cells[~cells.isin(known)]
    if len(strange):
        raise QueryError(
            f"the column {name} holds {strange.iloc[0]!r}", hint=f"it holds one of {', '.join(sorted(known))}"
        )
    return (cells == wanted).to_numpy(dtype=bool)


def _instants(column: pd.Series[Any]) -> pd.Series[Any]:
    if column.isna().all():
        return pd.Series(pd.NaT, index=column.index, dtype="datetime64[us, UTC]")
    try:
        # One dtype for all backends. A naive column cannot be subtracted from, and is refused here.
        if getattr(column.dt, "tz", None) is None:
            raise TypeError
        return column.astype("datetime64[us, UTC]")
    except (AttributeError, TypeError, ValueError):
        raise QueryError(
            f"expires_at is of dtype {column.dtype}, not of aware instants",
            hint="df['expires_at'] = pd.to_datetime(df['expires_at'], utc=True)",
        ) from None


def _need(frame: pd.DataFrame, *names: str, about: str) -> None:
    missing = [name for name in names if name not in frame]
    if missing:
        raise QueryError(f"the frame has no column {' and no column '.join(missing)}", hint=f"it takes {about}")
