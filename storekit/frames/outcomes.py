"""What a cleanup did, and what a restoration did: reports to read, to print, and to compute with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from storekit.frames.answers import answer_frame
from storekit.frames.display import escape, human_bytes, human_count, human_instant, human_rows, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CONFLICTS", "DRIFT", "ORPHANS", "CleanupReport", "Progress", "RestoreReport"]

Progress = Callable[[int, int], None]
"""Called with (rows done, rows in all)."""

_INSTANT = pa.timestamp("us", tz="UTC")
_KEY = [
    pa.field("dag_id", pa.string(), nullable=False),
    pa.field("run_id", pa.string(), nullable=False),
    pa.field("task_id", pa.string(), nullable=False),
    pa.field("map_index", pa.int64(), nullable=False),
    pa.field("region_id", pa.string()),
    pa.field("key", pa.string(), nullable=False),
]

DRIFT = pa.schema(
    [
        *_KEY,
        pa.field("drift", pa.string(), nullable=False),
        pa.field("planned_updated_at", _INSTANT, nullable=False),
        pa.field("planned_expires_at", _INSTANT, nullable=False),
        pa.field("updated_at", _INSTANT),
        pa.field("expires_at", _INSTANT),
        pa.field("value_bytes", pa.int64()),
    ]
)
"""Planned rows that were not deleted, and what they are now."""

CONFLICTS = pa.schema(
    [
        *_KEY,
        pa.field("archived_updated_at", _INSTANT, nullable=False),
        pa.field("updated_at", _INSTANT),
        pa.field("expires_at", _INSTANT),
    ]
)
"""Archived rows that were not restored, since the key has another row now."""

ORPHANS = pa.schema([*_KEY, pa.field("archived_updated_at", _INSTANT, nullable=False)])
"""Archived rows that were not restored, since their DagRun is gone."""


def _nothing(schema: pa.Schema) -> pa.Table:
    return schema.empty_table()


@dataclass(frozen=True)
class CleanupReport:
    """What `Store.cleanup` did, or in a dry run would do.

    Attributes
    ----------
    database, layout : str
        Where.
    now : datetime
        The instant of the cleanup: rows with ``expires_at < now`` went.
    dry_run : bool
        Whether nothing was deleted by intention.
    planned : int or None
        Rows of the plan; None without one.
    to_delete, to_delete_bytes : int
        Rows that qualified when looked at, and the size of their values in bytes. Without a plan and without a dry run
        nobody looks first: what was deleted.
    deleted, deleted_bytes : int
        Rows that are gone, and the size of their values in bytes; 0 in a dry run.
    drifted : Mapping of str to int
        Planned rows that were not deleted, by why: ``gone``, ``refreshed``, ``not-yet-expired``. See `drift`.
    batches : int
        Transactions that deleted something.
    longest_batch, elapsed : timedelta
        The longest of them, and the whole.
    archive : Path or None
        Where the deleted rows are, if they were archived; `storekit.restore` puts them back.
    skipped : str or None
        The dotted path of the custom backend for whose sake nothing was done.
    called : str or None
        The dotted path of the custom backend whose own ``cleanup()`` was called.
    stopped : str or None
        Why it ended before all was done; None where it did all.
    """

    database: str
    layout: str
    now: datetime
    dry_run: bool
    planned: int | None = None
    to_delete: int = 0
    to_delete_bytes: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    drifted: Mapping[str, int] = field(default_factory=dict)
    batches: int = 0
    longest_batch: timedelta = timedelta(0)
    elapsed: timedelta = timedelta(0)
    archive: Path | None = None
    skipped: str | None = None
    called: str | None = None
    stopped: str | None = None
    drift_table: pa.Table = field(default_factory=lambda: _nothing(DRIFT), repr=False, compare=False)

    @property
    def drift(self) -> pd.DataFrame:
        """Return the planned rows that were not deleted, in the plan's order.

        Returns
        -------
        DataFrame
            dag_id, run_id, task_id (str), map_index (int64), region_id, key, drift (str: gone, refreshed,
            not-yet-expired), planned_updated_at, planned_expires_at, updated_at, expires_at (datetime64[us, UTC]; the
            last two: what the row is now, NaT where it is gone or has no expiry), value_bytes (Int64).
        """
        return answer_frame(self.drift_table)

    def _lines(self) -> list[tuple[str, str]]:
        lines = [("database", f"{plain(self.database)} (layout {plain(self.layout)})")]
        if self.skipped is not None:
            return [*lines, ("skipped", f"[state_store] backend is {plain(self.skipped)}, not the metastore")]
        if self.called is not None:
            return [*lines, ("called", f"{plain(self.called)}.cleanup(): {human_rows(self.deleted)} deleted")]
        lines.append(("as of", human_instant(self.now)))
        if self.planned is not None:
            lines.append(("planned", human_rows(self.planned)))
        if self.dry_run:
            lines.append(("would delete", f"{human_rows(self.to_delete)}, {human_bytes(self.to_delete_bytes)}"))
        else:
            lines.append(("deleted", f"{human_rows(self.deleted)}, {human_bytes(self.deleted_bytes)}"))
        lines += [("drifted", f"{human_rows(rows)}: {_DRIFTED.get(kind, kind)}") for kind, rows in self.drifted.items()]
        if not self.dry_run:
            took = (
                f"{human_count(self.batches)} in {_seconds(self.elapsed)}, the longest {_seconds(self.longest_batch)}"
            )
            lines.append(("batches", took))
        if self.archive is not None:
            lines.append(("archive", f"{plain(self.archive)} (storekit.restore puts it back)"))
        if self.stopped is not None:
            lines.append(("stopped", self.stopped))
        return lines

    @property
    def _title(self) -> str:
        return "Cleanup, dry run: nothing was deleted" if self.dry_run else "Cleanup"

    def __repr__(self) -> str:
        return _text(self._title, self._lines())

    def _repr_html_(self) -> str:
        return _html(self._title, self._lines())


@dataclass(frozen=True)
class RestoreReport:
    """What `storekit.restore` did, or in a dry run would do. Every archived row is in one of the four counts.

    Attributes
    ----------
    archive : Path
        Where from.
    database, layout : str
        Where to.
    dry_run : bool
        Whether nothing was written by intention.
    archived : int
        Rows of the archive.
    restored : int
        Rows that were missing and are back; in a dry run, that would be.
    present : int
        Rows that are in the table as they were archived.
    conflicts : int
        Rows whose key has another row now: it is left alone. See `conflict_rows`.
    orphans : int
        Rows whose DagRun is gone. See `orphan_rows`.
    notes : tuple of str
        What to know.
    """

    archive: Path
    database: str
    layout: str
    dry_run: bool
    archived: int = 0
    restored: int = 0
    present: int = 0
    conflicts: int = 0
    orphans: int = 0
    notes: tuple[str, ...] = ()
    conflict_table: pa.Table = field(default_factory=lambda: _nothing(CONFLICTS), repr=False, compare=False)
    orphan_table: pa.Table = field(default_factory=lambda: _nothing(ORPHANS), repr=False, compare=False)

    @property
    def conflict_rows(self) -> pd.DataFrame:
        """Return the archived rows whose key has another row now.

        Returns
        -------
        DataFrame
            dag_id, run_id, task_id (str), map_index (int64), region_id, key (str), archived_updated_at, updated_at,
            expires_at (datetime64[us, UTC]; the last two: of the row that is there).
        """
        return answer_frame(self.conflict_table)

    @property
    def orphan_rows(self) -> pd.DataFrame:
        """Return the archived rows whose DagRun is gone.

        Returns
        -------
        DataFrame
            dag_id, run_id, task_id (str), map_index (int64), region_id, key (str), archived_updated_at
            (datetime64[us, UTC]).
        """
        return answer_frame(self.orphan_table)

    def _lines(self) -> list[tuple[str, str]]:
        verb = "would restore" if self.dry_run else "restored"
        lines = [
            ("archive", f"{plain(self.archive)}, {human_rows(self.archived)}"),
            ("database", f"{plain(self.database)} (layout {plain(self.layout)})"),
            (verb, human_rows(self.restored)),
        ]
        if self.present:
            lines.append(("present", f"{human_rows(self.present)}, as they were archived"))
        if self.conflicts:
            lines.append(("conflicts", f"{human_rows(self.conflicts)}: the key was written again; left alone"))
        if self.orphans:
            lines.append(("orphans", f"{human_rows(self.orphans)}: their DagRun is gone; not restored"))
        return [*lines, *(("note", note) for note in self.notes)]

    @property
    def _title(self) -> str:
        return "Restore, dry run: nothing was written" if self.dry_run else "Restore"

    def __repr__(self) -> str:
        return _text(self._title, self._lines())

    def _repr_html_(self) -> str:
        return _html(self._title, self._lines())


_DRIFTED = {
    "gone": "not there any more",
    "refreshed": "written again since the plan, and kept",
    "not-yet-expired": "not expired yet: the plan looked ahead",
}


def _seconds(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds:.3f} s" if seconds < 1 else f"{seconds:,.1f} s"


def _text(title: str, lines: list[tuple[str, str]]) -> str:
    width = max(14, *(len(name) + 2 for name, _ in lines))
    return "\n".join([title, *(f"  {name:<{width}}{said}" for name, said in lines)])


def _html(title: str, lines: list[tuple[str, str]]) -> str:
    from storekit.frames.report import framed

    rows = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(said)}</td></tr>' for name, said in lines)
    return framed(f'<p class="sk-title">{escape(title)}</p><table class="sk-card"><tbody>{rows}</tbody></table>')
