"""Files that tell whether they still hold what was written: a hash over rows, and Parquet sealed with it.

A sealed file has one JSON object in its key-value metadata. Its ``sha256`` is over the rows and over everything else
that the object says, so that neither can be changed without the other. It guards against accidents and edits by hand,
not against a forger, who can compute a hash as well.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

__all__ = ["ContentHash", "SealedWriter", "flush", "sealed_hash", "sealed_object", "write_whole"]

_LITTLE_INT64 = np.dtype("<i8")


class ContentHash:
    """SHA-256 over Arrow rows, whatever the batches they come in.

    Each column feeds hashes of its own: which cells are null, how long the texts are, the bytes themselves. So there
    is nothing to re-cut and nothing to buffer, and a text that moves into its neighbour's cell changes the lengths.

    Parameters
    ----------
    schema
        Names and types, which are hashed too; nullability and metadata are not. Texts, integers of 64 bits, booleans
        and instants.

    Raises
    ------
    TypeError
        For a column of another type.
    """

    def __init__(self, schema: pa.Schema) -> None:
        for field in schema:
            if not (field.type in (pa.string(), pa.int64(), pa.bool_()) or pa.types.is_timestamp(field.type)):
                raise TypeError(f"{field.name} is {field.type}: texts, int64, booleans and instants can be hashed")
        self._fields = [(field.name, field.type) for field in schema]
        # Three per column, of which only texts use the second.
        self._columns = [tuple(hashlib.sha256() for _ in range(3)) for _ in self._fields]

    def update(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch.

        Raises
        ------
        TypeError
            If its columns have other names or types.
        """
        if [(field.name, field.type) for field in batch.schema] != self._fields:
            raise TypeError(f"the batch has the columns {batch.schema.names}, not {self._fields}")
        for column, (valid, lengths, data) in zip(batch.columns, self._columns, strict=True):
            valid.update(_valid(column))
            if pa.types.is_string(column.type):
                sizes, bytes_ = _text(column)
                lengths.update(sizes)
                data.update(bytes_)
            else:
                data.update(_fixed(column))

    def hexdigest(self) -> str:
        """Return the hash of the rows so far, 64 hexadecimal digits."""
        # JSON keeps a name from running into the type behind it.
        head = json.dumps([[name, str(kind)] for name, kind in self._fields])
        whole = hashlib.sha256(head.encode())
        for column in self._columns:
            for each in column:
                whole.update(each.digest())
        return whole.hexdigest()


def _valid(column: pa.Array) -> Any:
    """Return a byte per cell, 1 or 0: validity bitmaps may be absent, and are padded with anything."""
    if column.null_count == 0:
        return b"\x01" * len(column)
    return np.ascontiguousarray(column.is_valid().to_numpy(zero_copy_only=False)).view(np.uint8)


def _text(column: pa.Array) -> tuple[Any, Any]:
    """Return the lengths in bytes and the bytes. Filling drops what may hide under a null."""
    if column.null_count:
        column = pc.fill_null(column, "")
    if not len(column):
        return b"", b""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    sizes = np.diff(bounds).astype(_LITTLE_INT64)
    return sizes, b"" if data is None else memoryview(data)[int(bounds[0]) : int(bounds[-1])]


def _fixed(column: pa.Array) -> Any:
    if pa.types.is_boolean(column.type):
        return pc.fill_null(column, False).to_numpy(zero_copy_only=False).view(np.uint8)
    if pa.types.is_timestamp(column.type):
        column = column.view(pa.int64())
    return np.ascontiguousarray(pc.fill_null(column, 0).to_numpy(), _LITTLE_INT64)


def sealed_hash(said: Mapping[str, Any], content: str) -> str:
    """Return the hash of an object without its ``sha256``, together with the hash of the rows."""
    fields = {name: value for name, value in said.items() if name != "sha256"}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{canonical}\n{content}".encode()).hexdigest()


def sealed_object(file: pq.ParquetFile, key: str) -> dict[str, Any] | None:
    """Return the object that a file was sealed with; None: there is none under this key."""
    try:
        said = json.loads((file.metadata.metadata or {}).get(key.encode(), b"null"))
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


class SealedWriter:
    """A Parquet file in the making, under a hidden name beside its own until `seal`.

    Every failure of the disk comes out as OSError; `discard` then cleans up. The file is for this user alone: it
    tells Dags and keys, or values.

    Parameters
    ----------
    target
        The name that it gets when it is whole.
    schema
        Of the batches.
    """

    def __init__(self, target: Path, schema: pa.Schema) -> None:
        self._target = target
        self._partial = _partial(target)
        self._content = ContentHash(schema)
        # The descriptor is older than every write, so that fsync reports what went wrong with any of them.
        self._descriptor = os.open(self._partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        self._whole = True
        self._sink: Any = None
        self._writer: Any = None
        try:
            self._sink = pa.OSFile(str(self._partial), "wb")
            self._writer = pq.ParquetWriter(self._sink, schema, compression="zstd")
        except BaseException:
            self.discard()
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Add a row group."""
        whole, self._whole = self._whole, False
        self._writer.write_batch(batch)
        self._content.update(batch)
        self._whole = whole

    def content(self) -> str:
        """Return the hash of the rows so far."""
        return self._content.hexdigest()

    def seal(self, key: str, said: Mapping[str, Any], *, replace: bool = False) -> None:
        """Put the object into the metadata and give the file its name, durably.

        Raises
        ------
        FileExistsError
            If something has the name by now, and ``replace`` is not set.
        """
        if not self._whole:
            raise OSError(errno.EIO, "a write before this failed", str(self._target))
        self._writer.add_key_value_metadata({key: json.dumps(said, sort_keys=True)})
        self._writer.close()
        self._sink.close()
        os.fsync(self._descriptor)
        _name(self._partial, self._target, replace=replace)
        self._let_go()
        flush(self._target.parent)

    def discard(self) -> None:
        """Remove the file unless it has its name already. Never raises."""
        self._let_go()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _let_go(self) -> None:
        if self._writer is not None:
            # A writer whose disk failed must not try to write its footer when it is collected.
            self._writer.is_open = False
        if self._sink is not None:
            with contextlib.suppress(OSError):
                self._sink.close()
        self._writer = None
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


def write_whole(target: Path, text: str) -> None:
    """Write a small file, whole or not at all, which must not exist."""
    partial = _partial(target)
    try:
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        _name(partial, target, replace=False)
        flush(target.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def flush(folder: Path) -> None:
    """Make the names in a folder durable: after a power failure they are those of now."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _partial(target: Path) -> Path:
    # The dot hides it from whatever reads a folder of Parquet files as one table.
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")


def _name(partial: Path, target: Path, *, replace: bool) -> None:
    if not replace:
        # A link refuses a name that is taken, in one step; a file system without links needs two.
        try:
            os.link(partial, target)
        except FileExistsError:
            raise
        except OSError:
            if os.path.lexists(target):
                raise FileExistsError(errno.EEXIST, "exists", str(target)) from None
        else:
            partial.unlink()
            return
    partial.replace(target)
