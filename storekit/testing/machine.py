"""A state machine that does to a store what a year of deployments does, and knows what must be there.

The model is plain dictionaries; it never calls the code under test. Two views are held against it after every
step: what the backend answers, and the rows as a back door reads them (`StoreMachine.rows`), so that neither a
wrong answer over right rows nor wrong rows behind a right answer passes.

Illegal calls are rules like any other: they must be refused, and change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from storekit.clock import ManualClock
from storekit.state import NEVER_EXPIRE, AssetScope, TaskScope
from storekit.testing import strategies

__all__ = ["HARD_CASES", "StoreMachine", "StoredRow"]

_START = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)

Run = tuple[str, str]
Task = tuple[str, str, str, int]
Names = tuple[str, str]
Owner = Task | Names

HARD_CASES = frozenset(
    {
        "cleanup at the instant of an expiry",
        "cleanup one microsecond after an expiry",
        "cleanup deletes more than one batch",
        "cleanup beside a NULL expiry",
        "cleanup beside a flagged row",
        "expired key served",
        "key rewritten",
        "expiry removed by a rewrite",
        "expired row renewed",
        "mapped index",
        "all map indices",
        "rows cascade with their DagRun",
        "flagged row cascades",
        "DagRun made again",
        "rows cascade with their asset",
        "asset made again",
        "write to an inactive asset by id",
        "inactive asset not found by name",
        "set without a DagRun",
        "rows cleared on success",
        "rows kept on success",
        "rows kept on a second success",
        "other index kept on success",
    }
)
"""What a run of the machine should meet. `StoreMachine.reached` collects what it did meet."""


@dataclass(frozen=True, order=True)
class StoredRow:
    """One row as the back door reads it.

    Parameters
    ----------
    store
        ``task`` or ``asset``.
    owner
        (dag_id, run_id, task_id, map_index), or the asset's (name, uri).
    key, value
        As stored.
    expires_at, updated_at
        Aware instants in UTC; None where there is none, or where the store keeps none.
    never_expire
        The flag; None where the store has none.
    """

    store: Literal["task", "asset"]
    owner: Owner
    key: str
    value: str
    expires_at: datetime | None = field(default=None, compare=True)
    never_expire: bool | None = None
    updated_at: datetime | None = None


@dataclass
class _Cell:
    value: str
    updated_at: datetime
    expires_at: datetime | None = None
    never: bool = False


class StoreMachine(RuleBasedStateMachine):
    """Random operations on a backend, against a model of dictionaries.

    A subclass opens a fresh store and gives the back door. The other hooks call `storekit.MetastoreStateBackend`'s
    methods of the same name; override them for a store whose parents are made elsewhere.

    Attributes
    ----------
    key_rules : TextRules
        Which keys the store holds and tells apart.
    has_async : bool
        Whether the awaited twins are called too.
    keeps_expiry, keeps_never_expire, keeps_updated_at : bool
        What of the model the rows are held against.
    cleans : bool
        Whether `cleanup` deletes what has expired.
    owns_parents : bool
        Whether the store itself makes DagRuns, task instances and assets, and so knows ``clear_on_success``.
    reads_per_step : int or None
        How many keys are read after each step, in turn; None: all that there are. Rows are always compared whole.
    reached : set of str
        The hard cases met so far, by all runs of the class; see `HARD_CASES`.

    Example
    -------
    ::

        class MyMachine(StoreMachine):
            def open_store(self):
                return MyBackend(clock=self.clock)

            def rows(self):
                return [StoredRow("task", (r.dag, r.run, r.task, r.index), r.key, r.value) for r in self.backend.dump()]

        TestMyBackend = MyMachine.TestCase
    """

    key_rules: ClassVar[strategies.TextRules] = strategies.ANY_TEXT
    has_async: ClassVar[bool] = True
    keeps_expiry: ClassVar[bool] = True
    keeps_never_expire: ClassVar[bool] = True
    keeps_updated_at: ClassVar[bool] = True
    cleans: ClassVar[bool] = True
    owns_parents: ClassVar[bool] = True
    reads_per_step: ClassVar[int | None] = None
    reached: ClassVar[set[str]]

    DAG_RUNS: ClassVar[tuple[Run, ...]] = (("etl", "monday"), ("etl", "Monday"), ("ml", "monday"))
    TASKS: ClassVar[tuple[str, ...]] = ("load", "load_2")
    MAP_INDICES: ClassVar[tuple[int, ...]] = (-1, 0, 1)
    ASSETS: ClassVar[tuple[Names, ...]] = (("orders", "s3://orders"), ("items", "s3://items"), ("orders", "s3://new"))
    BATCH_SIZES: ClassVar[tuple[int, ...]] = (0, 1, 2, 7)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.reached = set()

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(_START)
        self.runs: set[Run] = set()
        self.ended_runs: set[Run] = set()
        self.states: dict[Task, str] = {}
        self.assets: dict[Names, bool] = {}  # True: active
        self.asset_ids: dict[Names, int | None] = {}
        self.retired_ids: list[int] = []
        self.tasks: dict[tuple[Task, str], _Cell] = {}
        self.asset_cells: dict[tuple[Names, str], _Cell] = {}
        self.key_pool: list[str] = ["a"]
        self._steps = 0
        self.backend: Any = self.open_store()

    # --- what a subclass gives ---

    def open_store(self) -> Any:
        """Return a fresh, empty backend; ``self.clock`` must be its server's clock."""
        raise NotImplementedError(f"{type(self).__name__} must define open_store()")

    def close_store(self) -> None:
        """Close what `open_store` opened."""

    def rows(self) -> list[StoredRow]:
        """Return every row, read past the backend."""
        raise NotImplementedError(f"{type(self).__name__} must define rows()")

    def add_dag_run(self, dag_id: str, run_id: str) -> None:
        """Make a DagRun.

        Parameters
        ----------
        dag_id, run_id
            Its name, of a run that is not there.
        """
        self.backend.add_dag_run(dag_id, run_id)

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        """Delete a DagRun, and with it its rows.

        Parameters
        ----------
        dag_id, run_id
            Its name, of a run that is there.
        """
        self.backend.delete_dag_run(dag_id, run_id)

    def add_task_instance(self, scope: TaskScope, state: str) -> None:
        """Make a task instance.

        Parameters
        ----------
        scope
            Which one; it is not there, its DagRun is.
        state
            Airflow's name of its state.
        """
        self.backend.add_task_instance(scope, state=state)

    def set_task_instance_state(self, scope: TaskScope, state: str, *, clear_on_success: bool) -> None:
        """Move a task instance to a state; with ``clear_on_success``, its rows go when it turns success.

        Parameters
        ----------
        scope
            Which one; it is there.
        state
            Airflow's name of the state.
        clear_on_success
            The option of that name, in force for this move.
        """
        self.backend.config = self.backend.config.model_copy(update={"clear_on_success": clear_on_success})
        self.backend.set_task_instance_state(scope, state)

    def add_asset(self, name: str, uri: str) -> int | None:
        """Make an asset active.

        Parameters
        ----------
        name, uri
            The asset's; it may be there already.

        Returns
        -------
        int or None
            Its id, if the store has ids.

        Raises
        ------
        ValueError
            Where ``owns_parents``: if another active asset has the name or the URI.
        """
        asset_id: int = self.backend.add_asset(name=name, uri=uri)
        return asset_id

    def deactivate_asset(self, name: str, uri: str) -> None:
        """Take an asset out of the active ones.

        Parameters
        ----------
        name, uri
            The asset's; it is active.
        """
        self.backend.deactivate_asset(AssetScope(name=name, uri=uri))

    def delete_asset(self, name: str, uri: str, asset_id: int | None) -> None:
        """Delete an asset, and with it its rows.

        Parameters
        ----------
        name, uri
            The asset's; it is there, active or not.
        asset_id
            What `add_asset` returned for it.
        """
        self.backend.delete_asset(AssetScope(asset_id=asset_id))

    def cleanup(self, batch_size: int) -> int | None:
        """Delete what has expired by the clock's now.

        Parameters
        ----------
        batch_size
            Rows per transaction; 0: all in one.

        Returns
        -------
        int or None
            How many rows went, if the store counts them.
        """
        removed: int | None = self.backend.cleanup(batch_size=batch_size)
        return removed

    # --- helpers ---

    def teardown(self) -> None:
        self.close_store()

    def met(self, case: str) -> None:
        """Note a hard case in ``reached``.

        Parameters
        ----------
        case
            One of `HARD_CASES`.
        """
        assert case in HARD_CASES, case
        self.reached.add(case)

    def call(self, name: str, *args: Any, awaited: bool, **kwargs: Any) -> Any:
        """Call a method of the backend, or its awaited twin.

        Parameters
        ----------
        name
            Of the blocking method; the twin's has an ``a`` before it.
        *args, **kwargs
            What it is called with.
        awaited
            Whether the twin is called, in an event loop of its own; where ``has_async`` is False it is not.

        Returns
        -------
        Any
            What the method returned.
        """
        if not (awaited and self.has_async):
            return getattr(self.backend, name)(*args, **kwargs)
        twin: Callable[..., Coroutine[Any, Any, Any]] = getattr(self.backend, f"a{name}")
        return asyncio.run(twin(*args, **kwargs))

    def refused(self, illegal: Callable[[], Any], *errors: type[Exception]) -> None:
        """Expect that a call is refused; the invariants then see that it changed nothing.

        Parameters
        ----------
        illegal
            Makes the call.
        *errors
            What it may raise instead of ValueError.

        Raises
        ------
        AssertionError
            If it raises nothing.
        """
        try:
            answer = illegal()
        except ValueError:
            return
        except errors:
            return
        raise AssertionError(f"an illegal call was not refused; it returned {answer!r}")

    def find_asset(self, scope: AssetScope) -> Names | None:
        """Return the asset that a scope means, by the model: names and URIs find active ones only.

        Parameters
        ----------
        scope
            As the backend is given it.

        Returns
        -------
        (str, str) or None
            The asset's name and URI; None: there is none.
        """
        for names, active in self.assets.items():
            if scope.asset_id is not None and self.asset_ids[names] != scope.asset_id:
                continue
            if scope.asset_id is None and not active:
                continue
            if scope.name not in (None, names[0]) or scope.uri not in (None, names[1]):
                continue
            return names
        return None

    def asset_scope(self, names: Names, form: str) -> AssetScope:
        """Return a scope for an asset.

        Parameters
        ----------
        names
            The asset's name and URI.
        form
            What the scope says of it: ``id``, ``name``, ``uri`` or ``name+uri``. Without a known id, ``id`` is
            ``name+uri``.
        """
        asset_id = self.asset_ids.get(names)
        if form == "id" and asset_id is not None:
            return AssetScope(asset_id=asset_id)
        return AssetScope(name=names[0] if form != "uri" else None, uri=names[1] if form != "name" else None)

    def forget(self, gone: Callable[[Task, str, _Cell], bool]) -> int:
        """Drop rows of tasks from the model.

        Parameters
        ----------
        gone
            Asked of each with its task (dag_id, run_id, task_id, map_index), its key and its cell.

        Returns
        -------
        int
            How many.
        """
        dropped = [place for place, cell in self.tasks.items() if gone(*place, cell)]
        for place in dropped:
            del self.tasks[place]
        return len(dropped)

    # --- strategies that depend on the subclass or on the state; each shrinks to its first element ---

    KEYS: ClassVar[st.SearchStrategy[str]] = st.runner().flatmap(lambda machine: st.sampled_from(machine.key_pool))
    SCOPES: ClassVar[st.SearchStrategy[Task]] = st.runner().flatmap(
        lambda machine: st.tuples(
            st.sampled_from(sorted(machine.runs) or list(machine.DAG_RUNS)),
            st.sampled_from(machine.TASKS),
            st.sampled_from(machine.MAP_INDICES),
        ).map(lambda parts: (*parts[0], *parts[1:]))
    )
    NAMES: ClassVar[st.SearchStrategy[Names]] = st.runner().flatmap(
        lambda machine: st.sampled_from(sorted(machine.assets) or list(machine.ASSETS))
    )
    FORMS: ClassVar[st.SearchStrategy[str]] = st.sampled_from(["id", "name", "uri", "name+uri"])
    EXPIRIES: ClassVar[st.SearchStrategy[Any]] = st.runner().flatmap(
        lambda machine: strategies.expiries(machine.clock.now())
    )
    AWAITED: ClassVar[st.SearchStrategy[bool]] = st.sampled_from([False, False, False, True])

    # --- the start ---

    @initialize(
        keys=st.runner().flatmap(
            lambda machine: st.tuples(
                strategies.key_twins(machine.key_rules),
                st.lists(strategies.keys(machine.key_rules), max_size=2),
            )
        )
    )
    def choose_keys(self, keys: tuple[tuple[str, str], list[str]]) -> None:
        twins, more = keys
        pool = list(twins)
        for key in more:
            if all(self.key_rules.tells_apart(key, other) for other in pool):
                pool.append(key)
        self.key_pool = pool
        self._make_run(self.DAG_RUNS[0])
        self._make_asset(self.ASSETS[0])

    # --- parents ---

    @rule(run=st.sampled_from(DAG_RUNS))
    def make_dag_run(self, run: Run) -> None:
        self._make_run(run)

    def _make_run(self, run: Run) -> None:
        if run in self.runs:
            return
        self.add_dag_run(*run)
        self.runs.add(run)
        if run in self.ended_runs:
            self.met("DagRun made again")

    @precondition(lambda self: self.runs)
    @rule(which=st.integers(0, 2))
    def drop_dag_run(self, which: int) -> None:
        run = sorted(self.runs)[which % len(self.runs)]
        self.delete_dag_run(*run)
        self.runs.discard(run)
        self.ended_runs.add(run)
        self.states = {task: state for task, state in self.states.items() if task[:2] != run}
        if any(cell.never for (task, _), cell in self.tasks.items() if task[:2] == run):
            self.met("flagged row cascades")
        if self.forget(lambda task, _key, _cell: task[:2] == run):
            self.met("rows cascade with their DagRun")

    @rule(names=st.sampled_from(ASSETS))
    def make_asset(self, names: Names) -> None:
        self._make_asset(names)

    def _make_asset(self, names: Names) -> None:
        rivals = [
            each
            for each, active in self.assets.items()
            if active and each != names and (each[0] == names[0] or each[1] == names[1])
        ]
        if rivals:
            if self.owns_parents:
                self.refused(lambda: self.add_asset(*names))
            return
        asset_id = self.add_asset(*names)
        if asset_id in self.retired_ids:
            raise AssertionError(f"the id {asset_id} of a deleted asset was given out again")
        if names not in self.assets and self.retired_ids:
            self.met("asset made again")
        self.asset_ids[names] = asset_id
        self.assets[names] = True

    @precondition(lambda self: any(self.assets.values()))
    @rule(names=NAMES)
    def retire_asset(self, names: Names) -> None:
        if self.assets[names]:
            self.deactivate_asset(*names)
            self.assets[names] = False

    @precondition(lambda self: self.assets)
    @rule(names=NAMES)
    def drop_asset(self, names: Names) -> None:
        asset_id = self.asset_ids.pop(names)
        self.delete_asset(*names, asset_id)
        del self.assets[names]
        if asset_id is not None:
            self.retired_ids.append(asset_id)
        gone = [place for place in self.asset_cells if place[0] == names]
        for place in gone:
            self.met("rows cascade with their asset")
            del self.asset_cells[place]

    # --- tasks ---

    @rule(task=SCOPES, key=KEYS, value=strategies.json_texts(), expires_at=EXPIRIES, awaited=AWAITED)
    def set_task(self, task: Task, key: str, value: str, expires_at: Any, awaited: bool) -> None:
        scope = TaskScope(*task)

        def write() -> None:
            self.call("set", scope, key, value, expires_at=expires_at, awaited=awaited)

        if task[:2] not in self.runs:
            self.met("set without a DagRun")
            self.refused(write)
            return
        write()
        self._note_rewrite(self.tasks.get((task, key)), expires_at)
        if task[3] >= 0:
            self.met("mapped index")
        never = expires_at is NEVER_EXPIRE
        self.tasks[task, key] = _Cell(value, self.clock.now(), None if never else expires_at, never)

    def _note_rewrite(self, before: _Cell | None, expires_at: Any) -> None:
        if before is None:
            return
        self.met("key rewritten")
        if before.expires_at is None:
            return
        if expires_at is None or expires_at is NEVER_EXPIRE:
            self.met("expiry removed by a rewrite")
        elif before.expires_at < self.clock.now() <= expires_at:
            self.met("expired row renewed")

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 9), value=strategies.json_texts(), expires_at=EXPIRIES)
    def rewrite_task(self, which: int, value: str, expires_at: Any) -> None:
        task, key = sorted(self.tasks)[which % len(self.tasks)]
        self.set_task(task, key, value, expires_at, False)

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 9), value=strategies.json_texts(), then=st.sampled_from(["", "clear", "finish"]))
    def write_as_another_index(self, which: int, value: str, then: str) -> None:
        """Give a task that has rows a second mapped instance; then, perhaps, clear both or finish the first."""
        task, key = sorted(self.tasks)[which % len(self.tasks)]
        index = next(each for each in self.MAP_INDICES if each != task[3])
        self.set_task((*task[:3], index), key, value, None, False)
        if then == "clear":
            self.clear_task(task, True, False)
        elif then == "finish" and self.owns_parents:
            self.move_task_instance(task, "success", True)

    @precondition(lambda self: self.runs)
    @rule(
        task=SCOPES,
        count=st.integers(2, 9),
        expires_in=st.sampled_from([timedelta(microseconds=-1), timedelta(0), timedelta(days=1)]),
    )
    def set_many(self, task: Task, count: int, expires_in: timedelta) -> None:
        """Write enough keys of one expiry for a cleanup in several batches."""
        for n in range(count):
            self.set_task(task, f"many-{n}", "0", self.clock.now() + expires_in, False)

    @rule(task=SCOPES, key=KEYS, awaited=AWAITED)
    def delete_task(self, task: Task, key: str, awaited: bool) -> None:
        self.call("delete", TaskScope(*task), key, awaited=awaited)
        self.tasks.pop((task, key), None)

    @rule(task=SCOPES, everywhere=st.booleans(), awaited=AWAITED)
    def clear_task(self, task: Task, everywhere: bool, awaited: bool) -> None:
        self.call("clear", TaskScope(*task), all_map_indices=everywhere, awaited=awaited)
        if everywhere:
            indices = {each[3] for each, _ in self.tasks if each[:3] == task[:3]}
            if len(indices) > 1:
                self.met("all map indices")
        self.forget(lambda each, _key, _cell: each[:3] == task[:3] and (everywhere or each[3] == task[3]))

    @precondition(lambda self: self.owns_parents and self.runs)
    @rule(task=SCOPES, state=st.sampled_from(["success", "running", "failed"]), clear_on_success=st.booleans())
    def move_task_instance(self, task: Task, state: str, clear_on_success: bool) -> None:
        scope = TaskScope(*task)
        if task not in self.states:
            self.add_task_instance(scope, "running")
            self.states[task] = "running"
        self.set_task_instance_state(scope, state, clear_on_success=clear_on_success)
        before, self.states[task] = self.states[task], state
        has_rows = any(each == task for each, _ in self.tasks)
        if state != "success" or not has_rows:
            return
        if before == "success":
            # Only the transition clears: what was written since is not the first success's.
            self.met("rows kept on a second success")
        elif not clear_on_success:
            self.met("rows kept on success")
        else:
            self.met("rows cleared on success")
            if any(each[:3] == task[:3] and each != task for each, _ in self.tasks):
                self.met("other index kept on success")
            self.forget(lambda each, _key, _cell: each == task)

    @precondition(lambda self: self.owns_parents and self.tasks)
    @rule(which=st.integers(0, 9), clear_on_success=st.booleans(), written_since=st.booleans())
    def finish_a_task(self, which: int, clear_on_success: bool, written_since: bool) -> None:
        """Move a task that has rows to success; then, perhaps, write again and report the success again."""
        owners = sorted({task for task, _ in self.tasks})
        task = owners[which % len(owners)]
        self.move_task_instance(task, "success", clear_on_success)
        if written_since:
            self.set_task(task, self.key_pool[0], "0", None, False)
            self.move_task_instance(task, "success", True)

    # --- assets ---

    @rule(names=NAMES, form=FORMS, key=KEYS, value=strategies.json_texts(), awaited=AWAITED)
    def set_asset(self, names: Names, form: str, key: str, value: str, awaited: bool) -> None:
        scope = self.asset_scope(names, form)
        found = self.find_asset(scope)

        def write() -> None:
            self.call("set", scope, key, value, awaited=awaited)

        if found is None:
            if names in self.assets:
                self.met("inactive asset not found by name")
            self.refused(write)
            return
        write()
        if not self.assets[found]:
            self.met("write to an inactive asset by id")
        self.asset_cells[found, key] = _Cell(value, self.clock.now())

    @rule(names=NAMES, form=FORMS, key=KEYS, awaited=AWAITED)
    def delete_asset_key(self, names: Names, form: str, key: str, awaited: bool) -> None:
        scope = self.asset_scope(names, form)
        found = self.find_asset(scope)
        self.call("delete", scope, key, awaited=awaited)
        if found is not None:
            self.asset_cells.pop((found, key), None)

    @rule(names=NAMES, form=FORMS, everywhere=st.booleans(), awaited=AWAITED)
    def clear_asset(self, names: Names, form: str, everywhere: bool, awaited: bool) -> None:
        scope = self.asset_scope(names, form)
        found = self.find_asset(scope)
        self.call("clear", scope, all_map_indices=everywhere, awaited=awaited)
        self.asset_cells = {place: cell for place, cell in self.asset_cells.items() if place[0] != found}

    # --- time ---

    @rule(by=st.sampled_from([timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=1), timedelta(days=45)]))
    def wait(self, by: timedelta) -> None:
        self.clock.advance(by)

    @precondition(lambda self: self._expiries())
    @rule(which=st.integers(0, 9), microseconds=st.sampled_from([0, 1, -1]))
    def wait_for_an_expiry(self, which: int, microseconds: int) -> None:
        """Move to the exact instant of an expiry, or one microsecond either side of it."""
        instants = self._expiries()
        self.clock.set(instants[which % len(instants)] + timedelta(microseconds=microseconds))

    def _expiries(self) -> list[datetime]:
        return sorted({cell.expires_at for cell in self.tasks.values() if cell.expires_at is not None})

    @precondition(lambda self: self.cleans)
    @rule(batch_size=st.sampled_from(BATCH_SIZES))
    def clean(self, batch_size: int) -> None:
        now = self.clock.now()
        for cell in self.tasks.values():
            if cell.never:
                self.met("cleanup beside a flagged row")
            elif cell.expires_at is None:
                self.met("cleanup beside a NULL expiry")
            elif cell.expires_at == now:
                self.met("cleanup at the instant of an expiry")
            elif cell.expires_at == now - timedelta(microseconds=1):
                self.met("cleanup one microsecond after an expiry")
        removed = self.cleanup(batch_size)
        expected = self.forget(lambda _task, _key, cell: cell.expires_at is not None and cell.expires_at < now)
        if batch_size and expected > batch_size:
            self.met("cleanup deletes more than one batch")
        assert removed in (None, expected), f"cleanup said {removed} rows went, the model says {expected}"

    # --- illegal calls that need no state ---

    @rule(task=SCOPES, key=strategies.bad_keys(), awaited=AWAITED)
    def set_a_bad_key(self, task: Task, key: Any, awaited: bool) -> None:
        self.refused(lambda: self.call("set", TaskScope(*task), key, "1", awaited=awaited), TypeError)

    @rule(key=KEYS, awaited=AWAITED)
    def set_under_what_never_was(self, key: str, awaited: bool) -> None:
        self.refused(lambda: self.call("set", TaskScope("no", "such", "run"), key, "1", awaited=awaited))
        self.refused(lambda: self.call("set", AssetScope(name="no such asset"), key, "1", awaited=awaited))
        for asset_id in self.retired_ids[-1:]:
            scope = AssetScope(asset_id=asset_id)
            self.refused(lambda scope=scope: self.call("set", scope, key, "1", awaited=awaited))  # type: ignore[misc]
            assert self.call("get", scope, key, awaited=awaited) is None

    @precondition(lambda self: self.cleans)
    @rule()
    def clean_with_a_negative_batch(self) -> None:
        self.refused(lambda: self.cleanup(-1))

    # --- what must hold after every step ---

    @invariant()
    def rows_equal_the_model(self) -> None:
        found, expected = self.rows(), self._expected_rows()
        # Not a set: a row that is there twice is a defect too.
        assert sorted(map(repr, found)) == sorted(map(repr, expected))

    def _expected_rows(self) -> list[StoredRow]:
        rows = [
            StoredRow(
                "task",
                task,
                key,
                cell.value,
                expires_at=cell.expires_at if self.keeps_expiry else None,
                never_expire=cell.never if self.keeps_never_expire else None,
                updated_at=cell.updated_at if self.keeps_updated_at else None,
            )
            for (task, key), cell in self.tasks.items()
        ]
        return rows + [
            StoredRow("asset", names, key, cell.value, updated_at=cell.updated_at if self.keeps_updated_at else None)
            for (names, key), cell in self.asset_cells.items()
        ]

    @invariant()
    def reads_equal_the_model(self) -> None:
        now = self.clock.now()
        reads: list[tuple[TaskScope | AssetScope, str, str | None]] = []
        for (task, key), cell in self.tasks.items():
            reads.append((TaskScope(*task), key, cell.value))
            if cell.expires_at is not None and cell.expires_at < now:
                self.met("expired key served")
        for names in self.assets:
            for form in ("id", "name", "uri", "name+uri"):
                scope = self.asset_scope(names, form)
                found = self.find_asset(scope)
                for key in self.key_pool[:2]:
                    known = self.asset_cells.get((found, key)) if found is not None else None
                    reads.append((scope, key, known.value if known is not None else None))
        for run in self.DAG_RUNS[:2]:
            task = (*run, self.TASKS[0], self.MAP_INDICES[0])
            reads += [(TaskScope(*task), key, None) for key in self.key_pool[:2] if (task, key) not in self.tasks]
        if self.reads_per_step is not None and len(reads) > self.reads_per_step:
            start = self._steps % len(reads)
            reads = [*reads[start:], *reads[:start]][: self.reads_per_step]
        self._steps += 7  # another part of them at each step
        for where, key, expected in reads:
            assert self.backend.get(where, key) == expected, f"{key!r} of {where}"
