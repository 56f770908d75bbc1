"""Archives as they lie: opened, checked, and read part by part."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from storekit.errors import ArchiveError
from storekit.frames.archive import (
    ARCHIVE,
    FORMAT_VERSION,
    MANIFEST,
    METADATA_KEY,
    ArchiveManifest,
    ArchiveOrigin,
    PartInfo,
    SealedPart,
)
from storekit.frames.content import ContentHash, sealed_hash, sealed_object
from storekit.frames.display import escape, human_bytes, human_count, human_instant, plain
from storekit.frames.report import framed

__all__ = ["Archive", "open_archive"]

_BATCH_ROWS = 8_192
_BATCH_BYTES = 2**25


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

        Returns
        -------
        pyarrow.RecordBatchReader
            The columns of `storekit.frames.contract.TASKS`, values included: dag_id, run_id, task_id (string),
            map_index (int64), region_id, key, value (string), value_bytes (int64), updated_at, expires_at
            (timestamp[us, UTC]), never_expire (bool).

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

    Returns
    -------
    Archive
        What is in it. One whose cleanup was cut off opens too: its ``complete`` is False.

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


def _compare(folder: Path, manifest: ArchiveManifest, parts: list[PartInfo]) -> None:
    found = {info.name: SealedPart(rows=info.rows, value_bytes=info.value_bytes, sha256=info.sha256) for info in parts}
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


def _manifest(path: Path) -> ArchiveManifest:
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    _check_version(said, path)
    try:
        return ArchiveManifest.model_validate(said)
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
