"""Load a million rows of the task store into a DataFrame: storekit's route beside pandas.read_sql.

    python benchmarks/load.py                                 # SQLite
    python benchmarks/load.py --postgres postgresql://postgres@127.0.0.1:5432/postgres
    python benchmarks/load.py --mysql mysql://root@127.0.0.1:3306/mysql

Both sides send one statement, values included, each in a fresh process that has what it needs imported and its
engine made, but nothing connected; CPU and peak memory are the process's own, from there and in all. The
databases are made for the run and dropped after it. Exits with 1 where a target is missed: 4 times less CPU,
3 times less peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CPU_TARGET, MEMORY_TARGET = 4.0, 3.0
DATABASE = "skfr_benchmark_load"

# Rows as a deployment has them: 50 Dags of 20 tasks, 4 keys each, values of 20 to 200 bytes of JSON.
_ROW = {
    "dag_run_id": "1 + i / 80",
    "dag_id": "'dag_' || (i / 80 % 50)",
    "run_id": "'scheduled__2026-11-' || (10 + i / 80 % 20) || 'T00:00:00+00:00.' || (i / 80)",
    "task_id": "'load_partition_' || (i / 4 % 20)",
    "map_index": "-1",
    "key": "'checkpoint_' || (i % 4)",
    "never_expire": "i % 10 = 0",
}
_SQLITE = {
    **_ROW,
    "value": "'{\"v\": \"' || substr(hex(randomblob(96)), 1, 11 + i * 7919 % 181) || '\"}'",
    "updated_at": "strftime('%Y-%m-%d %H:%M:%f', 1795000000 + i % 864000, 'unixepoch') || '162'",
    "expires_at": "CASE WHEN i % 5 <> 0 THEN strftime('%Y-%m-%d %H:%M:%f', 1797592000 + i % 864000, 'unixepoch')"
    " || '162' END",
}
_POSTGRES = {
    **_ROW,
    "value": "'{\"v\": \"' || substr(repeat(md5(i::text), 6), 1, (11 + i::bigint * 7919 % 181)::int) || '\"}'",
    "updated_at": "to_timestamp(1795000000.000162 + i % 864000)",
    "expires_at": "CASE WHEN i % 5 <> 0 THEN to_timestamp(1797592000.000162 + i % 864000) END",
}
_MYSQL = {
    **{name: text.replace("i / ", "i DIV ") for name, text in _ROW.items()},
    "value": "'{\"v\": \"' || substr(repeat(md5(i), 6), 1, 11 + i * 7919 % 181) || '\"}'",
    "updated_at": "TIMESTAMP'2026-11-18 11:06:40.000162' + INTERVAL i % 864000 SECOND",
    "expires_at": "CASE WHEN i % 5 <> 0 THEN TIMESTAMP'2026-12-18 11:06:40.000162' + INTERVAL i % 864000 SECOND END",
}


def make(url: str, rows: int, *, layout_name: str = "storekit", expired: bool = False) -> None:
    """Make a layout's tables at ``url`` and fill them inside the database; with ``expired`` every row has."""
    from sqlalchemy import create_engine, text

    from storekit.metastore.layouts import layout_named

    layout = layout_named(layout_name)
    engine = create_engine(url)
    with engine.begin() as connection:
        kind = connection.dialect.name
        if kind in {"mysql", "mariadb"}:
            connection.execute(text("SET sql_mode = 'PIPES_AS_CONCAT', foreign_key_checks = 0, time_zone = '+00:00'"))
            source = f"(SELECT seq AS i FROM seq_0_to_{rows - 1}) AS n"  # noqa: S608
            cells = _MYSQL
        elif kind == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))
            source, cells = f"generate_series(0, {rows - 1}) AS n(i)", _POSTGRES
        else:
            source = f"(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT {rows}) SELECT i FROM n)"  # noqa: S608
            cells = _SQLITE
        layout.metadata.create_all(connection)
        if not layout.has_never_expire:
            cells = {name: text for name, text in cells.items() if name != "never_expire"}
        if expired:
            cells = {**cells, "expires_at": cells["updated_at"]}
        quoted = ", ".join(connection.dialect.identifier_preparer.quote(name) for name in cells)
        statement = f"INSERT INTO {layout.task_store.name} ({quoted}) SELECT {', '.join(cells.values())} FROM {source}"  # noqa: S608
        connection.exec_driver_sql(statement.replace("%", "%%") if kind != "sqlite" else statement)
    engine.dispose()


def load(side: str, url: str) -> dict[str, Any]:
    """Load once, in this process, and say what it took."""
    import pandas as pd
    from sqlalchemy import create_engine

    from storekit.frames import dtypes, routes, wire  # noqa: F401
    from storekit.frames.contract import TASKS
    from storekit.frames.scan import TableScan
    from storekit.metastore.layouts import STOREKIT
    from storekit.metastore.scans import compile_for_driver, scan_tasks

    engine = create_engine(url)
    with engine.connect() as connection:  # as Store does to find its layout; literals need a connected dialect
        dialect = connection.dialect
    engine.dispose()
    statement = scan_tasks(STOREKIT, dialect, values=True)
    route: routes.Route
    if dialect.name == "sqlite":
        import adbc_driver_sqlite.dbapi  # noqa: F401

        route = routes.AdbcSqliteRoute(engine.url.database or "")
    elif dialect.name == "postgresql":
        import adbc_driver_postgresql.dbapi  # noqa: F401

        route = routes.AdbcPostgresRoute(engine.url.set(drivername="postgresql").render_as_string(False))
    else:
        import connectorx  # noqa: F401

        route = routes.ConnectorxRoute(engine.url.set(drivername="mysql").render_as_string(False))
    compiled = compile_for_driver(statement, dialect)
    scan = TableScan(TASKS, lambda: route.open(compiled.sql, compiled.parameters), values=True)

    before, resting, started = _cpu(), _peak(), time.perf_counter()
    if side == "storekit":
        frame = scan.to_pandas()
    elif side == "pandas":
        with engine.connect() as connection:
            frame = pd.read_sql(statement, connection)
    else:
        return {"rows": 0, "cpu": 0.0, "seconds": 0.0, "peak": resting, "resting": resting}
    return {
        "rows": len(frame),
        "cpu": _cpu() - before,
        "seconds": time.perf_counter() - started,
        "peak": _peak(),
        "resting": resting,
    }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak() -> float:
    """Return this process's peak memory in MB."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux ru_maxrss starts at the parent's: the kernel carries it over exec.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def compare(name: str, url: str, repeats: int) -> bool:
    """Print both sides' numbers, the better of ``repeats`` runs each; return whether the targets hold."""
    best: dict[str, dict[str, Any]] = {}
    for side in ("imports", "pandas", "storekit"):
        for _ in range(1 if side == "imports" else repeats):
            command = [sys.executable, __file__, "--side", side, "--url", url]
            run = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            kept = best.setdefault(side, run)
            best[side] = {key: min(kept[key], run[key]) for key in run}
    theirs, ours, floor = best["pandas"], best["storekit"], best["imports"]["peak"]
    cpu, peak = theirs["cpu"] / ours["cpu"], theirs["peak"] / ours["peak"]
    lines = [f"{name}: {ours['rows']:,} rows, values included; imports alone take {floor:,.0f} MB"]
    for side, run in (("pandas.read_sql", theirs), ("storekit", ours)):
        lines.append(
            f"  {side:16} {run['cpu']:6.2f} s CPU  {run['seconds']:6.2f} s  "
            f"{run['peak']:7,.0f} MB peak  {run['peak'] - floor:7,.0f} MB over imports"
        )
    lines.append(
        f"  {'less by':16} {cpu:6.1f} times (target {CPU_TARGET:.0f})  {peak:6.1f} times the peak "
        f"(target {MEMORY_TARGET:.0f})"
    )
    print("\n".join(lines), flush=True)
    return bool(theirs["rows"] == ours["rows"] and cpu >= CPU_TARGET and peak >= MEMORY_TARGET)


def main() -> int:
    """Run the comparison on each database that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--postgres", metavar="URL", help="a server where a database may be made")
    parser.add_argument("--mysql", metavar="URL", help="a MariaDB server where a database may be made")
    parser.add_argument("--side", choices=["imports", "pandas", "storekit"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(load(options.side, options.url)))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{Path(directory) / 'load.db'}"
        make(url, options.rows)
        met = compare("SQLite", url, options.repeats)
    for name, server, driver in (
        ("PostgreSQL", options.postgres, "postgresql+psycopg"),
        ("MariaDB", options.mysql, "mariadb+pymysql"),
    ):
        if server:
            met = _on_server(name, server, driver, options) and met
    return 0 if met else 1


def _on_server(name: str, server: str, driver: str, options: argparse.Namespace) -> bool:
    from sqlalchemy import create_engine, make_url, text

    admin_url = make_url(server).set(drivername=driver)
    admin = create_engine(admin_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {DATABASE}"))
    try:
        url = admin_url.set(database=DATABASE).render_as_string(hide_password=False)
        make(url, options.rows)
        return compare(name, url, options.repeats)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f"DROP DATABASE {DATABASE}"))
        admin.dispose()


if __name__ == "__main__":
    raise SystemExit(main())
