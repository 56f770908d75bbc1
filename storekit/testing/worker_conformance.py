"""The suite for worker-side backends: references that are found again, and objects that go."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st

from storekit.state import AssetScope, BaseStoreBackend, StoreScope, TaskScope
from storekit.testing import strategies
from storekit.testing.suite import ConformanceSuite, run

__all__ = ["WorkerBackendConformance"]


class WorkerBackendConformance(ConformanceSuite):
    """The promises of a worker-side backend: references that are found again, and objects that go.

    A subclass gives a ``worker`` fixture (over an empty object store), `objects` (a listing past the backend) and
    `another` (a second instance over the same store).

    Attributes
    ----------
    key_rules, asset_rules : TextRules
        Which keys, and which names of assets, it holds.
    prefix : str
        What every reference starts with.
    lists_objects : bool
        Whether `objects` can list what is stored.
    confines_keys : bool
        Whether no key, id or name can lead a reference out of the folder of its task instance or asset, also
        when the reference is read as a path (``..``, ``//``).
    removes_objects : bool
        Whether ``delete`` and ``clear`` remove the objects.
    max_examples : int
        Examples per property.
    """

    key_rules: ClassVar[strategies.TextRules] = strategies.ANY_TEXT
    asset_rules: ClassVar[strategies.TextRules] = strategies.ANY_TEXT
    prefix: ClassVar[str] = ""
    lists_objects: ClassVar[bool] = True
    confines_keys: ClassVar[bool] = True
    removes_objects: ClassVar[bool] = True

    # --- what a subclass gives ---

    @pytest.fixture
    def worker(self) -> BaseStoreBackend:
        """Return a worker-side backend over an empty object store."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture `worker`")

    def another(self, worker: Any) -> Any:
        """Return a second instance over the same store, as another process would have it.

        Parameters
        ----------
        worker
            What the fixture gave.
        """
        raise NotImplementedError(f"{type(self).__name__} must define another(worker)")

    def objects(self, worker: Any) -> Collection[str]:
        """Return the names of the objects that are stored, read past the backend.

        Parameters
        ----------
        worker
            What the fixture gave.
        """
        raise NotImplementedError(f"{type(self).__name__} declares lists_objects; it must define objects(worker)")

    def task(self, worker: Any) -> tuple[TaskScope, str]:
        """Return an unused task scope and its ``ti_id``.

        Parameters
        ----------
        worker
            What the fixture gave.
        """
        n = next(self._serial)
        return TaskScope(f"dag-{n}", "run", "task"), f"018f2e6a-0000-7000-8000-{n:012d}"

    def asset(self, worker: Any) -> AssetScope:
        """Return an unused asset scope, with a name.

        Parameters
        ----------
        worker
            What the fixture gave.
        """
        return AssetScope(name=f"asset-{next(self._serial)}")

    def bind(self, worker: Any, scope: StoreScope) -> Any:
        """Return the backend as an accessor would hold it for ``scope``; adapters bind, others are as they are.

        Parameters
        ----------
        worker
            What the fixture gave.
        scope
            Whose values it shall serialize.
        """
        return worker.bind(scope) if hasattr(worker, "bind") else worker

    def keep_task(self, worker: Any, task: tuple[TaskScope, str], key: str, value: Any) -> str:
        """Serialize a task's value.

        Parameters
        ----------
        worker
            What the fixture gave.
        task
            As `task` returns it: a scope and its ``ti_id``.
        key, value
            What is kept.

        Returns
        -------
        str
            The reference.
        """
        scope, ti_id = task
        reference: str = self.bind(worker, scope).serialize_task_store_to_ref(value=value, key=key, ti_id=ti_id)
        return reference

    def keep_asset(self, worker: Any, scope: AssetScope, key: str, value: Any) -> str:
        """Serialize an asset's value.

        Parameters
        ----------
        worker
            What the fixture gave.
        scope
            The asset.
        key, value
            What is kept.

        Returns
        -------
        str
            The reference.
        """
        asset_ref = scope.name or scope.uri or ""
        reference: str = self.bind(worker, scope).serialize_asset_store_to_ref(
            value=value, key=key, asset_ref=asset_ref
        )
        return reference

    # --- the laws ---

    def test_a_value_comes_back_through_its_reference(self, worker: Any) -> None:
        @self.forall(key=strategies.keys(self.key_rules), value=strategies.json_values())
        def check(key: str, value: Any) -> None:
            ref = self.keep_task(worker, self.task(worker), key, value)
            assert isinstance(ref, str)
            assert ref
            assert worker.deserialize_task_store_from_ref(ref) == value
            ref = self.keep_asset(worker, self.asset(worker), key, value)
            assert worker.deserialize_asset_store_from_ref(ref) == value

    def test_a_reference_depends_on_its_inputs_alone(self, worker: Any) -> None:
        @self.forall(
            key=strategies.keys(self.key_rules), first=strategies.json_values(), second=strategies.json_values()
        )
        def check(key: str, first: Any, second: Any) -> None:
            other = self.another(worker)
            task, asset = self.task(worker), self.asset(worker)
            task_ref, asset_ref = self.keep_task(worker, task, key, first), self.keep_asset(worker, asset, key, first)
            assert self.keep_task(worker, task, key, second) == task_ref
            assert self.keep_task(other, task, key, second) == task_ref
            assert self.keep_asset(worker, asset, key, second) == asset_ref
            assert self.keep_asset(other, asset, key, second) == asset_ref
            # The same reference is the same object: the rewrite is what both instances read.
            assert worker.deserialize_task_store_from_ref(task_ref) == second
            assert other.deserialize_asset_store_from_ref(asset_ref) == second

    def test_distinct_inputs_have_distinct_references(self, worker: Any) -> None:
        @self.forall(
            twins=strategies.key_twins(self.key_rules),
            names=st.lists(strategies.texts(self.asset_rules).filter(bool), min_size=2, max_size=3, unique=True),
        )
        def check(twins: tuple[str, str], names: list[str]) -> None:
            tasks = [self.task(worker), self.task(worker)]
            assets = [AssetScope(name=name) for name in names]
            refs = [self.keep_task(worker, task, key, 1) for task in tasks for key in twins]
            refs += [self.keep_asset(worker, asset, key, 1) for asset in assets for key in twins]
            assert len(set(refs)) == len(refs)

    def test_references_stay_under_the_prefix(self, worker: Any) -> None:
        @self.forall(key=strategies.keys(self.key_rules), name=strategies.texts(self.asset_rules).filter(bool))
        def check(key: str, name: str) -> None:
            assert self.keep_task(worker, self.task(worker), key, 1).startswith(self.prefix)
            assert self.keep_asset(worker, AssetScope(name=name), key, 1).startswith(self.prefix)

    def test_no_key_or_name_leads_out_of_its_folder(self, worker: Any) -> None:
        self.need("confines_keys")
        escapes = ["..", "../x", "../../../x", "/", "/x", "//x", "./x", "a/../../x", "a//b", ".", "a/b", "\\..\\x"]

        @self.forall(
            key=st.sampled_from(escapes) | strategies.keys(self.key_rules),
            name=st.sampled_from(escapes) | strategies.texts(self.asset_rules).filter(bool),
        )
        def check(key: str, name: str) -> None:
            task, asset = self.task(worker), AssetScope(name=name)
            for plain, hostile in (
                (self.keep_task(worker, task, "plain", 1), self.keep_task(worker, task, key, 1)),
                (self.keep_asset(worker, asset, "plain", 1), self.keep_asset(worker, asset, key, 1)),
            ):
                # Read as a path it is the same path, and lies in the same folder as any other key of its owner.
                assert posixpath.normpath(hostile) == hostile
                assert posixpath.dirname(hostile) == posixpath.dirname(plain)
                assert hostile.startswith(self.prefix)

    def test_an_object_is_where_its_reference_says(self, worker: Any) -> None:
        self.need("lists_objects")
        before = set(self.objects(worker))
        refs = {
            self.keep_task(worker, self.task(worker), "key", {"a": 1}),
            self.keep_asset(worker, self.asset(worker), "key", {"a": 1}),
        }
        made = set(self.objects(worker)) - before
        assert len(made) == len(refs)
        self.keep_task(worker, self.task(worker), "key", 1)
        assert len(set(self.objects(worker)) - before) == len(refs) + 1

    def test_delete_removes_one_object(self, worker: Any) -> None:
        self.need("removes_objects")
        for scope, keep in self._owners(worker):
            keep("stays", 2)
            before = set(self.objects(worker))
            keep("gone", 1)
            worker.delete(scope, "gone")
            assert set(self.objects(worker)) == before
            worker.delete(scope, "gone")  # again: no effect
            assert set(self.objects(worker)) == before

    def test_clear_removes_a_scope_and_leaves_the_others(self, worker: Any) -> None:
        self.need("removes_objects")
        for (scope, keep), (_, keep_other) in zip(self._owners(worker), self._owners(worker), strict=True):
            keep_other("one", 1)
            before = set(self.objects(worker))
            keep("one", 1)
            keep("a/b", 2)
            worker.clear(scope)
            assert set(self.objects(worker)) == before

    def test_awaited_delete_and_clear_remove_too(self, worker: Any) -> None:
        self.need("removes_objects")
        for scope, keep in self._owners(worker):
            before = set(self.objects(worker))
            keep("one", 1)
            run(worker.adelete(scope, "one"))
            keep("two", 1)
            run(worker.aclear(scope))
            assert set(self.objects(worker)) == before

    def _owners(self, worker: Any) -> list[tuple[StoreScope, Callable[[str, Any], str]]]:
        task, asset = self.task(worker), self.asset(worker)
        return [
            (task[0], lambda key, value: self.keep_task(worker, task, key, value)),
            (asset, lambda key, value: self.keep_asset(worker, asset, key, value)),
        ]
