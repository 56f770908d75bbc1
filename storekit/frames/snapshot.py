"""One instant of a store, frozen: everything that is analysed is read from here, never from the live database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa

from storekit.engines.duckdb import DuckDBEngine
from storekit.errors import QueryError, SnapshotError
from storekit.frames.answers import answer_frame
from storekit.frames.contract import ASSETS, ROWS, TASKS
from storekit.frames.display import escape, human_bytes, human_count, human_instant, plain
from storekit.frames.dtypes import to_frame
from storekit.frames.natural import NaturalOrder
from storekit.frames.outcomes import Progress
from storekit.frames.retained import Retained
from storekit.frames.snapshotinfo import FORMAT_VERSION, SnapshotInfo
from storekit.retention.written import SKEW

if TYPE_CHECKING:
    from storekit.frames.advice import Advice
    from storekit.frames.dangers import Danger
    from storekit.frames.diff import SnapshotDiff
    from storekit.frames.plan import Plan
    from storekit.frames.preview import Preview
    from storekit.frames.selection import Selection
    from storekit.frames.simulation import Simulation
    from storekit.retention.policy import Policy
    from storekit.retention.verdicts import Reason

__all__ = ["FORMAT_VERSION", "Snapshot", "SnapshotInfo", "open_snapshot"]

_SCHEMA = ROWS.schema(values=False)


class Snapshot:
    """One instant of a state store: metadata and sizes of every entry, without values.

    It lives in an in-memory DuckDB as the table ``rows`` (columns of `storekit.frames.contract.ROWS`) with the
    views ``tasks`` and ``assets``, and cannot be changed. Made by `Snapshot.from_reader` or `open_snapshot`.
    """

    def __init__(self, engine: DuckDBEngine, info: SnapshotInfo, *, value_bytes: int) -> None:
        self._engine = engine
        self.info = info
        self._value_bytes = value_bytes

    @classmethod
    def from_reader(
        cls, reader: pa.RecordBatchReader, info: SnapshotInfo, *, memory_limit: str = "1GB", threads: int | None = None
    ) -> Snapshot:
        """Take a snapshot from a stream.

        Parameters
        ----------
        reader
            Rows in the ROWS contract; read once, to its end, never held whole.
        info
            What it is of. The row counts are filled in here.
        memory_limit
            What DuckDB may use before it spills to a private temporary directory.
        threads
            For queries; None: DuckDB's choice.

        Returns
        -------
        Snapshot
            It holds the rows in memory, or in the private temporary directory.

        Raises
        ------
        SnapshotError
            If the columns are not the contract's, a null stands where the contract has none, or sizes are
            negative or more than 64 bits hold together.
        """
        _check_schema(reader.schema)
        engine = DuckDBEngine(memory_limit=memory_limit, threads=threads)
        try:
            # The contract's schema, not the reader's: the two may differ in what they say of nulls.
            engine.load("rows", pa.RecordBatchReader.from_batches(_SCHEMA, _relabelled(reader)))
            engine.view("tasks")
            engine.view("assets")
            engine.freeze()
            totals = {row["store"]: row for row in engine.query("totals").to_pylist()}
        except duckdb.Error as error:
            engine.close()
            broken = isinstance(error, duckdb.ConstraintException)
            raise SnapshotError(
                f"the rows {'break the contract' if broken else 'cannot be held'}: {str(error).splitlines()[0]}",
                hint="the columns that may be null are listed in storekit.frames.contract.ROWS"
                if broken
                else "give a higher memory_limit, if that is what it lacks; else take the snapshot again",
            ) from error
        except BaseException:
            engine.close()
            raise
        size = sum(row["value_bytes"] for row in totals.values())
        if size >= 2**63 or any(row["smallest"] < 0 for row in totals.values()):
            engine.close()
            raise SnapshotError("value_bytes holds no sizes", hint="they are 0 or more, together less than 2**63")
        if unknown := totals.keys() - {"task", "asset"}:
            engine.close()
            raise SnapshotError(
                f"the column store holds {', '.join(plain(each) for each in sorted(unknown))}",
                hint="it holds 'task' or 'asset'",
            )
        counts = {store: totals[store]["entries"] if store in totals else 0 for store in ("task", "asset")}
        info = info.model_copy(update={"task_rows": counts["task"], "asset_rows": counts["asset"]})
        return cls(engine, info, value_bytes=size)

    def __len__(self) -> int:
        return self.info.task_rows + self.info.asset_rows

    @property
    def value_bytes(self) -> int:
        """The size of all values in bytes, over both stores."""
        return self._value_bytes

    def tasks(self) -> pd.DataFrame:
        """Return the task rows, ordered by natural key.

        Returns
        -------
        DataFrame
            dag_id, run_id, task_id (str), map_index (int64), region_id (str), key (str), value_bytes (int64),
            updated_at, expires_at (datetime64[us, UTC]), never_expire (boolean). What each means:
            `storekit.frames.contract.TASKS`.
        """
        return to_frame(self._engine.stream("tasks_ordered"), TASKS.schema(values=False))

    def assets(self) -> pd.DataFrame:
        """Return the asset rows, ordered by natural key.

        Returns
        -------
        DataFrame
            asset_id (int64), asset_name, asset_uri (str), active (bool), key (str), value_bytes (int64), updated_at
            (datetime64[us, UTC]), last_updated_by_kind, …_dag_id, …_run_id, …_task_id (str), …_map_index (Int64).
            What each means: `storekit.frames.contract.ASSETS`.
        """
        return to_frame(self._engine.stream("assets_ordered"), ASSETS.schema(values=False))

    def sql(self, query: str, /, **params: Any) -> pd.DataFrame:
        """Ask the snapshot a question in DuckDB's SQL.

        Parameters
        ----------
        query
            One SELECT, EXPLAIN, DESCRIBE, SUMMARIZE or SHOW over ``rows``, ``tasks`` and ``assets``.
        **params
            Values for ``$name`` in it. Never write a value into the text.

        Returns
        -------
        DataFrame
            The query's columns: texts str, integers Int64, booleans boolean, floats float64, instants
            datetime64[us, UTC], intervals timedelta64[us].

        Raises
        ------
        QueryError
            For anything that is not one such statement, would change something or reach outside, or is wrong SQL.

        Examples
        --------
        >>> snap.sql("SELECT count(*) AS n FROM tasks WHERE dag_id = $dag", dag="orders_etl")  # doctest: +SKIP
        """
        return answer_frame(self._engine.ask(query, params))

    def preview(self, now: datetime | str | None = None) -> Preview:
        """Return what time-based cleanup would delete and keep, and why.

        The rule is `storekit.retention.judge`. A policy that is not in force: `simulate`.

        Parameters
        ----------
        now
            The instant of the cleanup: aware, or ISO text with a zone; None: when the snapshot was taken. Rows that
            expire at this very instant are kept.

        Returns
        -------
        Preview
            Totals, reasons, groups, rows and dangers; each is computed when it is asked for.

        Raises
        ------
        QueryError
            If ``now`` has no zone or is no instant.
        """
        from storekit.frames.preview import Preview

        return Preview(self, now)

    def select(
        self,
        text: str | None = None,
        *,
        store: str | None = None,
        dag_id: str | None = None,
        run_id: str | None = None,
        task_id: str | None = None,
        key: str | None = None,
        asset_name: str | None = None,
        writer: str | None = None,
        verdict: str | None = None,
        reason: Reason | str | None = None,
        danger: Danger | str | None = None,
        now: datetime | str | None = None,
    ) -> Selection:
        """Return the rows that meet every filter given, to count, group, sort and page through; none: all rows.

        Parameters
        ----------
        text
            What dag_id, run_id, task_id, key, asset_name or asset_uri holds somewhere, upper case or lower; no
            pattern: ``%`` and ``_`` stand for themselves. Letters are compared one by one in Unicode's simple lower
            case: ``straße`` finds ``STRAẞE`` and not ``STRASSE``, ``i`` finds ``İ``, accents count. Empty: all rows.
        store
            ``"task"`` or ``"asset"``.
        dag_id, run_id, task_id, key, asset_name
            Only rows of these, exactly.
        writer
            Of asset rows, who wrote them last: ``"task"``, ``"watcher"``, ``"api"`` or ``"not recorded"``.
        verdict
            What cleanup at ``now`` would do with a row: ``"delete"`` or ``"keep"``.
        reason
            Why it would: a `storekit.retention.Reason` or its text, such as ``"expired"``, ``"not-yet-expired"`` or
            ``"asset-row"``.
        danger
            What else endangers a row at ``now``: a value of `storekit.frames.dangers.Danger` but ``db-clean``.
        now
            The instant of the cleanup: aware, or ISO text with a zone; None: when the snapshot was taken.

        Returns
        -------
        Selection
            The rows that pass; each answer is computed when it is asked for, and no row is held.

        Raises
        ------
        QueryError
            If one of these cannot be. A name that no row has is no error: nothing passes.

        Examples
        --------
        >>> snap.select("orders", verdict="delete").rows(25, sort="value_bytes", descending=True)  # doctest: +SKIP
        """
        from storekit.frames.selection import Selection

        return Selection(
            self,
            text,
            store=store,
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            key=key,
            asset_name=asset_name,
            writer=writer,
            verdict=verdict,
            reason=reason,
            danger=danger,
            now=now,
        )

    def plan(self, now: datetime | str | None = None, *, progress: Progress | None = None) -> Plan:
        """Return the rows that `preview` of ``now`` shows as deleted, to look over, to save, and to clean up by.

        Parameters
        ----------
        now
            As for `preview`.
        progress
            Called with (rows hashed, rows in all). What it raises ends it there.

        Returns
        -------
        Plan
            Its rows stay in this snapshot; `Plan.save` writes them out.

        Raises
        ------
        QueryError
            As for `preview`.
        PlanError
            If two rows have one natural key, so that a plan could not tell them apart.
        SnapshotError
            If the snapshot is closed.
        """
        from storekit.frames.plan import plan_of

        return plan_of(self, now, progress)

    @cached_property
    def _natural(self) -> NaturalOrder:
        return NaturalOrder(self._engine, len(self))

    @cached_property
    def _retained(self) -> Retained:
        return Retained(self._engine, len(self))

    def written(
        self,
        *,
        defaults: Iterable[int] | None = None,
        skew: timedelta | str = SKEW,
        progress: Progress | None = None,
    ) -> pd.DataFrame:
        """Return how the rows were written, by the default or with a retention of their own, and what speaks for it.

        Parameters
        ----------
        defaults
            Every ``default_retention_days`` that was ever in force, if you know; None: they are inferred.
        skew
            How far ``expires_at - updated_at`` may lie from whole days and still be taken for them, inclusive: a
            timedelta, or text such as ``"1min"``; less than 12 hours.
        progress
            Called with (rows read, rows in all) where the rows have to be read: the first question about retention
            does that, once. What it raises ends the reading.

        Returns
        -------
        DataFrame
            written (str: default, explicit, never-expire, never-expire-or-default-0, asset), retention
            (timedelta64[us]; missing: no expiry, or the rarer retentions as one), rows, value_bytes, tasks, dags
            (int64), first_written_at, last_written_at (datetime64[us, UTC]), skew (timedelta64[us]), because (str).
            Most rows first; together all rows.
        """
        self._retained.read(progress)
        return self._retained.evidence(defaults, skew)

    def retention_curve(
        self,
        days: Iterable[int] = range(366),
        *,
        now: datetime | str | None = None,
        dag_id: str | None = None,
        task_id: str | None = None,
        key: str | None = None,
        defaults: Iterable[int] | None = None,
        skew: timedelta | str = SKEW,
    ) -> pd.DataFrame:
        """Return what each ``default_retention_days`` would delete, had it been in force at every write.

        A row that the default wrote is deleted if ``updated_at`` plus the candidate lies before ``now``, strictly;
        with 0 never. A row that was written with a retention of its own goes by its expiry, whatever the candidate.
        The first call reads the snapshot once; every further one is answered from what it built.

        Parameters
        ----------
        days
            Candidates: whole days of at least 0.
        now
            The instant of the cleanup: aware, or ISO text with a zone; None: when the snapshot was taken. One before
            that looks back over the rows that the snapshot holds.
        dag_id, task_id, key
            Only rows of these, exactly; with a Dag or a task, asset rows are none of them.
        defaults, skew
            As for `written`.

        Returns
        -------
        DataFrame
            days, deleted, deleted_bytes, kept, kept_bytes, then deleted_high, deleted_bytes_high, kept_low,
            kept_bytes_low (int64). The last four take rows that may have been written by a default of 0 for the
            default's; without such rows they equal the first. ``.attrs["assumptions"]`` says what it rests on.

        Raises
        ------
        QueryError
            If one of these cannot be.
        """
        from storekit.frames.curve import curve_frame

        return curve_frame(self, days, now, (dag_id, task_id, key), defaults, skew)

    def simulate(
        self,
        policies: Policy | Iterable[Policy],
        horizon: timedelta | str = "90d",
        mode: str = "forward",
        *,
        now: datetime | str | None = None,
        future: bool = True,
        history: Iterable[Snapshot] = (),
        retry_wait: timedelta | str = "1d",
        defaults: Iterable[int] | None = None,
        skew: timedelta | str = SKEW,
        dag_id: str | None = None,
        task_id: str | None = None,
        key: str | None = None,
        seed: int = 0,
        level: float = 0.9,
        replicates: int = 400,
    ) -> Simulation:
        """Play retention policies over the snapshot and over what may be written after it.

        What each parameter may be in full: `storekit.frames.simulation.Simulation`.

        Parameters
        ----------
        policies
            One or several, with distinct names.
        horizon
            How long, from ``now`` on, its end included: a timedelta, or text such as ``"90d"``.
        mode
            ``"forward"``: the policies meet future writes; ``"as-if"``: as if they had been in force at each write.
        now
            The first cleanup: aware, or ISO text with a zone, not before the snapshot; None: when it was taken.
        future, history, seed, level, replicates
            Whether future writes are forecast, from which older snapshots besides, and how.
        retry_wait
            The longest wait between two tries of a task: a timedelta, or text.
        defaults, skew
            As for `written`.
        dag_id, task_id, key
            Only rows of these, exactly.

        Returns
        -------
        Simulation
            Totals, series, cleanups and single rows; each is computed when it is asked for.

        Raises
        ------
        QueryError
            If one of these cannot be.
        """
        from storekit.frames.simulation import Simulation

        return Simulation(
            self,
            policies,
            horizon,
            mode,
            now=now,
            future=future,
            history=history,
            retry_wait=retry_wait,
            defaults=defaults,
            skew=skew,
            dag_id=dag_id,
            task_id=task_id,
            key=key,
            seed=seed,
            level=level,
            replicates=replicates,
        )

    def recommend(
        self,
        candidates: Policy | Iterable[Policy] | None = None,
        *,
        now: datetime | str | None = None,
        look_back: timedelta | str = "7d",
        retry_wait: timedelta | str = "1d",
        defaults: Iterable[int] | None = None,
        skew: timedelta | str = SKEW,
    ) -> Advice:
        """Return which policies are worth choosing: bytes against risk.

        Parameters
        ----------
        candidates, now, look_back, retry_wait, defaults, skew
            As for `storekit.frames.advice.Advice`.

        Returns
        -------
        Advice
            The candidates weighed, the Pareto front of them, and the rows that each puts at risk.

        Raises
        ------
        QueryError
            If one of these cannot be.
        """
        from storekit.frames.advice import Advice

        return Advice(
            self, candidates, now=now, look_back=look_back, retry_wait=retry_wait, defaults=defaults, skew=skew
        )

    def diff(self, older: Snapshot) -> SnapshotDiff:
        """Return what changed from ``older`` to this snapshot: rows that appeared, disappeared, were rewritten.

        Parameters
        ----------
        older
            An earlier snapshot, of the same store. Of another store, or taken later, it is compared all the same, and
            `SnapshotDiff.notes` says so.

        Returns
        -------
        SnapshotDiff
            Counts, and the rows. It has copies of both, so either may be closed.

        Raises
        ------
        QueryError
            If ``older`` is no snapshot.
        SnapshotError
            If one of the two is closed.
        """
        from storekit.frames.diff import SnapshotDiff

        if not isinstance(older, Snapshot):
            raise QueryError(f"{older!r} is no snapshot", hint="snap.diff(sk.open_snapshot(directory))")
        return SnapshotDiff(older=older, newer=self)

    def equals(self, other: Snapshot) -> bool:
        """Tell whether the other snapshot has equal metadata and equal rows, whatever their order.

        Parameters
        ----------
        other
            A snapshot, such as this one saved and opened again.

        Returns
        -------
        bool
            True if ``info`` is equal, the instant included, and each row is there as often, alike in every column.

        Raises
        ------
        SnapshotError
            If one of the two is closed.
        """
        from storekit.frames.diff import same_rows

        return self.info == other.info and same_rows(self, other)

    def save(self, directory: str | Path, *, overwrite: bool = False) -> Path:
        """Save as Parquet with metadata, whole or not at all. `open_snapshot` opens it.

        Parameters
        ----------
        directory
            Made here; its parent must exist. An empty directory may be there.
        overwrite
            Replace a saved snapshot. Anything else is never replaced.

        Returns
        -------
        Path
            The directory, absolute.

        Raises
        ------
        SnapshotError
            If the directory cannot be written, or is not empty and ``overwrite`` does not apply.
        """
        from storekit.frames.saved import save

        return save(self, Path(directory), overwrite=overwrite)

    def to_reader(self) -> pa.RecordBatchReader:
        """Return all rows as a stream, in no particular order.

        Returns
        -------
        pyarrow.RecordBatchReader
            The columns of `storekit.frames.contract.ROWS` without ``value``: store, dag_id, run_id, task_id (string),
            map_index (int64), region_id (string), asset_id (int64), asset_name, asset_uri (string), active (bool), key
            (string), value_bytes (int64), updated_at, expires_at (timestamp[us, UTC]), never_expire (bool),
            last_updated_by_kind, …_dag_id, …_run_id, …_task_id (string), …_map_index (int64), is_reference (bool),
            task_state (string), run_started_at (timestamp[us, UTC]), run_is_kept (bool).

        Raises
        ------
        SnapshotError
            If the snapshot is closed.
        """
        return pa.RecordBatchReader.from_batches(_SCHEMA, _relabelled(self._engine.stream("everything")))

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export all rows to anything that reads Arrow: ``polars.DataFrame(snap)``, ``pa.table(snap)``."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def close(self) -> None:
        """Give back the memory. Not needed: it happens by itself in the end.

        Whatever is asked of the rows afterwards raises `SnapshotError`; `info` and the counts stay.
        """
        self._engine.close()

    @cached_property
    def _card(self) -> list[tuple[str, str]]:
        info = self.info
        card = [
            ("database", plain(info.database)),
            ("layout", plain(info.layout)),
            ("taken at", human_instant(info.taken_at)),
            ("task rows", human_count(info.task_rows)),
            ("asset rows", human_count(info.asset_rows)),
            ("values", human_bytes(self.value_bytes)),
        ]
        if info.custom_backend is not None:
            card.append(("custom backend", f"{plain(info.custom_backend)} (cleanup is skipped)"))
        return card

    def __repr__(self) -> str:
        return "\n".join(["storekit snapshot", *(f"  {name:<15}{value}" for name, value in self._card)])

    def _repr_html_(self) -> str:
        from storekit.frames.report import framed

        rows = "".join(f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in self._card)
        return framed(f'<p class="sk-title">storekit snapshot</p><table class="sk-card"><tbody>{rows}</tbody></table>')


def open_snapshot(directory: str | Path, *, memory_limit: str = "1GB", threads: int | None = None) -> Snapshot:
    """Open a saved snapshot.

    Parameters
    ----------
    directory
        As given to `Snapshot.save`.
    memory_limit, threads
        As for `Snapshot.from_reader`.

    Returns
    -------
    Snapshot
        Equal to the one that was saved (`Snapshot.equals`).

    Raises
    ------
    SnapshotError
        If it is missing, not a snapshot, of a newer format, or not what was saved.
    """
    from storekit.frames.saved import read

    return read(Path(directory), memory_limit=memory_limit, threads=threads)


def _check_schema(schema: pa.Schema) -> None:
    if schema.names != _SCHEMA.names:
        missing = [name for name in _SCHEMA.names if name not in schema.names]
        extra = [plain(name) for name in schema.names if name not in _SCHEMA.names]
        raise SnapshotError(
            f"the columns are not a snapshot's: missing {missing}, unknown {extra}"
            + ("" if missing or extra else ", or in another order"),
            hint="storekit.frames.contract.ROWS lists them",
        )
    for field, expected in zip(schema, _SCHEMA, strict=True):
        if field.type != expected.type:
            raise SnapshotError(
                f"the column {field.name} is {field.type}, not {expected.type}",
                hint="storekit.frames.contract.ROWS lists the types",
            )


def _relabelled(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    for batch in reader:
        yield pa.RecordBatch.from_arrays(batch.columns, schema=_SCHEMA)
