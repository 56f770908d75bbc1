"""Law 1, the second half: what preview shows is what goes, and what is left is what real Airflow leaves of a copy."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from parts import Sandboxes, require
from profiles import on_ci_only

import storekit as sk
from storekit.cli import main
from storekit.clock import ManualClock

sys.path.insert(0, str(Path(__file__).parent / "real_airflow"))
from client import RealAirflow, airflow_cli, migrated_postgres, migrated_sqlite
from copies import copied_rows, copied_sqlite, like_airflows, postgres_copies, tables_of

AIRFLOW_33 = Path(__file__).resolve().parent.parent / "data" / "fixtures" / "airflow-3.3.2.db"
BATCH_SIZE = "AIRFLOW__STATE_STORE__STATE_CLEANUP_BATCH_SIZE"
NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)
MIGRATED = on_ci_only("migrations on PostgreSQL are slow")
SLOW = on_ci_only("each run of the airflow command takes seconds")

Row = tuple[str, str, str, int, str]
Tables = dict[str, list[dict[str, Any]]]


def shown_by(store: sk.Store, now: datetime | None = None) -> tuple[list[Row], int]:
    """The natural keys of the rows that preview says would go, and their bytes."""
    preview = store.snapshot().preview(now)
    rows = preview.rows()[["dag_id", "run_id", "task_id", "map_index", "key"]]
    return [(dag, run, task, int(index), key) for dag, run, task, index, key in rows.itertuples(index=False)], int(
        preview.deleted_bytes
    )


def keys_of(rows: list[dict[str, Any]]) -> list[Row]:
    return [(row["dag_id"], row["run_id"], row["task_id"], row["map_index"], row["key"]) for row in rows]


def gone(before: Tables, after: Tables) -> list[dict[str, Any]]:
    """The task rows that went; all that is left must be as it was."""
    assert after["asset_state_store"] == before["asset_state_store"]
    left = {row["id"] for row in after["task_state_store"]}
    assert after["task_state_store"] == [row for row in before["task_state_store"] if row["id"] in left]
    return [row for row in before["task_state_store"] if row["id"] not in left]


def octets(rows: list[dict[str, Any]]) -> int:
    return sum(len(row["value"].encode()) for row in rows)


def batches_of(rows: Sized, batch_size: int) -> int:
    return -(-len(rows) // (batch_size or max(1, len(rows))))


@pytest.fixture(scope="module")
def postgres_template() -> Iterator[Callable[[], str]]:
    """What makes PostgreSQL databases that Airflow migrated; they are as good as new."""
    require("airflow")
    boxes = Sandboxes(Path())
    with ExitStack() as stack:
        stack.callback(boxes.close)
        plain = sa.make_url(boxes.get("postgres").url)
        url = plain.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        migrated_postgres(url)
        yield stack.enter_context(postgres_copies(url))


# --- many stores, under a clock that stands --------------------------------------------------------------------

NAMES = ["etl", "it's", 'quo"te\\', "ünï %s :x"]
ASSETS = 3


class Twins:
    """Two databases: Airflow writes and cleans one; the other gets its rows as they are, and storekit cleans it."""

    def __init__(self, theirs: str, ours: str, airflow: RealAirflow) -> None:
        self.theirs, self.ours, self.airflow = theirs, ours, airflow
        for dag in NAMES:
            for run in NAMES:
                airflow.add_dag_run(dag, run)
        self.assets = [airflow.add_asset(f"a{n}", f"s3://a{n}", active=n > 0) for n in range(ASSETS)]

    def write(self, writes: list[tuple[Row, str, timedelta | None]], assets: list[tuple[int, str, str | None]]) -> None:
        with like_airflows(self.theirs).begin() as connection:
            for table in ("task_state_store", "asset_state_store"):
                connection.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608 - names from this line
        for (dag, run, task, index, key), value, offset in writes:
            expiry = None if offset is None else NOW + offset
            self.airflow.set(sk.TaskScope(dag, run, task, index), key, value, expires_at=expiry)
        for number, key, kind in assets:
            scope = sk.AssetScope(asset_id=self.assets[number])
            if kind is None:
                self.airflow.set(scope, key, "1")
            else:
                self.airflow.set_asset_state_store(scope, key, "1", kind=kind)  # type: ignore[arg-type]
        if self.theirs.startswith("sqlite"):
            copied_sqlite(Path(sa.make_url(self.theirs).database or ""), Path(sa.make_url(self.ours).database or ""))
        else:
            copied_rows(self.theirs, self.ours)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=MIGRATED)])
def twins(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twins]:
    require("airflow")
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("twins")
        theirs, ours = (copied_sqlite(migrated_sqlite(tmp_path_factory), folder / n) for n in ("theirs.db", "ours.db"))
    else:
        copy = request.getfixturevalue("postgres_template")
        theirs, ours = copy(), copy()
    with RealAirflow(theirs) as airflow:
        airflow.freeze_time(NOW)
        yield Twins(theirs, ours, airflow)


# Around the instant itself, where < and <= part; around a second, where texts may; and far from it.
OFFSETS = st.one_of(
    st.none(),
    st.sampled_from([timedelta(microseconds=us) for us in (-1, 0, 1, -123456, -123457, 876544)]),
    st.timedeltas(min_value=timedelta(days=-3000), max_value=timedelta(days=3000)),
)
KEYS = st.sampled_from(["a", "b", "%s", "K", "k" * 512]) | st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20
)
VALUES = st.sampled_from(["1", '"ü€😀"', '{"__airflow_state_ref__": "s3://b/k"}', ""])
ROWS = st.tuples(*[st.sampled_from(NAMES)] * 3, st.integers(-1, 2), KEYS)
# A list, so that a key may be written again: its row is then renewed, and PostgreSQL's ids have gaps.
WRITES = st.lists(st.tuples(ROWS, VALUES, OFFSETS), max_size=20)
ASSET_WRITES = st.lists(
    st.tuples(st.integers(0, ASSETS - 1), KEYS, st.sampled_from([None, "api", "watcher"])), max_size=4
)
BATCHES = [0, 1, 7, 10_000]
MANY = [(("etl", "etl", "t", n % 3, f"k{n}"), "1", timedelta(microseconds=n - 15)) for n in range(17)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=settings.default.max_examples // 2)
@given(writes=WRITES, assets=ASSET_WRITES, batch_size=st.sampled_from(BATCHES))
@example(writes=MANY, assets=[(0, "a", None), (1, "a", "api")], batch_size=7)
@example(writes=MANY, assets=[], batch_size=1)
def test_random_stores(
    twins: Twins,
    writes: list[tuple[Row, str, timedelta | None]],
    assets: list[tuple[int, str, str | None]],
    batch_size: int,
) -> None:
    twins.write(writes, assets)
    before = tables_of(twins.theirs)
    assert tables_of(twins.ours) == before
    latest = {row: offset for row, _, offset in writes}
    doomed = {row for row, offset in latest.items() if offset is not None and offset < timedelta(0)}

    config = sk.StateStoreConfig(state_cleanup_batch_size=batch_size)
    with sk.connect(twins.ours, config=config) as store:
        shown, shown_bytes = shown_by(store, NOW)
    assert len(shown) == len(doomed)
    assert set(shown) == doomed == {tuple(row) for row in twins.airflow.dry_run()}

    twins.airflow.cleanup(batch_size=batch_size)
    with sk.connect(twins.ours, writable=True, config=config, clock=ManualClock(NOW)) as store:
        report = store.cleanup(dry_run=False)
        after = tables_of(twins.ours)
        assert after == tables_of(twins.theirs)
        went = gone(before, after)
        assert set(keys_of(went)) == doomed
        assert (report.deleted, report.deleted_bytes) == (len(doomed), octets(went)) == (len(shown), shown_bytes)
        assert report.batches == batches_of(doomed, batch_size)
        assert store.cleanup(dry_run=False).deleted == 0
    twins.airflow.cleanup(batch_size=batch_size)
    assert tables_of(twins.ours) == after == tables_of(twins.theirs)


# --- the real command, under a clock that runs -----------------------------------------------------------------


class Filled:
    """A database whose expiries all lie well off the present, and what makes copies of it."""

    def __init__(self, url: str, copy: Callable[[], str]) -> None:
        self.url, self.copy = url, copy


def shifted_fixture(path: Path) -> str:
    """The fixture, moved to the present: its README says which rows have expired an hour after its last write."""
    url = copied_sqlite(AIRFLOW_33, path)
    with closing(sqlite3.connect(path)) as connection, connection:
        (youngest,) = connection.execute("SELECT max(updated_at) FROM task_state_store").fetchone()
        shift = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1) - datetime.fromisoformat(youngest)
        dated = connection.execute(
            "SELECT expires_at, id FROM task_state_store WHERE expires_at IS NOT NULL"
        ).fetchall()
        connection.executemany(
            "UPDATE task_state_store SET expires_at = ? WHERE id = ?",
            [((datetime.fromisoformat(at) + shift).isoformat(" ", "microseconds"), row) for at, row in dated],
        )
    return url


def filled_by_airflow(url: str) -> None:
    present = datetime.now(UTC)
    offsets = [timedelta(days=-400), timedelta(hours=-1), None, timedelta(hours=1), timedelta(days=400)]
    with RealAirflow(url) as airflow:
        airflow.add_dag_run("etl", "it's")
        for number in range(45):
            offset = offsets[number % len(offsets)]
            expiry = None if offset is None else present + offset
            airflow.set(sk.TaskScope("etl", "it's", "t", number % 4 - 1), f"k{number}", '"ü"', expires_at=expiry)
        for number in range(3):
            scope = sk.AssetScope(asset_id=airflow.add_asset(f"a{number}", f"s3://{number}", active=number > 0))
            airflow.set(scope, "k", "1")


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=MIGRATED)])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    require("airflow")
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("filled")
        source = folder / "source.db"
        url = shifted_fixture(source)
        yield Filled(url, lambda: copied_sqlite(source, folder / f"{len(list(folder.iterdir()))}.db"))
    else:
        url = request.getfixturevalue("postgres_template")()
        filled_by_airflow(url)
        with postgres_copies(url) as copy:
            yield Filled(url, copy)


@pytest.mark.parametrize("batch_size", [0, pytest.param(1, marks=SLOW), 7, pytest.param(10_000, marks=SLOW)])
def test_the_command(
    filled: Filled, batch_size: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, ours, by_command = (filled.copy() for _ in range(3))
    before = tables_of(filled.url)
    assert before["asset_state_store"]

    done = airflow_cli(theirs, "state-store", "clean", env={BATCH_SIZE: str(batch_size)})
    assert done.returncode == 0, done.stderr[-2000:]
    after = tables_of(theirs)
    assert tables_of(filled.url) == before
    went = gone(before, after)
    assert 0 < len(went) < len(before["task_state_store"])

    with sk.connect(ours, writable=True, config=sk.StateStoreConfig(state_cleanup_batch_size=batch_size)) as store:
        shown, shown_bytes = shown_by(store)
        report = store.cleanup(dry_run=False)
    assert sorted(shown) == sorted(keys_of(went))
    assert (report.deleted, report.deleted_bytes) == (len(went), octets(went)) == (len(shown), shown_bytes)
    assert report.batches == batches_of(went, batch_size)
    assert tables_of(ours) == after

    monkeypatch.setenv(BATCH_SIZE, str(batch_size))
    assert main(["state-store", "clean", by_command]) == 0
    assert f"Deleted {len(went)} expired" in capsys.readouterr().out
    assert tables_of(by_command) == after

    # A second run, of either hand after the other, finds nothing.
    assert main(["state-store", "clean", theirs]) == 0
    assert "Deleted 0 expired" in capsys.readouterr().out
    assert tables_of(theirs) == after
