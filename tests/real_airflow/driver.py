"""Drive a real Airflow's state backend: one JSON request per line on stdin, one JSON answer per line on stdout.

Run by an interpreter that has Airflow 3.3 (see ``client.py``), against the database that Airflow's configuration
names. The first line out says that Airflow is ready. Each answer is ``{"ok": ...}`` or
``{"error": {"type": ..., "message": ...}}``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

# Answers go to the stdout that the client reads; whatever else writes there (structlog does) goes to stderr.
ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)

# Without this, `import airflow` sets up logging, plugins and secrets too, which doubles the start-up.
os.environ["_AIRFLOW__AS_LIBRARY"] = "1"

from airflow import __version__, settings  # noqa: E402

settings.configure_vars()
settings.configure_orm()

from airflow.models.asset import AssetActive, AssetModel  # noqa: E402
from airflow.models.asset_state_store import AssetStateStoreModel  # noqa: E402
from airflow.models.dagrun import DagRun  # noqa: E402
from airflow.models.task_state_store import TaskStateStoreModel  # noqa: E402
from airflow.state import AssetScope, StoreScope, TaskScope, get_state_backend, metastore  # noqa: E402
from airflow.utils.session import create_session  # noqa: E402
from sqlalchemy import Table, delete, insert, select  # noqa: E402

# Airflow's own choice: the stock class, unless `[state_store] backend` names another.
BACKEND = get_state_backend()
REAL_TIMEZONE = metastore.timezone
BATCH_SIZE = "AIRFLOW__STATE_STORE__STATE_CLEANUP_BATCH_SIZE"


def read_scope(fields: dict[str, Any]) -> StoreScope:
    return TaskScope(**fields) if "dag_id" in fields else AssetScope(**fields)


def read_instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


class Driver:
    """The operations; a request's ``op`` names the method, its other fields are the arguments."""

    def __init__(self, runner: asyncio.Runner) -> None:
        # One event loop for all calls: pooled async connections belong to the loop that opened them.
        self._runner = runner

    def _call(self, name: str, *args: Any, is_async: bool, **kwargs: Any) -> Any:
        if is_async:
            return self._runner.run(getattr(BACKEND, f"a{name}")(*args, **kwargs))
        return getattr(BACKEND, name)(*args, **kwargs)

    def migrate(self) -> None:
        from airflow.utils.db import initdb

        # What `airflow db migrate` does to an empty database. The command itself refuses MySQL by pymysql.
        initdb()

    def get(self, scope: dict[str, Any], key: str, is_async: bool) -> str | None:
        return self._call("get", read_scope(scope), key, is_async=is_async)

    def set(self, scope: dict[str, Any], key: str, value: str, expires_at: str | None, is_async: bool) -> None:
        expiry = read_instant(expires_at)
        self._call("set", read_scope(scope), key, value, expires_at=expiry, is_async=is_async)

    def delete(self, scope: dict[str, Any], key: str, is_async: bool) -> None:
        self._call("delete", read_scope(scope), key, is_async=is_async)

    def clear(self, scope: dict[str, Any], all_map_indices: bool, is_async: bool) -> None:
        self._call("clear", read_scope(scope), all_map_indices=all_map_indices, is_async=is_async)

    def set_asset_state_store(
        self, scope: dict[str, Any], key: str, value: str, kind: str, is_async: bool, **writer: Any
    ) -> None:
        writer_kind = metastore.AssetStateStoreWriterKind(kind)
        self._call(
            "set_asset_state_store", read_scope(scope), key, value, kind=writer_kind, is_async=is_async, **writer
        )

    def cleanup(self, batch_size: int | None) -> None:
        if batch_size is not None:
            os.environ[BATCH_SIZE] = str(batch_size)
        try:
            BACKEND.cleanup()
        finally:
            os.environ.pop(BATCH_SIZE, None)

    def dry_run(self) -> list[list[Any]]:
        return [list(row) for row in BACKEND._summary_dry_run()["expired"]]

    def backend(self) -> dict[str, Any]:
        """What the configured backend is, and which of the stock class's methods it does not inherit."""
        cls, stock = type(BACKEND), metastore.MetastoreBackend
        own = sorted(
            name for name, method in vars(stock).items() if callable(method) and getattr(cls, name) is not method
        )
        return {
            "path": f"{cls.__module__}.{cls.__qualname__}",
            "is_stock": isinstance(BACKEND, stock),
            "own": own,
            "modules": sorted({name.partition(".")[0] for name in sys.modules}),
        }

    def dry_run_peak(self) -> dict[str, int]:
        """Read a dry run as the command does, keeping nothing: its length, its rows, the peak of Python's memory."""
        tracemalloc.start()
        try:
            expired = BACKEND._summary_dry_run()["expired"]
            told, read = len(expired), sum(len(row) == 5 for row in expired)
            return {"told": told, "read": read, "peak": tracemalloc.get_traced_memory()[1]}
        finally:
            tracemalloc.stop()

    def dry_run_left(self, rows: int) -> int:
        """Leave a dry run after some rows; return how many connections are out then."""
        iterator = iter(BACKEND._summary_dry_run()["expired"])
        for _ in range(rows):
            next(iterator)
        del iterator
        return int(settings.engine.pool.checkedout())

    def freeze_time(self, instant: str | None) -> None:
        # Only the name that the metastore module reads: everything else in Airflow keeps the real clock.
        frozen = SimpleNamespace(utcnow=lambda: read_instant(instant))
        metastore.timezone = REAL_TIMEZONE if instant is None else frozen

    def add_dag_run(self, dag_id: str, run_id: str) -> int:
        now = REAL_TIMEZONE.utcnow()
        row = {"dag_id": dag_id, "run_id": run_id, "run_type": "manual", "state": "running", "run_after": now}
        with create_session() as session:
            return int(session.execute(insert(DagRun.__table__).values(row)).inserted_primary_key[0])

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        with create_session() as session:
            session.execute(delete(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))

    def add_asset(self, name: str, uri: str, active: bool) -> int:
        with create_session() as session:
            asset = AssetModel(name=name, uri=uri, group="asset", extra={})
            session.add(asset)
            session.flush()
            if active:
                session.add(AssetActive.for_asset(asset))
            return int(asset.id)

    def deactivate_asset(self, asset_id: int) -> None:
        with create_session() as session:
            asset = session.get_one(AssetModel, asset_id)
            session.execute(delete(AssetActive).where(AssetActive.name == asset.name, AssetActive.uri == asset.uri))

    def clean_inactive_assets(self) -> None:
        # Imported here: it costs every start-up half a second, and only this operation needs it.
        from airflow.jobs.scheduler_job_runner import SchedulerJobRunner

        with create_session() as session:
            SchedulerJobRunner._cleanup_orphaned_asset_state_store(session=session)

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "tasks": self._rows(TaskStateStoreModel.__table__),
            "assets": self._rows(AssetStateStoreModel.__table__),
        }

    def _rows(self, table: Table) -> list[dict[str, Any]]:
        with create_session() as session:
            rows = session.execute(select(table).order_by(*table.primary_key)).mappings()
            return [
                {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
                for row in rows
            ]


def answer(driver: Driver, line: str) -> dict[str, Any]:
    try:
        request: dict[str, Any] = json.loads(line)
        name = request.pop("op")
        if name.startswith("_"):
            raise AttributeError(f"no operation {name!r}")
        operation: Callable[..., Any] = getattr(driver, name)
        return {"ok": operation(**request)}
    except Exception as error:  # the client decides what an error means
        return {"error": {"type": type(error).__name__, "message": str(error)}}


def write(message: dict[str, Any]) -> None:
    ANSWERS.write(json.dumps(message) + "\n")
    ANSWERS.flush()


def main() -> None:
    with asyncio.Runner() as runner:
        driver = Driver(runner)
        write({"ok": {"airflow": __version__, "dialect": settings.engine.dialect.name}})
        for line in sys.stdin:
            write(answer(driver, line))
        if settings.async_engine is not None:
            runner.run(settings.async_engine.dispose())
    settings.engine.dispose()
    # Tearing down an interpreter that holds Airflow takes half a second.
    os._exit(0)


if __name__ == "__main__":
    main()
