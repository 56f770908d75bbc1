"""Any sequence of trait changes leaves the app, the calls it shows, preview, simulation and plan in agreement; never
raises; and never deletes without the confirmation. No widget is made."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from profiles import ON_CI
from small_store import HOSTILE, NOW, fill

import storekit as sk
from storekit.clock import ManualClock
from storekit.notebook.state import Explorer
from storekit.notebook.state.contents import FACETS
from storekit.notebook.state.explorer import SECTIONS
from storekit.notebook.state.previewing import DANGERS, GROUPS
from storekit.state import TaskScope

_TEMPLATE = Path(tempfile.mkdtemp(prefix="storekit-tests-")) / "small.db"
_WRITTEN_AT: list[datetime] = []

NAMES = st.sampled_from([None, "etl", "report", "nobody", "load 0", "lock", "cursor 3", *HOSTILE])
INSTANTS = st.sampled_from(
    ["", "2026-02-10T00:00:00Z", "2026-03-20T00:00:00+01:00", "2026-06-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
NO_INSTANTS = st.sampled_from(["tomorrow", "2026-03-01", "2026-03-01T00:00:00", "1e9", HOSTILE[0]])
SORTS = st.sampled_from(["", "key", "value_bytes", "updated_at", "expires_at", "run_id", "reason", "margin", "no such"])
SOME_PAGES = st.integers(-1, 12)
SIZES = st.sampled_from([0, 1, 3, 10, 25, 100, 100_000])
DAYS = st.none() | st.integers(0, 60)


def _template() -> Path:
    if not _WRITTEN_AT:
        _WRITTEN_AT.append(fill(_TEMPLATE))
    return _TEMPLATE


Key = tuple[Any, ...]


class App(RuleBasedStateMachine):
    """A user at the app, and another program at the database."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="storekit-tests-"))
        self.database = self.folder / "store.db"
        shutil.copy(_template(), self.database)
        self.clock = ManualClock(NOW)
        self.store = sk.connect(self.database, writable=True, clock=self.clock)
        self.app = Explorer(self.store)
        self.app.lab.future = False
        self.present = self.rows()
        self.deletions = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def rows(self) -> dict[Key, tuple[Any, ...]]:
        """What the table holds, by nothing of storekit."""
        with sqlite3.connect(self.database) as connection:
            found = connection.execute(
                "SELECT dag_run_id, task_id, map_index, key, updated_at, expires_at FROM task_store"
            ).fetchall()
        connection.close()
        return {row[:4]: row[4:] for row in found}

    # --- what a user does ----------------------------------------------------------------------------------------

    @rule(section=st.sampled_from(list(SECTIONS)))
    def open(self, section: str) -> None:
        self.app.section = section

    @rule(now=INSTANTS | NO_INSTANTS)
    def set_now(self, now: str) -> None:
        self.app.source.now = now

    @rule()
    def refresh(self) -> None:
        self.app.refresh()

    @rule(name=st.sampled_from(FACETS), value=NAMES, page=st.none() | SOME_PAGES)
    def choose(self, name: str, value: str | None, page: int | None) -> None:
        changes = {name: value} if page is None else {name: value, "page": page}
        self.app.contents.set(**changes)

    @rule(
        text=st.sampled_from(["", "LOAD", "%", "_", *HOSTILE]), store=st.sampled_from([None, "task", "asset", "else"])
    )
    def search(self, text: str, store: str | None) -> None:
        self.app.contents.text = text
        self.app.contents.store = store

    @rule(which=st.sampled_from(["contents", "preview"]), sort=SORTS, descending=st.booleans())
    def sort(self, which: str, sort: str, descending: bool) -> None:
        self.app.states[which].set(sort=sort, descending=descending)

    @rule(which=st.sampled_from(list(SECTIONS)), page=SOME_PAGES, size=SIZES)
    def turn(self, which: str, page: int, size: int) -> None:
        self.app.states[which].set(page=page, page_size=size)

    @rule()
    def clear(self) -> None:
        self.app.contents.clear()

    @rule(at=st.integers(-2, 30))
    def reveal(self, at: int) -> None:
        self.app.contents.selected = at
        self.app.contents.reveal()

    @rule(
        group=st.sampled_from(GROUPS),
        verdict=st.sampled_from([None, "delete", "keep"]),
        danger=st.sampled_from([None, *DANGERS]),
    )
    def look_otherwise(self, group: str, verdict: str | None, danger: str | None) -> None:
        self.app.preview.set(group=group, verdict=verdict, danger=danger)

    @rule(at=st.none() | st.integers(0, 5))
    def preview_under(self, at: int | None) -> None:
        policies = self.app.lab.policies
        self.app.preview.policy = None if at is None else policies[at % len(policies)]

    @rule(at=st.integers(-1, 6), days=DAYS)
    def slide(self, at: int, days: int | None) -> None:
        self.app.lab.set_days(at, days)

    @rule(
        at=st.integers(0, 5),
        every=st.sampled_from([None, "1d", "6h", "7d", "0d", "soon"]),
        clear=st.booleans(),
    )
    def set_policy(self, at: int, every: str | None, clear: bool) -> None:
        self.app.lab.set_cleanup(at, every)
        self.app.lab.set_clear_on_success(at, clear)

    @rule(with_rule=st.booleans())
    def add(self, with_rule: bool) -> None:
        rules = [sk.Rule(key="cursor*", retention="5d")] if with_rule else []
        self.app.lab.add(sk.Policy(default_retention_days=20, rules=rules) if with_rule else None)

    @rule(at=st.integers(-1, 6))
    def remove(self, at: int) -> None:
        self.app.lab.remove(at)

    @rule(
        mode=st.sampled_from(["forward", "as-if", "backward"]),
        days=st.sampled_from([1, 30, 90, 0, 99_999]),
        future=st.booleans(),
        compared=st.lists(st.integers(-1, 7), min_size=2, max_size=2),
    )
    def experiment(self, mode: str, days: int, future: bool, compared: list[int]) -> None:
        self.app.lab.set(mode=mode, horizon_days=days, future=future and days <= 30, compared=compared)

    @rule(dag_id=NAMES, task_id=NAMES, key=NAMES)
    def narrow(self, dag_id: str | None, task_id: str | None, key: str | None) -> None:
        self.app.lab.set(dag_id=dag_id, task_id=task_id, key=key)

    @rule()
    def widen(self) -> None:
        self.app.lab.set(dag_id=None, task_id=None, key=None)

    # --- plans and deletion --------------------------------------------------------------------------------------

    @rule()
    def plan(self) -> None:
        self.app.plan.make()

    @rule(name=st.sampled_from(["", "a.parquet", "b.parquet", "no/such/folder.parquet"]))
    def save_and_open(self, name: str) -> None:
        path = str(self.folder / name) if name else ""
        self.app.plan.save(path)
        self.app.plan.open(path)

    @rule()
    def dry_run(self) -> None:
        self.app.plan.look()

    @rule(archiving=st.booleans(), name=st.sampled_from(["", "one", "two", "no/such/one"]), size=st.integers(-1, 9))
    def set_archive(self, archiving: bool, name: str, size: int) -> None:
        archive = str(self.folder / name) if name else ""
        self.app.plan.set(archiving=archiving, archive=archive, batch_size=size)

    @rule(typed=st.sampled_from(["", "yes", "delete", "delete 0 rows", "DELETE 1 ROW", HOSTILE[0]]))
    def delete_unconfirmed(self, typed: str) -> None:
        phrase = "" if self.app.plan.shown is None else self.app.plan.shown.phrase
        if typed != phrase or not phrase:
            self.app.plan.delete(typed)
            assert self.app.plan.trouble is not None

    @precondition(lambda self: self.app.plan.shown is not None and bool(self.app.plan.shown.phrase))
    @rule()
    def delete_confirmed(self) -> None:
        plan = self.app.plan.plan
        shown_rows = plan.rows()
        now = self.clock.now()
        before = self.rows()
        if self.app.plan.archiving:
            self.app.plan.archive = str(self.folder / f"archive {self.deletions}")
        self.app.plan.delete(self.app.plan.shown.phrase)
        report = self.app.plan.shown.report
        after = self.rows()
        gone = before.keys() - after.keys()
        if report is not None:
            assert report.deleted == len(gone) <= len(shown_rows)
        assert all(before[key][1] is not None and _instant(before[key][1]) < now for key in gone)
        assert {key[3] for key in gone} <= set(shown_rows["key"])
        self.present = after
        self.deletions += 1

    # --- another program -----------------------------------------------------------------------------------------

    @rule(key=st.sampled_from(["lock", "cursor 1", "new"]))
    def write_behind(self, key: str) -> None:
        scope = TaskScope("etl", "run 0", "load 0", -1)
        self.store.backend.set(scope, key, "1", expires_at=self.clock.now() + timedelta(days=1))
        self.present = self.rows()

    @rule(days=st.integers(0, 10))
    def pass_time(self, days: int) -> None:
        self.clock.advance(timedelta(days=days))

    # --- what holds ------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_deleted_unconfirmed(self) -> None:
        assert self.rows() == self.present

    @invariant()
    def nothing_was_unforeseen(self) -> None:
        for state in (self.app.source, *self.app.states.values()):
            assert state.trouble is None or "defect" not in state.trouble.hint, state.trouble

    @invariant()
    def calls_give_what_is_shown(self) -> None:
        app = self.app
        names = {"sk": sk, "snap": app.source.snapshot, "store": self.store}
        state = app.states[app.section]
        shown = state.shown
        if shown is None or state.trouble is not None or app.source.trouble is not None:
            return
        if app.section == "contents":
            _same(_evaluated(shown.call, names), shown.rows)
        elif app.section == "preview":
            _same(_evaluated(shown.rows_call, names), shown.rows)
            whole = _evaluated(shown.call, names)
            if app.preview.policy is None:
                assert (whole.deleted, whole.kept) == (shown.deleted, shown.kept)
        elif app.section == "lab":
            names["sim"] = _evaluated(shown.call, names)
            _same(names["sim"].summary, shown.summary)
            if shown.difference_call:
                _same(_evaluated(shown.difference_call, names), shown.difference)

    @invariant()
    def views_agree(self) -> None:
        app = self.app
        snapshot = app.source.snapshot
        app.preview.refresh()
        if app.preview.trouble is None:
            shown = app.preview.shown
            assert shown.deleted + shown.kept == len(snapshot) or app.preview.policy is not None
            if app.preview.policy is None:
                lapsed = snapshot.sql(
                    "SELECT count(*) AS n FROM tasks WHERE expires_at < $now::TIMESTAMPTZ", now=str(shown.now)
                )
                assert shown.deleted == lapsed["n"].iloc[0]
        lab = app.lab
        unfiltered = (lab.dag_id, lab.task_id, lab.key) == (None, None, None)
        if lab.shown is None or lab.trouble is not None or not unfiltered or not lab.active:
            return
        at = lab.shown.simulation.now
        for policy, line in zip(lab.policies, lab.shown.summary.to_dict("records"), strict=True):
            if lab.mode == "forward" and policy.cleanup_every is not None:
                # What exists keeps its expiry, so each policy's first cleanup is today's.
                assert line["deleted_now"] == snapshot.preview(at).deleted
            assert line["deleted_now"] + line["kept_now"] + line["cleared"] == len(snapshot)

    @invariant()
    def what_is_not_refused_is_answered(self) -> None:
        contents = self.app.contents
        if contents.trouble is None and contents.shown is not None and contents.active:
            assert contents.shown.total_rows <= len(self.app.source.snapshot)
            assert 0 <= contents.page < contents.shown.page.pages


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _evaluated(text: str, names: dict[str, Any]) -> Any:
    return eval(compile(text, "shown call", "eval"), dict(names))  # noqa: S307 - it is what is shown to be executed


def _same(found: pd.DataFrame, shown: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, shown)


# A step asks everything again, so few examples are many comparisons.
_PROFILE = settings.get_profile(settings.get_current_profile_name())
App.TestCase.settings = settings(
    _PROFILE, max_examples=_PROFILE.max_examples // (5 if ON_CI else 7), stateful_step_count=20
)
TestApp = App.TestCase


def _acts(app: App) -> Callable[..., None]:
    def act(*names: str) -> None:
        for name in names:
            getattr(app, name)()

    return act


@pytest.fixture
def machine() -> Any:
    app = App()
    yield app
    app.teardown()


def test_the_machine_reaches_a_deletion_with_drift(machine: App) -> None:
    act = _acts(machine)
    machine.set_now("")
    act("plan")
    assert len(machine.app.plan.plan) > 0
    planned = machine.app.plan.plan.rows()
    assert "lock" in set(planned["key"])
    machine.write_behind(key="lock")
    machine.delete_unconfirmed(typed="yes")
    act("delete_confirmed")
    assert machine.app.plan.shown.report.deleted > 0
    machine.nothing_is_deleted_unconfirmed()
    assert machine.app.plan.plan is None
    # The store was read again: what was deleted is nowhere to be seen.
    assert len(machine.app.source.snapshot) == len(machine.present) + 2
