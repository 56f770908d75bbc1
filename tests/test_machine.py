"""The kit's state machine over our own backend, on every database and in every layout."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar

import pytest
from backdoor import read_rows
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from parts import LAYOUT_NAMES, Family, Sandboxes
from profiles import ON_CI
from stores import open_store, text_rules_of

from storekit.metastore import MetastoreStateBackend
from storekit.state import NEVER_EXPIRE
from storekit.testing import HARD_CASES, StoredRow, StoreMachine

FAMILIES: tuple[Family, ...] = ("sqlite", "postgres", "mysql")
Step = Callable[[], object]
MATRIX = [(family, layout) for family in FAMILIES for layout in LAYOUT_NAMES]


class MetastoreMachine(StoreMachine):
    """The kit's machine over one database and layout; the back door is SQL of its own."""

    sandboxes: ClassVar[Sandboxes]
    family: ClassVar[Family]
    layout_name: ClassVar[str]

    def open_store(self) -> MetastoreStateBackend:
        self.store = open_store(self.sandboxes, self.family, self.layout_name, clock=self.clock)
        return self.store.backend

    def close_store(self) -> None:
        self.store.backend.close()

    def rows(self) -> list[StoredRow]:
        return read_rows(self.store.engine, self.layout_name)

    def add_dag_run(self, dag_id: str, run_id: str) -> None:
        self.store.add_dag_run(dag_id, run_id)

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        self.store.delete_dag_run(dag_id, run_id)

    def add_asset(self, name: str, uri: str) -> int:
        return self.store.add_asset(name, uri)

    def deactivate_asset(self, name: str, uri: str) -> None:
        self.store.deactivate_asset(name, uri)

    def delete_asset(self, name: str, uri: str, asset_id: int | None) -> None:
        self.store.delete_asset(name, uri)


def machine_for(sandboxes: Sandboxes, family: Family, layout_name: str) -> type[MetastoreMachine]:
    own = layout_name == "storekit"
    return type(
        f"{family}_{layout_name}_machine",
        (MetastoreMachine,),
        {
            "sandboxes": sandboxes,
            "family": family,
            "layout_name": layout_name,
            "key_rules": text_rules_of(family, layout_name),
            "keeps_never_expire": own,
            "owns_parents": own,
            "reads_per_step": None if ON_CI else 5 if family in ("postgres", "mysql") else 8,
        },
    )


@pytest.mark.parametrize(("family", "layout_name"), MATRIX)
def test_the_machine_agrees_with_its_model(sandboxes: Sandboxes, family: Family, layout_name: str) -> None:
    machine = machine_for(sandboxes, family, layout_name)
    examples, steps = (3, 20) if family in ("postgres", "mysql") else (5, 25)
    budget = settings(max_examples=examples * (4 if ON_CI else 1), stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(machine, settings=budget)


def test_the_machine_agrees_in_memory(sandboxes: Sandboxes) -> None:
    budget = settings(max_examples=120 if ON_CI else 8, stateful_step_count=50, deadline=None)
    run_state_machine_as_test(machine_for(sandboxes, "memory", "storekit"), settings=budget)


def test_every_hard_case_is_within_the_machines_reach(sandboxes: Sandboxes) -> None:
    """One walk through the machine's own rules. Which cases a random search meets is chance, so none is asserted."""
    machine = machine_for(sandboxes, "memory", "storekit")()
    run, names = machine.DAG_RUNS[0], machine.ASSETS[0]
    task, mapped = (*run, "load", -1), (*run, "load", 0)
    microsecond, soon = timedelta(microseconds=1), machine.clock.now() + timedelta(seconds=1)

    def write(key: str, expires_at: object, where: tuple[str, str, str, int] = task) -> Step:
        return lambda: machine.set_task(where, key, "1", expires_at, False)

    walk: list[Step] = [
        lambda: machine.choose_keys((("a", "b"), [])),
        write("a", None),
        write("b", NEVER_EXPIRE),
        write("c", soon),
        lambda: machine.wait_for_an_expiry(0, 0),
        lambda: machine.clean(0),
        lambda: machine.wait(microsecond),
        write("c", soon + timedelta(days=1)),
        write("c", None),
        lambda: machine.set_many(mapped, 3, -microsecond),
        write("d", soon),
        lambda: machine.clean(2),
        write("a", None, mapped),
        lambda: machine.clear_task(task, True, False),
        write("a", None),
        write("a", None, mapped),
        lambda: machine.move_task_instance(mapped, "success", False),
        lambda: machine.move_task_instance(task, "success", True),
        write("b", NEVER_EXPIRE),
        lambda: machine.move_task_instance(task, "success", True),
        lambda: machine.drop_dag_run(0),
        write("a", None),
        lambda: machine.make_dag_run(run),
        lambda: machine.set_asset(names, "name", "a", "1", False),
        lambda: machine.retire_asset(names),
        lambda: machine.set_asset(names, "name", "a", "1", False),
        lambda: machine.set_asset(names, "id", "a", "2", False),
        lambda: machine.drop_asset(names),
        lambda: machine.make_asset(names),
    ]
    try:
        for step in walk:
            step()
            machine.rows_equal_the_model()
            machine.reads_equal_the_model()
    finally:
        machine.teardown()
    assert not HARD_CASES - machine.reached
