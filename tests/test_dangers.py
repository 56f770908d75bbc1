"""What else would go, and Airflow does not say: on every database, by a model, and by real Airflow itself."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
import uuid
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from contract_rows import STATES, TICK, T, asset_row, instants, many_rows, snapshot, task_row
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from parts import LAYOUT_NAMES, Family, Sandboxes, require

import storekit as sk
from storekit.cli import main
from storekit.errors import QueryError
from storekit.frames.contract import ROWS
from storekit.frames.dangers import Danger
from storekit.frames.wire import to_contract
from storekit.metastore.layouts import Layout, layout_named
from storekit.metastore.scans import scan_rows
from storekit.metastore.sight import Sight
from storekit.reading import open_wire

sys.path.insert(0, str(Path(__file__).parent / "real_airflow"))
sys.path.insert(0, str(Path(__file__).parent / "frames"))
from client import airflow_cli, migrated_sqlite
from filled import cursor_scan, in_order, is_reference

ROOT = Path(__file__).resolve().parent.parent
AIRFLOW_33 = ROOT / "data" / "fixtures" / "airflow-3.3.2.db"
AIRFLOW_34 = ROOT / "data" / "fixtures" / "airflow-3.4-schema.db"
FAMILIES: tuple[Family, ...] = ("sqlite", "postgres", "mysql")
FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}
REGION = uuid.UUID("01a2035f-4a00-7000-8000-00000000ab01")
NO_REGION = uuid.UUID(int=0)

Row = dict[str, Any]

# --- the dangers, by a model ------------------------------------------------------------------------------------


def in_danger(row: Row, danger: str, *, layout: str, now: datetime, before: datetime | None) -> bool:
    expires_at, started_at = row["expires_at"], row["run_started_at"]
    deleted = row["store"] == "task" and not row["never_expire"] and expires_at is not None and expires_at < now
    if danger == "unfinished-task":
        return deleted and row["task_state"] is not None and row["task_state"] not in FINISHED
    if danger == "orphaned-object":
        return deleted and row["is_reference"]
    if danger == "inactive-asset":
        return row["store"] == "asset" and not row["active"] and layout != "storekit"
    if danger == "expires-before-retry":
        soon = expires_at is not None and timedelta(0) <= expires_at - now < timedelta(days=1)
        unfinished = row["task_state"] is not None and row["task_state"] not in FINISHED
        return row["store"] == "task" and not row["never_expire"] and soon and unfinished
    assert danger == "db-clean"
    return None not in (before, started_at, row["run_is_kept"]) and started_at < before and not row["run_is_kept"]


@given(
    rows=many_rows(),
    now=instants(),
    before=st.none() | instants(),
    layout=st.sampled_from(LAYOUT_NAMES),
)
@example(
    rows=[
        task_row(expires_at=T - TICK, task_state="none", run_started_at=T, run_is_kept=False),
        task_row(key="ref", expires_at=T - TICK, is_reference=True, run_started_at=T - TICK, run_is_kept=False),
        task_row(key="never", never_expire=True, run_started_at=T - TICK, run_is_kept=False),
        task_row(key="last", run_started_at=T - TICK, run_is_kept=True),
        asset_row(key="asset", active=False),
        task_row(key="at now", expires_at=T, task_state="up_for_retry"),
        task_row(key="today", expires_at=T + timedelta(days=1) - TICK, task_state="running"),
        task_row(key="tomorrow", expires_at=T + timedelta(days=1), task_state="running"),
        task_row(key="done", expires_at=T, task_state="success"),
    ],
    now=T,
    before=T,
    layout="airflow-3.3",
)
def test_dangers_are_what_a_model_says(rows: list[Row], now: datetime, before: datetime | None, layout: str) -> None:
    preview = snapshot(rows, layout=layout, sees_dag_runs=True).preview(now)
    truth = {
        danger: [row for row in rows if in_danger(row, danger, layout=layout, now=now, before=before)]
        for danger in map(str, Danger)
    }
    table = preview.dangers(before)
    assert {row["danger"]: (row["rows"], row["value_bytes"]) for row in table.to_dict("records")} == {
        danger: (len(found), sum(row["value_bytes"] for row in found)) for danger, found in truth.items() if found
    }
    assert list(table["rows"]) == sorted(table["rows"], reverse=True)
    for danger, found in truth.items():
        if danger != "db-clean" or before is not None:
            listed = preview.danger_rows(danger, db_clean_before=before)
            assert sorted(listed["key"]) == sorted(row["key"] for row in found)
            assert list(listed["key"]) == [
                key for key in preview.rows(verdict=None)["key"] if key in set(listed["key"])
            ]


def test_the_tables_have_the_documented_columns_with_rows_or_without() -> None:
    for rows in ([], [task_row(expires_at=T - TICK, task_state="running", run_started_at=T)]):
        preview = snapshot(rows).preview()
        assert {name: str(dtype) for name, dtype in preview.dangers().dtypes.items()} == {
            "danger": "str",
            "rows": "int64",
            "value_bytes": "int64",
            "about": "str",
        }
        listed = preview.danger_rows(Danger.UNFINISHED_TASK)
        assert len(listed) == len(rows)
        assert list(listed.columns) == [*preview.rows().columns, "task_state", "run_started_at"]
        assert [str(dtype) for dtype in listed.dtypes.iloc[-2:]] == ["str", "datetime64[us, UTC]"]


def test_pages_are_cut_from_the_order_of_rows() -> None:
    rows = [task_row(key=str(number), expires_at=T - TICK, is_reference=True) for number in range(10)]
    preview = snapshot(rows).preview()
    assert list(preview.danger_rows("orphaned-object", limit=3, offset=6)["key"]) == ["6", "7", "8"]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda preview: preview.danger_rows("nope"), "there is no danger 'nope'"),
        (lambda preview: preview.danger_rows("db-clean"), "needs to know the cutoff"),
        (lambda preview: preview.danger_rows("orphaned-object", limit=-1), "limit"),
        (lambda preview: preview.dangers("2026-11-22"), "db_clean_before='2026-11-22' has no time zone"),
    ],
)
def test_what_is_no_question_is_said(ask: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        ask(snapshot([], sees_dag_runs=True).preview())
    assert caught.value.hint


def test_no_rows_do_not_pass_for_no_danger() -> None:
    with pytest.raises(QueryError, match="cannot be told"):
        snapshot([task_row()], layout="airflow-3.3").preview().dangers(T)
    notes = snapshot([task_row(expires_at=T - TICK)], layout="airflow-3.3").preview().notes
    assert [note for note in notes if "cannot be told: the snapshot's reader could not see task_instance" in note]
    for info in ({"layout": "airflow-3.3", "sees_task_instances": True}, {"layout": "storekit"}):
        assert not snapshot([task_row(expires_at=T - TICK, never_expire=False)], **info).preview().notes


def test_texts_are_closed_and_say_what_happens() -> None:
    assert [str(danger) for danger in Danger] == [
        "unfinished-task",
        "orphaned-object",
        "inactive-asset",
        "db-clean",
        "expires-before-retry",
    ]
    assert len({danger.sentence for danger in Danger}) == 5


def test_notes_html_and_json_show_them() -> None:
    rows = [
        task_row(expires_at=T - TICK, task_state="up_for_retry", value_bytes=300),
        task_row(key="kept", task_state="running"),
        asset_row(active=False),
    ]
    preview = snapshot(rows, layout="airflow-3.3", sees_task_instances=True, sees_dag_runs=True).preview()
    assert f"Danger unfinished-task, 1 row: {Danger.UNFINISHED_TASK.sentence}." in preview.notes
    assert "Danger unfinished-task, 1 row" in repr(preview)
    page = preview._repr_html_()
    assert page.count("inactive-asset") == 1  # in the table, not in a note above it too
    assert Danger.INACTIVE_ASSET.sentence in page
    assert "Dangers" not in snapshot([task_row()]).preview()._repr_html_()
    document = json.loads(str(preview.to_json()))
    assert [(row["danger"], row["rows"], row["value_bytes"]) for row in document["dangers"]] == [
        ("unfinished-task", 1, 300),
        ("inactive-asset", 1, 10),
    ]


# --- what is read -----------------------------------------------------------------------------------------------

VALUES = (
    "1",
    "-1.5e3",
    "NaN",
    '"x"',
    '{"a": "__airflow_state_ref__"}',
    '{"__airflow_state_ref__": "s3://bucket/key"}',
    '{"__AIRFLOW_STATE_REF__": "shouted"}',
    "s3://bucket/key",
    "12 monkeys",
    "trueish",
    "",
    '"' + "é" * 9000 + '"',
    "s3://" + "é" * 9000,
)


@st.composite
def databases(draw: st.DrawFn, family: Family, layout: Layout) -> dict[str, list[Row]]:
    """Draw Dags with runs that tie, are manual, have not started or have no rows, their instances and rows."""
    runs: list[Row] = []
    instances: list[Row] = []
    rows: list[Row] = []
    for dag_id in ("etl", "ml"):
        for number in range(draw(st.integers(0, 4))):
            run = {"id": len(runs) + 1, "dag_id": dag_id, "run_id": f"run {number}", "state": "success"}
            run["start_date"] = draw(st.none() | st.sampled_from([T - timedelta(days=2), T - TICK, T]))
            run["run_type"] = draw(st.sampled_from(["manual", "scheduled", "backfill"]))
            runs.append(run)
            of = {"dag_id": dag_id, "run_id": run["run_id"]}
            for task_id, map_index, region_id in (("load", -1, NO_REGION), ("map", 3, NO_REGION), ("map", 3, REGION)):
                if region_id != NO_REGION and not layout.has_regions:
                    continue
                place = {**of, "task_id": task_id, "map_index": map_index, "region_id": region_id}
                attempts = [True] * draw(st.integers(0, 1))
                if layout.has_regions:
                    attempts += [None] * draw(st.integers(0, 2))
                for attempt, working_set in enumerate(attempts):
                    state = draw(st.none() | st.sampled_from(STATES[1:]))
                    instance = {**place, "id": uuid.uuid4().hex, "state": state, "working_set": working_set}
                    instances.append({**instance, "try_number": len(attempts) - attempt})
                for key in "ab"[: draw(st.integers(0, 2))]:
                    value = draw(st.sampled_from(VALUES))
                    row = {**place, "dag_run_id": run["id"], "key": key, "value": value, "updated_at": T}
                    rows.append({**row, "expires_at": draw(st.sampled_from([None, T - TICK])), "never_expire": False})
    return {"dag_run": runs, "task_instance": instances, "task_store": rows}


def insert(engine: sa.Engine, layout: Layout, drawn: dict[str, list[Row]]) -> None:
    tables = {name: getattr(layout, name) for name in (*drawn, "asset", "asset_store")}
    asset = {"id": 1, "name": "orders", "uri": "s3://orders"}
    drawn = {**drawn, "asset": [asset], "asset_store": [{"asset_id": 1, "key": "k", "value": "1", "updated_at": T}]}
    with engine.begin() as connection:
        if connection.dialect.name in {"mysql", "mariadb"}:
            connection.execute(sa.text("SET time_zone = '+00:00'"))
        for name, rows in drawn.items():
            table = tables[name]
            for row in rows:
                given = {column: cell for column, cell in row.items() if column in table.c}
                connection.execute(table.insert().values(given))


def told(drawn: dict[str, list[Row]], layout: Layout, family: Family, *, blind: bool = False) -> dict[Any, Row]:
    """Return what the new columns should hold, by natural key."""
    runs = {run["id"]: run for run in drawn["dag_run"]}
    newest: dict[str, datetime] = {}
    for run in drawn["dag_run"]:
        if run["run_type"] != "manual" and run["start_date"] is not None:
            newest[run["dag_id"]] = max(run["start_date"], newest.get(run["dag_id"], run["start_date"]))
    place = ("dag_id", "run_id", "task_id", "map_index", "region_id")
    states = {
        tuple(each[name] for name in place): each["state"] or "none"
        for each in drawn["task_instance"]
        if each["working_set"] or not layout.has_regions
    }
    found = {}
    for row in drawn["task_store"]:
        run = runs[row["dag_run_id"]]
        sees_runs = layout.is_airflow and not blind
        found[(*(row[name] for name in place), row["key"])] = {
            "is_reference": is_reference(row["value"], layout, family),
            "task_state": None if blind else states.get(tuple(row[name] for name in place)),
            "run_started_at": run["start_date"] if sees_runs else None,
            "run_is_kept": (newest.get(run["dag_id"]) == run["start_date"] != None) if sees_runs else None,  # noqa: E711
        }
    return found


def read(rows: list[Row], layout: Layout) -> dict[Any, Row]:
    tasks = [row for row in rows if row["store"] == "task"]
    found = {}
    for row in tasks:
        region = uuid.UUID(row["region_id"]) if layout.has_regions else NO_REGION
        key = (row["dag_id"], row["run_id"], row["task_id"], row["map_index"], region, row["key"])
        found[key] = {name: row[name] for name in ("is_reference", "task_state", "run_started_at", "run_is_kept")}
    assert len(found) == len(tasks)  # no row was multiplied
    (asset,) = [row for row in rows if row["store"] == "asset"]
    assert (asset["is_reference"], asset["task_state"], asset["run_started_at"], asset["run_is_kept"]) == (
        False,
        None,
        None,
        None,
    )
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout_name", LAYOUT_NAMES)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_snapshot_holds_what_the_parents_tell(
    sandboxes: Sandboxes, family: Family, layout_name: str, data: st.DataObject
) -> None:
    sandbox = sandboxes.get(family)
    layout = sandbox.hold(layout_name)
    drawn = data.draw(databases(family, layout))
    insert(sandbox.engine, layout, drawn)
    with sk.connect(sandbox.url) as store:
        taken = store.snapshot()
    assert (taken.info.sees_task_instances, taken.info.sees_dag_runs) == (True, layout.is_airflow)
    truth = told(drawn, layout, family)
    assert read(taken.to_reader().read_all().to_pylist(), layout) == truth


def one_of_each(layout: Layout) -> dict[str, list[Row]]:
    run = {"id": 1, "dag_id": "etl", "run_id": "r", "state": "running", "start_date": T, "run_type": "scheduled"}
    runs = [run, {**run, "id": 2, "run_id": "older", "start_date": T - TICK}]
    instances, rows = [], []
    for number, (value, state) in enumerate(zip(VALUES, STATES, strict=False)):
        place = {"dag_id": "etl", "run_id": "r", "task_id": f"t{number}", "map_index": number, "region_id": NO_REGION}
        if number != 1:  # a row without an instance
            instance = {**place, "id": uuid.uuid4().hex, "state": None if state == "none" else state}
            instances.append({**instance, "working_set": True})
        row = {**place, "dag_run_id": 1, "key": "k", "value": value, "updated_at": T, "never_expire": False}
        rows.append(row)
    rows.append({**rows[0], "dag_run_id": 2, "run_id": "older"})
    return {"dag_run": runs, "task_instance": instances, "task_store": rows}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout_name", LAYOUT_NAMES)
@pytest.mark.parametrize("sees", [True, False])
def test_a_cursor_reads_what_the_fast_routes_read(
    sandboxes: Sandboxes, family: Family, layout_name: str, sees: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = sandboxes.get(family)
    layout = sandbox.hold(layout_name)
    insert(sandbox.engine, layout, one_of_each(layout))
    if not sees:
        monkeypatch.setattr("storekit.store.look", lambda *_: Sight())
    with sk.connect(sandbox.url) as store:
        fast = store.snapshot().to_reader().read_all()
        monkeypatch.setattr("storekit.metastore.reading._driver_for", lambda _: "cursor")
        slow = store.snapshot().to_reader().read_all()
    assert in_order(fast).equals(in_order(slow))
    assert read(slow.to_pylist(), layout) == told(one_of_each(layout), layout, family, blind=not sees)
    if not sees:
        assert in_order(cursor_scan(sandbox.engine, layout, ROWS).to_arrow()).equals(in_order(fast))


@pytest.mark.parametrize("layout_name", LAYOUT_NAMES)
def test_a_role_that_may_not_see_the_parents_gets_its_snapshot(sandboxes: Sandboxes, layout_name: str) -> None:
    sandbox = sandboxes.get("postgres")
    layout = sandbox.hold(layout_name)
    insert(sandbox.engine, layout, one_of_each(layout))
    role = f"sktest_{uuid.uuid4().hex[:12]}"
    seen = [layout.task_store.name, layout.asset_store.name, "asset", "asset_active"]
    engine = sa.create_engine(sandbox.engine.url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")

    def run(*statements: str) -> None:
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    run(f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON {', '.join(seen)} TO {role}")
    try:
        url = sa.make_url(sandbox.url).set(username=role).render_as_string(hide_password=False)
        for grants, sight in (
            ([], (False, False)),
            (["task_instance"], (True, False)),
            (["dag_run"], (True, layout.is_airflow)),
        ):
            run(*(f"GRANT SELECT ON {table} TO {role}" for table in grants))
            with sk.connect(url) as store:
                taken = store.snapshot()
            assert (taken.info.sees_task_instances, taken.info.sees_dag_runs) == sight
            assert len(taken) == len(one_of_each(layout)["task_store"]) + 1
            found = read(taken.to_reader().read_all().to_pylist(), layout).values()
            assert any(row["task_state"] for row in found) == sight[0]
            assert any(row["run_started_at"] for row in found) == sight[1]
    finally:
        run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ([], {"rows of 3.4": "success"}),
        # 3.4 between its migrations, and beyond what is known of it.
        (["ALTER TABLE task_instance RENAME COLUMN region_index TO map_index"], {"rows of 3.4": "success"}),
        (["ALTER TABLE task_instance DROP COLUMN region_id"], {"rows of 3.4": None}),
        (["ALTER TABLE task_instance ADD COLUMN map_index INTEGER"], {"rows of 3.4": "success"}),
        (
            [
                "ALTER TABLE task_instance ADD COLUMN working_set BOOLEAN DEFAULT 1",
                "UPDATE task_instance SET working_set = NULL WHERE task_id = 'evaluate'",
            ],
            {"rows of 3.4": None},
        ),
    ],
)
def test_task_instances_are_joined_by_what_columns_there_are(
    changes: list[str], states: dict[str, str | None], tmp_path: Path
) -> None:
    copy = tmp_path / "airflow.db"
    shutil.copy(AIRFLOW_34, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        for change in changes:
            connection.execute(change)
    with sk.connect(copy) as store:
        taken = store.snapshot()
    assert taken.info.sees_task_instances
    assert len(taken.tasks()) == 106
    found = taken.sql(
        """SELECT DISTINCT task_state FROM rows
        WHERE task_id = 'evaluate' AND region_id = '01a2035f-4a00-7000-8000-00000000ab01'"""
    )
    assert found["task_state"].astype(object).where(found["task_state"].notna(), None).tolist() == [
        states["rows of 3.4"]
    ]
    # The second attempt's region is no instance's; the first's is in the default region, and failed.
    failed = taken.sql(
        "SELECT region_id, task_state FROM rows WHERE task_id = 'load_table' AND run_id = $run AND map_index = 3",
        run=taken.sql("SELECT run_id FROM rows WHERE region_id LIKE '%ab02'")["run_id"][0],
    )
    assert {
        (region.endswith("ab02"), None if state != state else state) for region, state in failed.itertuples(index=False)
    } == {(True, None), (False, "failed")}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("has_regions", [True, False])
def test_an_instance_without_a_region_is_the_default_regions(
    sandboxes: Sandboxes, family: Family, has_regions: bool
) -> None:
    sandbox = sandboxes.get(family)
    layout = sandbox.hold("airflow-3.4")
    drawn = one_of_each(layout)
    elsewhere = [{**row, "region_id": REGION} for row in drawn["task_store"]]
    insert(sandbox.engine, layout, {**drawn, "task_store": [*drawn["task_store"], *elsewhere]})
    seen = {"map_index", "region_index", "working_set"} | ({"region_id"} if has_regions else set())
    with sk.connect(sandbox.url) as store:
        statement = scan_rows(layout, store._dialect, Sight(True, True, frozenset(seen)))
        with open_wire(store._database, statement) as wire:
            rows = to_contract(wire, ROWS, values=False).read_all().to_pylist()
    truth = told({**drawn, "task_store": [*drawn["task_store"], *elsewhere]}, layout, family)
    assert read(rows, layout) == truth
    assert not any(row["task_state"] for key, row in truth.items() if REGION in key)


@pytest.mark.parametrize(
    ("change", "sight"),
    [
        ("ALTER TABLE task_instance RENAME COLUMN state TO condition", (False, True)),
        ("ALTER TABLE dag_run RENAME COLUMN run_type TO kind", (True, False)),
        ("ALTER TABLE task_instance RENAME TO gone", (False, True)),
    ],
)
def test_what_is_not_there_is_not_seen(change: str, sight: tuple[bool, bool], tmp_path: Path) -> None:
    copy = tmp_path / "airflow.db"
    shutil.copy(AIRFLOW_33, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute(change)
    with sk.connect(copy) as store:
        taken = store.snapshot()
    assert (taken.info.sees_task_instances, taken.info.sees_dag_runs) == sight
    assert len(taken) == 114


@pytest.mark.parametrize("text", ["2026-11-20 00:00:00", "2026-02-30 00:00:00.000000", "x", "", 5])
def test_a_start_that_is_no_instant_does_not_stop_a_snapshot(text: object, tmp_path: Path) -> None:
    copy = tmp_path / "airflow.db"
    shutil.copy(AIRFLOW_33, copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        connection.execute("UPDATE dag_run SET start_date = ? WHERE dag_id = 'supplier_feed'", [text])
    with sk.connect(copy) as store:
        counted = store.snapshot().sql(
            "SELECT dag_id, count(run_started_at) AS n FROM tasks JOIN rows USING (dag_id) GROUP BY 1"
        )
    assert {row.dag_id: row.n > 0 for row in counted.itertuples()} == {
        "churn_model": True,
        "orders_etl": True,
        "supplier_feed": False,
    }


# --- the real thing ---------------------------------------------------------------------------------------------

DAG_RUNS = [
    # dag, run, type, start in hours before T
    ("etl", "s1", "scheduled", 50),
    ("etl", "s2", "scheduled", 30),
    ("etl", "s3", "scheduled", 20),  # the last of its Dag: kept, though before any cutoff
    ("etl", "m1", "manual", 20),  # ties with it: kept
    ("etl", "m2", "manual", 10),  # newer than the last that counts: goes
    ("etl", "m0", "manual", 60),
    ("etl", "queued", "scheduled", None),
    ("manual only", "m1", "manual", 40),
    ("manual only", "m2", "manual", 30),
    ("tied", "a", "scheduled", 25),
    ("tied", "b", "backfill", 25),
    ("tied", "c", "asset_triggered", 26),
    ("fresh", "s1", "scheduled", 1),
    ("never started", "s1", "scheduled", None),
    ("elsewhere newest", "s1", "scheduled", 45),
    ("elsewhere newest", "s2", "scheduled", 35),  # its newest run has no rows in the store
]


@pytest.fixture(scope="module")
def to_be_cleaned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("airflow")
    path = tmp_path_factory.mktemp("db-clean") / "airflow.db"
    shutil.copy(migrated_sqlite(tmp_path_factory), path)
    layout = layout_named("airflow-3.3")
    engine = sa.create_engine(f"sqlite:///{path}")
    written = "%Y-%m-%d %H:%M:%S.%f"
    with engine.begin() as connection:
        for number, (dag_id, run_id, run_type, hours) in enumerate(DAG_RUNS, 1):
            started_at = None if hours is None else T - timedelta(hours=hours)
            connection.execute(
                sa.text(
                    "INSERT INTO dag_run (id, dag_id, run_id, run_type, start_date, run_after, state, clear_number, "
                    "span_status) VALUES (:id, :dag, :run, :type, :start, :after, 'success', 0, 'ended')"
                ),
                {"id": number, "dag": dag_id, "run": run_id, "type": run_type, "after": T.strftime(written)}
                | {"start": None if started_at is None else started_at.strftime(written)},
            )
            if (dag_id, run_id) == ("elsewhere newest", "s2"):
                continue
            # Never to expire; expired after the cutoff; expired before it, which Airflow deletes for that alone.
            for key, expires_at in (("never", None), ("lately", T - TICK), ("long ago", T - timedelta(days=30))):
                row = {"dag_run_id": number, "dag_id": dag_id, "run_id": run_id, "task_id": "t", "key": key}
                row |= {"value": "1", "updated_at": T, "expires_at": expires_at, "map_index": -1}
                connection.execute(layout.task_store.insert().values(row))
    engine.dispose()
    return path


def keys_in(path: Path) -> set[tuple[str, str, str]]:
    with sk.connect(path) as store:
        return set(store.tasks(values=False)[["dag_id", "run_id", "key"]].itertuples(index=False, name=None))


# On a run's very start, which is kept by "<", and around them all.
@pytest.mark.parametrize("hours", [100, 30, 24, 5])
def test_airflows_db_clean_deletes_what_was_said(to_be_cleaned: Path, hours: int, tmp_path: Path) -> None:
    before = T - timedelta(hours=hours)
    copy = tmp_path / "airflow.db"
    shutil.copy(to_be_cleaned, copy)
    with sk.connect(copy) as store:
        listed = store.snapshot().preview(T).danger_rows("db-clean", db_clean_before=before)
        endangered = set(listed[["dag_id", "run_id", "key"]].itertuples(index=False, name=None))
    there = keys_in(copy)
    done = airflow_cli(
        f"sqlite:///{copy}",
        *("db", "clean", "--clean-before-timestamp", before.isoformat()),
        *("--tables", "dag_run", "--skip-archive", "--yes"),
    )
    assert done.returncode == 0, done.stderr
    gone = there - keys_in(copy)
    # --tables dag_run cleans the tables that hang on it too, task_state_store among them, each by its own date.
    assert gone - endangered == {row for row in there if row[2] == "long ago"} - endangered
    assert endangered <= gone
    assert {key for _, _, key in endangered} == ({"never", "lately", "long ago"} if hours < 60 else set())
    if hours == 5:
        runs = {(dag_id, run_id) for dag_id, run_id, _ in endangered}
        assert runs == {
            *(("etl", run_id) for run_id in ("s1", "s2", "m0", "m2")),
            *(("manual only", run_id) for run_id in ("m1", "m2")),
            ("tied", "c"),
            ("elsewhere newest", "s1"),
        }


# --- the command line -------------------------------------------------------------------------------------------


def test_the_command_prints_them(capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["preview", str(AIRFLOW_33), "--now", "2026-11-28T00:00:00Z", "--db-clean-before", "2026-11-17T00:00:00Z"]
    assert main([*asked, "--format", "json"]) == 0
    dangers = {row["danger"]: row["rows"] for row in json.loads(capfd.readouterr().out)["dangers"]}
    assert set(dangers) == {"db-clean", "inactive-asset"}
    assert main(asked) == 0
    shown = capfd.readouterr().out
    assert "dangers:" in shown
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith(("db-clean", "inactive-asset"))] == [
        ["db-clean", str(dangers["db-clean"])],
        ["inactive-asset", "3"],
    ]
    assert main([*asked, "--format", "csv"]) == 2
    with pytest.raises(SystemExit, match="2"):
        main([*asked[:-1], "2026-11-17"])
