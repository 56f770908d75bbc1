"""What the tests need from outside: database servers, a real Airflow, an S3 server, a browser. Each is a *part*.

A part that is not there skips its tests, saying why and which command brings it. Where ``STOREKIT_REQUIRE_PARTS=1``
(CI), it fails them instead: a run that skipped the servers must not look like one that passed on them.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

import pytest
import sqlalchemy as sa

from storekit.metastore import Layout
from storekit.metastore.layouts import LAYOUT_NAMES, layout_named
from storekit.metastore.urls import parse_url

__all__ = [
    "LAYOUT_NAMES",
    "Family",
    "Sandbox",
    "Sandboxes",
    "airflow_python",
    "chromium",
    "moto_server",
    "require",
    "server_url",
]

REPOSITORY = Path(__file__).resolve().parents[1]

Part = Literal["postgres", "mysql", "airflow", "s3", "chromium"]
Family = Literal["memory", "sqlite", "postgres", "mysql"]

_DEFAULT_URLS = {
    "postgres": ("STOREKIT_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": ("STOREKIT_TEST_MYSQL", "mysql://root@127.0.0.1:3306/test"),
}


def server_url(part: Literal["postgres", "mysql"]) -> sa.URL:
    """Return the URL of a server, to make databases on."""
    variable, default = _DEFAULT_URLS[part]
    return parse_url(os.environ.get(variable, default)).sync_url("rw")


def airflow_python() -> Path:
    """Return the interpreter that should have Airflow."""
    return Path(os.environ.get("STOREKIT_AIRFLOW_PYTHON", REPOSITORY / ".venv-airflow" / "bin" / "python"))


def moto_server() -> Path:
    """Return the executable that should serve S3."""
    return Path(os.environ.get("STOREKIT_MOTO_SERVER", REPOSITORY / ".venv-moto" / "bin" / "moto_server"))


def chromium() -> Path:
    """Return the browser's executable; where none is found, the name that was looked for first."""
    named = os.environ.get("STOREKIT_CHROMIUM")
    names = [named] if named else ["chromium", "chromium-browser", "google-chrome"]
    found = [path for path in map(shutil.which, names) if path is not None]
    return Path(found[0] if found else names[0])


def require(part: Part) -> None:
    """Skip the test, or fail it where parts are required, unless the part is there."""
    missing = _missing(part)
    if missing is None:
        return
    message = f"{missing}; bring it with `.ci/parts {part}`"
    if os.environ.get("STOREKIT_REQUIRE_PARTS") == "1":
        pytest.fail(f"{message} (STOREKIT_REQUIRE_PARTS=1)", pytrace=False)
    pytest.skip(message)


@cache
def _missing(part: Part) -> str | None:
    """Return why a part is not there, or None; asked once per run."""
    if part == "airflow":
        return None if airflow_python().exists() else f"no Airflow: {airflow_python()} does not exist"
    if part == "s3":
        return None if moto_server().exists() else f"no S3 server: {moto_server()} does not exist"
    if part == "chromium":
        return None if shutil.which(chromium()) else f"no browser: {chromium()} is not an executable"
    engine = sa.create_engine(server_url(part), poolclass=sa.NullPool, connect_args={"connect_timeout": 3})
    try:
        with engine.connect():
            return None
    except sa.exc.DBAPIError as error:
        return f"no {part} server at {parse_url(engine.url).describe()} ({type(error.orig).__name__})"


class Sandbox:
    """One database of a test module: made once, emptied for each test.

    Parameters
    ----------
    url
        Its URL, as a user of storekit would write it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = parse_url(url)
        if parsed.sqlite_path is not None:
            parsed.sqlite_path.touch()  # an empty file is an empty database
        self.engine = sa.create_engine(parsed.sync_url("rwc"), poolclass=sa.NullPool)
        if parsed.family == "sqlite":
            sa.event.listen(self.engine, "connect", _enforce_foreign_keys)
        self._layout: Layout | None = None

    def hold(self, layout_name: str) -> Layout:
        """Leave the database with one layout's tables, empty, and return the layout."""
        layout = layout_named(layout_name)
        with self.engine.begin() as connection:
            if self._layout is not layout:
                if self._layout is not None:
                    self._layout.metadata.drop_all(connection)
                layout.metadata.create_all(connection)
                self._layout = layout
            for table in reversed(layout.metadata.sorted_tables):
                connection.execute(table.delete())
        return layout

    def close(self) -> None:
        """Close what is open."""
        self.engine.dispose()


class Sandboxes:
    """The databases of one test module, one per family, dropped at its end."""

    _serial = itertools.count(1)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[Family, Sandbox] = {}
        self._drops: list[Callable[[], None]] = []

    def get(self, family: Family) -> Sandbox:
        """Return the module's database of a family; skip the test if its server is not there."""
        if family not in self._open:
            self._open[family] = Sandbox(self._make(family))
        return self._open[family]

    def _make(self, family: Family) -> str:
        name = f"sktest_{os.getpid()}_{next(self._serial)}"
        if family == "sqlite":
            return f"sqlite:///{self._folder / name}.db"
        if family == "memory":
            raise ValueError("a database in memory belongs to the backend that opened it")
        require(family)
        server = server_url(family)
        with _administration(server) as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
            if family == "postgres":
                # A test database has nothing to lose in a crash.
                connection.execute(sa.text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        self._drops.append(lambda: _drop(server, name))
        plain = "postgresql" if family == "postgres" else "mysql"
        return server.set(drivername=plain, database=name).render_as_string(hide_password=False)

    def close(self) -> None:
        """Drop the databases."""
        for sandbox in self._open.values():
            sandbox.close()
        for drop in self._drops:
            drop()


def _drop(server: sa.URL, name: str) -> None:
    forced = " WITH (FORCE)" if server.get_backend_name() == "postgresql" else ""
    with _administration(server) as connection:
        connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}{forced}"))


@contextmanager
def _administration(server: sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(server, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def _enforce_foreign_keys(connection: object, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON")  # type: ignore[attr-defined]
