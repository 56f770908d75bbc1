"""A cleanup that is killed at any instant, or interrupted: nothing alive dies, and the archive loses nothing.

Each cleanup runs in a process of its own, which gets SIGKILL at a random instant of it. The tables are read past
storekit, the archives as any reader of Parquet reads them.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from backdoor import read_rows
from killed import Cleaner, Ended
from parts import Family, Sandbox, Sandboxes
from profiles import ON_CI, on_ci_only

import storekit as sk
from storekit.clock import ManualClock
from storekit.errors import ArchiveError
from storekit.testing import StoredRow

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="killing takes a fork, which this system lacks")

KILLS = 28 if ON_CI else 6
"""On each database."""
EXPIRED, ALIVE = 2_000, 200
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAYOUT = "storekit"
BATCH_SIZES = (0, 40, 400)

Rows = Counter[StoredRow]
"""A table's rows, however they are ordered; more than once each would be an error of its own."""


@dataclass
class Scene:
    """A database full of rows, what they are, and what cleans it."""

    family: Family
    sandbox: Sandbox
    cleaner: Cleaner
    folder: Path
    original: Rows

    @property
    def alive(self) -> Rows:
        """The rows that no cleanup may touch; the rule is written out, not asked of what is tested."""
        return Counter(
            row
            for row in self.original
            if row.store == "asset" or row.never_expire or row.expires_at is None or row.expires_at >= NOW
        )

    def rows(self) -> Rows:
        """Return what is in the tables once no other connection is left."""
        if self.family == "postgres":
            # The server finds out that a client was killed a moment later, and may be about to commit what it sent.
            others = sa.text(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            deadline = time.monotonic() + 60
            with self.sandbox.engine.connect() as connection:
                while connection.scalar(others):
                    assert time.monotonic() < deadline, "the server keeps a connection of a killed process"
                    connection.rollback()
                    time.sleep(0.005)
        return Counter(read_rows(self.sandbox.engine, LAYOUT))

    def clean_up(self, archive: Path, **how: Any) -> sk.CleanupReport:
        """Clean to the end, in this process."""
        with sk.connect(self.sandbox.url, writable=True, clock=ManualClock(NOW)) as store:
            return store.cleanup(archive=archive, dry_run=False, **how)

    def restore(self, archives: Sequence[Path]) -> None:
        with sk.connect(self.sandbox.url, writable=True) as store:
            for archive in archives:
                report = sk.restore(archive, store, dry_run=False)
                assert report.conflicts == report.orphans == 0


def _fill(sandbox: Sandbox, expired: int, alive: int) -> None:
    chance = random.Random(7)  # noqa: S311 - a run that can be repeated
    layout = sandbox.hold(LAYOUT)
    texts = ["", '"quoted"', "é😀", "line\nbreak", "x" * 300, "'; --", "{}", "null"]
    with sandbox.engine.begin() as connection:
        runs = [
            connection.execute(layout.dag_run.insert().values(dag_id="etl", run_id=f"r{n}")).inserted_primary_key[0]
            for n in range(3)
        ]
        rows = []
        for number in range(expired + alive):
            run = number % len(runs)
            expires_at, flag = NOW - timedelta(microseconds=1 + chance.randrange(10**12)), False
            if number % ((expired + alive) // alive) == 0:
                # Alive, in between the others: no expiry, flagged, later, and on the very instant.
                expires_at = chance.choice([None, NOW + timedelta(days=1), NOW])
                flag = expires_at is None and chance.random() < 0.5
            rows.append(
                {
                    "dag_run_id": runs[run],
                    "dag_id": "etl",
                    "run_id": f"r{run}",
                    "task_id": f"t{number % 7}",
                    "map_index": number % 5 - 1,
                    "key": f"k{number}",
                    "value": chance.choice(texts) + f"{number}",
                    "updated_at": NOW - timedelta(days=40, microseconds=number),
                    "expires_at": expires_at,
                    "never_expire": flag,
                }
            )
        connection.execute(layout.task_store.insert(), rows)
        asset = connection.execute(layout.asset.insert().values(name="a", uri="s3://a")).inserted_primary_key[0]
        connection.execute(
            layout.asset_store.insert().values(asset_id=asset, key="k", value="1", updated_at=NOW - timedelta(days=400))
        )


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled(
    request: pytest.FixtureRequest, sandboxes: Sandboxes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    sandbox, folder = sandboxes.get(request.param), tmp_path_factory.mktemp("killed")
    with Cleaner(sandbox.url, folder / "cleaner.log") as cleaner:
        yield Scene(request.param, sandbox, cleaner, folder, Counter())


@pytest.fixture
def scene(filled: Scene, tmp_path: Path) -> Scene:
    filled.folder = tmp_path
    # Most tests leave the rows as they found them.
    if filled.original.total() != EXPIRED + ALIVE + 1 or filled.rows() != filled.original:
        _fill(filled.sandbox, EXPIRED, ALIVE)
        filled.original = filled.rows()
    assert filled.original.total() == len(filled.original) == EXPIRED + ALIVE + 1
    assert len(filled.alive) == ALIVE + 1
    return filled


def read_archive(folder: Path) -> Rows:
    """Return an archive's rows, read as any reader of Parquet reads the folder, and check that it opens.

    One that was killed before its first part was whole has nothing to open.
    """
    if not any(folder.glob("part-*.parquet")):
        if not (folder / "_archive.json").exists():
            with pytest.raises(ArchiveError, match="neither parts nor"):
                sk.open_archive(folder)
        return Counter()
    opened = sk.open_archive(folder)
    assert opened.complete == (folder / "_archive.json").exists()
    table = pq.read_table(folder)
    assert opened.batches().read_all().equals(table)
    return Counter(
        StoredRow(
            "task",
            (row["dag_id"], row["run_id"], row["task_id"], row["map_index"]),
            row["key"],
            row["value"],
            updated_at=row["updated_at"],
            expires_at=row["expires_at"],
            never_expire=row["never_expire"],
        )
        for row in table.to_pylist()
    )


def check_nothing_is_lost(scene: Scene, rows: Rows, archives: Sequence[Rows]) -> None:
    """Hold the table and what is archived against what there was."""
    archived = Counter[StoredRow]()
    for each in archives:
        archived |= each
    assert not rows - scene.original, "nothing is in the table that was not, or more than once"
    assert not scene.alive - rows, "nothing that is alive is gone"
    assert not archived - (scene.original - scene.alive), "only what had expired is archived, as it was"
    assert not scene.original - (rows | archived), "what is not in the table is in an archive"


# --- killed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "filled", ["sqlite", pytest.param("postgres", marks=on_ci_only("there it is killed at every step"))], indirect=True
)
def test_killed_at_any_instant_a_cleanup_loses_nothing(scene: Scene) -> None:
    chance = random.Random(20261122)  # noqa: S311 - a run that can be repeated
    plan = scene.folder / "cleanup.plan"
    with sk.connect(scene.sandbox.url) as store:
        store.snapshot().plan(NOW).save(plan)
    ways = [{"batch_size": size, "plan": given} for size in BATCH_SIZES for given in (None, plan)]
    # How long each takes when nobody kills it.
    lasting = []
    for number, way in enumerate(ways):
        archive = scene.folder / f"measured-{number}"
        ended = scene.cleaner.run(now=NOW, archive=archive, **way)
        assert ended.finished
        assert scene.rows() == scene.alive
        lasting.append(ended.over - ended.began)
        scene.restore([archive])
        assert scene.rows() == scene.original

    amid = between = complete = 0
    for number in range(KILLS):
        which = number % len(ways)
        delay = chance.uniform(0, lasting[which])
        archive = scene.folder / f"killed-{number}"
        ended = scene.cleaner.run(now=NOW, archive=archive, kill_after=delay, **ways[which])
        assert ended.signalled == signal.SIGKILL or ended.finished, ended
        assert ended.error is None
        left = check_and_heal(scene, archive)
        amid += not ended.finished
        between += scene.alive < left < scene.original
        complete += (archive / "_archive.json").exists()
        if ended.finished:
            lasting[which] = ended.over - ended.began  # it has become quicker
    print(f"{scene.family}: {KILLS} kills, {amid} amid, {between} with a part deleted, {complete} after the last batch")  # noqa: T201
    assert amid >= KILLS // 2, "most of the kills came too late to prove anything"


@pytest.mark.parametrize("batch_size", [0, pytest.param(20, marks=on_ci_only("a process is killed at every step"))])
@pytest.mark.parametrize("planned", [False, True], ids=["all", "planned"])
def test_killed_at_every_step_a_cleanup_loses_nothing(scene: Scene, batch_size: int, planned: bool) -> None:
    """Between any two things that a cleanup does to the database or to the disk: chance need not hit them."""
    _fill(scene.sandbox, 60, 12)
    scene.original = scene.rows()
    plan = _plan(scene) if planned else None
    between = 0
    for step in count(1):
        archive = scene.folder / f"killed-{step}"
        ended = scene.cleaner.run(now=NOW, batch_size=batch_size, archive=archive, plan=plan, kill_at_step=step)
        left = check_and_heal(scene, archive)
        if ended.signalled != signal.SIGKILL:
            break  # it has no more steps
        between += scene.alive < left < scene.original
    assert ended.finished
    assert left == scene.alive
    print(f"{scene.family}: killed at each of {step - 1} steps, {between} with a part deleted")  # noqa: T201
    assert step > 10
    assert (between > 0) == (batch_size > 0)


def check_and_heal(scene: Scene, archive: Path) -> Rows:
    """Look for losses after a kill, clean the rest, restore it all, and return the rows that the kill had left."""
    left = scene.rows()
    held = read_archive(archive) if archive.exists() else Counter[StoredRow]()
    check_nothing_is_lost(scene, left, [held])

    after = archive.with_name(f"{archive.name}-next")
    report = scene.clean_up(after)
    assert report.stopped is None
    assert report.deleted == left.total() - scene.alive.total()
    rest = read_archive(after) if report.deleted else Counter[StoredRow]()
    assert rest == left - scene.alive
    assert scene.rows() == scene.alive
    scene.restore([folder for folder, rows in ((archive, held), (after, rest)) if rows])
    assert scene.rows() == scene.original, "archive and restore are an identity"
    return left


# --- interrupted -----------------------------------------------------------------------------------------------


def check_report(scene: Scene, ended: Ended, archive: Path | None) -> None:
    """Hold what an interrupted cleanup says against what it did."""
    assert (ended.exit_code, ended.signalled, ended.error) == (0, 0, None), "it ended in order"
    rows = scene.rows()
    assert ended.report["deleted"] == scene.original.total() - rows.total()
    assert not scene.alive - rows
    if archive is None:
        return
    assert (ended.report["archive"] is None) == (ended.report["deleted"] == 0)
    if ended.report["deleted"] == 0:
        assert not archive.exists()
        return
    opened = sk.open_archive(archive)
    assert opened.complete
    assert opened.rows == ended.report["deleted"]
    assert not [path for path in archive.iterdir() if path.name.endswith(".partial")]
    assert read_archive(archive) == scene.original - rows
    scene.restore([archive])
    assert scene.rows() == scene.original


@pytest.mark.parametrize("archived", [True, False], ids=["archived", "gone"])
@pytest.mark.parametrize("planned", [False, True], ids=["all", "planned"])
def test_ctrl_c_in_a_batch_waits_for_its_end(scene: Scene, archived: bool, planned: bool) -> None:
    plan = _plan(scene) if planned else None
    archive = scene.folder / "gone" if archived else None
    ended = scene.cleaner.run(now=NOW, batch_size=200, archive=archive, plan=plan, interrupt_in_delete=3)
    assert ended.report["stopped"] == "interrupted between two batches"
    assert (ended.report["deleted"], ended.report["batches"]) == (600, 3)
    check_report(scene, ended, archive)


@pytest.mark.parametrize("archived", [True, False], ids=["archived", "gone"])
@pytest.mark.parametrize("planned", [False, True], ids=["all", "planned"])
def test_a_second_ctrl_c_rolls_the_batch_back(scene: Scene, archived: bool, planned: bool) -> None:
    plan = _plan(scene) if planned else None
    archive = scene.folder / "gone" if archived else None
    ended = scene.cleaner.run(now=NOW, batch_size=200, archive=archive, plan=plan, interrupt_in_delete=3, interrupts=2)
    assert "rolled back" in ended.report["stopped"]
    assert (ended.report["deleted"], ended.report["batches"]) == (400, 2)
    check_report(scene, ended, archive)


@pytest.mark.parametrize("archived", [True, False], ids=["archived", "gone"])
def test_a_second_ctrl_c_that_comes_after_the_commit_is_told_truly(scene: Scene, archived: bool) -> None:
    archive = scene.folder / "gone" if archived else None
    ended = scene.cleaner.run(now=NOW, batch_size=200, archive=archive, interrupt_after_commit=3, interrupts=2)
    check_report(scene, ended, archive)


@pytest.mark.parametrize("archived", [True, False], ids=["archived", "gone"])
def test_ctrl_c_rolls_back_what_is_all_in_one_batch(scene: Scene, archived: bool) -> None:
    archive = scene.folder / "gone" if archived else None
    ended = scene.cleaner.run(now=NOW, batch_size=0, archive=archive, interrupt_in_delete=1)
    assert "rolled back" in ended.report["stopped"]
    assert ended.report["deleted"] == 0
    check_report(scene, ended, archive)


def test_ctrl_c_from_outside_at_any_instant_is_told_truly(scene: Scene) -> None:
    """One signal, whenever it comes: what the report says is what was done."""
    chance = random.Random(3)  # noqa: S311 - a run that can be repeated
    stopped = 0
    for number in range(12 if ON_CI else 4):
        archive = scene.folder / f"gone-{number}"
        ended = scene.cleaner.run(
            now=NOW, batch_size=100, archive=archive, interrupt_after_batches=chance.randrange(1, 20)
        )
        stopped += ended.report["stopped"] == "interrupted between two batches"
        check_report(scene, ended, archive)
    assert stopped, "no signal came before the end"


def _plan(scene: Scene) -> Path:
    path = scene.folder / "cleanup.plan"
    with sk.connect(scene.sandbox.url) as store:
        store.snapshot().plan(NOW).save(path)
    return path
