"""What a page of a snapshot's rows costs: from a selection, beside pandas' sort_values and iloc, in one run.

    python benchmarks/paging.py                      # 1,000,000 synthetic rows
    python benchmarks/paging.py --rows 10000000 --alone

A page is 25 rows. A selection finds the first and the last page without sorting. The first page in the middle sorts
row numbers, for which a snapshot's first one needs the natural order of all its rows; the pages after it are looked
up. pandas holds every row in memory and sorts a frame at its first page; its next pages are cut from the sorted frame,
which is held too. All pages are compared.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from snapshot import TAKEN_AT, peak_mb, synthetic

SIZE = 25
ORDERS: dict[str, tuple[str | None, bool]] = {
    "natural key": (None, False),
    "value_bytes": ("value_bytes", True),
    "expires_at": ("expires_at", False),
    "key": ("key", False),
}
FILTERS: dict[str, dict[str, str]] = {
    "all rows": {},
    "one Dag": {"dag_id": "team_pipeline_003"},
    "a search": {"text": "0123"},
    "to be deleted": {"verdict": "delete"},
}
NATURAL = ["dag_id", "run_id", "task_id", "map_index", "region_id", "asset_name", "asset_uri", "key"]
SEARCHED = ["dag_id", "run_id", "task_id", "key", "asset_name", "asset_uri"]


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and its wall time in milliseconds."""
    start = time.perf_counter()
    found = call()
    return found, round((time.perf_counter() - start) * 1000, 1)


def measured(rows: int, *, beside: bool) -> dict[str, Any]:
    """Build, page and compare, in this process."""
    from storekit.frames.snapshot import Snapshot, SnapshotInfo

    info = SnapshotInfo(
        taken_at=TAKEN_AT, layout="airflow-3.3", database="synthetic", dialect="none", has_never_expire=False
    )
    snapshot = Snapshot.from_reader(synthetic(rows), info, memory_limit="1GB" if rows <= 1_000_000 else "3GB")
    report: dict[str, Any] = {"rows": rows, "peak MB of the snapshot": peak_mb()}
    keys: dict[tuple[str, str, str], list[str]] = {}
    for name, filters in FILTERS.items():
        _, counting = timed(lambda filters=filters: len(snapshot.select(**filters)))
        report[f"{name}: count, ms"] = counting
        for order, (sort, descending) in ORDERS.items():
            chosen = snapshot.select(**filters)
            middle = len(chosen) // 2
            line = {}
            places = {"first": 0, "second": SIZE, "last": len(chosen) - SIZE, "middle": middle, "next": middle + SIZE}
            for place, offset in places.items():
                ask = partial(chosen.rows, SIZE, offset, sort=sort, descending=descending)
                page, line[place] = timed(ask)
                keys[name, order, place] = list(page["key"])
            report[f"{name}, by {order}, ms"] = {"selected": len(chosen), **line}
    report["peak MB with pages"] = peak_mb()
    if beside:
        report["pandas"] = of_pandas(snapshot, keys)
    return report


def of_pandas(snapshot: Any, keys: dict[tuple[str, str, str], list[str]]) -> dict[str, Any]:
    """Page through a frame of all rows."""
    import pandas as pd

    frame = snapshot.select().batches().read_all().to_pandas()
    report: dict[str, Any] = {"peak MB with the frame": peak_mb()}

    def chosen(name: str) -> pd.DataFrame:
        if name == "one Dag":
            return frame[frame["dag_id"] == FILTERS[name]["dag_id"]]
        if name == "to be deleted":
            return frame[frame["expires_at"] < TAKEN_AT]
        if name == "a search":
            text = FILTERS[name]["text"]
            found = [frame[column].str.contains(text, case=False, regex=False, na=False) for column in SEARCHED]
            return frame[pd.concat(found, axis=1).any(axis=1)]
        return frame

    for name in FILTERS:
        for order, (sort, descending) in ORDERS.items():

            def prepared(name: str = name, sort: str | None = sort, descending: bool = descending) -> pd.DataFrame:
                first = {} if sort is None else {sort: not descending}
                directions = {
                    **first,
                    **{column: column != "store" for column in ("store", *NATURAL) if column != sort},
                }
                by, rising = list(directions), list(directions.values())
                return chosen(name).sort_values(by, ascending=rising, na_position="last")

            whole, sorting = timed(prepared)
            middle = len(whole) // 2
            places = {"first": 0, "second": SIZE, "last": len(whole) - SIZE, "middle": middle, "next": middle + SIZE}
            for place, offset in places.items():
                page, cutting = timed(lambda offset=offset, whole=whole: whole.iloc[offset : offset + SIZE])
                assert list(page["key"]) == keys[name, order, place], (name, order, place)  # noqa: S101
            report[f"{name}, by {order}, ms"] = {"the first page asked for": sorting, "another": cutting}
    return report


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--alone", action="store_true", help="without pandas: ten million rows need 8 GB with it")
    arguments = parser.parse_args()
    print(json.dumps(measured(arguments.rows, beside=not arguments.alone), indent=2))


if __name__ == "__main__":
    main()
