"""A real Airflow to compare with: its state backend as a Python object, its CLI, its empty databases.

The tests run without Airflow's dependencies; Airflow lives in an interpreter of its own, which
``STOREKIT_AIRFLOW_PYTHON`` names. Nothing here imports storekit, because this side is the oracle.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, cast, runtime_checkable

if TYPE_CHECKING:
    import pytest

DRIVER = Path(__file__).with_name("driver.py")
DEFAULT_PYTHON = Path(__file__).resolve().parents[2] / ".venv-airflow" / "bin" / "python"

WriterKind = Literal["task", "watcher", "api"]
DryRunRow = tuple[str, str, str, int, str]
"""``dag_id, run_id, task_id, map_index, key``, as Airflow's dry run prints them."""


class AirflowMissingError(Exception):
    """There is no interpreter with Airflow."""


class AirflowCallError(Exception):
    """Airflow raised an exception.

    Attributes
    ----------
    type
        The name of the exception's class in Airflow's process, such as ``ValueError``.
    message
        Its text.
    """

    def __init__(self, type_: str, message: str) -> None:
        super().__init__(f"{type_}: {message}")
        self.type = type_
        self.message = message


@runtime_checkable
class TaskAddress(Protocol):
    """What names a task's namespace; storekit's and Airflow's ``TaskScope`` both do."""

    @property
    def dag_id(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def task_id(self) -> str: ...
    @property
    def map_index(self) -> int: ...


class AssetAddress(Protocol):
    """What names an asset's namespace; Airflow's server side knows assets by their id alone."""

    @property
    def asset_id(self) -> int | None: ...


Address = TaskAddress | AssetAddress


@dataclass(frozen=True)
class TaskRow:
    """A row of ``task_state_store``; instants are aware UTC."""

    id: int
    dag_run_id: int
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str
    value: str
    updated_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True)
class AssetRow:
    """A row of ``asset_state_store``; instants are aware UTC."""

    asset_id: int
    key: str
    value: str
    updated_at: datetime
    last_updated_by_kind: WriterKind | None
    last_updated_by_dag_id: str | None
    last_updated_by_run_id: str | None
    last_updated_by_task_id: str | None
    last_updated_by_map_index: int | None


@dataclass(frozen=True)
class Dump:
    """All rows of both tables, in the order of their primary keys."""

    tasks: list[TaskRow]
    assets: list[AssetRow]


def airflow_python() -> Path:
    """Return the interpreter that has Airflow.

    Raises
    ------
    AirflowMissingError
        If it does not exist; the message says how to make it.
    """
    python = Path(os.environ.get("STOREKIT_AIRFLOW_PYTHON", DEFAULT_PYTHON))
    if not python.exists():
        raise AirflowMissingError(
            f"no interpreter with Airflow at {python}: set STOREKIT_AIRFLOW_PYTHON, or run "
            "`python -m venv .venv-airflow && "
            ".venv-airflow/bin/pip install apache-airflow==3.3.2 'psycopg[binary]' pymysql`"
        )
    return python


def airflow_environment(url: str, home: Path) -> dict[str, str]:
    """Return the environment of an Airflow process that knows one database and nothing of its user's settings.

    Parameters
    ----------
    url
        SQLAlchemy URL of the metadata database; of SQLite, with an absolute path.
    home
        The process's ``AIRFLOW_HOME``; Airflow writes its ``airflow.cfg`` there.
    """
    inherited = {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}
    environment = inherited | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
        "PYTHONWARNINGS": "ignore",
    }
    if url.startswith("postgresql+psycopg:"):
        # Airflow would derive asyncpg; psycopg 3 serves both sides and is what the environment has.
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] = url
    elif not url.startswith("sqlite"):
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] = ""
    return environment


class RealAirflow:
    """Airflow's ``MetastoreBackend`` on a migrated database, in a process of its own.

    Use it as a context manager. A call that raises in Airflow raises `AirflowCallError` here. ``is_async`` makes
    a call go through the backend's asynchronous twin and its own engine; those need SQLite, or PostgreSQL by
    psycopg 3.

    Parameters
    ----------
    url
        SQLAlchemy URL, such as ``sqlite:////absolute/path.db`` or ``postgresql+psycopg://user@host/name``.
    python
        The interpreter that has Airflow; by default `airflow_python`.
    env
        Settings of this process, such as ``{"AIRFLOW__STATE_STORE__BACKEND": "package.Backend"}``.
    """

    def __init__(self, url: str, python: Path | None = None, env: dict[str, str] | None = None) -> None:
        self._url = url
        self._env = env or {}
        self._python = python or airflow_python()
        self.version = ""

    def __enter__(self) -> Self:
        self._home = tempfile.TemporaryDirectory(prefix="storekit-airflow-")
        home = Path(self._home.name)
        self._log = home / "driver.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [self._python, DRIVER],
                env=airflow_environment(self._url, home) | self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        try:
            self.version = self._read()["airflow"]
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """End Airflow's process."""
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._home.cleanup()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"Airflow's process ended; its log ends in:\n{self._log.read_text()[-4000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise AirflowCallError(answer["error"]["type"], answer["error"]["message"])
        return answer["ok"]

    def _call(self, op: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # reading tells why the process ended
            self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            self._process.stdin.flush()
        return self._read()

    def migrate(self) -> None:
        """Make Airflow's tables in an empty database."""
        self._call("migrate")

    def get(self, scope: Address, key: str, *, is_async: bool = False) -> str | None:
        """Return the stored text of a key, expired or not; None if there is no row."""
        return cast("str | None", self._call("get", scope=_fields(scope), key=key, is_async=is_async))

    def set(
        self,
        scope: Address,
        key: str,
        value: str,
        *,
        expires_at: datetime | None = None,
        is_async: bool = False,
    ) -> None:
        """Write a key; ``value`` is stored verbatim, ``expires_at`` is for task scopes."""
        expiry = _iso(expires_at)
        self._call("set", scope=_fields(scope), key=key, value=value, expires_at=expiry, is_async=is_async)

    def delete(self, scope: Address, key: str, *, is_async: bool = False) -> None:
        """Delete one key."""
        self._call("delete", scope=_fields(scope), key=key, is_async=is_async)

    def clear(self, scope: Address, *, all_map_indices: bool = False, is_async: bool = False) -> None:
        """Delete all keys of a scope."""
        self._call("clear", scope=_fields(scope), all_map_indices=all_map_indices, is_async=is_async)

    def set_asset_state_store(
        self,
        scope: AssetAddress,
        key: str,
        value: str,
        *,
        kind: WriterKind,
        dag_id: str | None = None,
        run_id: str | None = None,
        task_id: str | None = None,
        map_index: int | None = None,
        is_async: bool = False,
    ) -> None:
        """Write a key of an asset and record who wrote it."""
        self._call(
            "set_asset_state_store",
            scope=_fields(scope),
            key=key,
            value=value,
            kind=kind,
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            map_index=map_index,
            is_async=is_async,
        )

    def cleanup(self, *, batch_size: int | None = None) -> None:
        """Delete expired task rows, ``[state_store] state_cleanup_batch_size`` at a time."""
        self._call("cleanup", batch_size=batch_size)

    def dry_run(self) -> list[DryRunRow]:
        """Return the rows that `cleanup` would delete, in no order."""
        return [cast("DryRunRow", tuple(row)) for row in self._call("dry_run")]

    def backend(self) -> dict[str, Any]:
        """Return ``path`` and ``own`` (methods not inherited from the stock class) of the configured backend.

        Also ``is_stock``, and ``modules``: the packages that Airflow's process has imported.
        """
        return cast("dict[str, Any]", self._call("backend"))

    def dry_run_peak(self) -> dict[str, int]:
        """Read a dry run to its end; return its length (``told``), rows (``read``) and memory in bytes (``peak``)."""
        return cast("dict[str, int]", self._call("dry_run_peak"))

    def dry_run_left(self, rows: int) -> int:
        """Leave a dry run after ``rows`` rows and return how many of the engine's connections are out then."""
        return cast("int", self._call("dry_run_left", rows=rows))

    def freeze_time(self, instant: datetime | None) -> None:
        """Stop the metastore's clock at an aware instant; None lets it run again."""
        self._call("freeze_time", instant=_iso(instant))

    def add_dag_run(self, dag_id: str, run_id: str) -> int:
        """Insert a DagRun and return its id."""
        return cast("int", self._call("add_dag_run", dag_id=dag_id, run_id=run_id))

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        """Delete a DagRun; its task rows go with it."""
        self._call("delete_dag_run", dag_id=dag_id, run_id=run_id)

    def add_asset(self, name: str, uri: str, *, active: bool = True) -> int:
        """Insert an asset and return its id."""
        return cast("int", self._call("add_asset", name=name, uri=uri, active=active))

    def deactivate_asset(self, asset_id: int) -> None:
        """Take an asset out of the active ones; its rows stay."""
        self._call("deactivate_asset", asset_id=asset_id)

    def clean_inactive_assets(self) -> None:
        """Delete the rows of inactive assets, as the scheduler does every minute."""
        self._call("clean_inactive_assets")

    def dump(self) -> Dump:
        """Return all rows of both tables."""
        rows = self._call("dump")
        return Dump(
            tasks=[TaskRow(**_with_instants(row)) for row in rows["tasks"]],
            assets=[AssetRow(**_with_instants(row)) for row in rows["assets"]],
        )


def _fields(scope: Address) -> dict[str, object]:
    if isinstance(scope, TaskAddress):
        return {name: getattr(scope, name) for name in ("dag_id", "run_id", "task_id", "map_index")}
    return {"asset_id": scope.asset_id}


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _with_instants(row: dict[str, Any]) -> dict[str, Any]:
    instants = {name: value and datetime.fromisoformat(value) for name, value in row.items() if name.endswith("_at")}
    return row | instants


def airflow_cli(url: str, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the real ``airflow`` command against a database, and return its exit code and output.

    Parameters
    ----------
    url
        SQLAlchemy URL of the metadata database.
    *args
        The command's words, such as ``"state-store", "clean", "--dry-run"``.
    env
        Settings of this run, such as ``{"AIRFLOW__STATE_STORE__STATE_CLEANUP_BATCH_SIZE": "10"}``.
    """
    with tempfile.TemporaryDirectory(prefix="storekit-airflow-") as home:
        return subprocess.run(
            [airflow_python(), "-m", "airflow", *args],
            env=airflow_environment(url, Path(home)) | (env or {}),
            cwd=home,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )


def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty SQLite database made by ``airflow db migrate``; copy it, do not write to it.

    It is made once for a test session.
    """
    database = tmp_path_factory.getbasetemp() / "airflow-empty.db"
    if not database.exists():
        # Moved into place when it is whole: a failed migration leaves nothing that the next caller would take.
        unfinished = tmp_path_factory.mktemp("airflow-migrate") / "airflow.db"
        _migrate(f"sqlite:///{unfinished}")
        shutil.move(unfinished, database)
    return database


def migrated_postgres(url: str) -> None:
    """Run ``airflow db migrate`` on a new and empty PostgreSQL database.

    Parameters
    ----------
    url
        SQLAlchemy URL by psycopg 3: ``postgresql+psycopg://user@host/name``. To have many, migrate one and make the
        others by ``CREATE DATABASE ... TEMPLATE``.
    """
    _migrate(url)


def migrated_mysql(url: str) -> None:
    """Make Airflow's tables in a new and empty MySQL or MariaDB database of character set ``utf8mb4``.

    Parameters
    ----------
    url
        SQLAlchemy URL by pymysql: ``mysql+pymysql://user@host/name``. Airflow's commands do not run on such a URL
        (they want mysqlclient); its backend does.
    """
    with RealAirflow(url) as airflow:
        airflow.migrate()


def _migrate(url: str) -> None:
    done = airflow_cli(url, "db", "migrate")
    if done.returncode != 0:
        raise RuntimeError(f"airflow db migrate failed on {url}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
