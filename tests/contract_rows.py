"""Rows of the snapshot contract, made by hand: what a reading layer would hand over, without one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from storekit.frames.contract import ROWS
from storekit.frames.snapshot import Snapshot, SnapshotInfo

SCHEMA = ROWS.schema(values=False)
T = datetime(2026, 11, 22, 10, tzinfo=UTC)
TICK = timedelta(microseconds=1)

HOSTILE = (
    "'; DROP TABLE rows; --",
    "\"double\" and 'single'",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>&amp;",
    "a,b;c\td",
    "line\nfeed and\r\nreturn",
    "\x1b[31mred\x07",
    "\u202egnp.exe",
    "zero\u200bwidth\ufeff",
    "$x^2$ \\(y\\)",
    "=cmd|' /C calc'!A1",
    "👩\u200d🚀 emoji 漢字 é e\u0301",
    "k" * 512,
    "\U0001f980" * 512,
    " ",
    "NaN",
    "null",
)

# Every state of airflow 3.3.2's TaskInstanceState, and what stands for none.
STATES = (
    "none",
    "scheduled",
    "queued",
    "running",
    "restarting",
    "up_for_retry",
    "up_for_reschedule",
    "deferred",
    "awaiting_input",
    "success",
    "failed",
    "skipped",
    "upstream_failed",
    "removed",
)


def task_row(**given: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    return row | {
        "store": "task",
        "dag_id": "etl",
        "run_id": "run",
        "task_id": "load",
        "map_index": -1,
        "key": "k",
        "value_bytes": 10,
        "updated_at": T - timedelta(days=1),
        "is_reference": False,
        **given,
    }


def asset_row(**given: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names)
    return row | {
        "store": "asset",
        "asset_id": 3,
        "asset_name": "orders",
        "asset_uri": "s3://lake/orders",
        "active": True,
        "key": "k",
        "value_bytes": 10,
        "updated_at": T - timedelta(days=1),
        "last_updated_by_kind": "api",
        "is_reference": False,
        **given,
    }


def reader(rows: Iterable[dict[str, Any]], *, batch_rows: int = 1000) -> pa.RecordBatchReader:
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    return pa.RecordBatchReader.from_batches(SCHEMA, table.to_batches(max_chunksize=batch_rows))


def info(**given: Any) -> SnapshotInfo:
    return SnapshotInfo(
        **{
            "taken_at": T,
            "layout": "storekit",
            "database": "sqlite:///airflow.db",
            "dialect": "sqlite",
            "has_never_expire": True,
            **given,
        }
    )


def snapshot(rows: Iterable[dict[str, Any]], **given: Any) -> Snapshot:
    return Snapshot.from_reader(reader(rows), info(**given))


def instants() -> st.SearchStrategy[datetime]:
    """Around T to the microsecond, and as far away as a database can hold."""
    near = st.sampled_from([timedelta(0), TICK, -TICK, timedelta(days=30), timedelta(days=-30)]).map(lambda by: T + by)
    far = st.sampled_from(
        [
            datetime.min.replace(tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
            datetime.max.replace(tzinfo=UTC),
        ]
    )
    return near | far | st.datetimes(timezones=st.just(UTC))


@st.composite
def many_rows(draw: st.DrawFn, *, max_size: int = 12) -> list[dict[str, Any]]:
    """Rows with distinct natural keys, of both stores, with every combination of flag and expiry."""
    rows = []
    for number in range(draw(st.integers(0, max_size))):
        common = {
            "key": f"{number}-{draw(st.sampled_from(HOSTILE))}"[:512],
            "value_bytes": draw(st.integers(0, 2**40)),
            "updated_at": draw(instants()),
            "is_reference": draw(st.booleans()),
        }
        if draw(st.integers(0, 4)) == 0:
            common |= {"asset_name": draw(st.sampled_from(["orders", "it's"])), "active": draw(st.booleans())}
            rows.append(asset_row(**common))
        else:
            rows.append(
                task_row(
                    **common,
                    dag_id=draw(st.sampled_from(["etl", "ml", "<b>"])),
                    map_index=draw(st.integers(-1, 2)),
                    region_id=draw(st.none() | st.just("00000000-0000-0000-0000-000000000000")),
                    expires_at=draw(st.none() | instants()),
                    never_expire=draw(st.sampled_from([None, False, True])),
                    task_state=draw(st.none() | st.sampled_from(STATES)),
                    run_started_at=draw(st.none() | instants()),
                    run_is_kept=draw(st.none() | st.booleans()),
                )
            )
    return rows
