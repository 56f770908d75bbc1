"""What a snapshot and its preview cost: seconds, and the peak memory of the whole process.

    python benchmarks/snapshot.py                     # 1,000,000 synthetic rows
    python benchmarks/snapshot.py --rows 100000
    python benchmarks/snapshot.py --url airflow.db    # of a database, read through storekit.connect

The measured process is a fresh one, imports included. Linux and macOS.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

TAKEN_AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
BATCH_ROWS = 8192


def peak_mb() -> int:
    """Return the peak memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1_000_000 if sys.platform == "darwin" else 1_000))


def synthetic(rows: int) -> Any:
    """Return a reader of rows like a busy deployment's: 200 Dags, one row in fifty an asset's, distinct keys."""
    import numpy as np
    import pyarrow as pa

    from storekit.frames.contract import ROWS

    schema = ROWS.schema(values=False)
    taken_at = int(TAKEN_AT.timestamp()) * 1_000_000
    day = 86_400_000_000

    def batches() -> Iterator[pa.RecordBatch]:
        random = np.random.default_rng(7)
        for start in range(0, rows, BATCH_ROWS):
            i = np.arange(start, min(start + BATCH_ROWS, rows))
            asset = i % 50 == 0

            def text(form: str, numbers: Any, mask: Any = None) -> pa.Array:
                return pa.array([form % each for each in numbers], pa.string(), mask=mask)

            updated_at = taken_at - random.integers(0, 60 * day, len(i))
            columns = {field.name: pa.nulls(len(i), field.type) for field in schema}
            columns |= {
                "store": pa.array(np.where(asset, "asset", "task")),
                "dag_id": text("team_pipeline_%03d", i % 200, asset),
                "run_id": text("scheduled__2026-10-%02dT00:00:00+00:00", i // 5000 % 28 + 1, asset),
                "task_id": text("transform_group.step_%02d", i % 17, asset),
                "map_index": pa.array(i % 100 - 1, pa.int64(), mask=asset),
                "asset_id": pa.array(i % 1000, pa.int64(), mask=~asset),
                "asset_name": text("asset_%d", i % 1000, ~asset),
                "asset_uri": text("s3://bucket/path/asset_%d", i % 1000, ~asset),
                "active": pa.array(np.ones(len(i), bool), mask=~asset),
                "key": text("job_id/%08d", i),
                "value_bytes": pa.array(random.integers(2, 60_000, len(i))),
                "updated_at": pa.array(updated_at).cast(pa.timestamp("us", "UTC")),
                "expires_at": pa.array(updated_at + 30 * day, mask=asset | (i % 7 == 0)).cast(
                    pa.timestamp("us", "UTC")
                ),
                "last_updated_by_kind": text("%s", ["task"] * len(i), ~asset),
                "is_reference": pa.array(i % 20 == 0),
                "task_state": text("%s", ["success"] * len(i), asset),
                "run_started_at": pa.array(updated_at, mask=asset).cast(pa.timestamp("us", "UTC")),
                "run_is_kept": pa.array(i % 30 == 0, mask=asset),
            }
            yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def measured(rows: int, url: str | None) -> dict[str, Any]:
    """Take a snapshot and preview it, in this process."""
    report: dict[str, Any] = {}

    @contextmanager
    def step(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        report[name] = {"seconds": round(time.perf_counter() - start, 2), "peak_mb": peak_mb()}

    with step("imports"):
        import duckdb  # noqa: F401
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401

        from storekit.frames.snapshot import Snapshot, SnapshotInfo, open_snapshot
    with step("snapshot"):
        if url is not None:
            from storekit import connect

            with connect(url) as store:
                snapshot = store.snapshot()
        else:
            info = SnapshotInfo(
                taken_at=TAKEN_AT, layout="airflow-3.3", database="synthetic", dialect="none", has_never_expire=False
            )
            snapshot = Snapshot.from_reader(synthetic(rows), info)
    report["rows"] = len(snapshot)
    preview = snapshot.preview(snapshot.info.taken_at + timedelta(days=1))
    with step("preview numbers"):
        report["deleted"] = preview.deleted
    with step("preview by Dag"):
        preview.by("dag_id")
    with step("preview HTML"):
        preview._repr_html_()
    with step("preview first 1000 rows"):
        preview.rows(1000)
    with tempfile.TemporaryDirectory() as directory:
        with step("save"):
            snapshot.save(Path(directory) / "snapshot")
        with step("open"):
            open_snapshot(Path(directory) / "snapshot").close()
        with step("every deletion to Parquet"):
            preview.to_parquet(Path(directory) / "rows.parquet")
        with step("every deletion to CSV"):
            preview.to_csv(Path(directory) / "rows.csv")
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", help="a database instead of synthetic rows")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        sys.stdout.write(json.dumps(measured(arguments.rows, arguments.url)))
        return
    command = [sys.executable, __file__, "--here", "--rows", str(arguments.rows)]
    command += ["--url", arguments.url] if arguments.url else []
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    for name, value in report.items():
        shown = (
            f"{value['seconds']:>8.2f} s {value['peak_mb']:>6} MB peak" if isinstance(value, dict) else f"{value:>10,}"
        )
        sys.stdout.write(f"{name:<28}{shown}\n")


if __name__ == "__main__":
    main()
