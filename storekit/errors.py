"""Every error that storekit raises on purpose, under one root.

A message names the value that was wrong; ``hint`` says what to do next. Both are part of ``str(error)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "ArchiveError",
    "AssetNotFoundError",
    "CleanupStoppedError",
    "ConfigError",
    "ConnectError",
    "DagRunNotFoundError",
    "FutureInstantError",
    "InvalidKeyError",
    "InvalidValueError",
    "InvalidValueTypeError",
    "LargeValueWarning",
    "LayoutError",
    "MissingDriverError",
    "OrphanedObjectError",
    "PlanError",
    "PolicyError",
    "QueryError",
    "ReadOnlyError",
    "SnapshotError",
    "StorekitError",
    "UnresolvedReferenceError",
    "WriteError",
]


class StorekitError(Exception):
    """Root of storekit's errors.

    Parameters
    ----------
    message
        What was wrong, with the value.
    hint
        What to do next.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class ConfigError(StorekitError, ValueError):
    """A configuration value, file or variable cannot be used."""


class ConnectError(StorekitError):
    """A database cannot be opened or read."""


class MissingDriverError(ConnectError, ImportError):
    """The driver of a database is not installed; the hint names the extra that brings it."""


class LayoutError(StorekitError):
    """A database does not hold the tables that were looked for, or holds them in another shape."""


class ReadOnlyError(StorekitError):
    """A write was asked of something opened for reading only."""


class WriteError(StorekitError):
    """The database refused a write; the transaction that it was part of stored nothing."""


class CleanupStoppedError(StorekitError):
    """A cleanup failed between its batches.

    Attributes
    ----------
    deleted : int
        Rows that earlier batches deleted; they are gone.
    report : CleanupReport or None
        What was done until then, from `Store.cleanup`.
    """

    def __init__(self, message: str, *, deleted: int, report: Any = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.deleted = deleted
        self.report = report


class FutureInstantError(StorekitError, ValueError):
    """A cleanup was asked to delete as of an instant that has not come: rows alive now would die."""


class InvalidKeyError(StorekitError, ValueError):
    """A key that the store cannot hold."""


class InvalidValueError(StorekitError, ValueError):
    """A value that JSON, and so the store, cannot hold."""


class InvalidValueTypeError(StorekitError, TypeError):
    """A value of a type that JSON, and so the store, cannot hold."""


class DagRunNotFoundError(StorekitError, ValueError):
    """A task's state was set under a DagRun that does not exist."""


class AssetNotFoundError(StorekitError, ValueError):
    """An asset's state was set under an asset that does not exist, or is not active."""


class UnresolvedReferenceError(StorekitError):
    """A row holds what only a worker-side backend can resolve, and none is configured."""


class OrphanedObjectError(StorekitError):
    """The row is gone, but the worker-side backend failed to remove what it pointed at.

    The reference is deterministic, so the next ``set`` of the key overwrites the object.
    """


class QueryError(StorekitError, ValueError):
    """A question to a snapshot that cannot be answered as asked."""


class SnapshotError(StorekitError):
    """A snapshot cannot be taken, saved or opened."""


class PlanError(StorekitError):
    """A plan cannot be made, saved, opened or carried out: what it names is not what was shown, or is elsewhere."""


class PolicyError(StorekitError, ValueError):
    """A retention policy, or a file of them, cannot be used.

    Attributes
    ----------
    problems : tuple of (str, str)
        All that is wrong: each with its place, such as ``policies[1].rules[0].retention``, and what to write there.
    """

    def __init__(self, message: str, *, problems: Sequence[tuple[str, str]] = (), hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class ArchiveError(StorekitError):
    """An archive of deleted rows cannot be written or read."""


class LargeValueWarning(UserWarning):
    """A stored value is larger than ``[state_store] max_value_storage_bytes``. It was stored all the same."""
