"""Database URLs: what users and Airflow's configuration write, and what each driver needs.

A URL holds a password. Nothing here puts one into a message: `describe` names a database without it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from storekit.errors import ConnectError

__all__ = ["Access", "DatabaseUrl", "parse_url"]

Access = str
READ_ONLY: Access = "ro"
READ_WRITE: Access = "rw"
CREATE: Access = "rwc"

_FAMILIES = {
    "sqlite": "sqlite",
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}

_PORTS = {"postgresql": 5432, "mysql": 3306}


@dataclass(frozen=True, repr=False)
class DatabaseUrl:
    """A parsed URL of one of the three families: ``sqlite``, ``postgresql`` or ``mysql``."""

    family: str
    url: URL

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.describe()})"

    @property
    def sqlite_path(self) -> Path | None:
        """The file of a SQLite database; None for one in memory, and for other families."""
        if self.family != "sqlite" or self.url.database in (None, "", ":memory:"):
            return None
        return Path(str(self.url.database)).expanduser().absolute()

    @property
    def sqlite_timeout(self) -> float | None:
        """How many seconds a SQLite URL says to wait for a lock (``?timeout=``); None: it does not say."""
        given = self.url.query.get("timeout")
        return float(given) if isinstance(given, str) and given.replace(".", "", 1).isdigit() else None

    @property
    def in_memory(self) -> bool:
        """Whether this is a SQLite database in memory."""
        return self.family == "sqlite" and self.sqlite_path is None

    def describe(self) -> str:
        """Return a text that names the database and holds no credentials."""
        if self.family == "sqlite":
            return "sqlite:// (in memory)" if self.in_memory else f"sqlite:///{self.url.database}"
        given = self.url.query.get("host") or self.url.query.get("unix_socket") or self.url.host or "localhost"
        host = given if isinstance(given, str) else ",".join(given)
        port = f":{self.url.port}" if self.url.port else ""
        return f"{self.family}://{host}{port}/{self.url.database or ''}"

    def identity(self) -> str | None:
        """Return what tells two databases apart, as a hash: where, not who; None in memory, where nothing does.

        Two names of one server (``localhost`` and ``127.0.0.1``) are two databases to it.
        """
        if self.in_memory:
            return None
        path = self.sqlite_path
        if path is not None:
            named = ["sqlite", str(path.resolve())]
        else:
            query = {name: self.url.query[name] for name in ("host", "port", "unix_socket") if name in self.url.query}
            port = self.url.port or _PORTS[self.family]
            host = (self.url.host or "localhost").lower()
            named = [self.family, host, str(port), self.url.database or "", repr(sorted(query.items()))]
        return hashlib.sha256("\0".join(named).encode()).hexdigest()

    def sync_url(self, access: Access, *, immutable: bool = False) -> URL:
        """Return the URL for SQLAlchemy's blocking driver."""
        if self.family == "sqlite":
            return self._sqlite_url("sqlite", access, immutable=immutable)
        driver = "postgresql+psycopg" if self.family == "postgresql" else "mysql+pymysql"
        return self.url.set(drivername=driver)

    def async_url(self, access: Access) -> URL:
        """Return the URL for SQLAlchemy's awaiting driver."""
        if self.family == "sqlite":
            return self._sqlite_url("sqlite+aiosqlite", access)
        driver = "postgresql+psycopg" if self.family == "postgresql" else "mysql+aiomysql"
        return self.url.set(drivername=driver)

    def native_uri(self) -> str:
        """Return the URI, credentials included, for ADBC (libpq's form) or connectorx."""
        return self.url.set(drivername=self.family).render_as_string(hide_password=False)

    def _sqlite_url(self, drivername: str, access: Access, *, immutable: bool = False) -> URL:
        path = self.sqlite_path
        if path is None:
            return URL.create(drivername)
        # Only `Database.create_file` makes a file: a typing error must not leave an empty database behind.
        query = {"mode": READ_ONLY if access == READ_ONLY else READ_WRITE, "uri": "true"} | (
            {"immutable": "1"} if immutable else {}
        )
        return URL.create(drivername, database=f"file:{quote(str(path))}", query=query)


def parse_url(url: str | Path | URL) -> DatabaseUrl:
    """Parse a URL, or the path of a SQLite file.

    Raises
    ------
    ConnectError
        If it cannot be parsed or names a database that storekit does not speak to.
    """
    if isinstance(url, Path) or (isinstance(url, str) and "://" not in url):
        text = str(url)
        if not text.strip() or (":" in text and not Path(text).exists()):
            shown = "a text with '@' in it (not shown: it may hold a password)" if "@" in text else repr(text)
            raise ConnectError(
                f"{shown} is neither a database URL nor a file",
                hint="write sqlite:///airflow.db, postgresql://user@host/airflow, mysql://user@host/airflow, "
                "or the path of a SQLite file",
            )
        return DatabaseUrl("sqlite", URL.create("sqlite", database=str(Path(text).expanduser())))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConnectError(
            "the database URL cannot be parsed (not shown: it may hold a password)",
            hint="write postgresql://user:password@host:5432/airflow, with special characters in the password "
            "percent-encoded",
        ) from None
    scheme = parsed.drivername.partition("+")[0]
    if scheme not in _FAMILIES:
        raise ConnectError(
            f"unknown database scheme {parsed.drivername!r}",
            hint="storekit speaks sqlite://, postgresql://, mysql:// and mariadb://",
        )
    family = _FAMILIES[scheme]
    if family == "sqlite" and parsed.host:
        raise ConnectError(
            f"a SQLite URL has no host, but this one has {parsed.host!r}",
            hint=f"with three slashes for a relative path, sqlite:///{parsed.host}, or four for an absolute one",
        )
    if family != "sqlite" and isinstance(url, str) and "@" in f"{parsed.host}{parsed.database}":
        # The rest of a password with an '@' in it would be shown as the host.
        raise ConnectError(
            "the database URL has more than one '@' (not shown: it may hold a password)",
            hint="write an '@' in the user or the password as %40",
        )
    if family == "sqlite" and str(parsed.database or "").startswith("file:"):
        raise ConnectError(
            "a SQLite URL with a file: URI inside is not read",
            hint="write the path itself: sqlite:////folder/airflow.db",
        )
    return DatabaseUrl(family, parsed)
