"""`Store.cleanup` and `restore`, on every database and layout: preview equals deed, drift is kept, undo undoes."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from backdoor import read_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from parts import LAYOUT_NAMES, Family, Sandboxes
from stores import TestedStore, open_store, text_rules_of

import storekit as sk
from storekit.clock import ManualClock
from storekit.errors import (
    ArchiveError,
    CleanupStoppedError,
    ConfigError,
    FutureInstantError,
    PlanError,
    QueryError,
    ReadOnlyError,
)
from storekit.metastore import transactions
from storekit.testing import StoredRow, strategies

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
SCOPE = sk.TaskScope("etl", "r", "t")
FAMILIES: list[Family] = ["memory", "sqlite", "postgres", "mysql"]
FEW = settings.default.max_examples // 8  # type: ignore[union-attr]

# Around the instant itself, and within what Airflow's TIMESTAMP on MySQL holds.
OFFSETS = st.one_of(
    st.none(),
    st.just(sk.NEVER_EXPIRE),
    st.sampled_from([-MICROSECOND, timedelta(0), MICROSECOND]),
    st.timedeltas(min_value=-90 * DAY, max_value=90 * DAY),
)


class Made:
    """A store of one kind, with a clock that the test moves."""

    def __init__(self, sandboxes: Sandboxes, family: Family, layout_name: str, folder: Path) -> None:
        self.clock = ManualClock(NOW)
        self.tested: TestedStore = open_store(sandboxes, family, layout_name, clock=self.clock)
        self.backend = self.tested.backend
        self.layout_name = layout_name
        self.folder = folder
        self.keys = strategies.keys(text_rules_of(family, layout_name))
        self.store = sk.connect(self.backend, writable=True)

    def fresh(self) -> None:
        with self.tested.engine.begin() as connection:
            for table in reversed(self.tested.layout.metadata.sorted_tables):
                connection.execute(table.delete())
        self.clock.set(NOW)
        self.tested.add_dag_run("etl", "r")

    def write(self, key: str, offset: Any, value: str = '"v"', scope: sk.TaskScope = SCOPE) -> None:
        expiry = self.clock.now() + offset if isinstance(offset, timedelta) else offset
        self.backend.set(scope, key, value, expires_at=expiry)

    def archive(self) -> Path:
        return self.folder / f"gone-{uuid.uuid4().hex}.parquet"

    def rows(self) -> list[StoredRow]:
        return sorted(read_rows(self.tested.engine, self.layout_name), key=repr)

    def keys_left(self) -> set[str]:
        return {row.key for row in self.rows() if row.store == "task"}


@pytest.fixture(params=[(f, name) for f in FAMILIES for name in LAYOUT_NAMES], ids=lambda pair: "-".join(pair))
def made(request: pytest.FixtureRequest, sandboxes: Sandboxes, tmp_path: Path) -> Iterator[Made]:
    made = Made(sandboxes, *request.param, tmp_path)
    made.fresh()
    yield made
    made.store.close()
    made.backend.close()


@pytest.fixture
def plain(sandboxes: Sandboxes, tmp_path: Path) -> Iterator[Made]:
    """A SQLite file in storekit's own layout, where what is tested is not the database."""
    made = Made(sandboxes, "sqlite", "storekit", tmp_path)
    made.fresh()
    yield made
    made.store.close()
    made.backend.close()


slowly = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=FEW, deadline=None)


# --- laws 1, 3, 4 and 11 ---------------------------------------------------------------------------------------


@slowly
@given(data=st.data(), batch_size=st.sampled_from([0, 1, 2, 5, 100]), archived=st.booleans(), planned=st.booleans())
def test_preview_equals_deed_and_restore_undoes_it(
    made: Made, data: st.DataObject, batch_size: int, archived: bool, planned: bool
) -> None:
    made.fresh()
    made.tested.add_asset("a", "s3://a")
    made.backend.set(sk.AssetScope(name="a"), "watermark", "1")
    for key, offset in data.draw(st.dictionaries(made.keys, OFFSETS, max_size=8)).items():
        made.write(key, offset, data.draw(strategies.json_texts()))
    before = made.rows()
    snapshot = made.store.snapshot()
    preview = snapshot.preview()
    shown = set(preview.rows()["key"])
    plan = snapshot.plan() if planned else None

    looked = made.store.cleanup(plan, batch_size=batch_size)
    assert (looked.to_delete, looked.to_delete_bytes) == (preview.deleted, preview.deleted_bytes)
    assert looked.deleted == 0
    assert made.rows() == before

    archive = made.archive() if archived else None
    report = made.store.cleanup(plan, batch_size=batch_size, archive=archive, dry_run=False)
    assert (report.deleted, report.deleted_bytes) == (preview.deleted, preview.deleted_bytes)
    assert report.planned == (preview.deleted if planned else None)
    assert dict(report.drifted) == {}
    left = made.rows()
    assert {row.key for row in before if row not in left} == shown
    assert [row for row in before if row in left] == left
    again = made.store.cleanup(batch_size=batch_size, dry_run=False)
    assert (again.deleted, made.rows()) == (0, left)

    if archive is None:
        return
    assert (report.archive is not None) == bool(shown) == archive.exists()
    if shown:
        assert sk.restore(archive, made.store).restored == len(shown)
        assert made.rows() == left
        restored = sk.restore(archive, made.store, dry_run=False)
        assert (restored.restored, restored.present, restored.conflicts, restored.orphans) == (len(shown), 0, 0, 0)
        assert made.rows() == before
        assert sk.restore(archive, made.store, dry_run=False).present == len(shown)
        assert made.rows() == before


# --- drift -----------------------------------------------------------------------------------------------------

CHANGES = {
    "deleted": "gone",
    "to later": "refreshed",
    "to earlier": "refreshed",
    "to never": "refreshed",
    "same expiry": "refreshed",
    "untouched": None,
}


@slowly
@given(changes=st.lists(st.sampled_from(sorted(CHANGES)), max_size=8), batch_size=st.sampled_from([0, 1, 3, 400]))
def test_what_changed_since_the_plan_is_kept_and_told(made: Made, changes: list[str], batch_size: int) -> None:
    made.fresh()
    for number in range(len(changes)):
        made.write(f"k{number}", -DAY)
    made.write("not planned", timedelta(0))
    plan = made.store.snapshot().plan()
    assert len(plan) == len(changes)

    made.clock.advance(timedelta(seconds=1))  # now "not planned" has expired as well
    for number, change in enumerate(changes):
        key = f"k{number}"
        if change == "deleted":
            made.backend.delete(SCOPE, key)
        elif change != "untouched":
            new = {"to later": DAY, "to earlier": -DAY, "to never": sk.NEVER_EXPIRE}
            made.write(key, new.get(change, -DAY - timedelta(seconds=1)), '"new"')
    before = made.rows()
    expected = [kind for change in changes if (kind := CHANGES[change]) is not None]

    looked = made.store.cleanup(plan, batch_size=batch_size)
    report = made.store.cleanup(plan, batch_size=batch_size, archive=made.archive(), dry_run=False)
    for each in (looked, report):
        assert each.to_delete == changes.count("untouched")
        assert dict(each.drifted) == {kind: expected.count(kind) for kind in set(expected)}
        assert list(each.drift["drift"]) == expected
    untouched = {f"k{number}" for number, change in enumerate(changes) if change == "untouched"}
    assert made.rows() == [row for row in before if row.key not in untouched]


def test_drift_says_what_the_row_is_now(made: Made) -> None:
    made.write("k", -DAY)
    made.write("lost", -2 * DAY)
    plan = made.store.snapshot().plan()
    made.clock.advance(timedelta(seconds=5))
    made.write("k", DAY, '"longer"')
    made.backend.delete(SCOPE, "lost")
    drift = made.store.cleanup(plan, dry_run=False).drift.set_index("key")
    assert drift.loc["k", "updated_at"] == made.clock.now()
    assert drift.loc["k", "planned_updated_at"] == NOW
    assert drift.loc["k", "expires_at"] == made.clock.now() + DAY
    assert drift.loc["k", "value_bytes"] == 8
    assert drift.loc["lost", ["updated_at", "expires_at", "value_bytes"]].isna().all()


def test_a_plan_that_looks_ahead_deletes_what_has_expired_by_now(made: Made) -> None:
    made.write("now", -MICROSECOND)
    made.write("tonight", timedelta(hours=8))
    plan = made.store.snapshot().plan(now=NOW + DAY)
    assert len(plan) == 2
    report = made.store.cleanup(plan, dry_run=False)
    assert (report.deleted, dict(report.drifted)) == (1, {"not-yet-expired": 1})
    assert made.keys_left() == {"tonight"}
    made.clock.advance(DAY)
    assert made.store.cleanup(plan, dry_run=False).deleted == 1


# --- restore ---------------------------------------------------------------------------------------------------


def test_restore_never_overwrites_and_tells_conflicts_and_orphans(made: Made) -> None:
    made.tested.add_dag_run("etl", "lost")
    for key in ("a", "b", "c"):
        made.write(key, -DAY, f'"{key}"')
    made.write("d", -DAY, scope=sk.TaskScope("etl", "lost", "t"))
    archive = made.archive()
    assert made.store.cleanup(archive=archive, dry_run=False).deleted == 4
    made.clock.advance(timedelta(seconds=1))
    made.write("b", DAY, '"newer"')
    made.tested.delete_dag_run("etl", "lost")
    dry = sk.restore(archive, made.store)
    report = sk.restore(archive, made.store, dry_run=False)
    for each in (dry, report):
        assert (each.archived, each.restored, each.present, each.conflicts, each.orphans) == (4, 2, 0, 1, 1)
        assert list(each.conflict_rows["key"]) == ["b"]
        assert each.conflict_rows["updated_at"][0] == made.clock.now()
        assert list(each.orphan_rows["run_id"]) == ["lost"]
    assert made.backend.get(SCOPE, "b") == '"newer"'
    assert made.backend.get(SCOPE, "a") == '"a"'
    again = sk.restore(archive, made.store, dry_run=False)
    assert (again.restored, again.present, again.conflicts, again.orphans) == (0, 2, 1, 1)


def test_what_airflow_33_archived_goes_into_34_and_a_region_does_not_go_back(
    sandboxes: Sandboxes, tmp_path: Path
) -> None:
    older = Made(sandboxes, "sqlite", "airflow-3.3", tmp_path)
    older.fresh()
    older.write("k", -DAY)
    archive = older.archive()
    older.store.cleanup(archive=archive, dry_run=False)
    older.backend.close()

    newer = Made(sandboxes, "sqlite", "airflow-3.4", tmp_path)
    newer.fresh()
    report = sk.restore(archive, newer.store, dry_run=False)
    assert (report.restored, newer.backend.get(SCOPE, "k")) == (1, '"v"')
    assert sk.restore(archive, newer.store, dry_run=False).present == 1
    with newer.tested.engine.begin() as connection:
        connection.execute(sa.text("UPDATE task_state_store SET region_id = '11111111111111111111111111111111'"))
    regional = newer.archive()
    newer.store.cleanup(archive=regional, dry_run=False)
    newer.backend.close()

    older = Made(sandboxes, "sqlite", "airflow-3.3", tmp_path)
    older.fresh()
    for dry_run in (True, False):
        with pytest.raises(sk.StorekitError, match="region 11111111-1111"):
            sk.restore(regional, older.store, dry_run=dry_run)
    older.backend.close()


# --- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["memory", "sqlite"])
def test_a_read_only_store_may_look_but_not_delete_or_restore(
    family: Family, sandboxes: Sandboxes, tmp_path: Path
) -> None:
    plain = Made(sandboxes, family, "storekit", tmp_path)
    plain.fresh()
    plain.write("k", -DAY)
    archive = plain.archive()
    with sk.connect(plain.backend) as store:
        assert store.cleanup().to_delete == 1
        with pytest.raises(ReadOnlyError, match="writable=True"):
            store.cleanup(dry_run=False, archive=archive)
        assert not archive.exists()
        plain.store.cleanup(dry_run=False, archive=archive)
        assert sk.restore(archive, store).restored == 1
        with pytest.raises(ReadOnlyError, match="writable=True"):
            sk.restore(archive, store, dry_run=False)
    assert plain.keys_left() == set()
    plain.backend.close()


def test_a_plan_of_another_database_or_layout_is_refused(plain: Made, sandboxes: Sandboxes, tmp_path: Path) -> None:
    plain.write("k", -DAY)
    plan = plain.store.snapshot().plan()
    copied = tmp_path / "copied.db"
    shutil.copy(str(sandboxes.get("sqlite").url).removeprefix("sqlite:///"), copied)
    with sk.connect(copied, writable=True, clock=plain.clock) as other:
        for dry_run in (True, False):
            with pytest.raises(PlanError, match=r"the plan is for .* and this is .*copied\.db"):
                other.cleanup(plan, dry_run=dry_run)
        assert other.counts()["tasks"] == 1
    plain.backend.close()
    migrated = Made(sandboxes, "sqlite", "airflow-3.3", tmp_path)
    with pytest.raises(PlanError, match=r"layout storekit, and .* has airflow-3\.3 now"):
        migrated.store.cleanup(plan)
    migrated.backend.close()


def test_a_plan_that_was_edited_is_refused_before_anything_is_deleted(plain: Made, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for key in ("a", "b"):
        plain.write(key, -DAY)
    path = plain.store.snapshot().plan().save(tmp_path / "plan.parquet")
    plan = sk.open_plan(path)
    table = pq.read_table(path)
    longer = pa.array([row.replace("a", "x") for row in table["key"].to_pylist()])
    edited = table.set_column(table.schema.get_field_index("key"), table.schema.field("key"), longer)
    pq.write_table(edited, path)
    with pytest.raises(PlanError, match=r"changed|re-written"):
        plain.store.cleanup(plan, dry_run=False)
    with pytest.raises(PlanError, match=r"changed|re-written"):
        sk.open_plan(path)
    assert plain.keys_left() == {"a", "b"}


@pytest.mark.parametrize("what", ["file", "folder", "dangling link", "no parent", "not a folder"])
def test_an_archive_that_cannot_be_made_is_refused_before_anything_is_deleted(plain: Made, what: str) -> None:
    plain.write("k", -DAY)
    target = plain.folder / "gone"
    if what == "file":
        target.write_text("mine")
    elif what == "folder":
        target.mkdir()
    elif what == "dangling link":
        target.symlink_to(plain.folder / "nowhere")
    elif what == "no parent":
        target = plain.folder / "none" / "gone"
    else:
        (plain.folder / "a file").write_text("mine")
        target = plain.folder / "a file" / "gone"
    with pytest.raises(ArchiveError):
        plain.store.cleanup(archive=target, dry_run=False)
    assert plain.keys_left() == {"k"}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"now": NOW + MICROSECOND}, FutureInstantError),
        ({"now": "2026-11-22T12:00:00"}, QueryError),
        ({"now": "tomorrow"}, QueryError),
        ({"batch_size": -1}, QueryError),
        ({"batch_size": True}, QueryError),
        ({"batch_size": 2.5}, QueryError),
        ({"plan": "plan.parquet"}, QueryError),
        ({"batch_size": 10**30}, QueryError),
        ({"archive": 5}, QueryError),
        ({"archive": ""}, QueryError),
        ({"progress": 3}, QueryError),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(plain: Made, given: dict[str, Any], error: type[Exception]) -> None:
    plain.write("k", -DAY)
    with pytest.raises(error):
        plain.store.cleanup(dry_run=False, **given)
    assert plain.keys_left() == {"k"}


def test_a_disk_that_fills_up_loses_nothing(plain: Made) -> None:
    """What is not safely archived is not deleted; what the batches before archived and deleted can be restored."""
    disk = plain.folder / "disk"
    disk.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(small, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here; run as root where mount is allowed")
    try:
        noise = [uuid.uuid4().hex * 500 for _ in range(40)]  # does not compress
        for number, text in enumerate(noise):
            plain.write(f"k{number:02}", -DAY, f'"{text[:8]}{uuid.uuid4().hex}{_random_text(12_000)}"')
        before = plain.rows()
        with pytest.raises(CleanupStoppedError, match=r"(?i)space|full") as caught:
            plain.store.cleanup(archive=disk / "gone", batch_size=4, dry_run=False)
        report = caught.value.report
        left = plain.rows()
        assert 0 < report.deleted < 40
        assert len(before) - len(left) == report.deleted
        assert all(row in before for row in left)
        assert sk.restore(disk / "gone", plain.store, dry_run=False).restored == report.deleted
        assert plain.rows() == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _random_text(size: int) -> str:
    import base64
    import os

    return base64.b64encode(os.urandom(size)).decode()


# --- what may pass, and what does not --------------------------------------------------------------------------


def _file_of(made: Made) -> str:
    return str(made.tested.engine.url.database).removeprefix("file:").partition("?")[0]


def test_a_lock_that_passes_is_waited_for_and_one_that_does_not_is_told(
    plain: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        plain.write(f"k{number}", -DAY)
    url = f"sqlite:///{_file_of(plain)}?timeout=0.05"
    monkeypatch.setattr(transactions, "PAUSES", (0.05, 0.05))
    holder = sqlite3.connect(_file_of(plain), isolation_level=None, check_same_thread=False)
    with sk.connect(url, writable=True, clock=plain.clock) as store:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(CleanupStoppedError, match=r"locked by another writer.*nothing is deleted") as caught:
            store.cleanup(dry_run=False)
        assert caught.value.report.deleted == 0
        monkeypatch.setattr(transactions, "PAUSES", (0.05,) * 100)
        release = threading.Timer(0.5, holder.execute, ["COMMIT"])
        release.start()
        assert store.cleanup(dry_run=False).deleted == 6
        release.join()
    holder.close()


@pytest.mark.parametrize("family", ["postgres", "mysql"])
def test_a_connection_that_drops_is_made_again(
    sandboxes: Sandboxes, family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(sandboxes, family, "storekit", tmp_path)
    made.fresh()
    for number in range(9):
        made.write(f"k{number}", -DAY)
    monkeypatch.setattr(transactions, "PAUSES", (0.01, 0.01))
    dropped: list[int] = []
    end = {"postgres": "SELECT pg_terminate_backend(:session)", "mysql": "KILL :session"}[family]
    own = {"postgres": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}[family]

    def drop(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if "DELETE" in statement and len(dropped) < 2:
            dropped.append(connection.exec_driver_sql(own).scalar_one())
            with made.tested.engine.connect() as other:
                other.execute(sa.text(end), {"session": dropped[-1]})

    sa.event.listen(made.store._database.engine, "before_cursor_execute", drop)
    report = made.store.cleanup(batch_size=3, archive=made.archive(), dry_run=False)
    assert len(dropped) == 2
    assert (report.deleted, report.stopped) == (9, None)
    assert sk.restore(str(report.archive), made.store, dry_run=False).restored == 9
    made.store.close()
    made.backend.close()


def test_a_lock_timeout_on_postgresql_is_tried_again(
    sandboxes: Sandboxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(sandboxes, "postgres", "airflow-3.3", tmp_path)
    made.fresh()
    made.write("k", -DAY)
    monkeypatch.setattr(transactions, "_POSTGRES_LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'")
    monkeypatch.setattr(transactions, "PAUSES", (0.05,) * 100)
    with made.tested.engine.connect() as holder:
        holder.execute(sa.text("SELECT id FROM task_state_store FOR UPDATE"))
        release = threading.Timer(0.5, holder.rollback)
        release.start()
        assert made.store.cleanup(dry_run=False).deleted == 1
        release.join()
    made.store.close()
    made.backend.close()


def test_a_failure_midway_leaves_a_report_and_an_archive_of_what_went(plain: Made) -> None:
    for number in range(10):
        plain.write(f"k{number}", -DAY)
    before = plain.rows()
    with plain.tested.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER held BEFORE DELETE ON task_store WHEN old.key = 'k7' BEGIN SELECT RAISE(ABORT, 'held'); END"
        )
    archive = plain.archive()
    try:
        with pytest.raises(CleanupStoppedError, match="6 rows of earlier batches are deleted, and archived") as caught:
            plain.store.cleanup(batch_size=3, archive=archive, dry_run=False)
        assert (caught.value.deleted, caught.value.report.batches) == (6, 2)
        assert "held" in str(caught.value.report.stopped)
        assert plain.keys_left() == {"k6", "k7", "k8", "k9"}
        held = sk.open_archive(archive)
        assert (held.complete, held.rows) == (True, 6)
        sk.restore(archive, plain.store, dry_run=False)
        assert plain.rows() == before
    finally:
        with plain.tested.engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER held")


def test_a_commit_that_fails_leaves_nothing_in_the_archive(plain: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a journal without WAL a reader keeps a writer from committing, after its part was sealed."""
    for number in range(6):
        plain.write(f"k{number}", -DAY)
    before = plain.rows()
    url = f"sqlite:///{_file_of(plain)}?timeout=0.05"
    archive = plain.archive()
    monkeypatch.setattr(transactions, "PAUSES", (0.05, 0.05))
    reader = sqlite3.connect(_file_of(plain), isolation_level=None, check_same_thread=False)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM task_store").fetchone()
    with sk.connect(url, writable=True, clock=plain.clock) as store:
        with pytest.raises(CleanupStoppedError, match="nothing is deleted"):
            store.cleanup(archive=archive, dry_run=False)
        assert not archive.exists()
        monkeypatch.setattr(transactions, "PAUSES", (0.05,) * 100)
        release = threading.Timer(0.5, reader.execute, ["COMMIT"])
        release.start()
        report = store.cleanup(archive=archive, dry_run=False)
        release.join()
        assert (report.deleted, sk.open_archive(archive).rows) == (6, 6)
        assert sk.restore(archive, store, dry_run=False).restored == 6
    reader.close()
    assert plain.rows() == before


@pytest.mark.parametrize("planned", [False, True])
def test_many_large_values_are_archived_in_small_parts_of_a_batch(
    plain: Made, planned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storekit.metastore import cleanup

    for number in range(12):
        plain.write(f"k{number:02}", -DAY, '"' + "x" * (1_000 if number % 3 else 9_000) + '"')
    before = plain.rows()
    monkeypatch.setattr(cleanup, "CHUNK_BYTES", 5_000)
    plan = plain.store.snapshot().plan() if planned else None
    archive = plain.archive()
    assert plain.store.cleanup(plan, archive=archive, batch_size=10, dry_run=False).batches == 2
    assert sk.restore(archive, plain.store, dry_run=False).restored == 12
    assert plain.rows() == before


def test_a_value_that_is_no_text_stops_an_archive_without_being_quoted(plain: Made) -> None:
    plain.write("secret", -DAY)
    with plain.tested.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE task_store SET value = CAST(X'22fffe736563726574' AS TEXT)")
    archive = plain.archive()
    with pytest.raises(CleanupStoppedError, match="not UTF-8") as caught:
        plain.store.cleanup(archive=archive, dry_run=False)
    assert "secret" not in str(caught.value)
    assert not archive.exists()
    assert plain.store.cleanup(dry_run=False).deleted == 1


def test_a_planned_row_that_became_odd_is_drift(sandboxes: Sandboxes, tmp_path: Path) -> None:
    odd = {"sqlite": "'2026-11-21T12:00:00.000000'", "postgres": "'infinity'"}
    for family, spelled in odd.items():
        made = Made(sandboxes, family, "airflow-3.3", tmp_path)  # type: ignore[arg-type]
        made.fresh()
        made.write("odd", -DAY)
        made.write("plain", -DAY)
        plan = made.store.snapshot().plan()
        with made.tested.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE task_state_store SET expires_at = {spelled} WHERE key = 'odd'")  # noqa: S608
        for dry_run in (True, False):
            report = made.store.cleanup(plan, dry_run=dry_run)
            assert (report.to_delete, dict(report.drifted)) == (1, {"refreshed": 1})
        assert made.keys_left() == {"odd"} if family == "sqlite" else True
        made.store.close()
        made.backend.close()


def test_one_task_with_many_keys_is_not_walked_once_per_key(plain: Made) -> None:
    """Counted in steps of SQLite's machine, not in seconds."""
    steps: list[int] = []
    for count in (1_000, 2_000):
        plain.fresh()
        table = plain.tested.layout.task_store
        with plain.tested.engine.begin() as connection:
            run = connection.scalar(sa.select(plain.tested.layout.dag_run.c.id))
            row = {"dag_run_id": run, "dag_id": "etl", "run_id": "r", "task_id": "t", "map_index": -1, "value": "1"}
            at = {"updated_at": NOW, "expires_at": NOW - DAY, "never_expire": False}
            connection.execute(table.insert(), [{**row, **at, "key": f"k{number:05}"} for number in range(count)])
        plan = plain.store.snapshot().plan()
        walked = [0]

        def count_steps(connection: Any, _record: object, walked: list[int] = walked) -> None:
            def step() -> int:
                walked[0] += 1
                return 0

            connection.set_progress_handler(step, 1_000)

        engine = plain.store._database.engine
        sa.event.listen(engine, "connect", count_steps)
        engine.dispose()
        assert plain.store.cleanup(plan, dry_run=False).deleted == count
        sa.event.remove(engine, "connect", count_steps)
        engine.dispose()
        steps.append(walked[0])
    # Walked once per key, 2,000 keys are some 40,000 steps of a thousand instructions.
    assert steps[1] < 3_000


def test_restore_on_mysql_tells_what_it_did_not_insert(
    sandboxes: Sandboxes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key written between the look and the INSERT, and one that differs by a trailing space, which Airflow's column
    does not tell."""
    from storekit.metastore import restoring

    made = Made(sandboxes, "mysql", "airflow-3.3", tmp_path)
    made.fresh()
    for key in ("a", "b", "padded "):
        made.write(key, -DAY)
    archive = made.archive()
    made.store.cleanup(archive=archive, dry_run=False)
    made.write("padded", DAY, '"live"')
    insert = restoring._insert_missing

    def late(*arguments: Any) -> Any:
        writer = sk.MetastoreStateBackend(sandboxes.get("mysql").url, clock=made.clock)
        writer.set(SCOPE, "b", '"live"', expires_at=None)
        writer.close()
        return insert(*arguments)

    monkeypatch.setattr(restoring, "_insert_missing", late)
    report = sk.restore(archive, made.store, dry_run=False)
    assert (report.restored, report.present, report.conflicts) == (1, 0, 2)
    assert made.backend.get(SCOPE, "padded") == made.backend.get(SCOPE, "b") == '"live"'
    made.store.close()
    made.backend.close()


# --- progress and interruption ---------------------------------------------------------------------------------


@pytest.mark.parametrize("planned", [False, True])
def test_progress_tells_rows_done_of_rows_in_all(plain: Made, planned: bool) -> None:
    for number in range(7):
        plain.write(f"k{number}", -DAY)
    plan = plain.store.snapshot().plan() if planned else None
    plain.backend.delete(SCOPE, "k3")
    told: list[tuple[int, int]] = []
    plain.store.cleanup(plan, batch_size=2, dry_run=False, progress=lambda *each: told.append(each))
    assert told[-1] == ((7, 7) if planned else (6, 6))
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError])
def test_what_a_progress_callback_raises_ends_it_between_two_batches(plain: Made, raised: type[BaseException]) -> None:
    for number in range(6):
        plain.write(f"k{number}", -DAY)
    archive = plain.archive()

    def stop(done: int, _total: int) -> None:
        if done == 4:
            raise raised

    def run() -> sk.CleanupReport:
        return plain.store.cleanup(batch_size=2, archive=archive, dry_run=False, progress=stop)

    if raised is KeyboardInterrupt:
        report = run()
        assert (report.deleted, report.batches) == (4, 2)
        assert "interrupted" in str(report.stopped)
    else:
        with pytest.raises(RuntimeError) as raising:
            run()
        assert "4 rows are deleted by then" in raising.value.__notes__[0]
    assert plain.keys_left() == {"k4", "k5"}
    assert sk.open_archive(archive).complete
    assert sk.restore(archive, plain.store, dry_run=False).restored == 4


# --- the other rules of the seed -------------------------------------------------------------------------------


class OwnBackend(sk.BaseStoreBackend):
    """A custom backend that counts."""

    cleaned = 0

    def get(self, scope: Any, key: Any, *, session: Any = None) -> Any: ...
    def set(self, scope: Any, key: Any, value: Any, *, expires_at: Any = None, session: Any = None) -> None: ...
    def delete(self, scope: Any, key: Any, *, session: Any = None) -> None: ...
    def clear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None: ...
    async def aget(self, scope: Any, key: Any, *, session: Any = None) -> Any: ...
    async def aset(self, scope: Any, key: Any, value: Any, *, expires_at: Any = None, session: Any = None) -> None: ...
    async def adelete(self, scope: Any, key: Any, *, session: Any = None) -> None: ...
    async def aclear(self, scope: Any, *, all_map_indices: bool = False, session: Any = None) -> None: ...

    def cleanup(self) -> int:
        type(self).cleaned += 1
        return 5


def test_a_custom_backend_is_skipped_by_name_or_called_if_asked(plain: Made) -> None:
    plain.write("k", -DAY)
    path = f"{__name__}.OwnBackend"
    config = sk.StateStoreConfig(backend=path)
    with sk.connect(plain.backend, writable=True, config=config) as store:
        report = store.cleanup(dry_run=False)
        assert (report.skipped, report.deleted) == (path, 0)
        assert path in repr(report)
        assert store.cleanup(call_backend=True).skipped == path  # a dry run calls nothing
        assert OwnBackend.cleaned == 0
        for given in ({"archive": plain.archive()}, {"batch_size": 3}, {"now": NOW}):
            with pytest.raises(QueryError, match="takes no plan"):
                store.cleanup(dry_run=False, call_backend=True, **given)
        called = store.cleanup(dry_run=False, call_backend=True)
        assert (called.called, called.deleted, OwnBackend.cleaned) == (path, 5, 1)
    assert plain.keys_left() == {"k"}
    broken = sk.StateStoreConfig(backend="no.such.Backend")
    with (
        sk.connect(plain.backend, writable=True, config=broken) as store,
        pytest.raises(ConfigError, match=r"no\.such"),
    ):
        store.cleanup(dry_run=False, call_backend=True)


def test_the_configured_batch_size_is_honoured(plain: Made) -> None:
    for number in range(7):
        plain.write(f"k{number}", -DAY)
    config = sk.StateStoreConfig(state_cleanup_batch_size=3)
    with sk.connect(plain.backend, writable=True, config=config) as store:
        assert store.cleanup(dry_run=False).batches == 3


def test_a_worker_that_wrote_expired_rows_into_the_batch_is_not_lost(sandboxes: Sandboxes, tmp_path: Path) -> None:
    """Rows that appear between the lock and the DELETE are archived too, or not deleted: the batch is done again."""
    made = Made(sandboxes, "postgres", "storekit", tmp_path)
    made.fresh()
    for key in ("a", "b", "c"):
        made.write(key, -DAY)
    made.write("between", DAY)
    made.write("z", -DAY)
    before_ids = made.rows()
    expired_since: list[str] = []

    def expire(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE") and not expired_since:
            expired_since.append("between")
            thread = threading.Thread(target=made.write, args=("between", -DAY))
            thread.start()
            thread.join()

    sa.event.listen(made.store._database.engine, "before_cursor_execute", expire)
    archive = made.archive()
    report = made.store.cleanup(archive=archive, dry_run=False)
    assert expired_since
    assert report.deleted == 5
    assert sk.restore(archive, made.store, dry_run=False).restored == 5
    assert len(made.rows()) == len(before_ids)
    made.store.close()
    made.backend.close()
