"""A small store with everything in it: expired and not, never expiring, assets, several Dags, hostile keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from storekit.accessors import TaskStoreAccessor
from storekit.clock import ManualClock
from storekit.metastore import MetastoreStateBackend
from storekit.state import NEVER_EXPIRE, AssetScope, TaskScope

__all__ = ["HOSTILE", "NOW", "fill"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

HOSTILE = (
    "<img src=x onerror=\"window.storekitHit='img'\">",
    "</script><script>window.storekitHit='script'</script>",
    "\"' onmouseover=\"window.storekitHit='over'\" x='",
    "[click](javascript:window.storekitHit='link') **bold** `code` $\\sqrt{2}$",
    "a\u202egnp.exe\u202c\u200b",
    "url(javascript:1);}*{display:none}",
    "-- '); DROP TABLE rows; %_",
)
"""Keys and values that would do something, were they taken for markup, Markdown, CSS, SQL, or a direction."""


def fill(path: Path) -> datetime:
    """Make the store in a SQLite file, and return the instant of the last write."""
    clock = ManualClock(NOW - timedelta(days=40))
    backend = MetastoreStateBackend(f"sqlite:///{path}", clock=clock)
    backend.create_tables()
    for dag_id in ("etl", "report", HOSTILE[0]):
        for run in range(3):
            backend.add_dag_run(dag_id, f"run {run}")
    for day in range(13):
        for at, dag_id in enumerate(("etl", "report", HOSTILE[0])):
            task = TaskStoreAccessor(
                backend, TaskScope(dag_id, f"run {day % 3}", f"load {at}", day % 2 - 1), clock=clock
            )
            task.set(f"cursor {day}", {"day": day, "text": HOSTILE[day % len(HOSTILE)]})
            if day % 3 == at:
                task.set("lock", "x" * day, retention=timedelta(days=2))
                task.set(f"job {day}", day, retention=NEVER_EXPIRE)
        clock.advance(timedelta(days=3))
    task = TaskStoreAccessor(backend, TaskScope("etl", "run 0", "load 0", -1), clock=clock)
    for key in HOSTILE:
        task.set(key, HOSTILE[1])
    for name in ("orders", HOSTILE[0]):
        asset_id = backend.add_asset(name=name, uri=f"s3://{name}")
        backend.set(AssetScope(asset_id=asset_id), HOSTILE[2], "7")
    backend.close()
    return clock.now()
