"""What a preview's numbers do not say: dangers that Airflow is silent about, and notes.

Time-based cleanup is one way a row dies. A danger is what goes along with a row unsaid, or another way it dies.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from storekit.engines.texts import NO_LIMIT
from storekit.errors import QueryError
from storekit.frames.contract import ROWS
from storekit.frames.display import human_count, plain, row_word
from storekit.frames.instants import as_instant
from storekit.frames.paging import check_page
from storekit.retention.verdicts import Reason

if TYPE_CHECKING:
    from storekit.frames.preview import Preview

__all__ = ["DANGERS_SCHEMA", "Danger", "danger_notes", "danger_rows", "dangers", "notes"]


class Danger(enum.StrEnum):
    """What else would go, and Airflow does not say. Append-only: saved reports carry these texts.

    Source: airflow 3.3.2, ``state/metastore.py``, ``jobs/scheduler_job_runner.py``, ``utils/db_cleanup.py``.
    """

    UNFINISHED_TASK = "unfinished-task"
    """To be deleted, and the task instance is not finished."""
    ORPHANED_OBJECT = "orphaned-object"
    """To be deleted, and the value is a reference to a worker-side object."""
    INACTIVE_ASSET = "inactive-asset"
    """An asset's row in Airflow, and no Dag declares the asset."""
    DB_CLEAN = "db-clean"
    """A task's row, of whatever verdict, whose DagRun ``airflow db clean`` would delete."""
    EXPIRES_BEFORE_RETRY = "expires-before-retry"
    """Kept, but it expires within a day, and the task instance is not finished.

    A day is the longest that Airflow waits between two tries (``[core] max_task_retry_delay``); how long this task
    waits, the database does not say.
    """

    @property
    def sentence(self) -> str:
        """The danger in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Danger.UNFINISHED_TASK: "the task is not finished, so its next try will not find what it saved, and may start an "
    "external job a second time",
    Danger.ORPHANED_OBJECT: "the value is a reference; cleanup deletes the reference and leaves the object in storage",
    Danger.INACTIVE_ASSET: "no Dag declares the asset, so the scheduler, not cleanup, deletes its rows within a minute",
    Danger.EXPIRES_BEFORE_RETRY: "the task is not finished and the row expires within a day, the longest that Airflow "
    "waits between two tries; its next try may not find what it saved",
    Danger.DB_CLEAN: "airflow db clean deletes the DagRun, and these rows with it, NEVER_EXPIRE ones too",
}

DANGERS_SCHEMA = pa.schema(
    [
        pa.field("danger", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("value_bytes", pa.int64(), nullable=False),
        pa.field("about", pa.string(), nullable=False),
    ]
)


def dangers(preview: Preview, before: datetime | str | None) -> pa.Table:
    """Return what `Preview.dangers` returns, as an Arrow table."""
    (counts,) = preview._snapshot._engine.query("danger_counts", _values(preview, before)).to_pylist()
    found = []
    for danger in Danger:
        name = danger.value.replace("-", "_")
        if rows := counts[f"{name}_rows"]:
            size = counts[f"{name}_bytes"]
            found.append({"danger": danger.value, "rows": rows, "value_bytes": size, "about": danger.sentence})
    # A stable sort: of as many rows, the danger that the enum names first.
    return pa.Table.from_pylist(sorted(found, key=lambda row: -row["rows"]), schema=DANGERS_SCHEMA)


def danger_rows(
    preview: Preview, danger: Danger | str, before: datetime | str | None, *, limit: int | None, offset: int
) -> pa.Table:
    """Return what `Preview.danger_rows` returns, as an Arrow table."""
    from storekit.frames.preview import ROWS_SCHEMA

    known = ", ".join(Danger)
    try:
        danger = Danger(danger)
    except ValueError:
        raise QueryError(f"there is no danger {danger!r}", hint=f"choose from {known}") from None
    if danger is Danger.DB_CLEAN and before is None:
        raise QueryError(
            "db-clean needs to know the cutoff of airflow db clean", hint="db_clean_before='2026-11-22T00:00:00Z'"
        )
    check_page(limit, offset)
    page = {"danger": danger.value, "size": NO_LIMIT if limit is None else int(limit), "skip": int(offset)}
    table = preview._snapshot._engine.query("danger_rows", {**_values(preview, before), **page})
    types = {column.name: column.type for column in ROWS.columns}
    schema = ROWS_SCHEMA
    for name in ("task_state", "run_started_at"):
        schema = schema.append(pa.field(name, types[name]))
    return table.cast(schema)


def _values(preview: Preview, before: datetime | str | None) -> dict[str, Any]:
    cutoff = None
    if before is not None:
        cutoff = as_instant(before, "db_clean_before").isoformat(timespec="microseconds")
        if not preview.info.sees_dag_runs:
            # No rows would read as no danger.
            raise QueryError(
                f"what airflow db clean would delete cannot be told: when DagRuns started is not in this snapshot "
                f"(layout {plain(preview.info.layout)})",
                hint="take another as a user who may SELECT from dag_run"
                if _is_airflow(preview)
                else "airflow db clean is for Airflow's own tables; leave db_clean_before out",
            )
    return {**preview._values, "before": cutoff, "airflow": _is_airflow(preview)}


def _is_airflow(preview: Preview) -> bool:
    return preview.info.layout.startswith("airflow-")


def danger_notes(preview: Preview) -> list[str]:
    """Return a sentence for each danger that has rows and needs no cutoff."""
    return [
        f"Danger {row['danger']}, {human_count(row['rows'])} {row_word(row['rows'])}: {row['about']}."
        for row in preview._dangers.to_pylist()
    ]


def notes(preview: Preview) -> list[str]:
    """Return what to know before trusting a preview's numbers, without its dangers."""
    info, said = preview.info, []
    counts = {row["reason"]: row["rows"] for row in preview._reasons.to_pylist()}
    if info.custom_backend is not None:
        said.append(
            f"Cleanup is skipped: [state_store] backend is {plain(info.custom_backend)}, not the metastore. "
            "The numbers say what the rule would do with the rows that are in the database."
        )
    if untold := counts.get(Reason.NO_EXPIRY_UNTOLD, 0):
        said.append(
            f"{human_count(untold)} {row_word(untold)} without expiry cannot be told apart: the layout "
            f"{plain(info.layout)} has no flag, so each was set with NEVER_EXPIRE or with retention 0. "
            "Either way it is kept."
        )
    if assets := counts.get(Reason.ASSET, 0):
        said.append(
            f"{human_count(assets)} asset {row_word(assets)} {'is' if assets == 1 else 'are'} never deleted by time, "
            "only with the asset."
        )
    if preview.now < info.taken_at:
        said.append("The instant lies before the snapshot: rows deleted until then are not in it.")
    elif preview.now > info.taken_at:
        said.append("The instant lies after the snapshot: a row rewritten until then gets another expiry.")
    if preview.deleted and _is_airflow(preview) and not info.sees_task_instances:
        said.append(
            "Whether the tasks of the rows to delete are finished cannot be told: the snapshot's reader could not see "
            "task_instance."
        )
    return said
