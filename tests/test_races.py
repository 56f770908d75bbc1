"""Nothing alive dies: keys refreshed by other processes while cleanup deletes, on every database and in every mode.

Keys expire slot by slot, as time does it, and each cleanup is of the next instant; the writers refresh what is being
cleaned at that moment. What they committed last must be there at the end. The same harness is run against Airflow's own
cleanup, to see that it can see a loss.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count, pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from backdoor import read_rows
from killed import Cleaner
from parts import Family, Sandbox, Sandboxes, require
from profiles import ON_CI, on_ci_only
from racing import DAG, FAR, RUN, TASK, Board

import storekit as sk
from storekit.clock import ManualClock
from storekit.metastore import AIRFLOW_3_3
from storekit.testing import StoredRow

sys.path.insert(0, str(Path(__file__).parent / "real_airflow"))
from client import RealAirflow

OVERLAPS = 10_000 if ON_CI else 2_000
"""Refreshes that must commit while a cleanup runs, on each database."""
PATIENCE = 180
"""Seconds after which a race that does not get there has failed: a bound, not a measure."""

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXPIRY = datetime(2020, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LAYOUT = "airflow-3.3"
WRITERS = {"sqlite": 2, "postgres": 2, "mysql": 3}


def more(name: str) -> Any:
    """Return a database that is raced against on CI only: by default one of each kind of locking is."""
    return pytest.param(name, marks=on_ci_only("one writer at a time is raced on SQLite, row locks on PostgreSQL"))


class Mode(NamedTuple):
    """One way to clean."""

    batch_size: int
    archived: bool
    planned: bool


MODES = [Mode(*each) for each in product((0, 1, 7, 1000), (False, True), (False, True))]
# A transaction per row is slow where each waits for the disk; what is fast needs more rows, for its windows to be hit.
# On SQLite, where writers and cleanup take turns, a third of it is as good.
SLOT_ROWS = {0: 1_500, 1: 30, 7: 90, 1000: 1_500}


class Refresh(NamedTuple):
    """A refresh that committed, between these two readings of the clock that all processes share."""

    key: int
    value: str
    begun: float
    committed: float


@dataclass
class Round:
    """What a round did, from the writers' side and from the cleaner's."""

    starts: Sequence[int]
    refreshes: list[Refresh] = field(default_factory=list)
    cleanups: list[tuple[float, float]] = field(default_factory=list)
    retries: int = 0

    def overlapping(self, family: Family) -> int:
        """Return how many refreshes committed between the start and the end of a cleanup.

        Of SQLite's, which has one writer at a time and so lets them in between batches only: of the sequence of
        cleanups, which follow one another at once.
        """
        spans = [(self.cleanups[0][0], self.cleanups[-1][1])] if family == "sqlite" else self.cleanups
        return sum(any(begin <= each.committed <= end for begin, end in spans) for each in self.refreshes)

    @property
    def last(self) -> dict[str, str]:
        """The value that each refreshed key was last given."""
        return {f"k{each.key}": each.value for each in sorted(self.refreshes, key=lambda each: each.committed)}


class Race:
    """A database of one table shape, and the processes that write to it."""

    def __init__(self, family: Family, url: str, engine: sa.Engine, folder: Path) -> None:
        self.family, self.engine = family, engine
        self.board = Board(folder / "board", new=True)
        self._serial = count(1)
        self._errors = folder / "writers.log"
        script = Path(__file__).with_name("racing.py")
        with self._errors.open("w") as errors:
            self.writers = [
                subprocess.Popen(
                    [sys.executable, str(script), family, url, str(folder / "board"), str(number)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
                for number in range(WRITERS[family])
            ]
        self.seed_ids = 0

    def close(self) -> None:
        self.board[Board.STOP] = 1
        for writer in self.writers:
            with suppress(BrokenPipeError):
                writer.communicate(timeout=60)
        self.board.close()

    def run(self, starts: Sequence[int], clean: Callable[[Round], None]) -> Round:
        """Seed keys that have expired, let the writers go, and clean until ``clean`` returns."""
        run_row = self._seed(starts)
        this = Round(starts)
        for cell in range(2 + len(self.writers)):
            self.board[cell] = 0
        order = {"starts": list(starts), "writers": len(self.writers), "seed": next(self._serial)}
        order |= {"run_row": run_row}
        for writer in self.writers:
            assert writer.stdin is not None
            with suppress(BrokenPipeError):  # what it says in the end tells why
                writer.stdin.write(json.dumps(order) + "\n")
                writer.stdin.flush()
        try:
            self.wait_for_commits(len(self.writers))
            clean(this)
        finally:
            self.board[Board.STOP] = 1
        for writer in self.writers:
            assert writer.stdout is not None
            line = writer.stdout.readline()
            assert line, f"a writer ended:\n{self._errors.read_text()[-3000:]}"
            answer = json.loads(line)
            this.refreshes += [Refresh(*each) for each in answer["done"]]
            this.retries += answer["retries"]
        return this

    def wait_for_commits(self, more: int) -> None:
        """Return once the writers have committed so many more refreshes."""
        wanted, deadline = self.board.commits + more, time.monotonic() + 60
        while self.board.commits < wanted:
            assert all(writer.poll() is None for writer in self.writers), self._errors.read_text()[-3000:]
            assert time.monotonic() < deadline, f"the writers stand still at {self.board.commits} commits"
            time.sleep(0.001)

    def _seed(self, starts: Sequence[int]) -> int:
        # The names are from this file alone: the tables are Airflow's, made by it or by storekit's layout.
        run, task = AIRFLOW_3_3.dag_run, AIRFLOW_3_3.task_store
        with self.engine.begin() as connection:
            if self.family == "mysql":
                connection.execute(sa.text("SET time_zone = '+00:00'"))
            run_row = connection.scalar(sa.select(run.c.id).where(run.c.dag_id == DAG, run.c.run_id == RUN))
            connection.execute(task.delete())
            row = {"dag_run_id": run_row, "dag_id": DAG, "run_id": RUN, "task_id": TASK, "updated_at": EXPIRY}
            slots = enumerate(pairwise(starts))
            rows = [
                {**row, "key": f"k{key}", "value": f"seed {key}", "expires_at": EXPIRY + slot * SECOND}
                for slot, (start, end) in slots
                for key in range(start, end)
            ]
            # Alive at every instant at which is cleaned, the last one by nothing; and last, so that no id below theirs
            # is given out again.
            rows += [
                {**row, "key": "no expiry", "value": "stays", "expires_at": None},
                {**row, "key": "far", "value": "stays", "expires_at": FAR},
                {**row, "key": "on the instant", "value": "stays", "expires_at": last_instant(starts)},
            ]
            connection.execute(task.insert(), rows)
            self.seed_ids = connection.scalar(sa.select(sa.func.max(task.c.id))) or 0
        assert run_row is not None
        return int(run_row)

    def rows(self) -> dict[str, StoredRow]:
        """Return what is in the table, by key."""
        return {row.key: row for row in read_rows(self.engine, LAYOUT)}

    def kept_in_place(self) -> int:
        """Return how many of the seeded rows were never deleted."""
        with self.engine.connect() as connection:
            table = AIRFLOW_3_3.task_store
            kept = sa.select(sa.func.count()).select_from(table).where(table.c.id <= self.seed_ids)
            return int(connection.scalar(kept) or 0)


def last_instant(starts: Sequence[int]) -> datetime:
    return EXPIRY + (len(starts) - 1) * SECOND


def lost(race: Race, this: Round) -> list[str]:
    """Return the keys that were alive at the end, by what was committed, and are not there as they were written."""
    rows = race.rows()
    wanted = {**this.last, "no expiry": "stays", "far": "stays", "on the instant": "stays"}
    expiries = {"no expiry": None, "on the instant": last_instant(this.starts)}
    return [
        key
        for key, value in wanted.items()
        if key not in rows or (rows[key].value, rows[key].expires_at) != (value, expiries.get(key, FAR))
    ]


@contextmanager
def racing(family: Family, url: str, engine: sa.Engine, folder: Path) -> Iterator[Race]:
    race = Race(family, url, engine, folder)
    try:
        yield race
    finally:
        race.close()


@pytest.fixture(params=["sqlite", more("sqlite-wal"), "postgres", more("mysql")])
def race(request: pytest.FixtureRequest, sandboxes: Sandboxes, tmp_path: Path) -> Iterator[Race]:
    family: Family = request.param.partition("-")[0]
    sandbox = sandboxes.get(family)
    run = sandbox.hold(LAYOUT).dag_run
    with sandbox.engine.begin() as connection:
        connection.execute(run.insert().values(dag_id=DAG, run_id=RUN, state="running"))
    if family == "sqlite":
        mode = "wal" if request.param.endswith("wal") else "delete"
        with sandbox.engine.connect() as connection:
            assert connection.exec_driver_sql(f"PRAGMA journal_mode = {mode}").scalar() == mode
    with racing(family, sandbox.url, sandbox.engine, tmp_path) as opened:
        yield opened


@dataclass
class Deed:
    """One cleanup, and what it says of itself."""

    mode: Mode
    begun: float
    ended: float
    report: sk.CleanupReport
    planned_keys: set[str] | None
    planned_at: float
    archived: dict[str, str]


def clean_slots(race: Race, store: sk.Store, modes: Sequence[Mode], folder: Path, deeds: list[Deed]) -> Any:
    """Return what cleans one slot after the other, each in the next mode."""

    def clean(this: Round) -> None:
        for slot, mode in enumerate(modes):
            instant = EXPIRY + (slot + 1) * SECOND  # strictly after this slot's expiry; the next one's is equal to it
            plan = keys = None
            planned_at = 0.0
            if mode.planned:
                snapshot = store.snapshot()
                planned_at = time.monotonic()
                plan = snapshot.plan(instant)
                keys = set(plan.rows()["key"])
            archive = folder / f"{len(deeds)}" if mode.archived else None
            race.board[Board.FRONTIER] = slot
            if mode.planned:
                race.wait_for_commits(10)  # so that something drifts
            begun = time.monotonic()
            report = store.cleanup(plan, now=instant, batch_size=mode.batch_size, archive=archive, dry_run=False)
            ended = time.monotonic()
            this.cleanups.append((begun, ended))
            deeds.append(Deed(mode, begun, ended, report, keys, planned_at, archived_in(report)))

    return clean


def archived_in(report: sk.CleanupReport) -> dict[str, str]:
    """Return what an archive holds, read as any reader of Parquet reads it; the archive itself must say the same."""
    if report.archive is None:
        return {}
    opened = sk.open_archive(report.archive)
    assert opened.complete
    assert opened.rows == sum(batch.num_rows for batch in opened.batches()) == report.deleted
    table = pq.read_table(report.archive)
    rows = dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True))
    assert len(rows) == table.num_rows == report.deleted
    return rows


def check_deeds(race: Race, this: Round, deeds: Sequence[Deed]) -> None:
    """Hold what the cleanups say of themselves against the table and against the writers."""
    seeds = {f"k{key}" for key in range(this.starts[0], this.starts[-1])}
    rows, refreshed = race.rows(), set(this.last)
    assert seeds & rows.keys() == refreshed, "what nobody refreshed is gone, and nothing else"
    deleted = sum(deed.report.deleted for deed in deeds)
    assert deleted == len(seeds) + 3 - race.kept_in_place(), "no row is counted twice, none goes uncounted"
    archived = Counter(key for deed in deeds for key in deed.archived)
    assert not archived or max(archived.values()) == 1
    first: dict[str, Refresh] = {}
    for each in sorted(this.refreshes, key=lambda each: each.committed):
        first.setdefault(f"k{each.key}", each)
    for slot, deed in enumerate(deeds):
        report = deed.report
        assert report.stopped is None
        assert all(value == f"seed {key[1:]}" for key, value in deed.archived.items()), "only what was never refreshed"
        if deed.mode.archived:
            own = {f"k{key}" for key in range(this.starts[slot], this.starts[slot + 1])}
            assert own - deed.archived.keys() <= refreshed, "every row that went is archived"
        if deed.planned_keys is None:
            continue
        drift = report.drift.set_index("key")["drift"].to_dict()
        assert report.planned == len(deed.planned_keys) == report.deleted + len(drift)
        assert drift.keys() <= deed.planned_keys & refreshed
        assert set(drift.values()) <= {"refreshed"}, "nobody else deletes, so none is gone"
        if deed.mode.archived:
            assert deed.archived.keys() == deed.planned_keys - drift.keys()
        for key in deed.planned_keys & first.keys():
            if deed.planned_at < first[key].begun and first[key].committed < deed.begun:
                assert drift[key] == "refreshed"
            if first[key].begun > deed.ended:
                assert key not in drift


def test_no_refresh_is_lost_while_cleanup_runs(race: Race, sandboxes: Sandboxes, tmp_path: Path) -> None:
    chance = random.Random(20261122)  # noqa: S311 - a run that can be repeated
    overlapping = drifted = refreshed = 0
    wanted = OVERLAPS // 2 if race.family == "sqlite" else OVERLAPS  # in each of its two journal modes
    deadline = time.monotonic() + PATIENCE
    store = sk.connect(sandboxes.get(race.family).url, writable=True, clock=ManualClock(NOW))
    if race.family == "sqlite":
        # No machine goes down here; and a cleanup that waits for the disk with its lock held lets nobody overlap.
        sa.event.listen(store.backend.database.engine, "connect", _hasten)
    with store:
        for number in count():
            if overlapping >= wanted:
                break
            modes = chance.sample(MODES, len(MODES))
            sizes = [SLOT_ROWS[mode.batch_size] // (3 if race.family == "sqlite" else 1) for mode in modes]
            starts = list(accumulate(sizes, initial=0))
            deeds: list[Deed] = []
            folder = tmp_path / f"round-{number}"
            folder.mkdir()
            this = race.run(starts, clean_slots(race, store, modes, folder, deeds))
            assert lost(race, this) == []
            check_deeds(race, this, deeds)
            overlapping += this.overlapping(race.family)
            refreshed += len(this.refreshes)
            drifted += sum(sum(deed.report.drifted.values()) for deed in deeds)
            if time.monotonic() > deadline:
                pytest.fail(f"only {overlapping} of {wanted} refreshes overlapped a cleanup in {PATIENCE} seconds")
    assert drifted, "no plan met a key that was refreshed"
    print(f"{race.family}: {overlapping} of {refreshed} refreshes overlapped, {drifted} drifted, {number} rounds")  # noqa: T201


def _hasten(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")


def test_the_harness_sees_a_loss_in_airflows_own_cleanup(sandboxes: Sandboxes, tmp_path: Path) -> None:
    """The control: Airflow selects ids and then deletes by id; a key refreshed in between is lost. We lose none."""
    require("airflow")
    boxes = Sandboxes(tmp_path)  # the module's own database holds storekit's idea of the tables
    try:
        url = boxes.get("postgres").url
        engine = boxes.get("postgres").engine
        starts = [0, 20_000]  # far below the 65,535 parameters that a statement takes
        driver_url = sa.make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
        with RealAirflow(driver_url) as airflow, racing("postgres", url, engine, tmp_path) as race:
            airflow.migrate()
            airflow.add_dag_run(DAG, RUN)

            def by_airflow(this: Round) -> None:
                begun = time.monotonic()
                airflow.cleanup(batch_size=0)
                this.cleanups.append((begun, time.monotonic()))

            def by_storekit(this: Round) -> None:
                begun = time.monotonic()
                with sk.connect(url, writable=True) as store:
                    report = store.cleanup(now=last_instant(starts), batch_size=0, dry_run=False)
                this.cleanups.append((begun, time.monotonic()))
                assert report.deleted

            losses = 0
            for _ in range(10):  # the window is wide, but nothing makes a refresh fall into it
                this = race.run(starts, by_airflow)
                gone = [key for key in lost(race, this) if key.startswith("k")]
                losses += len(gone)
                assert lost(race, race.run(starts, by_storekit)) == []
                if losses:
                    break
            print(f"airflow: {losses} lost of {this.overlapping('postgres')} overlapping refreshes")  # noqa: T201
            assert losses
    finally:
        boxes.close()


# --- two cleanups at once --------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sqlite", "postgres", more("mysql")])
def test_two_cleanups_at_once_are_harmless(sandboxes: Sandboxes, family: Family, tmp_path: Path) -> None:
    sandbox = sandboxes.get(family)
    with Cleaner(sandbox.url, tmp_path / "one.log") as one, Cleaner(sandbox.url, tmp_path / "two.log") as two:
        for batch_size, archived in product((0, 7), (False, True)):
            for attempt in range(20):
                folder = tmp_path / f"{batch_size}-{archived}-{attempt}"
                folder.mkdir()
                if clean_twice(sandbox, [one, two], batch_size, folder if archived else None):
                    break
            else:
                pytest.fail("of 20 pairs of cleanups that were started at once, none ran at the same time")


def clean_twice(sandbox: Sandbox, cleaners: Sequence[Cleaner], batch_size: int, folder: Path | None) -> bool:
    """Run two cleanups at once, check what became of the rows, and return whether both were at it together."""
    layout, rows = sandbox.hold(LAYOUT), {0: 2_000, 7: 420}[batch_size]
    with sandbox.engine.begin() as connection:
        made = connection.execute(layout.dag_run.insert().values(dag_id=DAG, run_id=RUN, state="running"))
        row = {"dag_run_id": made.inserted_primary_key[0], "dag_id": DAG, "run_id": RUN, "task_id": TASK}
        row |= {"updated_at": EXPIRY}
        doomed = [{**row, "key": f"k{key}", "value": f"{key}", "expires_at": EXPIRY} for key in range(rows)]
        connection.execute(
            layout.task_store.insert(), [*doomed, {**row, "key": "alive", "value": "", "expires_at": FAR}]
        )
    start_at = time.monotonic() + 0.2
    for number, cleaner in enumerate(cleaners):
        archive = folder / f"{number}" if folder is not None else None
        cleaner.start(now=NOW, batch_size=batch_size, archive=archive, start_at=start_at)
    ended = [cleaner.end() for cleaner in cleaners]
    assert all(each.finished and each.report["stopped"] is None for each in ended), ended
    reports = [each.report for each in ended]
    assert sum(report["deleted"] for report in reports) == rows
    assert sum(report["deleted_bytes"] for report in reports) == sum(len(f"{key}") for key in range(rows))
    assert [row.key for row in read_rows(sandbox.engine, LAYOUT)] == ["alive"]
    if folder is not None:
        held: list[str] = []
        for report in reports:
            assert (report["archive"] is None) == (report["deleted"] == 0)
            if report["archive"] is not None:
                opened = sk.open_archive(report["archive"])
                assert opened.complete
                assert opened.rows == report["deleted"]
                held += pq.read_table(report["archive"])["key"].to_pylist()
        assert sorted(held) == sorted(f"k{key}" for key in range(rows)), "each in exactly one of the archives"
    return max(each.began for each in ended) < min(each.over for each in ended)
