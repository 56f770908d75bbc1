"""The kit itself: a backend that keeps the contract passes, and each way of breaking it is caught."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import pytest
from dict_backend import DictBackend
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from storekit import testing
from storekit.state import AssetScope, BaseStoreBackend, TaskScope
from storekit.testing import BackendConformance, StoredRow, StoreMachine, WorkerBackendConformance

NO_SHRINKING = (Phase.explicit, Phase.generate)


class DictConformance(BackendConformance):
    keeps_expiry = True
    keeps_never_expire = True

    @pytest.fixture
    def backend(self) -> BaseStoreBackend:
        return DictBackend()

    def prepare_asset(self, backend: Any, name: str, uri: str) -> AssetScope:
        return AssetScope(name=name, uri=uri)

    def stored_expiry(self, backend: Any, scope: TaskScope, key: str) -> Any:
        return backend.rows[backend.place(scope), backend.name(key)][1]


class TestDictBackend(DictConformance):
    """A backend without a database passes."""


class Folding(DictBackend):
    def name(self, key: str) -> str:
        return key.casefold()


class Padding(DictBackend):
    def name(self, key: str) -> str:
        return key.rstrip(" ")


class Normalising(DictBackend):
    def name(self, key: str) -> str:
        return unicodedata.normalize("NFC", key)


class Truncating(DictBackend):
    def name(self, key: str) -> str:
        return key[:255]


class Unmapped(DictBackend):
    def place(self, scope: Any) -> Any:
        return (scope.dag_id, scope.run_id, scope.task_id) if isinstance(scope, TaskScope) else super().place(scope)


class ClearsTooMuch(DictBackend):
    def covers(self, scope: Any, place: Any, all_map_indices: bool) -> bool:
        if isinstance(scope, TaskScope) and isinstance(place, TaskScope):
            return scope.dag_id == place.dag_id
        return super().covers(scope, place, all_map_indices)


class ClearsTooLittle(DictBackend):
    def covers(self, scope: Any, place: Any, all_map_indices: bool) -> bool:
        return super().covers(scope, place, False)


class ClearsEverywhere(DictBackend):
    def covers(self, scope: Any, place: Any, all_map_indices: bool) -> bool:
        return type(scope) is type(place)


class Joined(DictBackend):
    def place(self, scope: Any) -> Any:
        return (
            "/".join((scope.dag_id, scope.run_id, scope.task_id))
            if isinstance(scope, TaskScope)
            else super().place(scope)
        )


class KeepsTheFirst(DictBackend):
    def set(self, scope: Any, key: str, value: str, **kwargs: Any) -> None:
        if self.get(scope, key) is None:
            super().set(scope, key, value, **kwargs)


class Strips(DictBackend):
    def set(self, scope: Any, key: str, value: str, **kwargs: Any) -> None:
        super().set(scope, key, value.strip(), **kwargs)


class TakesAnyKey(DictBackend):
    def set(self, scope: Any, key: Any, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        self.rows[self.place(scope), str(key)] = (value, expires_at, self.clock.now())


class DropsTheExpired(DictBackend):
    def get(self, scope: Any, key: str, *, session: Any = None) -> str | None:
        row = self.rows.get((self.place(scope), key))
        return None if row is None or (hasattr(row[1], "year") and row[1] < self.clock.now()) else row[0]


class KeepsTheOldExpiry(DictBackend):
    def set(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        before = self.rows.get((self.place(scope), key))
        super().set(scope, key, value, expires_at=before[1] if before and expires_at is None else expires_at)


class ForgetsMicroseconds(DictBackend):
    def set(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        cut = expires_at.replace(microsecond=0) if hasattr(expires_at, "year") else expires_at
        super().set(scope, key, value, expires_at=cut)


class ForgetsNeverExpire(DictBackend):
    def set(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        super().set(scope, key, value, expires_at=expires_at if hasattr(expires_at, "year") else None)


class AsyncDiffers(DictBackend):
    async def aset(self, scope: Any, key: str, value: str, **kwargs: Any) -> None:
        self.set(scope, key, f"{value} ", **kwargs)


class AsyncClearIgnoresTheFlag(DictBackend):
    async def aclear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        self.clear(scope)


class RaisesOnMissing(DictBackend):
    def delete(self, scope: Any, key: str, *, session: Any = None) -> None:
        del self.rows[self.place(scope), key]


class OneAsset(DictBackend):
    def place(self, scope: Any) -> Any:
        return "asset" if isinstance(scope, AssetScope) else scope


BROKEN: tuple[type[DictBackend], ...] = (
    Folding, Padding, Normalising, Truncating, Unmapped, ClearsTooMuch, ClearsTooLittle, ClearsEverywhere, Joined,
    KeepsTheFirst, Strips, TakesAnyKey, DropsTheExpired, KeepsTheOldExpiry, ForgetsMicroseconds, ForgetsNeverExpire,
    AsyncDiffers, AsyncClearIgnoresTheFlag, RaisesOnMissing, OneAsset,
)  # fmt: skip


def first_failure_of(suite: Any, subject: Iterable[Any]) -> str | None:
    """Run the tests of a suite as pytest would, each on a fresh subject, up to one that fails; return its name."""
    for name in sorted(dir(suite)):
        if name.startswith("test_"):
            try:
                getattr(suite, name)(next(iter(subject)))
            except (Exception, pytest.fail.Exception):
                return name
            except pytest.skip.Exception:
                pass
    return None


@pytest.fixture(autouse=True)
def _without_shrinking() -> Iterator[None]:
    """Found is enough here: no time for the smallest failure."""
    profile = settings.get_current_profile_name()
    settings.register_profile("found is enough", settings(), phases=NO_SHRINKING, database=None)
    settings.load_profile("found is enough")
    yield
    settings.load_profile(profile)


class Fresh:
    """An endless supply of subjects."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __iter__(self) -> Any:
        while True:
            yield self.make()


def test_a_right_backend_fails_nothing() -> None:
    assert first_failure_of(DictConformance(), Fresh(DictBackend)) is None


@pytest.mark.parametrize("broken", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_backend_is_caught(broken: type[DictBackend]) -> None:
    class Quick(DictConformance):
        # Several rounds' worth: catching must not be luck.
        max_examples = 60

    assert first_failure_of(Quick(), Fresh(broken)) is not None


# --- the worker suite ---


class Folder(DictBackend):
    """A worker-side backend over a dictionary of objects, as it should be."""

    def __init__(self, store: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.store: dict[str, Any] = {} if store is None else store
        self.ti_ids: dict[TaskScope, str] = {}

    def ref(self, kind: str, owner: str, key: str) -> str:
        return f"root/{kind}/{owner.encode().hex() or '-'}/{key.encode().hex()}"

    def keep(self, ref: str, value: Any) -> str:
        self.store[ref] = value
        return ref

    def serialize_task_store_to_ref(self, *, value: Any, key: str, ti_id: str) -> str:
        return self.keep(self.ref("task", ti_id, key), value)

    def serialize_asset_store_to_ref(self, *, value: Any, key: str, asset_ref: str) -> str:
        return self.keep(self.ref("asset", asset_ref, key), value)

    def deserialize_task_store_from_ref(self, stored: str) -> Any:
        return self.store[stored]

    deserialize_asset_store_from_ref = deserialize_task_store_from_ref

    def owner(self, scope: Any) -> tuple[str, str]:
        if isinstance(scope, TaskScope):
            return "task", scope.dag_id
        return "asset", scope.name

    def delete(self, scope: Any, key: str, *, session: Any = None) -> None:
        self.store.pop(self.ref(*self.owner(scope), key), None)

    def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        folder = self.ref(*self.owner(scope), "")
        for name in [name for name in self.store if name.startswith(folder)]:
            del self.store[name]


class FolderConformance(WorkerBackendConformance):
    prefix = "root/"
    max_examples: ClassVar[int] = 30

    @pytest.fixture
    def worker(self) -> BaseStoreBackend:
        return Folder()

    def task(self, worker: Any) -> tuple[TaskScope, str]:
        scope, ti_id = super().task(worker)
        return TaskScope(ti_id, scope.run_id, scope.task_id), ti_id

    def another(self, worker: Any) -> Any:
        return type(worker)(worker.store)

    def objects(self, worker: Any) -> Any:
        return worker.store


class TestFolder(FolderConformance):
    """The suite passes where it should."""


class RandomRefs(Folder):
    def ref(self, kind: str, owner: str, key: str) -> str:
        return f"{super().ref(kind, owner, key)}{len(self.store) if key else ''}"


class InstanceRefs(Folder):
    def ref(self, kind: str, owner: str, key: str) -> str:
        return f"root/{id(self)}/{super().ref(kind, owner, key)}"


class RawKeys(Folder):
    def ref(self, kind: str, owner: str, key: str) -> str:
        return f"root/{kind}/{owner.encode().hex()}/{key}"


class OneFolder(Folder):
    def ref(self, kind: str, owner: str, key: str) -> str:
        return f"root/{key.encode().hex()}"


class FoldsRefs(Folder):
    def ref(self, kind: str, owner: str, key: str) -> str:
        return super().ref(kind, owner, key.casefold())


class NoPrefix(Folder):
    def ref(self, kind: str, owner: str, key: str) -> str:
        return super().ref(kind, owner, key).removeprefix("root/")


class NeverDeletes(Folder):
    def delete(self, scope: Any, key: str, *, session: Any = None) -> None:
        pass


class NeverClears(Folder):
    def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        pass


class ClearsAll(Folder):
    def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None:
        self.store.clear()


class LosesTypes(Folder):
    def keep(self, ref: str, value: Any) -> str:
        return super().keep(ref, str(value))


class WritesTwice(Folder):
    def keep(self, ref: str, value: Any) -> str:
        self.store[f"{ref}.tmp"] = value
        return super().keep(ref, value)


BROKEN_WORKERS: tuple[type[Folder], ...] = (
    RandomRefs, InstanceRefs, RawKeys, OneFolder, FoldsRefs, NoPrefix, NeverDeletes, NeverClears, ClearsAll, LosesTypes,
    WritesTwice,
)  # fmt: skip


def test_a_right_worker_fails_nothing() -> None:
    assert first_failure_of(FolderConformance(), Fresh(Folder)) is None


@pytest.mark.parametrize("broken", BROKEN_WORKERS, ids=lambda cls: cls.__name__)
def test_a_broken_worker_is_caught(broken: type[Folder]) -> None:
    assert first_failure_of(FolderConformance(), Fresh(broken)) is not None


# --- the machine ---


class DictMachine(StoreMachine):
    """A dictionary has no parents and no cleanup: the machine over what is left."""

    make: ClassVar[type[DictBackend]] = DictBackend
    owns_parents = False
    cleans = False

    def open_store(self) -> DictBackend:
        self.assets_there: set[tuple[str, str]] = set()
        machine = self

        class WithParents(self.make):  # type: ignore[name-defined, misc]
            def place(self, scope: Any) -> Any:
                if isinstance(scope, AssetScope):
                    found = machine.find_there(scope)
                    return ("no such asset",) if found is None else found
                return super().place(scope)

            def set(self, scope: Any, key: str, value: str, **kwargs: Any) -> None:
                place = self.place(scope)
                if place == ("no such asset",):
                    raise ValueError("no such asset")
                if isinstance(scope, TaskScope) and (scope.dag_id, scope.run_id) not in machine.runs_there:
                    raise ValueError("no such DagRun")
                super().set(scope, key, value, **kwargs)

        self.runs_there: set[tuple[str, str]] = set()
        self.ids_there: dict[tuple[str, str], int] = {}
        self.last_id = 0
        return WithParents(clock=self.clock)

    def find_there(self, scope: AssetScope) -> tuple[str, str] | None:
        for names, asset_id in self.ids_there.items():
            if scope.asset_id is not None:
                if scope.asset_id == asset_id:
                    return names
            elif names in self.assets_there and scope.name in (None, names[0]) and scope.uri in (None, names[1]):
                return names
        return None

    def rows(self) -> list[StoredRow]:
        rows = []
        for (place, key), (value, expires_at, updated_at) in self.backend.rows.items():
            if isinstance(place, TaskScope):
                owner = (place.dag_id, place.run_id, place.task_id, place.map_index)
                at = expires_at if hasattr(expires_at, "year") else None
                never = expires_at is not None and at is None
                rows.append(StoredRow("task", owner, key, value, at, never, updated_at))
            else:
                rows.append(StoredRow("asset", place, key, value, updated_at=updated_at))
        return rows

    def add_dag_run(self, dag_id: str, run_id: str) -> None:
        self.runs_there.add((dag_id, run_id))

    def delete_dag_run(self, dag_id: str, run_id: str) -> None:
        self.runs_there.discard((dag_id, run_id))
        for place in [place for place in self.backend.rows if getattr(place[0], "run_id", None) is not None]:
            if (place[0].dag_id, place[0].run_id) == (dag_id, run_id):
                del self.backend.rows[place]

    def add_asset(self, name: str, uri: str) -> int:
        if (name, uri) not in self.ids_there:
            self.last_id += 1
            self.ids_there[name, uri] = self.last_id
        self.assets_there.add((name, uri))
        return self.ids_there[name, uri]

    def deactivate_asset(self, name: str, uri: str) -> None:
        self.assets_there.discard((name, uri))

    def delete_asset(self, name: str, uri: str, asset_id: int | None) -> None:
        self.assets_there.discard((name, uri))
        del self.ids_there[name, uri]
        for place in [place for place in self.backend.rows if place[0] == (name, uri)]:
            del self.backend.rows[place]


BUDGET = settings(max_examples=300, stateful_step_count=30, deadline=None, database=None)


def test_the_machine_accepts_a_right_backend() -> None:
    run_state_machine_as_test(DictMachine, settings=settings(BUDGET, max_examples=10))


class ForgetsTheClock(DictBackend):
    def set(self, scope: Any, key: str, value: str, *, expires_at: Any = None, session: Any = None) -> None:
        before = self.rows.get((self.place(scope), key))
        super().set(scope, key, value, expires_at=expires_at)
        if before is not None:
            value, expires_at, _ = self.rows[self.place(scope), key]
            self.rows[self.place(scope), key] = (value, expires_at, before[2])


@pytest.mark.parametrize(
    "broken",
    [Folding, Unmapped, ClearsTooMuch, ClearsTooLittle, KeepsTheFirst, TakesAnyKey, DropsTheExpired, KeepsTheOldExpiry,
     ForgetsNeverExpire, ForgetsTheClock, AsyncDiffers],
    ids=lambda cls: cls.__name__,
)  # fmt: skip
def test_the_machine_catches_a_broken_one(broken: type[DictBackend]) -> None:
    machine = type(f"{broken.__name__}Machine", (DictMachine,), {"make": broken})
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it broke with
        run_state_machine_as_test(machine, settings=settings(BUDGET, phases=NO_SHRINKING))


def test_everything_public_is_named_and_documented() -> None:
    for name in testing.__all__:
        each = getattr(testing, name)
        assert each is not None
        if isinstance(each, type) or callable(each):
            assert each.__doc__, name
