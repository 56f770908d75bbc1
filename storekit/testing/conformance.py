"""Suites that any backend can pass: subclass, say how its parents are made and what it promises, run pytest.

A promise that a backend does not make is a class attribute set to False; its tests are then skipped with a reason
that names the attribute, so a report shows what was given up.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import strategies as st

from storekit.state import NEVER_EXPIRE, AssetScope, BaseStoreBackend, NeverExpire, StoreScope, TaskScope
from storekit.testing import strategies
from storekit.testing.suite import ConformanceSuite, run

__all__ = ["BackendConformance"]

_NOW = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)


class BackendConformance(ConformanceSuite):
    """The contract of `storekit.BaseStoreBackend` as tests.

    A subclass gives a ``backend`` fixture (a fresh, empty store) and, where the store needs them, the two
    ``prepare_…`` hooks.

    Attributes
    ----------
    key_rules : TextRules
        Which keys the store holds and tells apart.
    id_rules, asset_rules : TextRules
        The same for the ids in a task's scope, and for assets' names and URIs.
    has_tasks, has_assets, has_async
        Whether it implements these parts.
    needs_parents : bool
        Whether ``set`` under a DagRun or an asset that was not prepared is refused with ValueError.
    finds_assets_by_name : bool
        Whether a scope with a name or a URI alone finds the asset; released Airflow's server side knows ids only.
    refuses_naive_expiry : bool
        Whether ``set`` refuses an expiry without a time zone.
    refuses_bad_keys : bool
        Whether ``set`` refuses `storekit.testing.BAD_KEYS`.
    keeps_expiry, keeps_never_expire : bool
        Whether `stored_expiry` can read back what ``set`` was given, and tell NEVER_EXPIRE from None.
    max_examples : int
        Examples per property.

    Example
    -------
    ::

        class TestMyBackend(BackendConformance):
            needs_parents = False

            @pytest.fixture
            def backend(self):
                return MyBackend()
    """

    key_rules: ClassVar[strategies.TextRules] = strategies.ANY_TEXT
    id_rules: ClassVar[strategies.TextRules] = strategies.TextRules(max_codepoint=0x7E, control_characters=False)
    asset_rules: ClassVar[strategies.TextRules] = strategies.TextRules(max_codepoint=0x7E, control_characters=False)
    has_tasks: ClassVar[bool] = True
    has_assets: ClassVar[bool] = True
    has_async: ClassVar[bool] = True
    needs_parents: ClassVar[bool] = False
    finds_assets_by_name: ClassVar[bool] = True
    refuses_bad_keys: ClassVar[bool] = True
    refuses_naive_expiry: ClassVar[bool] = True
    keeps_expiry: ClassVar[bool] = False
    keeps_never_expire: ClassVar[bool] = False

    # --- what a subclass gives ---

    @pytest.fixture
    def backend(self) -> BaseStoreBackend:
        """Return a fresh store."""
        raise NotImplementedError(f"{type(self).__name__} must define the fixture `backend`")

    def prepare_task(self, backend: Any, scope: TaskScope) -> None:
        """Make what ``set`` under ``scope`` needs: its DagRun. It may be there already.

        Parameters
        ----------
        backend
            What the fixture gave.
        scope
            The task instance that will be written to.
        """

    def prepare_asset(self, backend: Any, name: str, uri: str) -> AssetScope:
        """Make an active asset.

        Parameters
        ----------
        backend
            What the fixture gave.
        name, uri
            The asset's.

        Returns
        -------
        AssetScope
            What finds it.
        """
        return AssetScope(name=name, uri=uri)

    def stored_expiry(
        self, backend: Any, scope: TaskScope, key: str
    ) -> datetime | Literal[NeverExpire.NEVER_EXPIRE] | None:
        """Return the expiry that the store holds, read past the backend; needed where ``keeps_expiry``.

        Parameters
        ----------
        backend
            What the fixture gave.
        scope, key
            A row that is there.

        Returns
        -------
        datetime, NEVER_EXPIRE or None
            An aware instant; None: no expiry.
        """
        raise NotImplementedError(f"{type(self).__name__} declares keeps_expiry; it must define stored_expiry")

    # --- scopes of one's own, so that no check depends on an earlier one ---

    def task(self, backend: Any, *, map_index: int = -1, like: TaskScope | None = None) -> TaskScope:
        """Return a prepared task scope that no one has used.

        Parameters
        ----------
        backend
            What the fixture gave.
        map_index
            Of the scope.
        like
            Another scope, of whose run it shall be; None: of a run of its own.
        """
        self.need("has_tasks")
        n = next(self._serial)
        scope = TaskScope(like.dag_id if like else f"dag-{n}", like.run_id if like else "run", f"task-{n}", map_index)
        self.prepare_task(backend, scope)
        return scope

    def asset(self, backend: Any) -> AssetScope:
        """Return the scope of a prepared asset that no one has used.

        Parameters
        ----------
        backend
            What the fixture gave.
        """
        self.need("has_assets")
        n = next(self._serial)
        return self.prepare_asset(backend, f"asset-{n}", f"s3://bucket/{n}")

    def scopes(self, backend: Any) -> list[StoreScope]:
        """Return an unused scope of each kind that the backend has.

        Parameters
        ----------
        backend
            What the fixture gave.
        """
        return [
            *([self.task(backend)] if self.has_tasks else []),
            *([self.asset(backend)] if self.has_assets else []),
        ]

    # --- one key ---

    def test_a_missing_key_is_none(self, backend: Any) -> None:
        @self.forall(key=strategies.keys(self.key_rules))
        def check(key: str) -> None:
            for scope in self.scopes(backend):
                assert backend.get(scope, key) is None

    def test_a_text_comes_back_verbatim(self, backend: Any) -> None:
        @self.forall(
            key=strategies.keys(self.key_rules), text=strategies.json_texts() | strategies.texts().filter(bool)
        )
        def check(key: str, text: str) -> None:
            for scope in self.scopes(backend):
                backend.set(scope, key, text)
                assert backend.get(scope, key) == text

    def test_hostile_keys_hold_their_values_side_by_side(self, backend: Any) -> None:
        hostile = [key for key in strategies.HOSTILE_KEYS if self.key_rules.allows(key)]
        kept: list[str] = []
        for key in hostile:
            if all(self.key_rules.tells_apart(key, other) for other in kept):
                kept.append(key)
        for scope in self.scopes(backend):
            for key in kept:
                backend.set(scope, key, f'"{kept.index(key)}"')
            assert [backend.get(scope, key) for key in kept] == [f'"{n}"' for n in range(len(kept))]

    def test_hostile_scopes_hold_their_keys_side_by_side(self, backend: Any) -> None:
        self.need("has_tasks")

        @self.forall(ids=st.lists(strategies.task_scopes(self.id_rules), min_size=2, max_size=3, unique=True))
        def check(ids: list[TaskScope]) -> None:
            for n, scope in enumerate(ids):
                self.prepare_task(backend, scope)
                backend.set(scope, "key", str(n))
            assert [backend.get(scope, "key") for scope in ids] == [str(n) for n in range(len(ids))]

    def test_the_longest_key_is_held_whole(self, backend: Any) -> None:
        longest = "k" * (self.key_rules.max_characters - 1)
        for scope in self.scopes(backend):
            backend.set(scope, longest + "1", "1")
            backend.set(scope, longest + "2", "2")
            assert (backend.get(scope, longest + "1"), backend.get(scope, longest + "2")) == ("1", "2")

    def test_keys_that_look_alike_are_two(self, backend: Any) -> None:
        @self.forall(twins=strategies.key_twins(self.key_rules))
        def check(twins: tuple[str, str]) -> None:
            one, other = twins
            for scope in self.scopes(backend):
                backend.set(scope, one, "1")
                assert backend.get(scope, other) is None
                backend.set(scope, other, "2")
                assert (backend.get(scope, one), backend.get(scope, other)) == ("1", "2")
                backend.delete(scope, one)
                assert (backend.get(scope, one), backend.get(scope, other)) == (None, "2")

    def test_a_second_set_overwrites(self, backend: Any) -> None:
        @self.forall(
            key=strategies.keys(self.key_rules), written=st.lists(strategies.json_texts(), min_size=2, max_size=3)
        )
        def check(key: str, written: list[str]) -> None:
            for scope in self.scopes(backend):
                for text in written:
                    backend.set(scope, key, text)
                    assert backend.get(scope, key) == text

    def test_a_deleted_key_is_gone_and_others_stay(self, backend: Any) -> None:
        for scope in self.scopes(backend):
            backend.set(scope, "gone", "1")
            backend.set(scope, "stays", "2")
            backend.delete(scope, "gone")
            assert (backend.get(scope, "gone"), backend.get(scope, "stays")) == (None, "2")

    def test_deleting_what_is_missing_does_nothing(self, backend: Any) -> None:
        for scope in self.scopes(backend):
            backend.set(scope, "stays", "1")
            backend.delete(scope, "missing")
            backend.clear(TaskScope("no", "such", "task"))
            backend.delete(TaskScope("no", "such", "task"), "missing")
            assert backend.get(scope, "stays") == "1"

    def test_a_deleted_key_can_be_set_again(self, backend: Any) -> None:
        for scope in self.scopes(backend):
            backend.set(scope, "key", "1")
            backend.delete(scope, "key")
            backend.set(scope, "key", "2")
            assert backend.get(scope, "key") == "2"

    def test_bad_keys_are_refused_and_nothing_is_stored(self, backend: Any) -> None:
        self.need("refuses_bad_keys")

        @self.forall(key=strategies.bad_keys())
        def check(key: Any) -> None:
            for scope in self.scopes(backend):
                with pytest.raises((ValueError, TypeError)):
                    backend.set(scope, key, "1")

    def test_setting_under_a_missing_parent_is_refused(self, backend: Any) -> None:
        self.need("needs_parents")
        with pytest.raises(ValueError, match="DagRun"):
            backend.set(TaskScope("no", "such", "task"), "key", "1")
        if self.has_assets:
            for scope in (AssetScope(name="missing"), AssetScope(uri="s3://missing"), AssetScope(asset_id=10**6)):
                with pytest.raises(ValueError, match=r"[Aa]sset"):
                    backend.set(scope, "key", "1")

    # --- clear ---

    def test_clear_empties_one_scope_and_leaves_the_others(self, backend: Any) -> None:
        first, second = self.scopes(backend), self.scopes(backend)
        for scope in (*first, *second):
            backend.set(scope, "one", "1")
            backend.set(scope, "two", "2")
        for n, scope in enumerate(first):
            backend.clear(scope)
            assert (backend.get(scope, "one"), backend.get(scope, "two")) == (None, None)
            for other in (*first[n + 1 :], *second):
                assert (backend.get(other, "one"), backend.get(other, "two")) == ("1", "2")

    def test_map_indices_are_apart(self, backend: Any) -> None:
        here = self.task(backend)
        mapped = [TaskScope(here.dag_id, here.run_id, here.task_id, n) for n in (-1, 0, 1, 10)]
        for scope in mapped:
            backend.set(scope, "key", str(scope.map_index))
        assert [backend.get(scope, "key") for scope in mapped] == ["-1", "0", "1", "10"]
        backend.delete(mapped[1], "key")
        backend.clear(mapped[2])
        assert [backend.get(scope, "key") for scope in mapped] == ["-1", None, None, "10"]

    def test_clear_of_all_map_indices_stays_within_its_task(self, backend: Any) -> None:
        here = self.task(backend)
        mapped = [TaskScope(here.dag_id, here.run_id, here.task_id, n) for n in (-1, 0, 1)]
        other_task = self.task(backend, like=here, map_index=0)
        other_run = self.task(backend)
        for scope in (*mapped, other_task, other_run):
            backend.set(scope, "key", "1")
        backend.clear(mapped[1], all_map_indices=True)
        assert [backend.get(scope, "key") for scope in mapped] == [None, None, None]
        assert (backend.get(other_task, "key"), backend.get(other_run, "key")) == ("1", "1")

    def test_all_map_indices_means_nothing_to_an_asset(self, backend: Any) -> None:
        one, other = self.asset(backend), self.asset(backend)
        for scope in (one, other):
            backend.set(scope, "key", "1")
        backend.clear(one, all_map_indices=True)
        assert (backend.get(one, "key"), backend.get(other, "key")) == (None, "1")

    def test_an_asset_is_one_by_name_by_uri_and_by_both(self, backend: Any) -> None:
        self.need("has_assets")
        self.need("finds_assets_by_name")

        @self.forall(names=strategies.asset_names(self.asset_rules))
        def check(names: tuple[str, str]) -> None:
            n = next(self._serial)
            name, uri = f"{n}{names[0]}", f"{names[1]}-{n}"
            scope = self.prepare_asset(backend, name, uri)
            backend.set(scope, "key", str(n))
            if (scope.name, scope.uri) == (name, uri):
                found = [scope]
            else:
                found = [AssetScope(name=name), AssetScope(uri=uri), AssetScope(name=name, uri=uri)]
            assert {backend.get(each, "key") for each in found} == {str(n)}

    # --- expiry ---

    def test_an_expired_key_is_still_served(self, backend: Any) -> None:
        scope = self.task(backend)
        backend.set(scope, "key", "1", expires_at=datetime(2001, 1, 1, tzinfo=UTC))
        assert backend.get(scope, "key") == "1"

    def test_the_expiry_is_kept_to_the_microsecond(self, backend: Any) -> None:
        self.need("keeps_expiry")

        @self.forall(expires_at=st.none() | strategies.instants())
        def check(expires_at: datetime | None) -> None:
            scope = self.task(backend)
            backend.set(scope, "key", "1", expires_at=expires_at)
            assert self.stored_expiry(backend, scope, "key") == expires_at

    def test_a_rewrite_replaces_the_expiry(self, backend: Any) -> None:
        self.need("keeps_expiry")

        @self.forall(first=strategies.expiries(_NOW), second=strategies.expiries(_NOW))
        def check(first: Any, second: Any) -> None:
            scope = self.task(backend)
            backend.set(scope, "key", "1", expires_at=first)
            backend.set(scope, "key", "1", expires_at=second)
            expected = None if second is NEVER_EXPIRE and not self.keeps_never_expire else second
            assert self.stored_expiry(backend, scope, "key") == expected

    def test_never_expire_is_told_from_no_expiry(self, backend: Any) -> None:
        self.need("keeps_never_expire")
        scope = self.task(backend)
        backend.set(scope, "never", "1", expires_at=NEVER_EXPIRE)
        backend.set(scope, "none", "1", expires_at=None)
        assert self.stored_expiry(backend, scope, "never") is NEVER_EXPIRE
        assert self.stored_expiry(backend, scope, "none") is None

    def test_a_naive_expiry_is_refused(self, backend: Any) -> None:
        self.need("refuses_naive_expiry")
        scope = self.task(backend)
        with pytest.raises(ValueError, match="time zone"):
            backend.set(scope, "key", "1", expires_at=datetime(2030, 1, 1))  # noqa: DTZ001 - that is the point
        assert backend.get(scope, "key") is None

    # --- the awaited twins ---

    def test_the_awaited_twins_agree(self, backend: Any) -> None:
        self.need("has_async")

        @self.forall(key=strategies.keys(self.key_rules), text=strategies.json_texts())
        def check(key: str, text: str) -> None:
            for scope in self.scopes(backend):
                run(self._round_awaited(backend, scope, key, text))

    @staticmethod
    async def _round_awaited(backend: Any, scope: StoreScope, key: str, text: str) -> None:
        assert await backend.aget(scope, key) is None
        await backend.aset(scope, key, text)
        assert backend.get(scope, key) == text
        assert await backend.aget(scope, key) == text
        await backend.adelete(scope, key)
        assert backend.get(scope, key) is None
        backend.set(scope, key, text)
        await backend.aclear(scope)
        assert backend.get(scope, key) is None

    def test_awaited_clear_of_all_map_indices(self, backend: Any) -> None:
        self.need("has_async")
        here = self.task(backend)
        mapped = [TaskScope(here.dag_id, here.run_id, here.task_id, n) for n in (0, 1)]
        for scope in mapped:
            backend.set(scope, "key", "1")
        run(backend.aclear(mapped[0]))
        assert [backend.get(scope, "key") for scope in mapped] == [None, "1"]
        run(backend.aclear(mapped[0], all_map_indices=True))
        assert backend.get(mapped[1], "key") is None

    def test_awaited_writes_keep_the_expiry(self, backend: Any) -> None:
        self.need("has_async")
        self.need("keeps_expiry")
        scope = self.task(backend)
        run(backend.aset(scope, "key", "1", expires_at=_NOW))
        assert self.stored_expiry(backend, scope, "key") == _NOW
        run(backend.aset(scope, "key", "1", expires_at=None))
        assert self.stored_expiry(backend, scope, "key") is None

    def test_awaited_calls_refuse_what_the_blocking_ones_refuse(self, backend: Any) -> None:
        self.need("has_async")
        self.need("refuses_bad_keys")
        for scope in self.scopes(backend):
            with pytest.raises((ValueError, TypeError)):
                run(backend.aset(scope, "", "1"))
