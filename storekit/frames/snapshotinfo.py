"""What a snapshot is of."""

from __future__ import annotations

from datetime import datetime
from importlib import metadata
from urllib.parse import urlsplit

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from storekit.clock import as_utc

__all__ = ["FORMAT_VERSION", "SnapshotInfo"]

FORMAT_VERSION = 1
"""Of a saved snapshot. It rises when an older storekit could misread what a newer one wrote."""


def _version() -> str:
    try:
        return metadata.version("storekit")
    except metadata.PackageNotFoundError:
        return "unknown"


class SnapshotInfo(BaseModel):
    """What a snapshot is of. Immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format_version: int = Field(default=FORMAT_VERSION, ge=1, le=FORMAT_VERSION, strict=True)
    """Of the saved form."""
    taken_at: AwareDatetime
    """The instant of reading, UTC; the ``now`` of a preview unless another is asked for."""
    layout: str
    """``storekit``, ``airflow-3.3`` or ``airflow-3.4``."""
    database: str
    """Where from, without credentials: ``sqlite:///airflow.db``, ``postgresql://host/airflow``."""
    database_id: str | None = None
    """Tells two databases apart: a hash of host, port and database or the file's absolute path; no user or password."""
    dialect: str
    """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
    has_never_expire: bool
    """Whether the layout has the flag that tells NEVER_EXPIRE from retention 0."""
    custom_backend: str | None = None
    """Dotted path of the backend that Airflow's configuration names, where it is not the metastore: cleanup is then
    skipped."""
    sees_task_instances: bool = False
    """Whether the reader could see task instances; else ``task_state`` is null throughout."""
    sees_dag_runs: bool = False
    """Whether it could see when DagRuns started; else ``run_started_at`` and ``run_is_kept`` are null throughout."""
    storekit_version: str = Field(default_factory=_version)
    """That took it."""
    task_rows: int = 0
    """Rows of the task store; counted by `Snapshot.from_reader`."""
    asset_rows: int = 0
    """Rows of the asset store; counted by `Snapshot.from_reader`."""

    @field_validator("taken_at")
    @classmethod
    def _utc(cls, taken_at: datetime) -> datetime:
        return as_utc(taken_at)

    @field_validator("database")
    @classmethod
    def _without_credentials(cls, database: str) -> str:
        try:
            parts = urlsplit(database)
            # After a "?", a SQLite URL names no server's option: it is part of the file's name, password or not.
            query = "" if parts.scheme in {"", "sqlite"} and not parts.netloc else parts.query.lower()
            secret = parts.password is not None or "password" in query
        except ValueError:
            secret = "@" in database
        if secret:
            # The text itself stays out of the message.
            raise ValueError("the database's text holds a password; give host and database only")
        return database
