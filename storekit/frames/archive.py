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
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from storekit import __version__
from storekit.clock import as_utc
from storekit.errors import ArchiveError
from storekit.frames.content import ContentHash, SealedWriter, flush, sealed_hash, sealed_object, write_whole
from storekit.frames.contract import TASKS
from storekit.frames.display import escape, human_bytes, human_count, human_instant, plain
from storekit.frames.report import framed

__all__ = ["ARCHIVE", "Archive", "ArchiveOrigin", "ArchivePart", "ArchiveWriter", "PartInfo", "open_archive"]

FORMAT_VERSION = 1
"""Of an archive. It rises with every change of the models here or of `ARCHIVE`: the hash is over all of them."""

ARCHIVE = TASKS.schema(values=True)
"""An archive's columns: those of `storekit.frames.contract.TASKS`, with values."""

MANIFEST = "_archive.json"
METADATA_KEY = "storekit.archive"
_PART = re.compile(r"part-(\d{6,})\.parquet", re.ASCII)
_BATCH_ROWS = 8_192
_BATCH_BYTES = 2**25
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


class _Sealed(_Model):
    rows: int
    value_bytes: int
    sha256: str


class _Manifest(_Model):
    """``_archive.json``."""

    kind: Literal["storekit-archive"] = "storekit-archive"
    origin: ArchiveOrigin
    complete: Literal[True] = True
    parts: int
    rows: int
    value_bytes: int
    contents: dict[str, _Sealed]
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
        manifest = _Manifest(
            origin=self.origin,
            parts=len(infos),
            rows=self.rows,
            value_bytes=self.value_bytes,
            contents={
                info.name: _Sealed(rows=info.rows, value_bytes=info.value_bytes, sha256=info.sha256) for info in infos
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


class Archive:
    """Rows that a cleanup deleted. Made by `open_archive`.

    To whatever takes an Arrow stream it is its rows: ``polars.DataFrame(archive)``.
    """

    def __init__(self, path: Path, origin: ArchiveOrigin, parts: tuple[PartInfo, ...], *, complete: bool) -> None:
        self.path = path
        self.origin = origin
        self.parts = parts
        """The parts in order."""
        self.complete = complete
        """Whether the cleanup ran to its end; if not, what it deleted until then is here all the same."""

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return sum(part.rows for part in self.parts)

    @property
    def value_bytes(self) -> int:
        """The size of their values, in bytes."""
        return sum(part.value_bytes for part in self.parts)

    def __len__(self) -> int:
        return self.rows

    def batches(self) -> pa.RecordBatchReader:
        """Return the rows in the columns of `ARCHIVE`, part by part, as a stream in bounded memory.

        Each part is read twice: it is checked whole before its first row is handed out.

        Raises
        ------
        ArchiveError
            From the reader: if a part is missing, damaged or edited. The rows before it are good.
        """
        return pa.RecordBatchReader.from_batches(ARCHIVE, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for part in self.parts:
            path = self.path / part.name
            # Opened once, so that what is checked is what is handed out, whatever gets the name meanwhile.
            with _opened(path) as file:
                if _part_info(file, path) != part:
                    raise _damaged(path, "it is another part by now")
                content = ContentHash(ARCHIVE)
                for batch in _decoded(file, path, part):
                    content.update(batch)
                if sealed_hash(part.model_dump(mode="json"), content.hexdigest()) != part.sha256:
                    raise _damaged(path, "it was changed since it was written")
                yield from _decoded(file, path, part)

    def __arrow_c_schema__(self) -> Any:
        """Give the columns of an archive to another Arrow library, without reading."""
        return ARCHIVE.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """Give the rows to another Arrow library, as a stream."""
        return self.batches().__arrow_c_stream__(requested_schema)

    def _card(self) -> list[tuple[str, str]]:
        origin = self.origin
        return [
            ("archive", plain(self.path)),
            ("rows", f"{human_count(self.rows)} in {human_count(len(self.parts))} parts"),
            ("values", human_bytes(self.value_bytes)),
            ("database", f"{plain(origin.database)} (layout {plain(origin.layout)})"),
            ("deleted as of", human_instant(origin.now)),
            ("plan", "none" if origin.plan_sha256 is None else f"sha256 {origin.plan_sha256[:12]}…"),
            ("complete", "yes" if self.complete else "no: the cleanup was cut off; what it had deleted is here"),
        ]

    def __repr__(self) -> str:
        return "\n".join(["storekit archive", *(f"  {name:<15}{value}" for name, value in self._card())])

    def _repr_html_(self) -> str:
        rows = [f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in self._card()]
        return framed(
            f'<p class="sk-title">storekit archive</p><table class="sk-card"><tbody>{"".join(rows)}</tbody></table>'
        )


def open_archive(path: str | Path) -> Archive:
    """Open an archive. Its rows are checked as they are read: `Archive.batches`.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    ArchiveError
        If it is missing or no archive, of a newer format, mixed from several, or not the parts that it says.
    """
    folder = Path(path).absolute()
    hint = "name the folder that the cleanup's archive= named"
    try:
        names = sorted(each.name for each in folder.iterdir())
    except OSError as error:
        raise ArchiveError(f"{plain(path)} is no archive that can be read: {plain(error)}", hint=hint) from error
    manifest = _manifest(folder / MANIFEST) if MANIFEST in names else None
    parts = []
    for name in names:
        # Readers of folders skip the same names: leftovers of a write that was cut off are among them.
        if name.startswith((".", "_")) or not name.endswith(".parquet"):
            continue
        with _opened(folder / name) as file:
            info = _part_info(file, folder / name)
        if name != info.name:
            raise _foreign(folder / name, f"it says that it is {info.name}")
        parts.append(info)
    parts.sort(key=lambda info: info.part)
    if manifest is None and not parts:
        raise ArchiveError(f"{plain(path)} is no archive: it has neither parts nor {MANIFEST}", hint=hint)
    origin = manifest.origin if manifest else parts[0].origin
    for info in parts:
        if info.origin != origin:
            raise _foreign(folder / info.name, f"it is of {_named(info.origin)}, the others are of {_named(origin)}")
    if manifest is not None:
        _compare(folder, manifest, parts)
    return Archive(folder, origin, tuple(parts), complete=manifest is not None)


def _named(origin: ArchiveOrigin) -> str:
    return f"the cleanup of {plain(origin.database)} that began at {human_instant(origin.started_at)}"


def _compare(folder: Path, manifest: _Manifest, parts: list[PartInfo]) -> None:
    found = {info.name: _Sealed(rows=info.rows, value_bytes=info.value_bytes, sha256=info.sha256) for info in parts}
    for name in sorted(manifest.contents.keys() - found.keys()):
        raise ArchiveError(f"{plain(folder / name)} is missing", hint="restore it from a backup of the archive")
    for name, sealed in found.items():
        if name not in manifest.contents:
            raise _foreign(folder / name, f"{MANIFEST} does not name it")
        if manifest.contents[name] != sealed:
            raise _damaged(folder / name, f"it is not the part that {MANIFEST} names")
    totals = (len(found), sum(info.rows for info in parts), sum(info.value_bytes for info in parts))
    if (manifest.parts, manifest.rows, manifest.value_bytes) != totals:
        raise _damaged(folder / MANIFEST, "its totals are not those of its parts")


def _manifest(path: Path) -> _Manifest:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    _check_version(said, path)
    try:
        return _Manifest.model_validate(said)
    except ValidationError as error:
        raise _damaged(path, _first(error)) from None


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _part_info(file: pq.ParquetFile, path: Path) -> PartInfo:
    said = sealed_object(file, METADATA_KEY)
    if said is None:
        raise _foreign(path, "it was not written by a cleanup, or edited or re-written since")
    _check_version(said, path)
    try:
        info = PartInfo.model_validate(said)
    except ValidationError as error:
        raise _damaged(path, f"{METADATA_KEY}: {_first(error)}") from None
    if [(field.name, field.type) for field in file.schema_arrow] != [(field.name, field.type) for field in ARCHIVE]:
        raise _damaged(path, "its columns are not an archive's")
    return info


def _decoded(file: pq.ParquetFile, path: Path, part: PartInfo) -> Iterator[pa.RecordBatch]:
    # Fewer rows at a time where they are large.
    rows = max(1, min(_BATCH_ROWS, _BATCH_BYTES * part.rows // max(1, part.value_bytes)))
    try:
        for batch in file.iter_batches(rows, use_threads=False):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=ARCHIVE)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def _check_version(said: Any, path: Path) -> None:
    origin = said.get("origin") if isinstance(said, dict) else None
    version = origin.get("format_version") if isinstance(origin, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ArchiveError(
            f"{plain(path)} has format {version}; this storekit reads up to {FORMAT_VERSION}",
            hint="pip install --upgrade storekit",
        )


def _first(error: ValidationError) -> str:
    wrong = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in wrong['loc'])}: {wrong['msg']}"


def _damaged(path: Path, what: object) -> ArchiveError:
    return ArchiveError(f"{plain(path)} is damaged: {plain(what)}", hint="restore it from a backup of the archive")


def _foreign(path: Path, what: str) -> ArchiveError:
    return ArchiveError(f"{plain(path)} is not of this archive: {what}", hint="move it out of the folder")
