"""Rows that a cleanup deletes, written down before their transaction commits.

An archive is a folder that pandas, DuckDB and polars read as one table. Its parts, ``part-000001.parquet`` and so on,
each say by themselves what they are; ``_archive.json``, which such readers skip, comes last and says that it is
whole. A part is sealed before the rows in it are gone. So after a crash the archive holds every row that was deleted,
and perhaps some that were not.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_serializer, field_validator

from storekit import __version__
from storekit.clock import as_utc
from storekit.errors import ArchiveError
from storekit.frames.content import SealedWriter, flush, sealed_hash, write_whole
from storekit.frames.contract import TASKS
from storekit.frames.display import plain

__all__ = ["ARCHIVE", "ArchiveManifest", "ArchiveOrigin", "ArchivePart", "ArchiveWriter", "PartInfo", "SealedPart"]

FORMAT_VERSION = 1
"""Of an archive. It rises with every change of the models here or of `ARCHIVE`: the hash is over all of them."""

ARCHIVE = TASKS.schema(values=True)
"""An archive's columns: those of `storekit.frames.contract.TASKS`, with values."""

MANIFEST = "_archive.json"
METADATA_KEY = "storekit.archive"
_PART = re.compile(r"part-(\d{6,})\.parquet", re.ASCII)
_HEX = r"\A[0-9a-f]{64}\z"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class ArchiveOrigin(_Model):
    """Which cleanup of which database the rows are from. Immutable."""

    format_version: int = Field(default=FORMAT_VERSION, ge=1, le=FORMAT_VERSION, strict=True)
    """Of the archive."""
    layout: str
    """``storekit``, ``airflow-3.3`` or ``airflow-3.4``."""
    database: str
    """Which one, without credentials."""
    database_id: str | None = None
    """As `SnapshotInfo.database_id`."""
    dialect: str
    """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
    now: AwareDatetime
    """The instant of the cleanup, UTC: the rows had expired before it."""
    started_at: AwareDatetime
    """When the cleanup began, UTC."""
    storekit_version: str = __version__
    """That ran it."""
    plan_sha256: str | None = Field(default=None, pattern=_HEX)
    """Of the plan that was carried out; None: a cleanup without one."""

    @field_validator("now", "started_at")
    @classmethod
    def _utc(cls, instant: datetime) -> datetime:
        return as_utc(instant)

    @field_serializer("now", "started_at", when_used="json")
    def _iso(self, instant: datetime) -> str:
        # Spelled here, since it is hashed: another version of pydantic may spell it another way.
        return instant.astimezone(UTC).isoformat(timespec="microseconds")


class PartInfo(_Model):
    """What a part says of itself."""

    origin: ArchiveOrigin
    part: int = Field(ge=1, strict=True)
    """Its number; a number may be missing where a batch was rolled back."""
    rows: int = Field(ge=1, strict=True)
    value_bytes: int = Field(ge=0, strict=True)
    """Sum of the column of that name."""
    sha256: str = Field(pattern=_HEX)
    """Over the rows, in order, and over every other field of this."""

    @property
    def name(self) -> str:
        """Its file."""
        return f"part-{self.part:06}.parquet"


class SealedPart(_Model):
    rows: int
    value_bytes: int
    sha256: str


class ArchiveManifest(_Model):
    """``_archive.json``."""

    kind: Literal["storekit-archive"] = "storekit-archive"
    origin: ArchiveOrigin
    complete: Literal[True] = True
    parts: int
    rows: int
    value_bytes: int
    contents: dict[str, SealedPart]
    """The parts by file name."""


class ArchiveWriter:
    """An archive in the making.

    Parameters
    ----------
    path
        The folder, made here; its parent must exist. It and what is in it are for this user alone: they hold values.
    origin
        What every part says of itself.

    Raises
    ------
    ArchiveError
        If something has the name already, or the folder cannot be made. Nothing was written then.
    """

    def __init__(self, path: str | Path, origin: ArchiveOrigin) -> None:
        self.path = Path(path).absolute()  # not resolved: a link that leads nowhere is refused, not followed
        self.origin = origin
        self._begun: list[ArchivePart] = []
        self._finished = False
        hint = "choose a folder that does not exist yet, in one that exists and can be written"
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            raise ArchiveError(f"{plain(path)} exists; an archive is never added to", hint=hint) from None
        except (OSError, ValueError) as error:
            raise ArchiveError(f"the archive {plain(path)} cannot be made: {plain(error)}", hint=hint) from error
        try:
            flush(self.path.parent)
        except OSError as error:
            self.abandon_if_empty()
            raise ArchiveError(f"the archive {plain(path)} cannot be made: {plain(error)}", hint=hint) from error

    @property
    def _sealed(self) -> list[ArchivePart]:
        return [part for part in self._begun if part.info is not None]

    @property
    def rows(self) -> int:
        """Rows of the sealed parts."""
        return sum(part.rows for part in self._sealed)

    @property
    def value_bytes(self) -> int:
        """Size of their values, in bytes."""
        return sum(part.value_bytes for part in self._sealed)

    def begin(self) -> ArchivePart:
        """Return the next part: one for each transaction."""
        if self._finished:
            raise ArchiveError(f"the archive {plain(self.path)} is finished", hint="make another: ArchiveWriter(path)")
        part = ArchivePart(self.path, self.origin, len(self._begun) + 1)
        self._begun.append(part)
        return part

    def finish(self) -> None:
        """Say that the archive is whole.

        Raises
        ------
        ArchiveError
            If a part is neither sealed nor discarded, or the disk fails. The parts are good all the same.
        """
        still_open = [part for part in self._begun if part.is_open]
        if still_open:
            raise ArchiveError(
                f"part {still_open[0].number} is still open", hint="seal() or discard() each part before finish()"
            )
        infos = [part.info for part in self._begun if part.info is not None]
        manifest = ArchiveManifest(
            origin=self.origin,
            parts=len(infos),
            rows=self.rows,
            value_bytes=self.value_bytes,
            contents={
                info.name: SealedPart(rows=info.rows, value_bytes=info.value_bytes, sha256=info.sha256)
                for info in infos
            },
        )
        with _failing(self.path / MANIFEST, "the parts before it are whole; the archive reads as cut off"):
            write_whole(self.path / MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")
        self._finished = True

    def abandon_if_empty(self) -> None:
        """Remove the folder again if nothing was archived: no part is sealed, and it is not finished. Never raises."""
        if self._sealed:
            return
        for part in self._begun:
            part.discard()
        with contextlib.suppress(OSError):
            self.path.rmdir()  # which spares a finished archive, and what someone else put there
            flush(self.path.parent)


class ArchivePart:
    """The rows of one transaction, on their way to disk. Made by `ArchiveWriter.begin`.

    `seal` it before the transaction commits; `discard` it if that is rolled back. If a commit's end is unknown, keep
    it: restoring never overwrites what is still there.
    """

    def __init__(self, folder: Path, origin: ArchiveOrigin, number: int) -> None:
        self.number = number
        self.rows = 0
        """Rows written."""
        self.value_bytes = 0
        """Sum of their ``value_bytes``."""
        self.info: PartInfo | None = None
        """What it was sealed with; None before, after a discard, and for a part without rows."""
        self.is_open = True
        """Whether it takes rows."""
        self._origin = origin
        self._path = folder / f"part-{number:06}.parquet"
        self._writer: SealedWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows as a row group.

        Parameters
        ----------
        batch
            In the columns of `ARCHIVE`.

        Raises
        ------
        ArchiveError
            If the columns are others, a null stands where none may, or the disk fails; then discard the part.
        """
        if not self.is_open:
            raise ArchiveError(f"part {self.number} is sealed or discarded", hint="writer.begin() gives the next one")
        batch = _in_contract(batch)
        if not batch.num_rows:
            return
        with _failing(self._path):
            if self._writer is None:
                self._writer = SealedWriter(self._path, ARCHIVE)
            self._writer.write(batch)
        self.rows += batch.num_rows
        self.value_bytes += pc.sum(batch.column("value_bytes")).as_py()

    def seal(self) -> None:
        """Make the part whole, named and durable. A part without rows leaves no file.

        Raises
        ------
        ArchiveError
            If the disk fails; then discard the part.
        """
        if not self.is_open:
            raise ArchiveError(f"part {self.number} is sealed or discarded", hint="writer.begin() gives the next one")
        if self._writer is not None:
            fields = {"part": self.number, "rows": self.rows, "value_bytes": self.value_bytes}
            said = {"origin": self._origin.model_dump(mode="json"), **fields}
            info = PartInfo(origin=self._origin, sha256=sealed_hash(said, self._writer.content()), **fields)
            with _failing(self._path):
                self._writer.seal(METADATA_KEY, info.model_dump(mode="json"))
            self.info = info
        self.is_open = False

    def discard(self) -> None:
        """Remove the part, sealed or not. Never raises, also not for one that is gone."""
        self.is_open, self.info = False, None
        if self._writer is None:
            return
        self._writer.discard()
        # The name is this part's alone: the folder is ours, and seal() refuses a name that is taken.
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
            flush(self._path.parent)


@contextlib.contextmanager
def _failing(path: Path, hint: str | None = None) -> Iterator[None]:
    """Turn what the disk says into ArchiveError."""
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        remedy = "make room, or archive to another disk" if full else "archive to a folder that can be written"
        raise ArchiveError(
            f"{plain(path)} cannot be written: {plain(error)}",
            hint=f"{hint or 'what was not archived must not be deleted'}; {remedy}",
        ) from error


def _in_contract(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [(field.name, field.type) for field in ARCHIVE]
    if [(field.name, field.type) for field in batch.schema] != columns:
        raise ArchiveError(
            f"the columns {', '.join(map(plain, batch.schema.names))} are not an archive's, or of other types",
            hint=f"they are those of storekit.frames.archive.ARCHIVE: {', '.join(ARCHIVE.names)}",
        )
    for field, column in zip(ARCHIVE, batch.columns, strict=True):
        if column.null_count and not field.nullable:
            raise ArchiveError(f"{field.name} is null in {column.null_count} rows", hint="the contract allows none")
    # Our own schema: the batch's may differ in what it says of nulls.
    return pa.RecordBatch.from_arrays(batch.columns, schema=ARCHIVE)
