"""A preview as JSON, CSV and Parquet: streamed, and each file whole or absent."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from storekit.errors import QueryError
from storekit.frames.dangers import dangers

if TYPE_CHECKING:
    from storekit.frames.preview import Preview

__all__ = ["stream_csv", "stream_json", "whole_file", "write_csv", "write_json", "write_parquet"]

Which = Literal["delete", "keep"] | None


def write_json(preview: Preview, path: str | Path | None, *, verdict: Which, overwrite: bool) -> str | Path:
    """Write the document described in `Preview.to_json`."""
    if path is None:
        text = io.StringIO()
        stream_json(preview, text, verdict=verdict)
        return text.getvalue()
    with whole_file(path, overwrite=overwrite) as file:
        text_file = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        stream_json(preview, text_file, verdict=verdict)
        text_file.detach()
    return Path(path)


def stream_json(
    preview: Preview,
    out: IO[str],
    *,
    verdict: Which,
    limit: int | None = None,
    by: Sequence[str] = (),
    db_clean_before: datetime | None = None,
    dry_run: bool = False,
) -> None:
    """Write the document of `Preview.to_json` to an open file; with ``by``, groups too, as ``by``.

    With ``dry_run`` it is a cleanup's that deleted nothing: what would be deleted is ``to_delete``.
    """
    head: dict[str, Any] = {
        "now": _iso(preview.now),
        "taken_at": _iso(preview.info.taken_at),
        "database": preview.info.database,
        "layout": preview.info.layout,
        "deleted": preview.deleted,
        "deleted_bytes": preview.deleted_bytes,
        "kept": preview.kept,
        "kept_bytes": preview.kept_bytes,
        "notes": preview.notes,
        "reasons": [_jsonable(row) for row in preview._reasons.to_pylist()],
        "dangers": dangers(preview, db_clean_before).to_pylist(),
    }
    if by:
        head["by"] = [_jsonable(row) for row in preview.groups(*by).to_pylist()]
    if dry_run:
        head = {"dry_run": True, **_not_yet(head)}
        if by:
            head["by"] = [_not_yet(group) for group in head["by"]]
    # Opened by hand, so that the rows are written as they come; one row is one line.
    out.write(json.dumps(head, indent=2)[:-2] + ',\n  "rows": [')
    separator = "\n    "
    for batch in preview.batches(verdict=verdict, limit=limit):
        for row in batch.to_pylist():
            out.write(separator + json.dumps(_jsonable(row)))
            separator = ",\n    "
    out.write("\n  ]\n}\n")
    out.flush()


def _not_yet(said: dict[str, Any]) -> dict[str, Any]:
    names = {"deleted": "to_delete", "deleted_bytes": "to_delete_bytes"}
    return {names.get(name, name): each for name, each in said.items()}


def _jsonable(row: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, cell in row.items():
        if isinstance(cell, datetime):
            said[name] = _iso(cell)
        elif name.endswith("margin"):
            said[f"{name}_us"] = None if cell is None else _microseconds(cell)
        else:
            said[name] = cell
    return said


def _microseconds(margin: Any) -> int:
    return int((margin.days * 86_400 + margin.seconds) * 1_000_000 + margin.microseconds)


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def write_csv(preview: Preview, path: str | Path | None, *, verdict: Which, overwrite: bool) -> str | Path:
    """Write the rows as CSV."""
    if path is None:
        text = io.BytesIO()
        stream_csv(preview, text, verdict=verdict)
        return text.getvalue().decode("utf-8")
    with whole_file(path, overwrite=overwrite) as file:
        stream_csv(preview, file, verdict=verdict)
    return Path(path)


def stream_csv(preview: Preview, out: IO[bytes], *, verdict: Which, limit: int | None = None) -> None:
    """Write the rows as CSV to an open file."""
    reader = preview.batches(verdict=verdict, limit=limit)
    margin = reader.schema.get_field_index("margin")
    schema = reader.schema.set(margin, pa.field("margin_us", pa.int64()))
    with pa_csv.CSVWriter(out, schema) as writer:
        for batch in reader:
            columns = list(batch.columns)
            columns[margin] = columns[margin].cast(pa.int64())
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def write_parquet(preview: Preview, path: str | Path, *, verdict: Which, overwrite: bool) -> Path:
    """Write the rows as Parquet."""
    with whole_file(path, overwrite=overwrite) as file:
        reader = preview.batches(verdict=verdict)
        with pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
    return Path(path)


@contextlib.contextmanager
def whole_file(path: str | Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """Open a file beside the target, and give it the target's name only once it is whole."""
    if not isinstance(path, str | Path) or "\0" in str(path):
        raise QueryError(f"{path!r} is no file's name", hint="name a file, such as 'store.html'")
    target = Path(path)
    hint = "choose another name, or overwrite=True"
    if target.is_dir():
        raise QueryError(f"{target} is a directory", hint="name a file")
    if os.path.lexists(target) and not overwrite:
        raise QueryError(f"{target} exists", hint=hint)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as error:
        raise QueryError(
            f"cannot write in {target.parent}: {error.strerror}", hint="choose a directory that can be written"
        ) from error
    partial = Path(name)
    try:
        # mkstemp makes it for this user alone, and so it stays: what is exported names Dags and keys.
        with os.fdopen(descriptor, "wb", closefd=True) as file:
            yield file
        if not overwrite and os.path.lexists(target):
            raise QueryError(f"{target} exists by now", hint=hint)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
