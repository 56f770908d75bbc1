"""Stores filled with rows that the test made up, the routes to them, and the tables that they should give.

The expected tables are built from what was inserted, by nothing of what is tested.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from hypothesis import strategies as st
from parts import Family, Sandbox

from storekit.frames.contract import ASSETS, ROWS, TASKS, Table
from storekit.frames.cursor import CursorRoute
from storekit.frames.routes import AdbcPostgresRoute, AdbcSqliteRoute, ConnectorxRoute, Route
from storekit.frames.scan import TableScan
from storekit.metastore.layouts import Layout
from storekit.metastore.scans import Where, compile_for_driver, scan_assets, scan_rows, scan_tasks

Row = dict[str, Any]

FAMILIES: tuple[Family, ...] = ("sqlite", "postgres", "mysql")


def texts(family: Family, layout_name: str, *, largest: int, smallest: int = 0) -> st.SearchStrategy[str]:
    """Return what a text column of this database holds; ids on Airflow's MySQL tables hold no emoji."""
    lowest = 1 if family == "postgres" else 0
    highest = 0xFFFF if family == "mysql" and layout_name != "storekit" else 0x10FFFF
    characters = st.characters(min_codepoint=lowest, max_codepoint=highest, exclude_categories=["Cs"])
    hostile = st.sampled_from(["<b>&amp;\"'", "\\", "''", "%s %% ?", "$1", "\t\n\r\x01", "é"])
    drawn = st.text(characters, min_size=smallest, max_size=largest)
    if highest > 0xFFFF:
        hostile |= st.just("😀")
    return drawn | hostile.filter(lambda text: smallest <= len(text) <= largest)


def values(family: Family) -> st.SearchStrategy[str]:
    """Return stored texts: any, empty too."""
    lowest = 1 if family == "postgres" else 0
    return st.text(st.characters(min_codepoint=lowest, exclude_categories=["Cs"]), max_size=300) | st.just("😀" * 500)


def instants(family: Family, layout_name: str) -> st.SearchStrategy[datetime]:
    """Return instants that the column can hold: MySQL's TIMESTAMP ends in 2038."""
    years = (1, 9999)
    if family == "mysql":
        years = (1971, 2037) if layout_name != "storekit" else (1000, 9999)
    low, high = datetime(years[0], 1, 2), datetime(years[1], 12, 30)  # noqa: DTZ001
    return st.datetimes(low, high, timezones=st.just(UTC))


@st.composite
def stores(draw: st.DrawFn, family: Family, layout: Layout) -> tuple[list[Row], list[Row]]:
    """Draw task rows and asset rows, in the contract's columns, plus ``id``."""
    name = layout.name
    ids = texts(family, name, smallest=1, largest=20)
    keys = texts(family, name, smallest=1, largest=511)
    instant = instants(family, name)
    dag_id, run_id = draw(ids), draw(ids)
    tasks: list[Row] = []
    for number in range(draw(st.integers(0, 6))):
        value = draw(values(family))
        flagged = layout.has_never_expire and draw(st.booleans())
        tasks.append(
            {
                "dag_id": dag_id,
                "run_id": run_id,
                # The number tells tasks apart where a database pads or folds.
                "task_id": f"{number}{draw(ids)}",
                "map_index": draw(st.integers(-1, 2**31 - 1)),
                "region_id": str(draw(st.uuids())) if layout.has_regions else None,
                "key": draw(keys) + ".",
                "value": value,
                "value_bytes": len(value.encode()),
                "updated_at": draw(instant),
                "expires_at": None if flagged else draw(st.none() | instant),
                "never_expire": flagged if layout.has_never_expire else None,
            }
        )
    ascii_names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=50)
    assets: list[Row] = []
    for number in range(draw(st.integers(0, 4))):
        value = draw(values(family))
        by_task = draw(st.booleans())
        assets.append(
            {
                "asset_id": number + 1,
                "asset_name": f"{number}{draw(ascii_names)}",
                "asset_uri": f"s3://{number}{draw(ascii_names)}",
                "active": draw(st.booleans()),
                "key": draw(keys) + ".",
                "value": value,
                "value_bytes": len(value.encode()),
                "updated_at": draw(instant),
                "last_updated_by_kind": "task" if by_task else draw(st.sampled_from(["api", None])),
                "last_updated_by_dag_id": draw(ids) if by_task else None,
                "last_updated_by_run_id": draw(ids) if by_task else None,
                "last_updated_by_task_id": draw(ids) if by_task else None,
                "last_updated_by_map_index": draw(st.integers(-1, 2**31 - 1)) if by_task else None,
            }
        )
    return tasks, assets


def fill(engine: sa.Engine, layout: Layout, tasks: Sequence[Row], assets: Sequence[Row]) -> None:
    """Insert the rows and their parents, past storekit's own statements."""
    with engine.begin() as connection:
        if connection.dialect.name in {"mysql", "mariadb"}:
            connection.execute(sa.text("SET time_zone = '+00:00'"))
        for number, (dag_id, run_id) in enumerate(sorted({(row["dag_id"], row["run_id"]) for row in tasks}), 1):
            run = {"id": number, "dag_id": dag_id, "run_id": run_id, "state": "success"}
            connection.execute(layout.dag_run.insert().values(run))
            for row in tasks:
                if (row["dag_id"], row["run_id"]) == (dag_id, run_id):
                    inserted = {**row, "dag_run_id": number}
                    if row["region_id"] is not None:
                        inserted["region_id"] = uuid.UUID(row["region_id"])
                    connection.execute(layout.task_store.insert().values(_of(layout.task_store, inserted)))
        for row in assets:
            asset = {"id": row["asset_id"], "name": row["asset_name"], "uri": row["asset_uri"]}
            connection.execute(layout.asset.insert().values(asset))
            if row["active"]:
                active = {"name": row["asset_name"], "uri": row["asset_uri"]}
                connection.execute(layout.asset_active.insert().values(active))
            connection.execute(layout.asset_store.insert().values(_of(layout.asset_store, row)))


def _of(table: sa.Table, row: Row) -> Row:
    return {name: cell for name, cell in row.items() if name in table.c}


def expected(table: Table, rows: Iterable[Row], *, values: bool = True) -> pa.Table:
    """Return the contract's table of these rows; a column that a row lacks is null."""
    schema = table.schema(values=values)
    made = [{name: row.get(name) for name in schema.names} for row in rows]
    return in_order(pa.Table.from_pylist(made, schema=schema))


def expected_rows(tasks: Iterable[Row], assets: Iterable[Row], layout: Layout, family: Family) -> pa.Table:
    """Return the `ROWS` table of both, as a reader has it who sees neither task instances nor DagRuns."""
    both = [{**row, "store": "task"} for row in tasks] + [{**row, "store": "asset"} for row in assets]
    for row in both:
        row["is_reference"] = is_reference(row["value"], layout, family)
    return expected(ROWS, both, values=False)


def is_reference(value: str, layout: Layout, family: Family) -> bool:
    """Tell whether a stored text refers to a worker-side object, as far as this database can tell."""
    if value.startswith('{"__airflow_state_ref__"'):
        return True
    if layout.is_airflow:
        return False
    try:
        json.loads(value)
    except ValueError:
        # PostgreSQL looks at the beginning only.
        return family != "postgres" or value.lstrip(" \t\r\n")[:1] not in {"{", "[", '"'}
    return False


def in_order(table: pa.Table) -> pa.Table:
    """Return a table in an order that its own rows give."""
    rows = sorted(table.to_pylist(), key=repr)
    return pa.Table.from_pylist(rows, schema=table.schema)


def route_to(sandbox: Sandbox, family: Family) -> Route:
    """Return the fast route."""
    if family == "sqlite":
        return AdbcSqliteRoute(Path(sandbox.url.removeprefix("sqlite:///")))
    return AdbcPostgresRoute(sandbox.url) if family == "postgres" else ConnectorxRoute(sandbox.url)


def statement_for(
    engine: sa.Engine, layout: Layout, table: Table, *, values: bool = True, where: Where | None = None
) -> sa.Select[Any] | sa.CompoundSelect[Any]:
    """Return storekit's statement for a table."""
    with engine.connect() as connection:
        dialect = connection.dialect
    if table is ROWS:
        return scan_rows(layout, dialect)
    build = scan_tasks if table is TASKS else scan_assets
    assert table in (TASKS, ASSETS)
    return build(layout, dialect, values=values, where=where)


def fast_scan(
    sandbox: Sandbox,
    family: Family,
    layout: Layout,
    table: Table,
    *,
    values: bool = True,
    where: Where | None = None,
) -> TableScan:
    """Return a scan by the fast route."""
    values = values and table is not ROWS
    statement = statement_for(sandbox.engine, layout, table, values=values, where=where)
    with sandbox.engine.connect() as connection:
        compiled = compile_for_driver(statement, connection.dialect)
    route = route_to(sandbox, family)
    return TableScan(table, lambda: route.open(compiled.sql, compiled.parameters), values=values)


def cursor_scan(
    engine: sa.Engine, layout: Layout, table: Table, *, values: bool = True, chunk_rows: int = 2
) -> TableScan:
    """Return a scan by cursor, in chunks small enough that there are several."""
    values = values and table is not ROWS
    statement = statement_for(engine, layout, table, values=values)

    @contextmanager
    def open_rows(_sql: str, _parameters: tuple[Any, ...]) -> Iterator[Iterator[list[tuple[Any, ...]]]]:
        with engine.connect() as connection:
            result = connection.execute(statement)
            yield ([tuple(row) for row in part] for part in result.partitions(chunk_rows))

    names = [column.name for column in statement.selected_columns]
    route = CursorRoute(open_rows, names)
    return TableScan(table, lambda: route.open("", ()), values=values)
