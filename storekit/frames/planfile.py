"""A plan on disk: one Parquet file with what it is in its metadata, and the checks that its rows must pass."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_serializer, field_validator

from storekit import __version__
from storekit.clock import as_utc
from storekit.errors import PlanError
from storekit.frames.content import ContentHash, SealedWriter, sealed_hash, sealed_object
from storekit.frames.contract import TASKS
from storekit.frames.display import plain

__all__ = ["FORMAT_VERSION", "PLAN", "PlanFile", "PlanInfo", "RowCheck", "read_info", "write"]

FORMAT_VERSION = 1
"""Of a saved plan. It rises with every change of `PlanInfo` or `PLAN`: the hash is over all of them."""

METADATA_KEY = "storekit.plan"
NATURAL_KEY = ("dag_id", "run_id", "task_id", "map_index", "region_id", "key")
"""What tells one row of the task store from another, in the order of a plan's rows."""

_BATCH_ROWS = 32_768


def _plan_schema() -> pa.Schema:
    tasks = TASKS.schema(values=False)
    # What a plan deletes has expired, so it has an expiry.
    expiry = tasks.field("expires_at").with_nullable(False)
    names = [*NATURAL_KEY, "updated_at", "expires_at", "value_bytes"]
    return pa.schema([expiry if name == "expires_at" else tasks.field(name) for name in names])


PLAN = _plan_schema()
"""A plan's columns: dag_id, run_id, task_id (string), map_index (int64), region_id (string, may be null), key
(string), updated_at, expires_at (timestamp[us, UTC]), value_bytes (int64)."""


class PlanInfo(BaseModel):
    """What a plan is for. Immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format_version: int = Field(default=FORMAT_VERSION, ge=1, le=FORMAT_VERSION, strict=True)
    """Of the saved form."""
    now: AwareDatetime
    """The instant of the preview, UTC: the rows had expired before it."""
    taken_at: AwareDatetime
    """When the snapshot was read, UTC."""
    layout: str
    """``storekit``, ``airflow-3.3`` or ``airflow-3.4``."""
    database: str
    """Which one, without credentials, as `SnapshotInfo.database`."""
    database_id: str | None = None
    """As `SnapshotInfo.database_id`."""
    dialect: str
    """``sqlite``, ``postgresql``, ``mysql`` or ``mariadb``."""
    has_never_expire: bool
    """As `SnapshotInfo.has_never_expire`."""
    custom_backend: str | None = None
    """As `SnapshotInfo.custom_backend`."""
    storekit_version: str = __version__
    """That made it."""
    rows: int = Field(ge=0, strict=True)
    """How many rows it names."""
    value_bytes: int = Field(ge=0, strict=True)
    """Size of their values together, in bytes."""
    sha256: str = Field(pattern=r"\A[0-9a-f]{64}\z")
    """Over the rows, in order, and over every other field of this."""

    @field_validator("now", "taken_at")
    @classmethod
    def _utc(cls, instant: datetime) -> datetime:
        return as_utc(instant)

    @field_serializer("now", "taken_at", when_used="json")
    def _iso(self, instant: datetime) -> str:
        # Spelled here, since it is hashed: another version of pydantic may spell it another way.
        return instant.astimezone(UTC).isoformat(timespec="microseconds")


class RowCheck:
    """What is seen of a plan's rows as they pass, batch by batch: whether they can be a plan's, and their hash.

    Parameters
    ----------
    now
        Of the plan.
    where
        What the rows are of, for messages.
    """

    def __init__(self, now: datetime, where: str) -> None:
        self.rows = 0
        self.value_bytes = 0
        self._now, self._where = now, where
        self._last: pa.RecordBatch | None = None
        self._content = ContentHash(PLAN)

    def update(self, batch: pa.RecordBatch) -> None:
        """Look at the next batch.

        Raises
        ------
        PlanError
            If a null stands where none may, a size is negative, a row has not expired before ``now``, or a row does
            not follow the one before it in natural-key order (the same row twice, or a row out of its place).
        """
        if not batch.num_rows:
            return
        for field, column in zip(PLAN, batch.columns, strict=True):
            if column.null_count and not field.nullable:
                raise self._wrong(f"{field.name} is missing in {column.null_count} rows")
        expires_at, sizes = batch.column("expires_at"), batch.column("value_bytes")
        if pc.max(expires_at).value >= pa.scalar(self._now, expires_at.type).value:
            raise self._wrong("it names rows that have not expired at its instant")
        if pc.min(sizes).as_py() < 0:
            raise self._wrong("value_bytes holds a negative size")
        self._check_order(batch)
        self.rows += batch.num_rows
        self.value_bytes += pc.sum(sizes).as_py()
        self._content.update(batch)
        self._last = batch.slice(batch.num_rows - 1)

    def _check_order(self, batch: pa.RecordBatch) -> None:
        keys = batch.select(list(NATURAL_KEY))
        if self._last is not None:
            keys = pa.concat_batches([self._last.select(list(NATURAL_KEY)), keys])
        earlier, later = keys.slice(0, keys.num_rows - 1), keys.slice(1)
        if not earlier.num_rows:
            return
        follows: Any = False
        for name in reversed(NATURAL_KEY):
            one, other = earlier.column(name), later.column(name)
            # Texts compare by their bytes, in Arrow as in DuckDB; a null comes last.
            both_null = pc.and_(one.is_null(), other.is_null())
            less = pc.if_else(pc.and_(one.is_valid(), other.is_null()), True, pc.fill_null(pc.less(one, other), False))
            equal = pc.if_else(both_null, True, pc.fill_null(pc.equal(one, other), False))
            follows = pc.or_(less, pc.and_(equal, follows))
        place = pc.index(follows, False).as_py()
        if place < 0:
            return
        first, second = (keys.slice(place + by, 1).to_pylist()[0] for by in (0, 1))
        named = plain(", ".join(f"{name}={second[name]!r}" for name in NATURAL_KEY if second[name] is not None))
        if first == second:
            raise self._wrong(f"it names one row twice: {named}")
        raise self._wrong(f"a row is out of its place in natural-key order: {named}")

    def seal(self, info: dict[str, Any]) -> str:
        """Return the hash of the rows so far together with these fields of a `PlanInfo`."""
        return sealed_hash(info, self._content.hexdigest())

    def finish(self, info: PlanInfo) -> None:
        """Raise PlanError unless the rows, all of them seen by now, are what ``info`` says."""
        told = (self.rows, self.value_bytes, self.seal(info.model_dump(mode="json")))
        if told != (info.rows, info.value_bytes, info.sha256):
            raise self._wrong("the plan was changed since it was made")

    def _wrong(self, what: str) -> PlanError:
        return PlanError(f"{self._where}: {what}", hint="make it again: store.snapshot().plan()")


class PlanFile:
    """The rows of a saved plan, streamed out of the file.

    Parameters
    ----------
    path
        Of the file.
    info
        What it must still say of itself when it is read.
    """

    def __init__(self, path: Path, info: PlanInfo) -> None:
        self._path, self._info = path, info

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return plain(self._path)

    def batches(self, *, limit: int | None = None, offset: int = 0) -> Iterator[pa.RecordBatch]:
        """Iterate the rows from ``offset`` on; nothing before it is decoded but the rest of its row group."""
        left = limit or 0
        with _opened(self._path) as file:
            if _info(file, self._path) != self._info:
                raise PlanError(f"{self.name} is another plan by now", hint="open it again: storekit.open_plan(path)")
            groups: list[int] = []
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if groups or offset < rows:
                    groups.append(group)
                else:
                    offset -= rows
            try:
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, use_threads=False):
                    if limit is not None and left <= 0:
                        return
                    skipped = min(offset, batch.num_rows)
                    part = batch.slice(skipped) if limit is None else batch.slice(skipped, left)
                    offset -= skipped
                    left -= part.num_rows
                    # Our own schema: the file's may differ in what it says of nulls.
                    yield pa.RecordBatch.from_arrays(part.columns, schema=PLAN)
            except (pa.ArrowException, OSError) as error:
                raise _damaged(self._path, error) from error


def read_info(path: Path) -> PlanInfo:
    """Return what a file says that it is the plan of; whether it is true, its rows must tell."""
    with _opened(path) as file:
        return _info(file, path)


def write(path: Path, info: PlanInfo, batches: Iterator[pa.RecordBatch], *, overwrite: bool) -> None:
    """Write beside the target, then rename: a crash leaves the old state or the new one, never half."""
    try:
        if path.is_dir():
            raise PlanError(f"{plain(path)} is a folder", hint="name a file, such as plan.parquet")
        replace = _may_replace(path, overwrite=overwrite)
        if not path.parent.is_dir():
            raise PlanError(f"{plain(path.parent)} does not exist", hint="make it first, or choose another folder")
        writer = SealedWriter(path, PLAN)
        try:
            for batch in batches:
                writer.write(batch)
            writer.seal(METADATA_KEY, info.model_dump(mode="json"), replace=replace)
        finally:
            writer.discard()
    except FileExistsError:
        raise PlanError(f"{plain(path)} exists by now", hint="choose another name, or overwrite=True") from None
    except OSError as error:
        raise PlanError(
            f"{plain(path)} cannot be written: {plain(error)}",
            hint="nothing was replaced; choose a folder that can be written and has room",
        ) from error


def _may_replace(path: Path, *, overwrite: bool) -> bool:
    if not path.exists() and not path.is_symlink():
        return False
    if not overwrite:
        raise PlanError(f"{plain(path)} exists", hint="choose another name, or overwrite=True for a saved plan")
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            is_plan = sealed_object(file, METADATA_KEY) is not None
    except (pa.ArrowException, OSError):
        is_plan = False
    if not is_plan:
        raise PlanError(
            f"{plain(path)} is something else than a saved plan",
            hint="overwrite=True replaces a saved plan and nothing else; choose another name",
        )
    return True


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except FileNotFoundError:
        raise PlanError(f"there is no {plain(path)}", hint="plan.save(path) makes one") from None
    except pa.ArrowException as error:
        raise PlanError(
            f"{plain(path)} is not Parquet: {plain(error)}", hint="name the file that plan.save() returned"
        ) from error
    except OSError as error:
        raise PlanError(
            f"{plain(path)} cannot be read: {plain(error)}", hint="name the file that plan.save() returned"
        ) from error


def _info(file: pq.ParquetFile, path: Path) -> PlanInfo:
    said = sealed_object(file, METADATA_KEY)
    if said is None:
        raise PlanError(
            f"{plain(path)} holds no plan; was it edited or re-written by another program?",
            hint="name the file that plan.save() returned, as it was saved",
        )
    version = said.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise PlanError(
            f"{plain(path)} has format {version}; this storekit reads up to {FORMAT_VERSION}",
            hint="pip install --upgrade storekit",
        )
    try:
        info = PlanInfo.model_validate(said)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in wrong["loc"])
        raise _damaged(path, f"{METADATA_KEY}: {where}: {wrong['msg']}") from None
    found = [(field.name, field.type) for field in file.schema_arrow]
    if found != [(field.name, field.type) for field in PLAN]:
        raise _damaged(path, f"its columns are {', '.join(name for name, _ in found)}, or of other types than a plan's")
    return info


def _damaged(path: Path, what: object) -> PlanError:
    return PlanError(
        f"{plain(path)}: the plan was changed since it was made: {plain(what)}",
        hint="make it again: store.snapshot().plan()",
    )
