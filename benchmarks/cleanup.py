"""Delete a million expired rows: storekit beside a bare keyset DELETE, and beside Airflow's own cleanup.

    python benchmarks/cleanup.py --airflow .venv-airflow/bin/python
    python benchmarks/cleanup.py --postgres postgresql://postgres@127.0.0.1:5432/postgres --airflow …

All sides delete in batches of 10,000 from copies of one database of Airflow 3.3's layout, each in a fresh process with
its imports done and its engine made; start-up is in no figure. *bare* is the same two statements per batch by the
driver alone: the id at which a batch ends, and the DELETE between two ids with `expires_at < now` and nothing else.
Wall time and the CPU of the process are the best of the repeats; peak memory is the process's own. Exits with 1 where
a target is missed: at most 1.3 times bare, at most half of Airflow's, and a peak at a million rows at most 1.2 times
that at a tenth of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BARE_TARGET, AIRFLOW_TARGET, MEMORY_TARGET = 1.3, 0.5, 1.2
BATCH_SIZE = 10_000
NAME = "skfr_benchmark_cleanup"
# Later than every expiry that `load.make` writes, and past by now.
NOW = "2026-12-01 00:00:00"

Databases = Callable[[int], Any]  # rows -> a context manager that gives the URL of a fresh copy


# --- the sides, each in a process of its own ---------------------------------------------------------------------


def run_side(side: str, url: str, archive: str) -> dict[str, float]:
    """Delete once, in this process, and say what it took."""
    work = {"bare": _bare, "airflow": _airflow}.get(side)
    prepared = work(url) if work else _storekit(side, url, archive)
    before, started = _cpu(), time.perf_counter()
    deleted = prepared()
    return {"deleted": deleted, "cpu": _cpu() - before, "seconds": time.perf_counter() - started, "peak": _peak()}


def _storekit(side: str, url: str, archive: str) -> Callable[[], int]:
    from datetime import UTC, datetime

    import storekit as sk

    store = sk.connect(url, writable=True, clock=sk.ManualClock(datetime.fromisoformat(NOW).replace(tzinfo=UTC)))
    size = 0 if side == "one statement" else BATCH_SIZE
    kept = archive if side == "archived" else None
    if kept:
        import pyarrow.parquet  # noqa: F401
    store.counts()  # a connection is made
    return lambda: store.cleanup(batch_size=size, archive=kept, dry_run=False).deleted


def _bare(url: str) -> Callable[[], int]:
    if url.startswith("sqlite"):
        import sqlite3

        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        mark, begin = "?", "BEGIN IMMEDIATE"
    else:
        import psycopg

        connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        connection.execute("SET TIME ZONE 'UTC'")
        mark, begin = "%s", "BEGIN"
    bound = (
        f"SELECT id FROM task_state_store WHERE expires_at < {mark} AND id > {mark} ORDER BY id LIMIT 1 OFFSET {mark}"  # noqa: S608
    )
    deletion = f"DELETE FROM task_state_store WHERE expires_at < {mark} AND id > {mark} AND id <= {mark}"  # noqa: S608

    def delete() -> int:
        deleted, after = 0, -1
        while True:
            connection.execute(begin)
            row = connection.execute(bound, (NOW, after, BATCH_SIZE - 1)).fetchone()
            up_to = row[0] if row else 2**31 - 1
            deleted += connection.execute(deletion, (NOW, after, up_to)).rowcount
            connection.execute("COMMIT")
            if row is None:
                return deleted
            after = up_to

    return delete


def _airflow(url: str) -> Callable[[], int]:
    # The environment that `_measured` gives names the database and the batch size.
    from datetime import datetime

    from airflow.sdk.timezone import utc
    from airflow.state import metastore
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    def count() -> int:
        with create_session() as session:
            return int(session.scalar(select(func.count()).select_from(metastore.TaskStateStoreModel)))

    class Clock:
        @staticmethod
        def utcnow() -> datetime:
            return datetime.fromisoformat(NOW).replace(tzinfo=utc)

    metastore.timezone = Clock
    backend, before = metastore.MetastoreBackend(), count()

    def delete() -> int:
        backend.cleanup()
        return before

    return delete


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak() -> float:
    from load import _peak as peak

    return peak()


# --- comparing -------------------------------------------------------------------------------------------------


def _measured(side: str, databases: Databases, rows: int, options: argparse.Namespace) -> dict[str, float]:
    best: dict[str, float] = {}
    for _ in range(options.repeats):
        with databases(rows) as url, tempfile.TemporaryDirectory() as folder:
            python = options.airflow if side == "airflow" else sys.executable
            environment = dict(os.environ)
            if side == "airflow":
                environment |= {
                    "AIRFLOW_HOME": folder,
                    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
                    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": url if "psycopg" in url else "",
                    "AIRFLOW__STATE_STORE__STATE_CLEANUP_BATCH_SIZE": str(BATCH_SIZE),
                    "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
                }
            command = [python, __file__, "--side", side, "--url", url, "--archive", f"{folder}/gone"]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            if done.returncode:
                raise SystemExit(f"{side} failed:\n{done.stderr[-2000:]}")
            run = json.loads(done.stdout.splitlines()[-1])
            best = {name: min(best.get(name, value), value) for name, value in run.items()}
    return best


def compare(name: str, databases: Databases, options: argparse.Namespace) -> bool:
    """Print all sides; return whether the targets hold."""
    sides = ["bare", *(["airflow"] if options.airflow else []), "batches", "one statement", "archived"]
    runs = {side: _measured(side, databases, options.rows, options) for side in sides}
    small = {side: _measured(side, databases, options.rows // 10, options) for side in sides[-3:]}
    print(f"{name}: {options.rows:,} expired rows, batches of {BATCH_SIZE:,}")
    met = True
    for side, run in runs.items():
        line = f"  {side:14} {run['seconds']:7.2f} s  {run['cpu']:7.2f} s CPU  {run['peak']:6,.0f} MB peak"
        if side == "batches":
            to_bare = run["seconds"] / runs["bare"]["seconds"]
            met = met and to_bare <= BARE_TARGET
            line += f"   {to_bare:.2f} of bare (target {BARE_TARGET})"
            if "airflow" in runs:
                to_airflow = run["seconds"] / runs["airflow"]["seconds"]
                met = met and to_airflow <= AIRFLOW_TARGET
                line += f", {to_airflow:.2f} of airflow (target {AIRFLOW_TARGET})"
        elif side == "archived":
            line += f"   {run['seconds'] / runs['batches']['seconds']:.2f} of batches"
        if side in small:
            growth = run["peak"] / small[side]["peak"]
            met = met and growth <= MEMORY_TARGET
            line += f"; peak {growth:.2f} of that at {options.rows // 10:,} rows"
        met = met and run["deleted"] == options.rows
        print(line, flush=True)
    return met


# --- databases -------------------------------------------------------------------------------------------------


def sqlite_databases(folder: Path) -> Databases:
    """Make copies of a SQLite file, one original per size."""
    from load import make

    @contextmanager
    def fresh(rows: int) -> Iterator[str]:
        original, copied = folder / f"{rows}.db", folder / "copy.db"
        if not original.exists():
            make(f"sqlite:///{original}", rows, layout_name="airflow-3.3", expired=True)
        shutil.copy(original, copied)
        yield f"sqlite:///{copied}"
        copied.unlink()

    return fresh


def postgres_databases(server: str) -> tuple[Databases, Callable[[], None]]:
    """Make databases from a template, one per size; the second value drops the templates."""
    from load import make
    from sqlalchemy import create_engine, make_url, text

    admin_url = make_url(server).set(drivername="postgresql+psycopg")
    admin = create_engine(admin_url, isolation_level="AUTOCOMMIT")
    templates: list[str] = []

    def execute(statement: str) -> None:
        with admin.connect() as connection:
            connection.execute(text(statement))

    def url_of(name: str) -> str:
        return admin_url.set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def fresh(rows: int) -> Iterator[str]:
        template = f"{NAME}_{rows}"
        if template not in templates:
            execute(f"CREATE DATABASE {template}")
            templates.append(template)
            make(url_of(template), rows, layout_name="airflow-3.3", expired=True)
        execute(f"CREATE DATABASE {NAME} TEMPLATE {template}")
        with create_engine(url_of(NAME), isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("VACUUM ANALYZE task_state_store"))
        try:
            yield url_of(NAME)
        finally:
            execute(f"DROP DATABASE {NAME} WITH (FORCE)")

    def drop() -> None:
        for template in templates:
            execute(f"DROP DATABASE {template} WITH (FORCE)")
        admin.dispose()

    return fresh, drop


def main() -> int:
    """Run the comparison on each database that was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--postgres", metavar="URL", help="a server where databases may be made")
    parser.add_argument("--airflow", metavar="PYTHON", help="an interpreter that has Airflow 3.3")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--archive", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(run_side(options.side, options.url, options.archive)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        met = compare("SQLite", sqlite_databases(Path(folder)), options)
    if options.postgres:
        databases, drop = postgres_databases(options.postgres)
        try:
            met = compare("PostgreSQL", databases, options) and met
        finally:
            drop()
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
