"""What policies do over time, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from storekit.errors import QueryError
from storekit.retention.lives import tally
from storekit.retention.rows import Labels, StoreRows
from storekit.retention.simulate import PolicyRun, Timeline

__all__ = ["GROUPED_BY", "MOST_GROUPS", "Groups", "cleanups_table", "groups_of", "summary_table", "timeline_table"]

GROUPED_BY = ("dag_id", "task_id", "key")
MOST_GROUPS = 200
"""Of `Simulation.over_time`: each costs as much memory as the whole store's line does."""

_INSTANT = pa.timestamp("us", "UTC")
_OTHERS, _ASSETS = "others", "asset rows"


@dataclass(frozen=True)
class Groups:
    """Rows in groups.

    Parameters
    ----------
    column
        By what.
    names
        Of the groups; None for those that are not one name's.
    kinds
        ``column``, or what the group is instead.
    code
        Each row's group.
    """

    column: str
    names: list[str | None]
    kinds: list[str]
    code: npt.NDArray[np.int64]


def groups_of(rows: StoreRows, by: str, top: int) -> Groups:
    """Return the ``top`` groups of most bytes, then the others as one, then the asset rows that have no such name."""
    if by not in GROUPED_BY:
        raise QueryError(f"cannot group by {by!r}", hint=f"one of {', '.join(GROUPED_BY)}")
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise QueryError(f"top={top!r} is no number of groups", hint=f"1 to {MOST_GROUPS}")
    if top > MOST_GROUPS:
        raise QueryError(f"top={top:,} is too many groups", hint=f"{MOST_GROUPS} at most: all others are one group")
    labels: Labels = getattr(rows, by)
    total = len(labels.names)
    named = labels.codes >= 0
    _, sizes = tally(labels.codes[named], rows.value_bytes[named], total)
    order = np.argsort(-sizes, kind="stable")
    place = np.empty(total + 1, np.int64)
    place[order] = np.minimum(np.arange(total), top)
    names: list[str | None] = [labels.names[int(each)].as_py() for each in order[:top]]
    kinds = [by] * len(names)
    if total > top:
        names.append(None)
        kinds.append(_OTHERS)
    place[-1] = len(names)  # the code of what has no name, -1, finds the last place
    if not named.all():
        names.append(None)
        kinds.append(_ASSETS)
    return Groups(by, names, kinds, place[labels.codes])


def _instants(values: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(values, pa.int64()).cast(_INSTANT)


def _whole(values: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(np.ascontiguousarray(values).ravel(), pa.int64())


def _real(values: npt.NDArray[np.float64]) -> pa.Array:
    return pa.array(np.ascontiguousarray(values).ravel(), pa.float64())


def _table(columns: dict[str, pa.Array], nullable: Sequence[str] = ()) -> pa.Table:
    schema = pa.schema([pa.field(name, each.type, nullable=name in nullable) for name, each in columns.items()])
    return pa.Table.from_arrays(list(columns.values()), schema=schema)


def timeline_table(policy: str, line: Timeline, group: Groups | None) -> pa.Table:
    """Return one policy's part of `Simulation.over_time`."""
    groups = line.known_rows.shape[1]
    at = np.repeat(line.at_us, groups)
    cleaned = np.isin(line.at_us, line.at_us[line.after])
    moments = np.where(line.after, "after cleanup", np.where(cleaned, "before cleanup", "no cleanup"))
    columns = {
        "policy": pa.array([policy] * len(at), pa.string()),
        "at": _instants(at),
        "moment": pa.array(np.repeat(moments, groups).tolist(), pa.string()),
    }
    if group is not None:
        columns[group.column] = pa.array(group.names * len(line.at_us), pa.string())
        columns["group"] = pa.array(group.kinds * len(line.at_us), pa.string())
    columns |= {
        "known_rows": _whole(line.known_rows),
        "known_rows_low": _whole(line.known_rows_low),
        "known_bytes": _whole(line.known_bytes),
        "known_bytes_low": _whole(line.known_bytes_low),
    }
    for name, band in (("rows", line.rows), ("bytes", line.bytes)):
        columns |= {name: _real(band.expected), f"{name}_low": _real(band.low), f"{name}_high": _real(band.high)}
    return _table(columns, nullable=() if group is None else (group.column,))


def cleanups_table(run: PolicyRun) -> pa.Table:
    """Return one policy's part of `Simulation.cleanups`."""
    count = len(run.runs_us)
    rows, sizes = (each[:count] for each in run.deleted())
    rows_high, sizes_high = (each[:count] for each in run.deleted(soonest=True))
    zero = np.zeros(count)
    future = dict.fromkeys(("future_deleted", "future_deleted_low", "future_deleted_high"), zero)
    future["future_deleted_bytes"] = zero
    if run.future_deleted is not None:
        of_rows, of_sizes = run.future_deleted
        future = {
            "future_deleted": of_rows.expected[:, 0],
            "future_deleted_low": of_rows.low[:, 0],
            "future_deleted_high": of_rows.high[:, 0],
            "future_deleted_bytes": of_sizes.expected[:, 0],
        }
    return _table(
        {
            "policy": pa.array([run.policy.name] * count, pa.string()),
            "at": _instants(run.runs_us),
            "deleted": _whole(rows),
            "deleted_bytes": _whole(sizes),
            "deleted_high": _whole(rows_high),
            "deleted_bytes_high": _whole(sizes_high),
            **{name: _real(each) for name, each in future.items()},
            "batches": _whole(_batches(run, rows + future["future_deleted"])),
        }
    )


def _batches(run: PolicyRun, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the transactions that deleting so many rows takes; one at least looks."""
    size = run.policy.batch_size
    return np.maximum(np.ceil(rows / size), 1).astype(np.int64) if size else np.ones(len(rows), np.int64)


def summary_table(runs: Sequence[PolicyRun]) -> pa.Table:
    """Return `Simulation.summary`."""
    return pa.concat_tables([_summary(each) for each in runs])


def _summary(run: PolicyRun) -> pa.Table:
    sizes = run.setting.rows.value_bytes
    line, cleanups = run.whole, cleanups_table(run)
    cleared, cleared_bytes = run.cleared
    first = {name: cleanups.column(name)[0].as_py() if cleanups.num_rows else 0 for name in cleanups.column_names[2:6]}
    whole = {
        "deleted_now": first["deleted"],
        "deleted_now_bytes": first["deleted_bytes"],
        "kept_now": len(sizes) - cleared - first["deleted"],
        "kept_now_bytes": int(sizes.sum()) - cleared_bytes - first["deleted_bytes"],
        "cleared": cleared,
        "cleared_bytes": cleared_bytes,
        "deleted_now_high": first["deleted_high"],
        "deleted_now_bytes_high": first["deleted_bytes_high"],
    }
    real: dict[str, float] = {}
    for name, band in (("rows", line.rows), ("bytes", line.bytes)):
        ends = (band.expected, band.low, band.high)
        real |= {f"end_{name}{end}": float(each[-1, 0]) for end, each in zip(("", "_low", "_high"), ends, strict=True)}
    begun = slice(min(cleanups.num_rows, 1), None)  # what the first cleanup finds is not of the policy's making
    for name, band in (("rows", line.rows), ("bytes", line.bytes)):
        real |= {f"peak_{name}": float(band.expected[begun].max()), f"peak_{name}_high": float(band.high[begun].max())}
    largest, largest_high = (
        cleanups.column(f"deleted{end}").to_numpy() + cleanups.column(f"future_deleted{end}").to_numpy()
        for end in ("", "_high")
    )
    costs = {
        "cleanups": cleanups.num_rows,
        "largest_cleanup_rows": round(float(largest.max(initial=0))),
        "largest_cleanup_rows_high": round(float(np.maximum(largest, largest_high).max(initial=0))),
        "batches": int(cleanups.column("batches").to_numpy().sum()),
        "unsafe_rows": run.unsafe_rows,
    }
    return _table(
        {
            "policy": pa.array([run.policy.name], pa.string()),
            **{name: pa.array([each], pa.int64()) for name, each in whole.items()},
            **{name: pa.array([each], pa.float64()) for name, each in real.items()},
            "peak_at": _instants(line.at_us[begun][[int(line.bytes.expected[begun, 0].argmax())]]),
            **{name: pa.array([each], pa.int64()) for name, each in costs.items()},
            "unsafe_writes_per_day": pa.array([run.short_a_day], pa.float64()),
        }
    )
