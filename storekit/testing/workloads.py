"""Hypothesis strategies for workloads and policies, aimed at what cleanup can get wrong.

There are few dags, runs, tasks and keys, so that keys are rewritten and runs made again; and a workload is drawn for
the policies that it will meet, so that cleanups fall on the very microsecond of an expiry, one before it and one after.
`storekit.testing.workload_cases` says which hard cases a workload meets.

Example
-------
>>> from hypothesis import given
>>> from storekit.retention import play
>>> from storekit.testing import policies_with_workloads, replay
>>> @given(policies_with_workloads())
... def test_the_fast_path_is_the_slow_one(case):
...     policy, workload = case
...     assert play(workload, policy) == replay(workload, policy)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from storekit.errors import PolicyError
from storekit.retention.events import Passed
from storekit.retention.policy import AS_WRITTEN, Policy, Rule
from storekit.retention.rows import TICK
from storekit.retention.workload import Cleanup, DeleteRun, Event, Success, Workload, Write
from storekit.state import NEVER_EXPIRE, TaskScope
from storekit.testing.workload_cases import in_force

__all__ = ["policies", "policies_with_workloads", "workloads"]

_START = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_SCOPES = [
    TaskScope(dag_id, run_id, task_id, map_index)
    for dag_id in ("etl", "ml")
    for run_id in ("monday", "tuesday")
    for task_id in ("load", "load_2")
    for map_index in (-1, 0)
]
_KEYS = ("a", "job_id")
_SIZES = (2, 1, 9, 10, 11, 300)
_RETENTIONS: st.SearchStrategy[Passed] = st.sampled_from(
    [None, timedelta(0), TICK, _DAY, NEVER_EXPIRE, timedelta(hours=36)]
)
_GAPS = (timedelta(0), timedelta(0), TICK, _HOUR, _DAY)
_EDGES = ((0,), (1,), (-1,), (-1, 0, 1), (-1, 0, 1))


@st.composite
def policies(draw: st.DrawFn, *, max_rules: int = 3) -> Policy:
    """Policies with a ``default_retention_days``, 0 among them, and rules by dag, task, key, size and state.

    Parameters
    ----------
    max_rules
        How many rules a policy has at most, inclusive.

    Returns
    -------
    SearchStrategy of Policy
        Each rule of a policy can be reached.
    """
    rules: list[Rule] = []
    for rule in draw(st.lists(_rules(), max_size=max_rules)):
        try:
            Policy(rules=(*rules, rule))
        except PolicyError:
            continue  # an earlier rule takes all of its rows
        rules.append(rule)
    return Policy(
        default_retention_days=draw(st.sampled_from([1, 0, 2, 30])),
        rules=tuple(rules),
        clear_on_success=draw(st.booleans()),
        batch_size=draw(st.sampled_from([0, 1, 2, 7])),
    )


def _rules() -> st.SearchStrategy[Rule]:
    sizes = st.sampled_from([(None, None), (10, None), (None, 10), (10, 10)])
    return st.builds(
        lambda size, **parts: Rule(min_bytes=size[0], max_bytes=size[1], **parts),
        sizes,
        dag_id=st.sampled_from([None, "etl", "m*", "re:etl|ml"]),
        task_id=st.sampled_from([None, None, "load", "load_?"]),
        key=st.sampled_from([None, None, "job_*", "re:[ab]"]),
        task_state=st.sampled_from([None, None, ("running",), ("success", "running"), ("failed",)]),
        retention=st.sampled_from([_DAY, AS_WRITTEN, AS_WRITTEN, NEVER_EXPIRE, timedelta(0), TICK]),
    )


@st.composite
def workloads(draw: st.DrawFn, *aimed_at: Policy, max_steps: int = 14) -> Workload:
    """Workloads of a few events per step.

    Parameters
    ----------
    *aimed_at
        Cleanups fall close around the expiries that these policies give; without any, those that the program passed.
    max_steps
        How many steps a workload has at most; each is up to four events.

    Returns
    -------
    SearchStrategy of Workload
        For `storekit.retention.play` and `replay`.
    """
    story = _Story(draw, aimed_at)
    # Not a list of steps: lists are mostly short, and the hard cases need a past.
    for _ in range(draw(st.integers(1, max_steps))):
        story.now += draw(st.sampled_from(_GAPS))
        draw(st.sampled_from(_STEPS))(story)
    return Workload(tuple(story.events), _START)


def policies_with_workloads(*, max_rules: int = 3, max_steps: int = 14) -> st.SearchStrategy[tuple[Policy, Workload]]:
    """A policy, and a workload that is aimed at it.

    Parameters
    ----------
    max_rules
        As for `policies`.
    max_steps
        As for `workloads`.

    Returns
    -------
    SearchStrategy of (Policy, Workload)
        In this order.
    """
    return policies(max_rules=max_rules).flatmap(
        lambda policy: st.tuples(st.just(policy), workloads(policy, max_steps=max_steps))
    )


@dataclass
class _Story:
    """A workload while it is drawn."""

    draw: st.DrawFn
    policies: tuple[Policy, ...]
    now: datetime = _START
    events: list[Event] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    expiries: set[datetime] = field(default_factory=set)

    def write(
        self,
        scope: TaskScope | None = None,
        key: str | None = None,
        passed: st.SearchStrategy[Passed] = _RETENTIONS,
    ) -> None:
        scope = self.draw(st.sampled_from(_SCOPES)) if scope is None else scope
        key = self.draw(st.sampled_from(_KEYS)) if key is None else key
        write = Write(self.now, scope, key, self.draw(st.sampled_from(_SIZES)), self.draw(passed))
        self.events.append(write)
        self.writes.append(write)
        self.expiries |= self._expiries_of(write)

    def write_many(self) -> TaskScope:
        """Write keys of two instances of one task in one instant: work for a cleanup in batches."""
        scope = self.draw(st.sampled_from(_SCOPES[::2]))
        for key in _KEYS:
            self.write(scope, key)
        self.write(TaskScope(scope.dag_id, scope.run_id, scope.task_id, 0), _KEYS[0])
        return scope

    def finish_one_index(self) -> None:
        """Write keys of two instances of one task; one succeeds."""
        scope = self.write_many()
        self.events.append(Success(self.now, scope))

    def rewrite(self) -> None:
        before = self._a_write()
        self.write(before.scope, before.key)

    def renew(self) -> None:
        """Rewrite a key that has expired but is there still."""
        if not self.writes:
            self.write()
        before = self._a_write()
        self.now = max([self.now, *(each + TICK for each in self._expiries_of(before))])
        self.write(before.scope, before.key)

    def clean(self) -> None:
        self.events.append(Cleanup(self.now))

    def clean_at_once(self) -> None:
        """Clean up in the very instant of a write that expires there."""
        self.write(passed=st.just(timedelta(0)))
        self.clean()

    def clean_late(self) -> None:
        """Clean up when only what has no expiry is left."""
        scope = self.draw(st.sampled_from(_SCOPES))
        for key, passed in zip(_KEYS, (_DAY, None), strict=True):
            self.write(scope, key, st.just(passed))
        self.now += 40 * _DAY
        self.clean()

    def clean_at_an_expiry(self) -> None:
        """Clean up at the instant of an expiry, or one microsecond either side, or all three in turn."""
        if not any(each > self.now for each in self.expiries):
            self.write(passed=st.just(_DAY))
        # A rule may have given it none.
        ahead = sorted(each for each in self.expiries if each > self.now) or [self.now]
        around = self.draw(st.sampled_from(ahead))
        for microseconds in self.draw(st.sampled_from(_EDGES)):
            self.now = max(self.now, around + microseconds * TICK)
            self.clean()

    def succeed(self) -> None:
        self.events.append(Success(self.now, self._a_write().scope))

    def succeed_twice(self) -> None:
        scope = self._a_write().scope
        self.events += [Success(self.now, scope), Success(self.now, scope)]

    def retry(self) -> None:
        """Write after a success; then, perhaps, succeed again."""
        scope = self._a_write().scope
        self.events.append(Success(self.now, scope))
        self.write(scope)
        if self.draw(st.booleans()):
            self.events.append(Success(self.now, scope))

    def delete_run(self) -> None:
        scope = self._a_write().scope
        self.events.append(DeleteRun(self.now, scope.dag_id, scope.run_id))

    def delete_a_flagged_row(self) -> None:
        self.write(passed=st.just(NEVER_EXPIRE))
        scope = self.writes[-1].scope
        self.events.append(DeleteRun(self.now, scope.dag_id, scope.run_id))

    def make_run_anew(self) -> None:
        before = self._a_write()
        self.events.append(DeleteRun(self.now, before.scope.dag_id, before.scope.run_id))
        self.write(before.scope, before.key)

    def _expiries_of(self, write: Write) -> set[datetime]:
        spans = {in_force(policy, write) for policy in self.policies} if self.policies else {write.retention}
        return {write.at + span for span in spans if isinstance(span, timedelta)}

    def _a_write(self) -> Write:
        if not self.writes:
            self.write()
        return self.draw(st.sampled_from(self.writes[-6:]))


# The first is what a failure shrinks to; what stands twice is drawn twice as often.
_STEPS: tuple[Callable[[_Story], object], ...] = (
    _Story.write,
    _Story.write,
    _Story.write_many,
    _Story.rewrite,
    _Story.renew,
    _Story.clean,
    _Story.clean_at_once,
    _Story.clean_late,
    _Story.clean_at_an_expiry,
    _Story.clean_at_an_expiry,
    _Story.clean_at_an_expiry,
    _Story.succeed,
    _Story.finish_one_index,
    _Story.succeed_twice,
    _Story.retry,
    _Story.delete_run,
    _Story.delete_a_flagged_row,
    _Story.make_run_anew,
)
