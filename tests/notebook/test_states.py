"""The app's states by example: what each input does, what is refused, and work that runs beside."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from small_store import HOSTILE, NOW

import storekit as sk
from storekit.clock import ManualClock
from storekit.errors import QueryError
from storekit.notebook.state import Contents, Explorer, Lab, Planning, Previewing, Source, Work, in_thread, inline
from storekit.notebook.state.calls import call, policy_call
from storekit.notebook.state.paging import Page

FIXTURES = Path(__file__).resolve().parents[2] / "data" / "fixtures"


def test_states_need_no_widget() -> None:
    code = (
        "import sys, storekit.notebook.state\n"
        "print([name for name in ('ipywidgets', 'anywidget', 'plotly', 'IPython') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the call as text ---


@pytest.mark.parametrize(
    "policy",
    [
        sk.Policy(),
        sk.Policy(default_retention_days=0),
        sk.Policy(name="of mine", default_retention_days=14, cleanup_every=None, batch_size=7, clear_on_success=True),
        sk.Policy(cleanup_every="6h"),
        sk.Policy(
            rules=[
                sk.Rule(key="cursor*", retention="2d"),
                sk.Rule(dag_id=HOSTILE[0], retention=sk.NEVER_EXPIRE, name='it\'s "named"'),
                sk.Rule(task_state=["failed", "none"], min_bytes=10, retention=sk.AS_WRITTEN),
            ]
        ),
    ],
)
def test_a_policy_is_written_as_the_call_that_makes_it(policy: sk.Policy) -> None:
    made = eval(policy_call(policy), {"sk": sk})  # noqa: S307 - it is what is shown to be executed
    assert made == policy
    assert made.name == policy.name


@pytest.mark.parametrize("text", [*HOSTILE, "it's", 'say "no"', "both ' and \"", "\\", "\n", "\x00", "😀"])
def test_a_text_cannot_leave_its_quotes(text: str) -> None:
    kept: list[Any] = []
    names = {"keep": lambda *args, **kwargs: kept.append((args, kwargs))}
    eval(call("keep", text, key=text, left_out=None), names)  # noqa: S307 - it is what is shown to be executed
    assert kept == [((text,), {"key": text})]


# --- pages ---


@pytest.mark.parametrize(
    ("number", "size", "total", "expected"),
    [
        (0, 25, 0, (0, 1, 25)),
        (3, 25, 0, (0, 1, 25)),
        (1, 25, 25, (0, 1, 25)),
        (1, 25, 26, (1, 2, 25)),
        (-4, 25, 100, (0, 4, 25)),
        (2, 0, 3, (2, 3, 1)),
        (0, 9999, 300, (0, 3, 100)),
    ],
)
def test_a_page_is_one_that_there_is(number: int, size: int, total: int, expected: tuple[int, int, int]) -> None:
    page = Page.of(number, size, total)
    assert (page.number, page.pages, page.size) == expected


def test_another_question_begins_at_its_first_page(store: sk.Store) -> None:
    contents = Contents(Source(store), page_size=10)
    contents.page = 3
    assert contents.shown.page.number == 3
    contents.sort = "key"
    assert contents.page == 3  # the same rows in another order
    contents.dag_id = "etl"
    assert contents.page == 0
    contents.set(dag_id=None, page=2)
    assert contents.page == 2  # asked for


# --- contents ---


def test_what_was_not_answered_is_not_answered_later_by_something_else(store: sk.Store) -> None:
    contents = Contents(Source(store), dag_id="etl")
    shown = contents.shown
    contents.store = "else"
    contents.sort = "key"
    assert "else" in contents.trouble.message
    assert contents.shown is shown
    contents.store = "asset"
    assert contents.trouble is None
    assert contents.shown.total_rows == 0


def test_a_facet_counts_by_the_other_filters(store: sk.Store) -> None:
    contents = Contents(Source(store), dag_id="etl")
    tasks = store.tasks(values=False)
    every = tasks.groupby("dag_id").size()
    found = contents.shown.facets["dag_id"].set_index("dag_id")["rows"]
    assert found[every.index].to_dict() == every.to_dict()
    mine = tasks[tasks["dag_id"] == "etl"].groupby("key").size()
    keys = contents.shown.facets["key"].set_index("key")["rows"]
    assert len(keys) == 12
    assert "key" in contents.shown.more
    assert all(mine[key] == rows for key, rows in keys.items())


def test_a_value_is_read_when_it_is_asked_for(store: sk.Store) -> None:
    contents = Contents(Source(store), key="cursor 4", dag_id="etl")
    assert contents.value is None
    contents.selected = 0
    contents.reveal()
    assert contents.trouble is None
    assert '"day": 4' in contents.value.text
    assert "\\u202e" in contents.value.text  # what turns the direction is spelled
    assert "\u202e" not in contents.value.text
    names = {"store": store}
    (value,) = eval(contents.value_call, names)  # noqa: S307 - it is what is shown to be executed
    assert '"day": 4' in value
    contents.page_size = 50
    assert contents.value is None
    assert contents.selected == -1


def test_of_a_region_its_own_value_is_read() -> None:
    with sk.connect(FIXTURES / "airflow-3.4-schema.db") as store:
        tasks = store.tasks()
        regions = tasks.groupby(["dag_id", "run_id", "task_id", "map_index", "key"])["region_id"].transform("nunique")
        twice = tasks[regions > 1].iloc[0]
        contents = Contents(Source(store), dag_id=twice["dag_id"], key=twice["key"], page_size=100)
        rows = contents.shown.rows
        same = (rows["run_id"] == twice["run_id"]) & (rows["task_id"] == twice["task_id"])
        same &= rows["map_index"] == twice["map_index"]
        for at in rows.index[same]:
            contents.selected = int(at)
            contents.reveal()
            mine = tasks["region_id"] == rows["region_id"][at]
            for name in ("dag_id", "run_id", "task_id", "map_index", "key"):
                mine &= tasks[name] == rows[name][at]
            (expected,) = tasks[mine]["value"]
            assert contents.trouble is None
            assert contents.value.text.replace("\n", "").replace(" ", "") == expected.replace(" ", "")


@pytest.mark.parametrize("case", ["nothing selected", "a snapshot", "gone", "too large"])
def test_a_value_that_cannot_be_shown(store: sk.Store, case: str) -> None:
    if case == "too large":
        store.backend.set(sk.TaskScope("etl", "run 0", "load 0", -1), "big", "1" * 1_000_001)
    contents = Contents(Source(store.snapshot() if case == "a snapshot" else store))
    contents.set(key="big" if case == "too large" else "cursor 4", dag_id="etl")
    if case != "nothing selected":
        contents.selected = 0
    if case == "gone":
        row = contents.shown.rows.iloc[0]
        store.backend.delete(sk.TaskScope("etl", row["run_id"], row["task_id"], int(row["map_index"])), "cursor 4")
    contents.reveal()
    assert contents.value is None
    said = {
        "nothing selected": "no row is selected",
        "a snapshot": "a snapshot holds no values",
        "gone": "the row is not in the store any more",
        "too large": "the value is 1.0 MB, too large to be shown",
    }
    assert contents.trouble.message == said[case]
    assert contents.trouble.hint


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 2}', "12345678901234567890.123", "1e400", "1E5", "[1.10]", "0.10000000000000000555", '"a\\u0041"'],
)
def test_a_value_that_reading_would_change_is_shown_as_it_is_stored(store: sk.Store, text: str) -> None:
    store.backend.set(sk.TaskScope("etl", "run 0", "load 0", -1), "odd", text)
    contents = Contents(Source(store), key="odd")
    contents.selected = 0
    contents.reveal()
    assert contents.value.text == text


def test_an_error_goes_with_what_it_was_about(store: sk.Store) -> None:
    contents = Contents(Source(store), key="cursor 4", dag_id="etl")
    contents.reveal()
    assert contents.trouble is not None
    contents.selected = 0
    contents.reveal()
    assert contents.trouble is None
    contents.selected = -1
    contents.reveal()
    contents.source.refresh()
    assert contents.trouble is not None  # nobody asked for anything else
    contents.sort = "key"
    assert contents.trouble is None


def test_an_input_that_there_is_none_of(store: sk.Store) -> None:
    with pytest.raises(QueryError, match="no input 'dagid'"):
        Contents(Source(store), dagid="etl")
    with pytest.raises(QueryError, match="no input 'dagid'"):
        Contents(Source(store)).set(dagid="etl")


# --- what if ---


@pytest.mark.parametrize("name", ["DE: Germany", "ABC: x", ": foo", "C: my policy", "A: 30 days"])
def test_a_name_is_not_shortened(store: sk.Store, name: str) -> None:
    lab = Lab(Source(store), policies=sk.Policy(name=name), future=False)
    lab.set_days(0, 5)
    assert lab.policies[0].name == f"A: {name}"
    lab.add()
    lab.remove(0)
    assert lab.policies[0].name == f"A: {name}"
    assert lab.own(0).name == name


@pytest.mark.parametrize("policies", ["abc", [sk.Policy(), "x"], [None], 7])
def test_what_is_no_policy(store: sk.Store, policies: Any) -> None:
    with pytest.raises(QueryError, match="no policies"):
        Lab(Source(store), policies=policies)


def test_a_change_that_comes_while_another_is_computed_is_not_lost(store: sk.Store) -> None:
    source = Source(store)
    lab = Lab(source, future=False)
    computing, go_on = threading.Event(), threading.Event()
    answer = lab._answer

    def slow() -> Any:
        shown = answer()
        if threading.current_thread() is beside:
            computing.set()
            go_on.wait(10)
        return shown

    lab._answer = slow  # type: ignore[method-assign]
    beside = threading.Thread(target=lambda: lab.set(mode="as-if"))
    moving = threading.Thread(target=lambda: lab.set_days(1, 40))
    beside.start()
    assert computing.wait(10)
    moving.start()
    moving.join(0.2)
    go_on.set()
    beside.join(10)
    moving.join(10)
    assert lab.trouble is None
    assert [each.name for each in lab.shown.simulation.policies] == [each.name for each in lab.policies]
    assert lab.policies[1].default_retention_days == 40


def test_an_instant_before_the_snapshot_is_no_start(store: sk.Store) -> None:
    lab = Lab(Source(store, now="2020-01-01T00:00:00Z"), future=False)
    assert "lies before the snapshot" in lab.trouble.message


def test_a_policy_keeps_a_name_of_its_own(store: sk.Store) -> None:
    lab = Lab(Source(store), policies=[sk.Policy(default_retention_days=9), sk.Policy(name="mine")], future=False)
    lab.set_days(0, 3)
    lab.set_days(1, 3)
    assert [each.name for each in lab.policies] == ["A: 3 days", "B: mine"]
    lab.remove(0)
    assert [each.name for each in lab.policies] == ["A: mine"]
    assert lab.shown.toml.startswith('name = "mine"')


def test_a_policy_of_a_file(store: sk.Store, tmp_path: Path) -> None:
    lab = Lab(Source(store), future=False)
    (tmp_path / "one.toml").write_text('default_retention_days = 5\n[[rules]]\nkey = "lock"\nretention = "1d"\n')
    lab.load(tmp_path / "one.toml", 1)
    assert lab.trouble is None
    assert lab.policies[1].rules[0].key == "lock"
    (tmp_path / "two.toml").write_text("[[policies]]\nname = 'a'\n[[policies]]\nname = 'b'\n")
    before = lab.policies
    for path in (tmp_path / "two.toml", tmp_path / "none.toml"):
        lab.load(path, 1)
        lab.load(path)
        assert lab.trouble is not None
        assert "defect" not in lab.trouble.hint
        assert lab.policies == before


def test_what_is_not_possible_is_said_and_leaves_the_answer(store: sk.Store) -> None:
    lab = Lab(Source(store), future=False)
    shown = lab.shown
    for change in ({"mode": "sideways"}, {"horizon_days": 0}):
        before = {name: getattr(lab, name) for name in change}
        lab.set(**change)
        assert lab.trouble is not None
        assert lab.shown is shown
        lab.set(**before)
        assert lab.trouble is None
        shown = lab.shown
    lab.add("14 days")  # type: ignore[arg-type]
    assert "'14 days' is no policy" in lab.trouble.message
    for _ in range(6):
        lab.add()
    assert len(lab.policies) == 6
    assert "6 policies" in lab.trouble.message


@pytest.mark.parametrize("count", [0, 7])
def test_so_many_policies_cannot_be_compared(store: sk.Store, count: int) -> None:
    with pytest.raises(QueryError, match="to compare"):
        Lab(Source(store), policies=[sk.Policy()] * count)


# --- the source, and work beside ---


def test_an_instant_that_is_none_leaves_all_as_it_was(store: sk.Store) -> None:
    app = Explorer(store, now="2026-02-20T00:00:00Z")
    app.section = "preview"
    before = app.preview.shown.now
    app.source.now = "tomorrow"
    assert "tomorrow" in app.source.trouble.message
    assert app.preview.shown.now == before == app.source.instant
    app.source.now = ""
    assert app.source.trouble is None
    assert app.preview.shown.now == app.source.snapshot.info.taken_at


def test_only_what_is_open_follows(store: sk.Store) -> None:
    app = Explorer(store)
    assert app.lab.shown is None
    assert app.preview.shown is None
    app.section = "preview"
    first = app.preview.shown
    app.section = "contents"
    app.source.now = "2026-02-20T00:00:00Z"
    assert app.preview.shown is first
    app.section = "preview"
    assert app.preview.shown.now == app.source.instant


def test_a_store_that_cannot_be_read_any_more(store: sk.Store, tmp_path: Path) -> None:
    app = Explorer(store)
    shown = app.contents.shown
    store.close()
    (tmp_path / "store.db").rename(tmp_path / "elsewhere.db")
    app.refresh()
    assert app.source.trouble is not None
    assert app.contents.shown is shown
    (tmp_path / "elsewhere.db").rename(tmp_path / "store.db")
    app.refresh()
    assert app.source.trouble is None
    assert app.contents.shown is not shown


def test_neither_a_store_nor_a_snapshot() -> None:
    with pytest.raises(QueryError, match="neither a store nor a snapshot"):
        Source("airflow.db")  # type: ignore[arg-type]


@pytest.mark.parametrize("runner", [inline, in_thread])
def test_work_tells_how_far_it_is_and_can_be_stopped(runner: Any) -> None:
    work = Work(runner)
    ended: list[object] = []
    ready = threading.Event()

    def job(told: Any) -> str:
        for at in range(10_000):
            told(at, 10_000)
            if at == 3:
                ready.set()
                work.stop()
        return "whole"

    assert work.start("counting", job, ended.append, ended.append)
    ready.wait(10)
    for _ in range(500):
        if not work.running:
            break
        threading.Event().wait(0.01)
    assert [type(each) for each in ended] == [KeyboardInterrupt]
    assert (work.done, work.total) == (4, 10_000)
    assert work.start("again", lambda told: 7, ended.append, ended.append)
    assert ended[-1] == 7


def test_one_piece_of_work_at_a_time() -> None:
    work = Work(inline)
    starts: list[bool] = []

    def job(_told: Any) -> None:
        starts.append(work.start("inner", lambda told: None, lambda _: None, lambda _: None))

    assert work.start("outer", job, lambda _: None, lambda _: None)
    assert starts == [False]


# --- plans ---


def test_a_plan_that_comes_in_while_another_is_confirmed_is_not_carried_out(store: sk.Store, tmp_path: Path) -> None:
    plan = Planning(Source(store, now="2026-02-25T00:00:00Z"))
    plan.make()
    few, phrase = len(plan.plan), plan.shown.phrase
    plan.source.now = ""
    many = store.snapshot().plan()
    assert 0 < few < len(many)
    plan.archive = str(tmp_path / "gone")
    asked = plan._phrase

    def while_it_is_asked(confirmed: Any) -> str:
        found = asked(confirmed)
        plan.plan = many
        return found

    plan._phrase = while_it_is_asked  # type: ignore[method-assign]
    plan.delete(phrase)
    assert plan.shown.report is not None
    assert plan.shown.report.deleted == few


def test_what_a_deletion_failed_of_stays_said(store: sk.Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.execute(
            "CREATE TRIGGER kept BEFORE DELETE ON task_store WHEN OLD.key = 'lock' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    connection.close()
    plan = Planning(Source(store))
    plan.make()
    plan.set(batch_size=1, archive=str(tmp_path / "gone"))
    plan.delete(plan.shown.phrase)
    assert plan.trouble is not None
    assert "defect" not in plan.trouble.hint
    assert plan.shown.report.stopped
    assert plan.report.deleted == len(sk.open_archive(tmp_path / "gone")) if plan.report.deleted else True
    plan.make()
    assert plan.trouble is None


def test_a_stop_that_comes_when_all_is_done_stops_nothing(store: sk.Store, tmp_path: Path) -> None:
    plan = Planning(Source(store))
    plan.make()
    planned = len(plan.plan)
    plan.archive = str(tmp_path / "gone")
    plan.source.work.observe(lambda change: plan.source.work.stop() if change["new"] == planned else None, ["total"])
    plan.delete(plan.shown.phrase)
    assert plan.report.deleted == planned
    assert plan.report.stopped is None


def test_the_call_of_a_plan_gives_that_plan(store: sk.Store, tmp_path: Path) -> None:
    source = Source(store)
    plan = Planning(source)
    plan.make()
    source.now = "2026-02-10T00:00:00Z"
    names: dict[str, Any] = {"snap": source.snapshot, "sk": sk}
    exec(plan.shown.plan_call, names)  # noqa: S102 - it is what is shown to be executed
    assert names["plan"].equals(plan.plan)
    path = tmp_path / "plan.parquet"
    plan.save(path)
    assert str(path) in plan.told
    plan.open(path)
    assert plan.told == ""
    exec(plan.shown.plan_call, names)  # noqa: S102 - it is what is shown to be executed
    assert names["plan"].equals(plan.plan)
    plan.make()
    store.backend.set(sk.TaskScope("etl", "run 0", "load 0", -1), "new", "1")
    source.store._clock.advance(timedelta(seconds=1))  # type: ignore[union-attr]
    source.refresh()
    assert "not of the one that is shown" in plan.shown.plan_call
    given = Planning(Source(store), plan=sk.open_plan(path))
    assert given.shown.plan_call.startswith("#")
    assert given.archive
    assert given.shown.delete_call.count(given.archive) == 1


@pytest.mark.parametrize("path", ["", " ", "\0", 5, None])
def test_what_is_no_files_name(store: sk.Store, path: Any) -> None:
    plan = Planning(Source(store))
    plan.make()
    for act in (plan.save, plan.open):
        act(path)
        assert "is no file's name" in plan.trouble.message
        assert "defect" not in plan.trouble.hint


def test_a_deletion_stopped_between_two_batches(store: sk.Store, tmp_path: Path) -> None:
    app = Explorer(store)
    app.section = "plan"
    app.plan.make()
    planned = len(app.plan.plan)
    app.plan.set(batch_size=1, archive=str(tmp_path / "gone"))
    app.source.work.observe(lambda change: app.source.work.stop() if change["new"] == 2 else None, ["done"])
    app.plan.delete(app.plan.shown.phrase)
    report = app.plan.shown.report
    assert report.stopped is not None
    assert 0 < report.deleted < planned
    assert len(sk.open_archive(tmp_path / "gone")) == report.deleted
    # The store was read again.
    assert len(app.source.snapshot.plan()) == planned - report.deleted


@pytest.mark.parametrize("how", ["read-only", "snapshot", "empty plan", "no plan"])
def test_where_nothing_can_be_deleted_nothing_is_asked(store: sk.Store, how: str, tmp_path: Path) -> None:
    shown: Any = store
    if how == "read-only":
        shown = sk.connect(tmp_path / "store.db", clock=ManualClock(NOW))
    elif how == "snapshot":
        shown = store.snapshot()
    plan = Planning(Source(shown, now="2020-01-01T00:00:00Z" if how == "empty plan" else ""))
    if how != "no plan":
        plan.make()
    assert plan.shown.phrase == ""
    assert plan.shown.refusal
    before = store.counts()
    for typed in ("", "delete 0 rows", "delete 13 rows"):
        plan.delete(typed)
        assert plan.trouble is not None
    assert store.counts() == before
    assert plan.shown.report is None


def test_a_failed_deletion_deletes_nothing(store: sk.Store, tmp_path: Path) -> None:
    plan = Planning(Source(store))
    plan.make()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    plan.archive = str(tmp_path / "there")
    before = store.counts()
    plan.delete(plan.shown.phrase)
    assert "exists" in plan.trouble.message
    assert store.counts() == before
    assert plan.plan is not None  # it can be tried again


def test_a_plan_of_another_database(store: sk.Store, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "store.db", tmp_path / "other.db")
    with sk.connect(tmp_path / "other.db", clock=ManualClock(NOW)) as other:
        other.snapshot().plan().save(tmp_path / "other.parquet")
    plan = Planning(Source(store))
    plan.open(tmp_path / "other.parquet")
    before = store.counts()
    plan.archiving = False
    plan.delete(plan.shown.phrase)
    assert "the plan is for" in plan.trouble.message
    assert store.counts() == before


def test_a_preview_under_a_policy_is_the_labs(store: sk.Store) -> None:
    source = Source(store)
    lab = Lab(source, mode="as-if", future=False)
    lab.set_days(1, 4)
    preview = Previewing(source, policy=lab.policies[1])
    line = lab.shown.summary.iloc[1]
    assert preview.shown.deleted == line["deleted_now"] + line["cleared"]
    assert preview.shown.page.total == line["deleted_now_high"] + line["cleared"]
    assert preview.shown.groups["rows"].sum() == preview.shown.page.total
    preview.policy = lab.policies[2]
    assert preview.shown.groups["rows"].sum() == preview.shown.page.total
    preview.set(policy=lab.policies[1])
    preview.page = preview.shown.page.pages - 1
    assert len(preview.shown.rows) == preview.shown.page.total - preview.shown.page.offset


@pytest.mark.parametrize("work", ["written", "plan"])
def test_reading_tells_how_far_it_is_and_ends_where_it_is_told(store: sk.Store, work: str) -> None:
    snapshot = store.snapshot()
    expected = len(snapshot) if work == "written" else snapshot.preview().deleted
    told: list[tuple[int, int]] = []

    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        getattr(snapshot, work)(progress=stop)
    getattr(snapshot, work)(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (expected, expected)


def test_a_large_snapshot_is_read_beside_and_can_be_stopped(store: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storekit.notebook.state.lab._LARGE", 1)
    app = Explorer(store)
    labels: list[str] = []
    stopping = [True]
    work = app.source.work
    work.observe(lambda change: labels.append(change["new"]), ["label"])
    work.observe(lambda _: work.stop() if stopping[0] else None, ["running"])
    app.section = "lab"
    assert labels == ["Reading how the rows were written"]
    assert app.lab.shown is None
    assert "stopped" in app.lab.trouble.message
    stopping[0] = False
    app.lab.refresh()
    assert app.lab.trouble is None
    assert app.lab.shown is not None


# --- what a fresh look found ---


def test_a_value_that_no_input_can_have_is_said_and_changes_nothing(store: sk.Store) -> None:
    preview = Previewing(Source(store))
    shown = preview.shown
    for changes in ({"verdict": "keep", "group": "colour"}, {"group": "key", "page": "first"}, {"policy": "14 days"}):
        before = {name: getattr(preview, name) for name in changes}
        preview.set(**changes)
        assert preview.trouble is not None
        assert "defect" not in preview.trouble.hint
        assert {name: getattr(preview, name) for name in changes} == before
        assert preview.shown is shown
    preview.set(verdict="keep")
    assert preview.trouble is None


def test_what_is_kept_has_two_ends_where_what_is_deleted_has(store: sk.Store) -> None:
    # Rows of Airflow's layouts without an expiry: NEVER_EXPIRE, or a default of 0.
    with sk.connect(FIXTURES / "airflow-3.3.2.db") as airflow:
        source = Source(airflow)
        lab = Lab(source, mode="as-if", future=False, policies=sk.Policy(default_retention_days=1))
        shown = Previewing(source, policy=lab.policies[0]).shown
        assert shown.deleted < shown.deleted_high
        everything = len(source.snapshot)
        assert shown.deleted + shown.kept == everything == shown.deleted_high + shown.kept_low
        value_bytes = source.snapshot.value_bytes
        assert shown.deleted_bytes + shown.kept_bytes == value_bytes == shown.deleted_bytes_high + shown.kept_bytes_low
        in_force = Previewing(source).shown
        assert (in_force.kept_low, in_force.kept_bytes_low) == (in_force.kept, in_force.kept_bytes)


def test_what_is_compared_follows_its_policies(store: sk.Store) -> None:
    lab = Lab(Source(store), policies=[sk.Policy(default_retention_days=days) for days in (1, 2, 3, 4)], future=False)
    lab.set(compared=[2, 3])
    lab.remove(0)
    assert (lab.compared, [each.name for each in lab.policies]) == ([1, 2], ["A: 2 days", "B: 3 days", "C: 4 days"])
    lab.remove(1)
    assert lab.compared == [0, 1]
    lab.remove(0)
    assert lab.compared == [0, 0]
    lab.add(sk.Policy(default_retention_days=9))
    assert lab.compared == [0, 1]
    assert lab.shown.difference is not None


def test_so_many_policies_cannot_be_set(store: sk.Store) -> None:
    lab = Lab(Source(store), future=False)
    before = lab.policies
    for policies in ((), tuple(sk.Policy() for _ in range(7)), ("30 days",)):
        lab.set(policies=policies)
        assert "1 to 6 policies" in lab.trouble.message
        assert lab.policies == before


def test_a_filter_that_no_row_passes_is_said(store: sk.Store) -> None:
    lab = Lab(Source(store), future=False)
    tasks = store.snapshot().select(store="task")
    assert lab.shown.names["dag_id"] == tuple(tasks.by("dag_id")["dag_id"])
    assert set(lab.shown.names["key"]) == set(tasks.rows()["key"])
    shown = lab.shown
    lab.set(dag_id="et")
    assert "dag_id = 'et'" in lab.trouble.message
    assert lab.shown is shown
    lab.set(dag_id="etl")
    assert lab.trouble is None


def test_no_plan_is_made_of_another_instant_than_was_asked_for(store: sk.Store) -> None:
    plan = Planning(Source(store, now="2026-02-25T00:00:00Z"))
    plan.source.now = "2026-02-26"
    plan.make()
    assert plan.plan is None
    assert "2026-02-26" in plan.trouble.message
    plan.source.now = "2026-02-26T00:00:00Z"
    plan.make()
    assert plan.trouble is None
    assert plan.plan.info.now.day == 26


def test_a_plan_says_what_else_would_go(store: sk.Store, tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "airflow-3.3.2.db", tmp_path / "airflow.db")
    with sqlite3.connect(tmp_path / "airflow.db") as connection:
        connection.execute("UPDATE task_instance SET state = 'running' WHERE task_id = 'evaluate'")
    connection.close()
    with sk.connect(tmp_path / "airflow.db") as airflow:
        now = "2026-12-20T00:00:00Z"
        plan = Planning(Source(airflow, now=now))
        plan.make()
        counted = plan.source.snapshot.preview(now).dangers()
        unfinished = int(counted.set_index("danger").at["unfinished-task", "rows"])
        assert unfinished > 0
        assert plan.shown.dangers.equals(counted)
        rows = []
        for page in range(plan.shown.page.pages):
            plan.set(page=page)
            rows += plan.shown.rows.to_dict("records")
        assert len(rows) == len(plan.plan)
        marked = [row for row in rows if "unfinished-task" in str(row["dangers"])]
        assert len(marked) == unfinished
        assert {row["task_id"] for row in marked} == {"evaluate"}
        plan.source.refresh()
        assert plan.shown.dangers is not None  # it is the same plan
        plan.plan.save(tmp_path / "saved.parquet")
        later = Planning(Source(airflow, now=now))
        later.open(tmp_path / "saved.parquet")
        assert len(later.plan) == len(rows)
        assert later.shown.dangers is None
        assert "dangers" not in later.shown.rows


def test_the_call_of_a_plan_in_the_home_folder_finds_it(
    store: sk.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    plan = Planning(Source(store))
    plan.make()
    plan.save("~/tonight.parquet")
    plan.open("~/tonight.parquet")
    assert repr(str(tmp_path / "tonight.parquet")) in plan.shown.plan_call.replace('"', "'")


def test_an_archives_name_goes_with_its_plan(store: sk.Store, tmp_path: Path) -> None:
    plan = Planning(Source(store, now="2026-02-25T00:00:00Z"))
    plan.make()
    plan.archive = str(tmp_path / "first")
    plan.delete(plan.shown.phrase)
    assert plan.shown.report.archive == tmp_path / "first"
    plan.source.now = ""
    plan.make()
    assert plan.archive.startswith("archive-")
    plan.archive = str(tmp_path / "second")
    plan.delete(plan.shown.phrase)
    assert plan.trouble is None
    assert plan.shown.report.archive == tmp_path / "second"


def test_a_store_that_was_not_read_says_so_until_it_is(store: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(store)

    def lost(**_: Any) -> Any:
        raise QueryError("the server is gone", hint="start it")

    with monkeypatch.context() as patched:
        patched.setattr(store, "snapshot", lost)
        source.refresh()
    source.now = "2026-03-20T00:00:00Z"
    assert source.trouble.message == "the server is gone"
    source.now = "soon"
    assert "soon" in source.trouble.message
    source.now = ""
    assert source.trouble.message == "the server is gone"
    source.refresh()
    assert source.trouble is None


def test_a_value_that_was_written_again_is_said_to_be(store: sk.Store) -> None:
    contents = Contents(Source(store), dag_id="etl", key="lock")
    contents.selected = 0
    contents.reveal()
    assert "again" not in contents.value.about
    row = contents.shown.rows.iloc[0]
    scope = sk.TaskScope(row["dag_id"], row["run_id"], row["task_id"], int(row["map_index"]))
    store.backend.set(scope, "lock", '"other"')
    contents.reveal()
    assert contents.value.text == '"other"'
    assert "written again since the snapshot" in contents.value.about


def test_who_asks_to_start_waits_for_nobody_who_looks_on() -> None:
    """A view draws under the source's lock when work begins; who holds that lock may ask to start work."""
    work, lock = Work(in_thread), threading.RLock()
    holding, started = threading.Event(), threading.Event()
    answers: list[bool] = []

    def looks_on(_change: Any) -> None:
        started.set()
        with lock:
            pass

    def holds() -> None:
        with lock:
            holding.set()
            assert started.wait(10)
            answers.append(work.start("second", lambda told: None, lambda _: None, lambda _: None))

    work.observe(looks_on, ["running"])
    holder = threading.Thread(target=holds, daemon=True)
    holder.start()
    assert holding.wait(10)
    starter = threading.Thread(
        target=lambda: work.start("first", lambda told: None, lambda _: None, lambda _: None), daemon=True
    )
    starter.start()
    holder.join(10)
    starter.join(10)
    assert not holder.is_alive()
    assert not starter.is_alive()
    assert answers == [False]


def test_a_large_snapshot_is_not_read_in_another_works_thread(store: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storekit.notebook.state.lab._LARGE", 1)
    app = Explorer(store)
    app.section = "lab"
    labels: list[str] = []
    app.source.work.observe(lambda change: labels.append(change["new"]), ["label"])
    app.refresh()
    assert labels == ["Reading the store", "Reading how the rows were written"]
    assert app.lab.shown.simulation.info == app.source.snapshot.info
