"""Which hard cases a workload meets under a policy: what tests of generators, and of tests, ask."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from storekit.retention.policy import AS_WRITTEN, Policy
from storekit.retention.rows import TICK
from storekit.retention.workload import Cleanup, DeleteRun, Success, Workload, Write, required_default
from storekit.state import NEVER_EXPIRE, TaskScope

__all__ = ["WORKLOAD_CASES", "in_force", "workload_cases"]

WORKLOAD_CASES = frozenset(
    {
        "cleanup at the instant of an expiry",
        "cleanup one microsecond before an expiry",
        "cleanup one microsecond after an expiry",
        "cleanup in the instant of the write",
        "cleanup in several batches",
        "cleanup beside a NULL expiry",
        "cleanup beside a flagged row",
        "retention of zero passed",
        "retention of one microsecond passed",
        "NEVER_EXPIRE passed",
        "no retention passed",
        "default of no expiry taken",
        "rule by dag",
        "rule by task",
        "rule by key",
        "rule by size",
        "rule by task state",
        "rule as written",
        "rule over what was passed",
        "key rewritten",
        "expired row renewed",
        "expiry removed by a rewrite",
        "mapped index",
        "rows cleared on success",
        "rows kept on success",
        "other index kept on success",
        "second success",
        "retry after a success",
        "rows cascade with their DagRun",
        "flagged row cascades",
        "DagRun made anew",
    }
)
"""What a set of workloads should meet; see `workload_cases`."""


def workload_cases(workload: Workload, policy: Policy) -> set[str]:
    """Return which of `WORKLOAD_CASES` a workload meets under a policy, by a model of one dictionary.

    Parameters
    ----------
    workload, policy
        As for `storekit.retention.play`.

    Returns
    -------
    set of str
        A subset of `WORKLOAD_CASES`.

    Raises
    ------
    PolicyError
        If the policy has no ``default_retention_days``: what a write gets is not known then.
    """
    required_default(policy)
    model = _Model(policy)
    for event in workload.events:
        match event:
            case Write():
                model.write(event)
            case Success():
                model.succeed(event.scope)
            case DeleteRun():
                model.delete_run(event.dag_id, event.run_id)
            case Cleanup():
                model.clean(event.at)
    assert model.met <= WORKLOAD_CASES, model.met - WORKLOAD_CASES
    return model.met


def in_force(policy: Policy, write: Write) -> Any:
    """Return what a policy gives a write; see `storekit.retention.policy.Policy.retention_for`."""
    return policy.retention_for(**_place(write), explicit=write.retention)


def _place(write: Write) -> dict[str, Any]:
    return {
        "dag_id": write.scope.dag_id,
        "task_id": write.scope.task_id,
        "key": write.key,
        "value_bytes": write.value_bytes,
        "task_state": "running",
    }


class _Model:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        # When each key was written, and its expiry, NEVER_EXPIRE or None.
        self.rows: dict[tuple[TaskScope, str], tuple[datetime, Any]] = {}
        self.successes: set[TaskScope] = set()
        self.ended_runs: set[tuple[str, str]] = set()
        self.met: set[str] = set()

    def meet(self, cases: dict[str, Any]) -> None:
        self.met |= {case for case, holds in cases.items() if holds}

    def write(self, write: Write) -> None:
        scope, passed, place = write.scope, write.retention, (write.scope, write.key)
        retention = in_force(self.policy, write)
        before = self.rows.get(place)
        had_expiry = before is not None and isinstance(before[1], datetime)
        self.meet(
            {
                "retention of zero passed": passed == timedelta(0),
                "retention of one microsecond passed": passed == TICK,
                "NEVER_EXPIRE passed": passed is NEVER_EXPIRE,
                "no retention passed": passed is None,
                "default of no expiry taken": retention is None,
                "mapped index": scope.map_index >= 0,
                "retry after a success": scope in self.successes,
                "DagRun made anew": (scope.dag_id, scope.run_id) in self.ended_runs,
                "key rewritten": before is not None,
                "expired row renewed": before is not None and had_expiry and before[1] < write.at,
                "expiry removed by a rewrite": had_expiry and not isinstance(retention, timedelta),
            }
        )
        self._meet_rule(write)
        self.rows[place] = (write.at, write.at + retention if isinstance(retention, timedelta) else retention)
        self.successes.discard(scope)

    def _meet_rule(self, write: Write) -> None:
        rule = self.policy.rule_for(**_place(write))
        if rule is None:
            return
        as_written = rule.retention is AS_WRITTEN
        self.meet(
            {
                "rule by dag": rule.dag_id,
                "rule by task": rule.task_id,
                "rule by key": rule.key,
                "rule by size": rule.min_bytes is not None or rule.max_bytes is not None,
                "rule by task state": rule.task_state,
                "rule as written": as_written,
                "rule over what was passed": not as_written and write.retention is not None,
            }
        )

    def succeed(self, scope: TaskScope) -> None:
        own = [place for place in self.rows if place[0] == scope]
        others = {place[0] for place in self.rows if _task(place[0]) == _task(scope)} - {scope}
        clears = self.policy.clear_on_success
        self.meet(
            {
                "second success": scope in self.successes,
                "rows cleared on success": own and clears,
                "rows kept on success": own and not clears,
                "other index kept on success": own and clears and others,
            }
        )
        self.successes.add(scope)
        if clears:
            self._drop(own)

    def delete_run(self, dag_id: str, run_id: str) -> None:
        run = (dag_id, run_id)
        gone = [place for place in self.rows if (place[0].dag_id, place[0].run_id) == run]
        flagged = any(self.rows[place][1] is NEVER_EXPIRE for place in gone)
        self.meet({"rows cascade with their DagRun": gone, "flagged row cascades": flagged})
        self._drop(gone)
        self.successes = {each for each in self.successes if (each.dag_id, each.run_id) != run}
        self.ended_runs.add(run)

    def clean(self, at: datetime) -> None:
        expiries = [expiry for _, expiry in self.rows.values()]
        # Those far from their write: near it, a cleanup meets the edge without aiming.
        far = {
            expiry for written, expiry in self.rows.values() if isinstance(expiry, datetime) and expiry - written > TICK
        }
        gone = [place for place, (_, expiry) in self.rows.items() if isinstance(expiry, datetime) and expiry < at]
        self.meet(
            {
                "cleanup at the instant of an expiry": at in far,
                "cleanup one microsecond before an expiry": at + TICK in far,
                "cleanup one microsecond after an expiry": at - TICK in far,
                "cleanup in the instant of the write": (at, at) in self.rows.values(),
                "cleanup in several batches": 0 < self.policy.batch_size < len(gone),
                "cleanup beside a NULL expiry": gone and None in expiries,
                "cleanup beside a flagged row": gone and NEVER_EXPIRE in expiries,
            }
        )
        self._drop(gone)

    def _drop(self, places: list[tuple[TaskScope, str]]) -> None:
        for place in places:
            del self.rows[place]


def _task(scope: TaskScope) -> tuple[str, str, str]:
    return (scope.dag_id, scope.run_id, scope.task_id)
