"""A workload through the real backend, event by event: what `storekit.retention.play` is held against.

Nothing of the fast path is used here. Expiries are the accessor's own arithmetic, deletions the backend's own
statements, and rows and bytes are counted in the table.
"""

from __future__ import annotations

import json
from contextlib import closing, nullcontext
from typing import Any

import numpy as np

from storekit.accessors import TaskStoreAccessor
from storekit.clock import ManualClock, as_utc
from storekit.config import StateStoreConfig
from storekit.errors import LayoutError
from storekit.metastore import MetastoreStateBackend
from storekit.retention.policy import AS_WRITTEN, Policy
from storekit.retention.rows import as_instant_us
from storekit.retention.workload import (
    Cleanup,
    DeleteRun,
    Event,
    LiveRow,
    Outcome,
    OverTime,
    Success,
    Workload,
    Write,
    required_default,
)
from storekit.state import TaskScope

__all__ = ["replay"]


def replay(workload: Workload, policy: Policy, backend: MetastoreStateBackend | None = None) -> Outcome:
    """Carry out a workload through `MetastoreStateBackend` and `TaskStoreAccessor` under a clock of its own.

    Parameters
    ----------
    workload, policy
        As for `storekit.retention.play`.
    backend
        Where the rows go: storekit's own tables; by default a SQLite store in memory. Rows that are there take part:
        they are counted, cleaned up and overwritten. Its own clock and options are neither used nor changed.

    Returns
    -------
    storekit.retention.workload.Outcome
        The rows that live at the end, what each cleanup deleted, and rows and bytes after each event.

    Raises
    ------
    PolicyError, ValueError
        As `storekit.retention.play`.
    LayoutError
        If the backend's database is Airflow's: DagRuns are Airflow's to make.
    """
    required_default(policy)
    with closing(_in_memory()) if backend is None else nullcontext(backend) as given:
        if given.layout.is_airflow:
            raise LayoutError(
                f"{given!r} is an Airflow database: a workload makes and deletes DagRuns, which are Airflow's",
                hint="give an embedded store, or none: MetastoreStateBackend('sqlite:///my.db') and create_tables()",
            )
        return _Replay(given, workload, policy).run()


def _in_memory() -> MetastoreStateBackend:
    backend = MetastoreStateBackend("sqlite://", config=StateStoreConfig())
    backend.create_tables()
    return backend


class _Replay:
    def __init__(self, backend: MetastoreStateBackend, workload: Workload, policy: Policy) -> None:
        self.workload, self.policy = workload, policy
        # Without its default a policy says what a rule or the program gives, and AS_WRITTEN where neither does.
        self.explicit_only = policy.model_copy(update={"default_retention_days": None})
        self.clock = ManualClock(workload.starts_at)
        self.config = StateStoreConfig(
            default_retention_days=required_default(policy),
            clear_on_success=policy.clear_on_success,
            state_cleanup_batch_size=policy.batch_size,
            max_value_storage_bytes=0,  # a large value is no news here
        )
        self.backend = MetastoreStateBackend.over(backend.database, config=self.config, clock=self.clock)
        self.states = {
            TaskScope(row.dag_id, row.run_id, row.task_id, row.map_index): row.state
            for row in self._select(backend.layout.task_instance)
        }
        self.deleted: list[int] = []
        self.deleted_bytes: list[int] = []

    def run(self) -> Outcome:
        after = np.zeros((3, len(self.workload.events)), dtype=np.int64)
        for index, event in enumerate(self.workload.events):
            self.clock.set(event.at)
            self._do(event)
            after[:, index] = (as_instant_us(as_utc(event.at)), *self._totals())
        return Outcome(self._rows(), self.deleted, self.deleted_bytes, OverTime(*after))

    def _do(self, event: Event) -> None:
        match event:
            case Write():
                self._write(event)
            case Success(scope=scope):
                self._move(scope, "success")
            case DeleteRun(dag_id=dag_id, run_id=run_id):
                self.backend.delete_dag_run(dag_id, run_id)
                # Its task instances go with it.
                for scope in [each for each in self.states if (each.dag_id, each.run_id) == (dag_id, run_id)]:
                    del self.states[scope]
            case Cleanup():
                before = self._totals()[1]
                self.deleted.append(self.backend.cleanup(batch_size=self.policy.batch_size))
                self.deleted_bytes.append(before - self._totals()[1])

    def _write(self, write: Write) -> None:
        scope = write.scope
        if self.states.get(scope) != "running":
            self._move(scope, "running")  # the task writes, so it runs: for the first time, or again
        value: Any = 0 if write.value_bytes == 1 else "x" * (write.value_bytes - 2)
        retention = self.explicit_only.retention_for(
            dag_id=scope.dag_id,
            task_id=scope.task_id,
            key=write.key,
            value_bytes=len(json.dumps(value)),
            task_state="running",
            explicit=write.retention,
        )
        accessor = TaskStoreAccessor(self.backend, scope, clock=self.clock, config=self.config)
        accessor.set(write.key, value, retention=None if retention is AS_WRITTEN else retention)

    def _move(self, scope: TaskScope, state: str) -> None:
        if scope not in self.states:
            self.backend.add_dag_run(scope.dag_id, scope.run_id)
            self.backend.add_task_instance(scope, state="running")
        self.backend.set_task_instance_state(scope, state)
        self.states[scope] = state

    # --- looking at the tables ---

    def _select(self, table: Any) -> list[Any]:
        return self.backend.database.run(lambda connection: list(connection.execute(table.select())))

    def _totals(self) -> tuple[int, int]:
        # length() counts characters on some databases and bytes on others; the values are ASCII.
        query = "SELECT COUNT(*), COALESCE(SUM(LENGTH(value)), 0) FROM task_store"
        rows, size = self.backend.database.run(lambda connection: connection.exec_driver_sql(query).one())
        return int(rows), int(size)

    def _rows(self) -> list[LiveRow]:
        rows = [
            LiveRow(
                TaskScope(row.dag_id, row.run_id, row.task_id, row.map_index),
                row.key,
                len(row.value.encode()),
                row.updated_at,
                row.expires_at,
                row.never_expire,
            )
            for row in self._select(self.backend.layout.task_store)
        ]
        return sorted(rows, key=lambda row: row.order)
