"""``df.storekit`` agrees with `judge` and with json, whatever the frame's dtypes, order and index."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from contract_rows import T, many_rows, snapshot, task_row
from hypothesis import example, given
from hypothesis import strategies as st

import storekit.frames  # noqa: F401  registers df.storekit
from storekit.errors import QueryError
from storekit.frames.contract import ASSETS, ROWS, TASKS
from storekit.frames.dtypes import to_frame
from storekit.retention import judge
from storekit.testing import json_texts

NOW = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
EXPIRIES = (
    st.none() | st.sampled_from([NOW, NOW - MICROSECOND, NOW + MICROSECOND]) | st.datetimes(timezones=st.just(UTC))
)
FATES = st.lists(st.tuples(EXPIRIES, st.sampled_from([None, False, True])))
BACKENDS = [None, "numpy_nullable", "pyarrow"]


def task_frame(fates: list[tuple[datetime | None, bool | None]], backend: Any) -> pd.DataFrame:
    texts = dict.fromkeys(("dag_id", "run_id", "task_id", "key", "value"), "1")
    rows = [
        {**texts, "map_index": -1, "region_id": None, "value_bytes": 1, "updated_at": NOW}
        | {"expires_at": expires_at, "never_expire": flag}
        for expires_at, flag in fates
    ]
    schema = TASKS.schema(values=True)
    return to_frame(pa.Table.from_pylist(rows, schema).to_batches(), schema, dtype_backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@given(fates=FATES)
@example(fates=[])
@example(fates=[(NOW - MICROSECOND, True), (NOW - MICROSECOND, None), (NOW, None), (None, None), (None, False)])
def test_verdicts_are_those_of_judge(backend: Any, fates: list[tuple[datetime | None, bool | None]]) -> None:
    frame = task_frame(fates, backend)
    before = frame.copy()
    judged = frame.storekit.verdicts(NOW)
    for (expires_at, flag), (_, row) in zip(fates, judged.iterrows(), strict=True):
        verdict = judge(store="task", expires_at=expires_at, never_expire=flag, now=NOW)
        assert (row["verdict"], row["reason"]) == (verdict.fate, verdict.reason)
        assert (None if pd.isna(row["margin"]) else row["margin"].to_pytimedelta()) == verdict.margin
    assert [str(judged[name].dtype) for name in ("verdict", "reason", "margin")] == ["str", "str", "timedelta64[us]"]
    pd.testing.assert_frame_equal(frame, before)


def test_rows_of_assets_are_kept_by_their_own_reason() -> None:
    schema = ROWS.schema(values=False)
    row = dict.fromkeys(schema.names) | {"key": "k", "value_bytes": 1, "updated_at": NOW}
    rows = [{**row, "store": "asset"}, {**row, "store": "task", "expires_at": NOW - MICROSECOND}]
    frame = to_frame(pa.Table.from_pylist(rows, schema).to_batches(), schema)
    assert frame.storekit.verdicts(NOW)["reason"].tolist() == ["asset-row", "expired"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("drop", [[], ["asset_id", "asset_uri", "value"]])
def test_a_frame_of_assets_is_kept_row_by_row(backend: Any, drop: list[str]) -> None:
    schema = ASSETS.schema(values=True)
    row = dict.fromkeys(schema.names) | {"asset_id": 1, "asset_name": "n", "asset_uri": "u", "active": True, "key": "k"}
    row |= {"value": "1", "value_bytes": 1, "updated_at": NOW}
    for rows in ([], [row, row]):
        frame = to_frame(pa.Table.from_pylist(rows, schema).to_batches(), schema, dtype_backend=backend)
        judged = frame.drop(columns=drop).storekit.verdicts(NOW)
        assert judged["verdict"].tolist() == ["keep"] * len(rows)
        assert judged["reason"].tolist() == ["asset-row"] * len(rows)
        assert judged["margin"].isna().all()
        assert [str(judged[name].dtype) for name in ("verdict", "reason", "margin")] == [
            "str",
            "str",
            "timedelta64[us]",
        ]


@given(rows=many_rows(), later=st.sampled_from([timedelta(0), MICROSECOND, timedelta(days=40)]))
def test_rows_of_a_preview_are_judged_anew(rows: list[dict[str, Any]], later: timedelta) -> None:
    taken = snapshot(rows)
    shown = taken.preview().rows(verdict=None)
    judged = shown.storekit.verdicts(T + later)
    pd.testing.assert_frame_equal(judged, taken.preview(T + later).rows(verdict=None))


@pytest.mark.parametrize(("column", "cell"), [("store", "x"), ("store", None), ("reason", "because"), ("reason", None)])
def test_a_store_or_a_reason_that_is_none_is_said(column: str, cell: Any) -> None:
    frame = snapshot([task_row()]).preview().rows(verdict=None)
    frame[column] = [cell]
    with pytest.raises(QueryError, match=f"the column {column} holds"):
        frame.storekit.verdicts(NOW)


def test_a_frame_may_be_filtered_and_sorted_before() -> None:
    frame = task_frame([(NOW, None), (NOW - MICROSECOND, None), (None, None)], None)
    part = frame.iloc[[2, 1]].set_axis(["x", "x"])
    assert part.storekit.verdicts(NOW)["verdict"].tolist() == ["keep", "delete"]
    assert part.storekit.decode()["decoded"].tolist() == [1, 1]


def test_now_is_now_unless_said_and_must_be_aware() -> None:
    long_ago = datetime(1999, 1, 1, tzinfo=UTC)
    assert task_frame([(long_ago, None)], None).storekit.verdicts()["verdict"].tolist() == ["delete"]
    with pytest.raises(ValueError, match="time zone"):
        task_frame([], None).storekit.verdicts(datetime(2026, 1, 1))  # noqa: DTZ001


def test_missing_columns_are_named() -> None:
    frame = pd.DataFrame({"key": ["k"]})
    with pytest.raises(QueryError, match=r"no column expires_at\n.*store.assets\(\)"):
        frame.storekit.verdicts(NOW)
    with pytest.raises(QueryError, match="no column never_expire"):
        frame.assign(expires_at=pd.Timestamp(NOW)).storekit.verdicts(NOW)
    with pytest.raises(QueryError, match="no column expires_at"):
        frame.assign(asset_name=None, dag_id="d").storekit.verdicts(NOW)
    with pytest.raises(QueryError, match="no column value"):
        frame.storekit.decode()


@pytest.mark.parametrize("cells", [["2026-11-22"], pd.to_datetime(["2026-11-22"]), [5]])
def test_what_is_no_aware_instant_is_refused(cells: Any) -> None:
    with pytest.raises(QueryError, match="aware instants"):
        pd.DataFrame({"expires_at": cells, "never_expire": [None]}).storekit.verdicts(NOW)


@pytest.mark.parametrize("backend", BACKENDS)
@given(texts=st.lists(json_texts() | st.text()))
@example(texts=["[" * 200_000, "1" * 5000, "", "NaN", "null", '{"a": 1}', "[[1], [2]]"])
def test_decoding_is_that_of_json(backend: Any, texts: list[str]) -> None:
    frame = task_frame([(None, None)] * len(texts), backend)
    frame["value"] = pd.array(texts, dtype=frame["value"].dtype)
    decoded = frame.storekit.decode()
    for text, value, error in zip(texts, decoded["decoded"], decoded["decode_error"], strict=True):
        try:
            expected = json.loads(text)
        except (ValueError, RecursionError):
            assert value is None
            assert isinstance(error, str)
        else:
            assert repr(value) == repr(expected)
            assert pd.isna(error)
