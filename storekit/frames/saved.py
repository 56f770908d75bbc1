"""A snapshot on disk: one Parquet file, and a manifest that says what it is and holds its checksum."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from storekit.errors import SnapshotError
from storekit.frames.display import plain
from storekit.frames.snapshot import FORMAT_VERSION, Snapshot, SnapshotInfo

__all__ = ["read", "save"]

MANIFEST = "snapshot.json"
ROWS_FILE = "rows.parquet"
_KIND = "storekit-snapshot"


def save(snapshot: Snapshot, directory: Path, *, overwrite: bool) -> Path:
    """Write beside the target, then rename: a crash leaves the old state or the new one, never half."""
    directory = directory.absolute()  # not resolved: a link is refused below, not followed
    _check_target(directory, overwrite=overwrite)
    try:
        # Not mkdtemp, whose directory is for this user alone: what is saved follows the umask, as any file would.
        partial = directory.parent / f".{directory.name}.{secrets.token_hex(8)}.partial"
        partial.mkdir()
    except OSError as error:
        raise SnapshotError(
            f"cannot write in {directory.parent}: {error.strerror}", hint="choose a directory that can be written"
        ) from error
    try:
        rows = partial / ROWS_FILE
        with snapshot.to_reader() as reader, pq.ParquetWriter(rows, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
        manifest = {
            "kind": _KIND,
            "info": snapshot.info.model_dump(mode="json"),
            "files": {ROWS_FILE: {"sha256": _sha256(rows), "bytes": rows.stat().st_size}},
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        for path in (rows, partial / MANIFEST, partial):
            _flush(path)
        _put(partial, directory)
    except OSError as error:
        raise SnapshotError(f"cannot save to {directory}: {error}", hint="nothing was replaced") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return directory


def _check_target(directory: Path, *, overwrite: bool) -> None:
    if directory.is_symlink() or (directory.exists() and not directory.is_dir()):
        raise SnapshotError(f"{directory} is not a directory", hint="name one that does not exist yet")
    if not directory.parent.is_dir():
        raise SnapshotError(f"{directory.parent} does not exist", hint="make it first; only the last part is made")
    held = {path.name for path in directory.iterdir()} if directory.exists() else set()
    if not held:
        return
    if not overwrite:
        raise SnapshotError(f"{directory} is not empty", hint="choose another, or overwrite=True for a saved snapshot")
    strangers = held - {MANIFEST, ROWS_FILE}
    if strangers or not _is_manifest(directory / MANIFEST):
        raise SnapshotError(
            f"{directory} holds something else than a saved snapshot" + (f": {min(strangers)}" if strangers else ""),
            hint="overwrite=True replaces a saved snapshot and nothing else; choose another directory",
        )


def _put(partial: Path, directory: Path) -> None:
    if not directory.exists() or not any(directory.iterdir()):
        partial.rename(directory)  # onto an empty directory is allowed, onto a full one the system refuses
        _flush(directory.parent)
        return
    # Two renames: between them the old snapshot stands under another name, whole.
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".old", dir=directory.parent))
    directory.rename(aside)
    try:
        partial.rename(directory)
    except OSError:
        aside.rename(directory)
        raise
    _flush(directory.parent)
    shutil.rmtree(aside, ignore_errors=True)


def read(directory: Path, *, memory_limit: str, threads: int | None) -> Snapshot:
    """Open what `save` wrote, and check that it is still that."""
    manifest = _manifest(directory)
    info = _info(manifest, directory)
    path = directory / ROWS_FILE
    try:
        found, size = _sha256(path), path.stat().st_size
    except OSError as error:
        raise _damaged(directory, f"{ROWS_FILE} cannot be read: {error.strerror}") from error
    files = manifest.get("files")
    if not isinstance(files, dict) or files.get(ROWS_FILE) != {"sha256": found, "bytes": size}:
        raise _damaged(directory, f"{ROWS_FILE} is not the file that was saved (its SHA-256 differs)")
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            reader = pa.RecordBatchReader.from_batches(
                file.schema_arrow, file.iter_batches(batch_size=8_192, use_threads=False)
            )
            snapshot = Snapshot.from_reader(reader, info, memory_limit=memory_limit, threads=threads)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(directory, f"{ROWS_FILE} is not Parquet that can be read: {error}") from error
    if snapshot.info != info:
        raise _damaged(
            directory,
            f"{ROWS_FILE} has {snapshot.info.task_rows} task and {snapshot.info.asset_rows} asset rows, "
            f"{MANIFEST} says {info.task_rows} and {info.asset_rows}",
        )
    return snapshot


def _manifest(directory: Path) -> dict[str, Any]:
    if not directory.exists():
        raise SnapshotError(f"there is no {directory}", hint="Snapshot.save(directory) makes one")
    path = directory / MANIFEST
    if not path.is_file():
        raise SnapshotError(
            f"{directory} is not a saved snapshot: it has no {MANIFEST}", hint="name the directory that save() returned"
        )
    try:
        manifest = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError) as error:
        raise _damaged(directory, f"{MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise SnapshotError(f"{path} is not the metadata of a snapshot", hint="name the directory that save() returned")
    return manifest


def _info(manifest: dict[str, Any], directory: Path) -> SnapshotInfo:
    raw = manifest.get("info")
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise SnapshotError(
            f"{directory} has format {version}; this storekit reads up to {FORMAT_VERSION}",
            hint="pip install --upgrade storekit",
        )
    try:
        return SnapshotInfo.model_validate(raw)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in wrong["loc"]) or "info"
        raise _damaged(directory, f"{MANIFEST}: {plain(where)}: {wrong['msg']}") from None


def _is_manifest(path: Path) -> bool:
    with contextlib.suppress(ValueError, OSError):
        manifest = json.loads(path.read_bytes())
        return isinstance(manifest, dict) and manifest.get("kind") == _KIND
    return False


def _damaged(directory: Path, what: str) -> SnapshotError:
    return SnapshotError(f"{directory} is damaged: {what}", hint="take the snapshot again, or restore the directory")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    # So that after a power failure the name does not point at what was never written.
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
