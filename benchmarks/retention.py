"""What a retention candidate costs: from storekit's structures, by a pandas filter, by a DuckDB filter, in one run.

    python benchmarks/retention.py                     # 10,000,000 synthetic rows; some 4 GB of memory
    python benchmarks/retention.py --rows 1000000

The structures are built once; then every candidate of ``default_retention_days``, for the whole store or for one Dag,
is answered from them. pandas and DuckDB look at every row for each candidate; they hold the columns that this needs
and nothing else. All answers are compared before anything is timed.

"another policy" is a move of a slider in a notebook: three policies, of which one changed, with a forecast; the
simulation, its lines over time, summary, difference by Dag and first page of it, and the rows at risk. Processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import cycle
from typing import Any

from snapshot import TAKEN_AT, peak_mb, synthetic

DAYS = (7, 14, 30, 45)
DAG = "team_pipeline_%03d"
RULES = ({"key": "job_id/*5", "retention": "never"}, {"dag_id": DAG[:-4] + "_00*", "retention": "3d"})


def seconds(call: Callable[[], Any]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def median_ms(call: Callable[[int], Any], repeats: int) -> float:
    """Return the median of several calls, each with the next candidate, in milliseconds."""
    days = cycle(DAYS)
    return round(statistics.median(seconds(lambda: call(next(days))) for _ in range(repeats)) * 1000, 3)


def measured(rows: int) -> dict[str, Any]:
    """Build, compare and time, in this process."""
    import duckdb

    from storekit.frames.snapshot import Snapshot, SnapshotInfo
    from storekit.retention.policy import Policy

    info = SnapshotInfo(
        taken_at=TAKEN_AT, layout="airflow-3.3", database="synthetic", dialect="none", has_never_expire=False
    )
    report: dict[str, Any] = {"rows": rows}
    start = time.perf_counter()
    snapshot = Snapshot.from_reader(synthetic(rows), info, memory_limit="3GB")
    report["snapshot seconds"] = round(time.perf_counter() - start, 1)
    before = peak_mb()
    report["build seconds"] = round(seconds(lambda: snapshot.retention_curve([30])), 1)
    report["peak MB while building"], report["peak MB before"] = peak_mb(), before
    known = snapshot._retained.understood(None, timedelta(minutes=1))
    report["bytes per row"] = {
        "rows": round(known.rows.nbytes / rows, 1),
        "of these distinct keys": round(known.rows.key.names.nbytes / rows, 1),
        "how written": round((known.written.how.nbytes + known.written.lived_us.nbytes) / rows, 1),
        "sums": round(known.ages.nbytes / rows, 1),
    }

    frame = snapshot.sql(
        "SELECT dag_id, value_bytes, updated_at FROM rows WHERE store = 'task' AND expires_at IS NOT NULL"
    )
    frame["dag_id"] = frame["dag_id"].astype("category")
    side = duckdb.connect()
    side.execute("CREATE TABLE rows AS SELECT dag_id, value_bytes, updated_at FROM frame")

    def of_storekit(days: int, dag: str | None = None) -> tuple[int, int]:
        line = snapshot.retention_curve([days], dag_id=dag)
        return int(line["deleted"].iloc[0]), int(line["deleted_bytes"].iloc[0])

    def of_pandas(days: int, dag: str | None = None) -> tuple[int, int]:
        mask = frame["updated_at"] < TAKEN_AT - timedelta(days=days)
        if dag is not None:
            mask &= frame["dag_id"] == dag
        return int(mask.sum()), int(frame.loc[mask, "value_bytes"].sum())

    def of_duckdb(days: int, dag: str | None = None) -> tuple[int, int]:
        found = side.execute(
            "SELECT count(*), coalesce(sum(value_bytes), 0)::BIGINT FROM rows "
            "WHERE updated_at < $cutoff AND ($dag IS NULL OR dag_id = $dag)",
            {"cutoff": TAKEN_AT - timedelta(days=days), "dag": dag},
        ).fetchone()
        assert found is not None  # noqa: S101 - an aggregate has one row
        return int(found[0]), int(found[1])

    for days in (*DAYS, 0, 365):
        for dag in (None, DAG % 3):
            if days:
                assert of_storekit(days, dag) == of_pandas(days, dag) == of_duckdb(days, dag)  # noqa: S101

    repeats = 20
    report["one candidate, ms"] = {
        "storekit": median_ms(of_storekit, 200),
        "pandas": median_ms(of_pandas, repeats),
        "duckdb": median_ms(of_duckdb, repeats),
    }
    dags = iter(range(4, 200))  # another Dag each time: what is held for a Dag that was asked before is worth less
    report["one candidate of a Dag, ms"] = {
        "storekit, a new Dag": round(
            statistics.median(seconds(lambda: of_storekit(14, DAG % next(dags))) for _ in range(repeats)) * 1000,
            3,
        ),
        "storekit, the same Dag": median_ms(lambda days: of_storekit(days, DAG % 3), 200),
        "pandas": median_ms(lambda days: of_pandas(days, DAG % 3), repeats),
        "duckdb": median_ms(lambda days: of_duckdb(days, DAG % 3), repeats),
    }
    report["366 candidates in one answer, ms"] = round(seconds(lambda: snapshot.retention_curve()) * 1000, 3)
    policies = [Policy(), Policy(default_retention_days=30), Policy(default_retention_days=14)]
    for mode in ("forward", "as-if"):
        start = time.perf_counter()
        simulation = snapshot.simulate(policies, "90d", mode)
        simulation.summary  # noqa: B018 - it is what is timed
        report[f"simulate three policies {mode}, seconds"] = round(time.perf_counter() - start, 1)
    report["another policy, ms"] = {
        name: another_policy_ms(snapshot, mode, rules)
        for mode in ("forward", "as-if")
        for name, rules in ((mode, ()), (f"{mode}, with rules", RULES))
    }
    report["peak MB"] = peak_mb()
    return report


def another_policy_ms(snapshot: Any, mode: str, rules: Sequence[Any]) -> float:
    """Return what a slider's move costs: one policy of three changed, all asked anew that a what-if view shows."""
    from storekit.retention.policy import Policy

    def asked(days: int) -> None:
        others = [Policy(), Policy(name="before", default_retention_days=30, rules=rules)]
        moved = Policy(name="moved", default_retention_days=days, rules=rules)
        simulation = snapshot.simulate([*others, moved], "90d", mode)
        simulation.over_time()
        simulation.summary  # noqa: B018 - it is what is timed
        simulation.difference_by("before", "moved", "dag_id")
        simulation.difference("before", "moved", limit=25)
        simulation.unsafe("moved", limit=25)

    asked(8)
    # Each another one: what was asked before costs less.
    return round(statistics.median(cpu_seconds(lambda days=days: asked(days)) for days in range(9, 24)) * 1000, 1)


def cpu_seconds(call: Callable[[], Any]) -> float:
    """Return the time that one call takes of the processor, all threads together: other programs do not count."""
    start = time.process_time()
    call()
    return time.process_time() - start


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    print(json.dumps(measured(parser.parse_args().rows), indent=2))


if __name__ == "__main__":
    main()
