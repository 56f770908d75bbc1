"""Retention policies, simulated: rows and bytes over time, deletions per cleanup, and who dies under which."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from storekit.errors import QueryError
from storekit.frames.answers import answer_frame
from storekit.frames.assumptions import of_selection, of_simulation
from storekit.frames.fates import Fates
from storekit.frames.given import (
    MOST_FORECAST_DAYS,
    as_drawing,
    as_history,
    as_mode,
    as_policies,
    as_selection,
)
from storekit.frames.instants import as_instant, as_skew, as_span
from storekit.frames.retained import as_told
from storekit.frames.series import groups_of, summary_table, timeline_table
from storekit.frames.stages import Asked
from storekit.retention.forecast import Forecast
from storekit.retention.lives import Mode, cleanup_runs
from storekit.retention.policy import Policy
from storekit.retention.rows import as_instant_us
from storekit.retention.simulate import PolicyRun
from storekit.retention.written import SKEW

if TYPE_CHECKING:
    from storekit.frames.snapshot import Snapshot, SnapshotInfo

__all__ = ["MOST_FORECAST_DAYS", "RETRY_WAIT", "Simulation"]

RETRY_WAIT = timedelta(days=1)
"""The longest that Airflow waits between two tries: ``[core] max_task_retry_delay``, 86,400 seconds."""

_GROUPED_CLEANUPS = 100


class Simulation:
    """Policies played over a snapshot. Made by `Snapshot.simulate`. Nothing is deleted by looking.

    What happens to the rows that exist is exact, to the microsecond; what will be written is a forecast, with a band.
    `assumptions` says what the numbers rest on.

    Parameters
    ----------
    snapshot
        What is simulated.
    policies
        One or several, with distinct names.
    horizon
        How long, from ``now`` on, its end included: a timedelta, or text such as ``"90d"``, ``"36h"``.
    mode
        ``"forward"``: rows that exist keep their expiry, the policy meets future writes, as Airflow works.
        ``"as-if"``: as if the policy had been in force at each write.
    now
        The first cleanup: aware, or ISO text with a zone, not before the snapshot was taken; None: when it was taken.
    future
        Whether future writes are forecast; else only what exists is played.
    history
        Older snapshots of the same store: they saw writes that are gone from this one.
    retry_wait
        The longest wait between two tries of a task, for `unsafe`.
    defaults, skew
        As for `Snapshot.written`.
    dag_id, task_id, key
        Only rows of these, exactly, and only their future writes; with a Dag or a task, asset rows are none of them.
        How rows were written is still told from the whole snapshot. A name that no row has selects nothing.
    seed, level, replicates
        Of the forecast's bootstrap: the same seed and snapshot give the same numbers; the band's share; how many paths.

    Raises
    ------
    QueryError
        If one of these cannot be.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        policies: Policy | Iterable[Policy],
        horizon: timedelta | str = "90d",
        mode: Mode | str = Mode.FORWARD,
        *,
        now: datetime | str | None = None,
        future: bool = True,
        history: Iterable[Snapshot] = (),
        retry_wait: timedelta | str = RETRY_WAIT,
        defaults: Iterable[int] | None = None,
        skew: timedelta | str = SKEW,
        dag_id: str | None = None,
        task_id: str | None = None,
        key: str | None = None,
        seed: int = 0,
        level: float = 0.9,
        replicates: int = 400,
    ) -> None:
        self._snapshot = snapshot
        self.policies = as_policies(policies)
        self.mode = as_mode(mode)
        self.horizon = as_span(horizon, "horizon")
        self.now = snapshot.info.taken_at if now is None else as_instant(now)
        if self.now < snapshot.info.taken_at:
            raise QueryError(
                f"now={self.now.isoformat()} lies before the snapshot was taken, {snapshot.info.taken_at.isoformat()}",
                hint="what was there then is not known: leave now out, or take an older snapshot",
            )
        if self.horizon > datetime.max.replace(tzinfo=UTC) - self.now:
            raise QueryError(
                f"horizon={horizon!r} from {self.now.isoformat()} on ends after the year 9999", hint="a shorter one"
            )
        self._defaults, self._skew = as_told(defaults), as_skew(skew)
        self._selection = as_selection(dag_id, task_id, key)
        older, drawing = as_history(history, self.info), as_drawing(seed, level, replicates)
        asked = Asked(
            told=self._defaults,
            skew=self._skew,
            selection=self._selection,
            taken_at=self.info.taken_at,
            mode=self.mode,
            now=self.now,
            horizon=self.horizon,
            retry_wait=as_span(retry_wait, "retry_wait"),
            history=older if future else (),
            drawing=drawing if future else None,
        )
        self._understood = snapshot._retained.selected(*asked.reading)
        self._stage = snapshot._retained.stages.stage(asked)
        self.setting = self._stage.setting
        for each in self.policies:
            cleanup_runs(each, self.now, self.horizon)  # for its check, before anything is asked

    @cached_property
    def _runs(self) -> dict[str, PolicyRun]:
        return {each.name: self._stage.run(each) for each in self.policies}

    @property
    def info(self) -> SnapshotInfo:
        """What the snapshot is of."""
        return self._snapshot.info

    @property
    def selection(self) -> dict[str, str]:
        """Of which ``dag_id``, ``task_id``, ``key`` rows are simulated; empty: all rows."""
        names = zip(("dag_id", "task_id", "key"), self._selection, strict=True)
        return {name: text for name, text in names if text is not None}

    @property
    def forecast(self) -> Forecast | None:
        """The forecast of daily writes; None where nothing is forecast."""
        return self.setting.forecast

    @cached_property
    def assumptions(self) -> tuple[str, ...]:
        """What the numbers rest on, one sentence or two each."""
        whole = self._snapshot._retained.understood(self._defaults, self._skew)
        return (*of_selection(self, len(whole.rows)), *of_simulation(self, whole))

    @property
    def written(self) -> pd.DataFrame:
        """Return how the rows were written: of the whole snapshot, for it is told from all rows.

        Returns
        -------
        DataFrame
            As `Snapshot.written`: written (str), retention (timedelta64[us]), rows, value_bytes, tasks, dags (int64),
            first_written_at, last_written_at (datetime64[us, UTC]), skew (timedelta64[us]), because (str).
        """
        return self._snapshot.written(defaults=self._defaults, skew=self._skew)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """Return one line for each policy.

        Returns
        -------
        DataFrame
            policy (str); deleted_now, deleted_now_bytes, kept_now, kept_now_bytes, cleared, cleared_bytes (int64: the
            first cleanup, and what a success would have cleared before it; together all rows), deleted_now_high,
            deleted_now_bytes_high (int64: if ambiguous rows are the default's); end_rows, end_rows_low, end_rows_high,
            end_bytes, end_bytes_low, end_bytes_high, peak_rows, peak_rows_high, peak_bytes, peak_bytes_high
            (float64: at the horizon, and the most from the first cleanup on, as expected and at the high end), peak_at
            (datetime64[us, UTC]: of peak_bytes); cleanups, largest_cleanup_rows, largest_cleanup_rows_high, batches
            (int64: runs, the rows of the largest, the same at the high end, transactions of all);
            unsafe_rows (int64: of unfinished tasks, deleted within ``retry_wait``), unsafe_writes_per_day (float64).
        """
        return answer_frame(summary_table(list(self._runs.values())))

    def over_time(self, by: str | None = None, *, top: int = 20) -> pd.DataFrame:
        """Return rows and bytes over time: before and after each cleanup, and at the horizon.

        Parameters
        ----------
        by
            ``"dag_id"``, ``"task_id"`` or ``"key"``: for each of them; None: for the whole store.
        top
            With ``by``: the groups of most bytes, 200 at most; the others are one.

        Returns
        -------
        DataFrame
            policy (str), at (datetime64[us, UTC]), moment (str: before cleanup, after cleanup, no cleanup); with
            ``by``: that column (str; missing for the two groups named next) and group (str: the column's name, others,
            asset rows); known_rows, known_rows_low, known_bytes, known_bytes_low (int64: of the rows that exist;
            low: if ambiguous ones are the default's); rows, rows_low, rows_high, bytes, bytes_low, bytes_high
            (float64: with those to come: expected, and the band). Groups by at most about a hundred cleanups.
        """
        group = None if by is None else groups_of(self.setting.rows, by, top)
        tables = [
            timeline_table(
                run.policy.name,
                run.whole if group is None else run.timeline(group.code, len(group.names), most=_GROUPED_CLEANUPS),
                group,
            )
            for run in self._runs.values()
        ]
        return answer_frame(pa.concat_tables(tables))

    @cached_property
    def cleanups(self) -> pd.DataFrame:
        """Return every cleanup of every policy.

        Returns
        -------
        DataFrame
            policy (str), at (datetime64[us, UTC]), deleted, deleted_bytes, deleted_high, deleted_bytes_high (int64: of
            the rows that exist; high: if ambiguous ones are the default's), future_deleted, future_deleted_low,
            future_deleted_high, future_deleted_bytes (float64: of those to come), batches (int64: transactions, of both
            at their expected number).
        """
        from storekit.frames.series import cleanups_table

        return answer_frame(pa.concat_tables([cleanups_table(run) for run in self._runs.values()]))

    def difference(
        self,
        a: str | Policy,
        b: str | Policy,
        *,
        at: datetime | str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> pd.DataFrame:
        """Return the existing rows that live under ``a`` and are gone under ``b`` at an instant.

        Parameters
        ----------
        a, b
            Policies of this simulation, or their names.
        at
            The instant, a cleanup at it included, from ``now`` to the horizon. None: as-if ``now``, since nearly all
            that exists is gone by the horizon; forward the horizon, since policies differ in when cleanup runs only.
        limit, offset
            Which part of them, by natural key.

        Returns
        -------
        DataFrame
            store, dag_id, run_id, task_id (str), map_index (Int64), region_id, key (str), value_bytes (int64),
            updated_at, expires_at (datetime64[us, UTC]), task_state (str), written (str), rule_a, rule_b (str: the
            rule that took the row; missing: none), expires_under_a, expires_under_b (datetime64[us, UTC]; missing:
            never), certain (bool: however ambiguous rows were written).
        """
        return self._fates.difference(self._run(a), self._run(b), self._instant(at), limit, offset)

    def difference_by(
        self, a: str | Policy, b: str | Policy, *columns: str, at: datetime | str | None = None
    ) -> pd.DataFrame:
        """Return how many rows, and bytes, `difference` holds, by ``dag_id``, ``task_id`` or ``key``.

        Parameters
        ----------
        a, b, at
            As for `difference`.
        *columns
            What to group by.

        Returns
        -------
        DataFrame
            The columns asked for (none: one line), rows, value_bytes (int64). Most bytes first.
        """
        return self._fates.difference_by(self._run(a), self._run(b), self._instant(at), columns)

    def gone(
        self, policy: str | Policy, *, at: datetime | str | None = None, limit: int | None = None, offset: int = 0
    ) -> pd.DataFrame:
        """Return the existing rows that are gone under a policy at an instant, a cleanup at it included.

        As-if at ``now``, they are what cleanup would delete, had the policy been in force at every write: as many as
        `summary` says in deleted_now (those that are certain; deleted_now_high: all) and cleared.

        Parameters
        ----------
        policy
            One of this simulation, or its name.
        at, limit, offset
            As for `difference`.

        Returns
        -------
        DataFrame
            The columns of `difference` from store to written, then rule (str; missing: none), expires_under
            (datetime64[us, UTC]; the sooner one where it is not certain; missing: cleared), margin (timedelta64[us]:
            expires_under less the instant, so never positive; missing: cleared), certain (bool: however ambiguous rows
            were written). By natural key.
        """
        return self._fates.gone(self._run(policy), self._instant(at), limit, offset)

    def gone_by(self, policy: str | Policy, *columns: str, at: datetime | str | None = None) -> pd.DataFrame:
        """Return how many rows, and bytes, `gone` holds, by ``dag_id``, ``task_id`` or ``key``.

        Parameters
        ----------
        policy, at
            As for `gone`.
        *columns
            What to group by.

        Returns
        -------
        DataFrame
            The columns asked for (str; none: one line), rows, value_bytes (int64). Most bytes first.

        Raises
        ------
        QueryError
            If there is no such policy or column, a column is named twice, or ``at`` lies outside the simulation.
        """
        return self._fates.gone_by(self._run(policy), self._instant(at), columns)

    def unsafe(self, policy: str | Policy, *, limit: int | None = None, offset: int = 0) -> pd.DataFrame:
        """Return the rows of unfinished tasks that may be gone before the next try needs them.

        A row counts if its task instance is not finished and a cleanup within ``retry_wait`` of ``now`` deletes it;
        ``reason`` says which. How long the task really waits, the database does not say.

        Parameters
        ----------
        policy
            One of this simulation, or its name.
        limit, offset
            Which part of them, by natural key; None: all from ``offset`` on.

        Returns
        -------
        DataFrame
            The columns of `difference` from store to written, then rule (str; missing: none), expires_under
            (datetime64[us, UTC]) and reason (str).

        Raises
        ------
        QueryError
            If there is no such policy, or ``limit`` or ``offset`` is no number of rows.
        """
        return self._fates.unsafe(self._run(policy), limit, offset)

    def rates(self, *columns: str) -> pd.DataFrame:
        """Return what is written a day, as far as the snapshot can tell.

        Parameters
        ----------
        *columns
            From ``dag_id``, ``task_id``, ``key``; none: ``dag_id``, ``key``.

        Returns
        -------
        DataFrame
            The columns, rows_per_day, bytes_per_day (float64), window (timedelta64[us]: the shortest time that any of
            the rows counted can be seen), rows (int64: counted). Most bytes first. Empty where nothing is forecast.
        """
        return self._fates.rates(columns or ("dag_id", "key"))

    def explain(
        self,
        policy: str | Policy,
        *,
        dag_id: str,
        task_id: str,
        key: str,
        run_id: str | None = None,
        map_index: int | None = None,
    ) -> str:
        """Return in words what a policy does to a row: how it was written, which rule takes it, when it goes.

        Parameters
        ----------
        policy
            One of this simulation, or its name.
        dag_id, task_id, key
            Of a task's row, exactly.
        run_id, map_index
            Of the row too, where several have the same Dag, task and key; None: any. -1 is a task that is not mapped.

        Returns
        -------
        str
            A few lines.

        Raises
        ------
        QueryError
            If there is no such policy; if there is no such row, or more than one: then tell ``run_id`` and
            ``map_index``; if the simulation is of other rows only.
        """
        for name, text in (("dag_id", dag_id), ("task_id", task_id), ("key", key)):
            if self.selection.get(name, text) != text:
                raise QueryError(
                    f"{name}={text!r} is not simulated: only rows of {name}={self.selection[name]!r} are",
                    hint="snap.simulate without it",
                )
        return self._fates.explain(self._run(policy), dag_id, task_id, key, run_id, map_index)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole as JSON can hold it: instants are ISO texts in UTC, durations ``…_us``."""
        from storekit.frames.simview import simulation_dict

        return simulation_dict(self)

    @cached_property
    def _fates(self) -> Fates:
        return Fates(self._snapshot._engine, self._snapshot._retained, self._understood, self.setting)

    def _run(self, policy: str | Policy) -> PolicyRun:
        return self._runs[self._policy(policy).name]

    def _policy(self, policy: str | Policy) -> Policy:
        name = policy.name if isinstance(policy, Policy) else policy
        for each in self.policies:
            if each.name == name and (each == policy or not isinstance(policy, Policy)):
                return each
        known = ", ".join(repr(each.name) for each in self.policies)
        raise QueryError(f"{name!r} is no policy of this simulation", hint=f"one of {known}")

    @property
    def compared_at(self) -> datetime:
        """The instant at which `difference` compares, unless it is told another."""
        return self.now if self.mode is Mode.AS_IF else self.now + self.horizon

    def _instant(self, at: datetime | str | None) -> int:
        instant = self.compared_at if at is None else as_instant(at, "at")
        if not self.now <= instant <= self.now + self.horizon:
            raise QueryError(
                f"at={instant.isoformat()} is outside the simulation",
                hint=f"from {self.now.isoformat()} to {(self.now + self.horizon).isoformat()}",
            )
        return as_instant_us(instant)

    def __repr__(self) -> str:
        from storekit.frames.simview import simulation_text

        return simulation_text(self)

    def _repr_html_(self) -> str:
        from storekit.frames.simview import simulation_html

        return simulation_html(self)
