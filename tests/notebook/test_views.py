"""The widgets without a browser: what a browser would send, and what it would be sent."""

from __future__ import annotations

import inspect
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from small_store import HOSTILE

import storekit as sk
from storekit.clock import ManualClock
from storekit.errors import QueryError
from storekit.frames.display import plain
from storekit.notebook.parts import Code, Facet, Notice, Table
from storekit.notebook.state.explorer import SECTIONS
from storekit.notebook.views.cells import MISSING

FIXTURE = Path(__file__).resolve().parents[2] / "data" / "fixtures" / "airflow-3.3.2.db"
AT = "2026-11-28T00:00:00Z"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done beside is waited for: on a busy machine half a second is not enough to read a store."""
    monkeypatch.setattr("storekit.notebook.state.work._PATIENCE", 20)


@pytest.fixture
def fixture() -> Iterator[sk.Store]:
    # At an instant of its own: what lies ahead of it must not lie behind it one day.
    with sk.connect(FIXTURE, clock=ManualClock(datetime(2026, 11, 23, tzinfo=UTC))) as opened:
        yield opened


def inside(widget: ipywidgets.Widget) -> Iterator[ipywidgets.Widget]:
    """Return a widget and all below it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def settled(condition: Any) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to an end"
        time.sleep(0.02)


def test_a_user_looks_through_the_contents(fixture: sk.Store) -> None:
    view = sk.notebook.ContentsBrowser(fixture, now=AT)
    snap = fixture.snapshot()
    view._facets["dag_id"].selected = "orders_etl"
    expected = snap.select(dag_id="orders_etl", now=AT)
    assert view._table.total.startswith(f"{len(expected)} rows")
    view._table.put(sort="value_bytes")
    view._table.put(descending=True)
    rows = expected.rows(25, sort="value_bytes", descending=True)
    assert [row[0] for row in view._table.rows] == [plain(key) for key in rows["key"]]
    view._table.page = view._table.pages - 1
    assert len(view._table.rows) == len(expected) % 25
    view._search.value = "CURSOR"
    assert view._table.total.startswith(f"{len(snap.select('cursor', dag_id='orders_etl'))} rows")
    assert view._table.page == 0
    view._table.selected = 2
    assert not view._show.disabled
    view._show.click()
    assert "JSON" in view._value.label
    assert view._value.layout.display is None
    view._clear.click()
    assert view._facets["dag_id"].selected is None
    assert view._search.value == ""
    assert view._value.layout.display == "none"


def test_the_line_of_the_other_stores_rows_leads_to_them(fixture: sk.Store) -> None:
    view = sk.notebook.ContentsBrowser(fixture)
    view._facets["dag_id"].selected = MISSING
    assert view.state.store == view._store.value == "asset"
    assert view._facets["dag_id"].selected is None
    view._facets["writer"].selected = "watcher"
    assert view.state.shown.total_rows == 1


def test_a_slider_moves_the_picture_and_the_numbers(fixture: sk.Store) -> None:
    view = sk.notebook.PolicyLab(fixture, now=AT, mode="as-if", future=False)
    picture = view._figure.widget
    line = picture.data[5]
    before = list(line.y)
    view._cards[1].days.value = 2
    assert view._figure.widget is picture
    assert picture.data[5] is line
    assert list(line.y) != before
    simulation = fixture.snapshot().simulate(
        [sk.Policy(), sk.Policy(default_retention_days=2)], "90d", "as-if", now=AT, future=False
    )
    assert view.state.shown.summary["deleted_now"].iloc[1] == simulation.summary["deleted_now"].iloc[1]
    assert view._rows.total.startswith(str(simulation.difference_by("as written", "2 days")["rows"].iloc[0]))
    assert view._cards[1].days.label == "B: 2 days"
    view._cards[1].days.unset = True
    assert view.state.policies[1].default_retention_days is None
    view._cards[1].days.put(unset=False)
    assert view.state.policies[1].default_retention_days == 2


def test_policies_come_and_go(fixture: sk.Store) -> None:
    view = sk.notebook.PolicyLab(fixture, future=False)
    assert len(view._policies.children) == 3
    for _ in range(3):
        view._add.click()
    assert len(view._policies.children) == 6
    assert view._add.disabled
    view._cards[0].remove.click()
    assert len(view._policies.children) == 5
    assert [trace.visible for trace in view._figure.widget.data[12:]] == [True, True, True, False, False, False]
    view._file.value = "nowhere.toml"
    view._load.click()
    assert view._notice.kind == "error"
    assert "nowhere.toml" in view._notice.message
    assert len(view.state.policies) == 5


def test_an_error_is_shown_with_its_remedy_and_goes(fixture: sk.Store) -> None:
    app = sk.explore(fixture)
    app._now.value = "tomorrow"
    assert app._notice.kind == "error"
    assert "tomorrow" in app._notice.message
    assert app._notice.hint
    app._now.value = AT
    assert app._notice.kind == ""
    preview = app.view("preview")
    app.state.section = "preview"
    assert preview.state.shown.deleted == fixture.snapshot().preview(AT).deleted


def test_what_raises_in_a_callback_is_shown(fixture: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    view = sk.notebook.ContentsBrowser(fixture)
    monkeypatch.setattr(type(view.state), "set", lambda *_args, **_kwargs: 1 / 0)
    view._search.value = "x"
    assert "ZeroDivisionError" in view._notice.message
    assert "defect" in view._notice.hint


def test_a_deletion_needs_its_phrase(store: sk.Store, tmp_path: Path) -> None:
    app = sk.explore(store)
    app.state.section = "plan"
    view = app.view("plan")
    view._make.click()
    settled(lambda: view.state.plan is not None and not app.state.source.work.running)
    confirm = view._confirm
    before = store.counts()
    planned = len(view.state.plan)
    view.state.archive = str(tmp_path / "gone")
    about = view.state.plan.info.sha256
    confirm.fired = {"typed": "yes", "about": about, "count": 1}
    confirm.fired = {"typed": "", "about": about, "count": 2}
    confirm.fired = {"typed": confirm.expected, "about": about, "count": 2}  # the same click once more
    confirm.fired = {"typed": confirm.expected, "about": "another plan", "count": 3}
    assert store.counts() == before
    confirm.fired = {"typed": confirm.expected, "about": about, "count": 4}
    settled(lambda: view.state.report is not None and not app.state.source.work.running)
    assert view.state.report.deleted == planned == before["tasks"] - store.counts()["tasks"]
    assert "sk.restore" in view._report.value
    assert view._planned.layout.display == "none"
    settled(lambda: len(app.state.source.snapshot) == sum(store.counts().values()))
    archive = tmp_path / "gone"
    assert sk.restore(archive, store, dry_run=False).restored == planned


def test_two_apps_share_nothing(fixture: sk.Store) -> None:
    first, second = sk.explore(fixture), sk.explore(fixture)
    first._now.value = AT
    first.view("contents")._facets["dag_id"].selected = "orders_etl"
    first.state.section = "lab"
    first.view("lab")._cards[1].days.value = 3
    assert second.state.section == "contents"
    assert second._now.value == ""
    assert second.view("contents")._facets["dag_id"].selected is None
    assert second.state.lab.policies[1].default_retention_days == 30
    ours, theirs = (
        {each.model_id for each in inside(app) if not isinstance(each, ipywidgets.Layout)} for app in (first, second)
    )
    assert not ours & theirs


@pytest.mark.parametrize(
    "widget", ["ContentsBrowser", "PolicyLab", "PreviewTable", "PlanReview"], ids=lambda name: str(name)
)
def test_a_widget_alone_and_in_an_app_are_the_same(fixture: sk.Store, widget: str) -> None:
    made = getattr(sk.notebook, widget)
    alone = made(fixture)
    again = made(alone.state)
    assert again.state is alone.state
    assert again._code.text == alone._code.text
    with pytest.raises(QueryError, match="neither a store nor a snapshot"):
        made("airflow.db")
    with pytest.raises(QueryError, match="the state that is shown has its own"):
        made(alone.state, now=AT)


def test_nothing_of_ipywidgets_is_overridden_unknowingly(fixture: sk.Store) -> None:
    app = sk.explore(fixture)
    ours = [app, *(app.view(section) for section in SECTIONS)]
    for widget in ours:
        for kind in type(widget).__mro__[: type(widget).__mro__.index(ipywidgets.VBox)]:
            made = {name for name, value in vars(kind).items() if inspect.isfunction(value)}
            assert made & set(dir(ipywidgets.VBox)) <= {"_repr_mimebundle_", "__init__", "__repr__"}
        assert not vars(widget).keys() & set(dir(ipywidgets.VBox)) - vars(ipywidgets.VBox()).keys()
        assert len(repr(widget)) < 200


def test_explore_takes_a_store_or_a_snapshot_and_nothing_else(fixture: sk.Store) -> None:
    app = sk.explore(fixture.snapshot())
    assert app._refresh.disabled
    with pytest.raises(QueryError, match=r"sk\.explore\(sk\.connect\(url\)\)"):
        sk.explore(str(FIXTURE))  # type: ignore[arg-type]


def test_an_instant_is_taken_as_everywhere(fixture: sk.Store) -> None:
    asked = datetime.fromisoformat(AT)
    assert sk.explore(fixture, now=asked).state.source.instant == asked
    for view in (sk.notebook.PreviewTable(fixture, now=asked), sk.notebook.PolicyLab(fixture, now=asked)):
        assert view.state.source.instant == asked
        assert repr(AT) in view._code.text.replace('"', "'")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda store: sk.explore(store, now="tomorrow"), "tomorrow"),
        (lambda store: sk.explore(store, now=datetime(2026, 11, 28)), "zone"),  # noqa: DTZ001
        (lambda store: sk.explore(store, now=7), "7"),
        (lambda store: sk.notebook.PolicyLab(store, mode="asif"), "asif"),
        (lambda store: sk.notebook.ContentsBrowser(store, dag_id=5), "dag_id"),
        (lambda store: sk.notebook.ContentsBrowser(store, sort="nothing"), "nothing"),
        (lambda store: sk.notebook.PreviewTable(store, group="colour"), "colour"),
    ],
)
def test_a_call_that_cannot_be_answered_is_refused(fixture: sk.Store, call: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        call(fixture)


def test_an_empty_store(tmp_path: Path) -> None:
    backend = sk.MetastoreStateBackend(tmp_path / "empty.db")
    backend.create_tables()
    backend.close()
    with sk.connect(tmp_path / "empty.db", writable=True) as store:
        app = sk.explore(store)
        for section in SECTIONS:
            app.state.section = section
            assert app.view(section)._notice.message == ""
        assert app._repr_mimebundle_()["text/html"]
        app.view("plan")._make.click()
        settled(lambda: app.state.plan.plan is not None)
        assert app.view("plan")._confirm.disabled


def test_what_was_typed_for_one_plan_is_nothing_to_another(store: sk.Store) -> None:
    view = sk.notebook.PlanReview(store)
    view.state.make()
    settled(lambda: view.state.plan is not None)
    view._confirm.typed = view._confirm.expected
    view.state.set(page_size=25)
    assert view._confirm.typed == view._confirm.expected
    view.state.make()
    settled(lambda: view._confirm.typed == "")


def test_a_chosen_policy_is_followed(fixture: sk.Store) -> None:
    app = sk.explore(fixture)
    lab, preview = app.state.lab, app.state.preview
    app.state.section = "preview"
    view = app.view("preview")
    view._policy.value = 1
    assert preview.policy.default_retention_days == 30
    app.state.section = "lab"
    lab.set_days(1, 21)
    app.state.section = "preview"
    assert preview.policy.default_retention_days == 21  # changed in its place
    lab.remove(0)
    app.state.section = "lab"
    app.state.section = "preview"
    assert preview.policy.default_retention_days == 21  # under another letter
    assert view._policy.value == 0
    alone = sk.notebook.PreviewTable(fixture, policy=sk.Policy(default_retention_days=2))
    assert alone.state.policy == sk.Policy(default_retention_days=2)
    assert alone._policy.value == 0


def test_without_a_kernel_it_is_said_why_nothing_is_there(fixture: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    under = sk.notebook.PreviewTable(fixture.snapshot(), policies=[sk.Policy()])
    under._policy.value = 0
    under.state.source.now = "2020-01-01T00:00:00Z"
    assert "rows" in harmless(under._repr_mimebundle_()["text/html"]).text

    def unreadable(*_: Any, **__: Any) -> Any:
        raise sk.errors.ConnectError("<b>no way in</b>", hint="ask for one")

    monkeypatch.setattr(sk.Store, "snapshot", unreadable)
    app = sk.explore(fixture)
    assert "The store was not read" in app._title.value
    said = harmless(app._repr_mimebundle_()["text/html"]).text
    assert "<b>no way in</b>" in said
    assert "ask for one" in said
    view = sk.notebook.ContentsBrowser(fixture)
    assert view._notice.message == "<b>no way in</b>"


# --- what a fresh look found ---


def said(widget: ipywidgets.HTML) -> str:
    return Tags(widget.value).text


def drawn(view: Any) -> list[list[str]]:
    """The texts of all tables that can be seen."""
    tables = [each for each in inside(view) if isinstance(each, Table) and each.layout.display != "none"]
    return [row for table in tables for row in table.rows]


def test_the_figure_has_dates_after_a_move_and_says_what_it_leaves_out(fixture: sk.Store) -> None:
    view = sk.notebook.PolicyLab(fixture.snapshot(), now=AT)
    figure = view._figure.widget
    before = figure.data[5].x
    view._cards[1].days.value = 20
    for trace in figure.data[:9]:
        assert isinstance(trace.x[0], str)  # plotly guesses the axis by what it is sent: texts of dates are dates
    assert (figure.data[5].x == before).all()
    assert figure.layout.xaxis.type == "date"
    assert figure.layout.yaxis.title.text == "bytes, as each cleanup leaves them"  # ninety teeth are not drawn
    view._measure.value = "rows"
    assert figure.layout.yaxis.title.text == "rows, as each cleanup leaves them"
    view._horizon.value = 20
    assert figure.layout.yaxis.title.text == "rows"
    over_time = view.state.shown.over_time
    line = over_time[over_time["policy"] == "B: 20 days"]
    assert list(figure.data[5].y) == list(line["rows"])


def test_what_a_simulation_rests_on_stands_under_the_figure_doubts_first(fixture: sk.Store) -> None:
    view = sk.notebook.PolicyLab(fixture.snapshot(), now=AT)
    assumptions = view.state.shown.assumptions
    doubts = [each for each in assumptions if each.startswith("Doubt: ")]
    assert 0 < len(doubts) < len(assumptions)
    text = said(view._assumptions)
    for each in assumptions:
        assert each in text
    assert text.index(doubts[-1]) < min(text.index(each) for each in assumptions if each not in doubts)
    places = list(view.children)
    assert places.index(view._summary) < places.index(view._assumptions) < places.index(view._by)


def test_two_policies_are_to_be_chosen_and_what_is_empty_is_not_shown(fixture: sk.Store) -> None:
    view = sk.notebook.PolicyLab(fixture.snapshot(), now=AT, future=False)
    assert "No row differs. Rows that exist keep the expiry they have" in said(view._same)
    assert drawn(view) == []
    view._b.value = 0
    assert said(view._same) == "Choose two policies to compare."
    assert drawn(view) == []
    view.state.set(mode="as-if", compared=[0, 2])
    view._cards[2].days.value = 1
    assert said(view._same) == ""
    assert len(drawn(view)) > 3
    assert view._rows.layout.display is None
    view._b.value = 0
    assert said(view._same) == "Choose two policies to compare."
    assert drawn(view) == []


def test_names_are_offered_and_controls_tell_whose_they_are(fixture: sk.Store) -> None:
    hostile = sk.Policy(name=HOSTILE[0], default_retention_days=3)
    view = sk.notebook.PolicyLab(fixture.snapshot(), policies=[sk.Policy(), hostile], future=False)
    assert "orders_etl" in view._filters["dag_id"].options
    assert "cursor" in view._filters["key"].options
    names = {name: [getattr(card, name).description for card in view._cards[:2]] for name in ("every", "clear")}
    for first, second in names.values():
        assert first != second
        assert Tags(first).text.endswith(", A: as written")
        assert Tags(second).text.endswith(f", B: {HOSTILE[0]}")
        assert Tags(second).tags == {"i"}
    assert [card.remove.description for card in view._cards[:2]] == ["Remove A", "Remove B"]
    assert [card.remove.tooltip for card in view._cards[:2]] == ["Remove A: as written", f"Remove B: {HOSTILE[0]}"]


def test_boxes_show_the_number_that_is_used(store: sk.Store) -> None:
    lab = sk.notebook.PolicyLab(store.snapshot(), future=False)
    lab.state.set(horizon_days=3_000)
    assert lab._horizon.value == lab.state.horizon_days == 3_000
    lab._horizon.value = 40_000
    assert "40,000 days" in lab._notice.message
    plan = sk.notebook.PlanReview(store)
    settled(lambda: plan.state.shown is not None)
    for size in (0, 5_000_000):
        plan.state.set(batch_size=size)
        assert plan._batch.value == size
    plan._batch.value = 0
    assert plan.state.batch_size == 0


def test_what_is_pressed_at_the_end_of_a_page_is_answered_there(store: sk.Store, tmp_path: Path) -> None:
    app = sk.explore(store)
    app.state.section = "plan"
    view, source = app.view("plan"), app.state.source
    view._make.click()
    settled(lambda: view.state.plan is not None and not source.work.running)
    (tmp_path / "there").mkdir()
    view.state.archive = str(tmp_path / "there")
    view._confirm.fired = {"typed": view._confirm.expected, "about": view._confirm.about, "count": 1}
    settled(lambda: view._by_delete.notice.kind == "error")
    assert "there" in view._by_delete.notice.message
    assert view._by_delete.layout.display is None
    assert view._notice.kind == view._by_look.notice.kind == ""
    settled(lambda: not source.work.running)
    view._file.value = str(tmp_path / "nowhere" / "x.parquet")
    view._save.click()
    settled(lambda: view._notice.kind == "error")
    assert view._by_delete.notice.kind == ""
    assert view._by_delete.layout.display == "none"


def test_nothing_of_a_plan_can_be_changed_while_work_is_under_way(
    store: sk.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = sk.notebook.PlanReview(store)
    settled(lambda: view.state.shown is not None)
    view._make.click()
    settled(lambda: view.state.plan is not None and not view.state.source.work.running)
    controls = [
        *(view._make, view._save, view._open, view._look),
        *(view._archiving, view._archive, view._batch, view._confirm),
    ]
    assert [each.disabled for each in controls] == [False] * 8
    going = threading.Event()
    monkeypatch.setattr("storekit.notebook.state.work._PATIENCE", 0)

    def wait(_told: Any) -> None:
        assert going.wait(20)

    view.state.source.work.start("Waiting", wait, lambda _: None, lambda _: None)
    assert [each.disabled for each in controls] == [True] * 8
    going.set()
    settled(lambda: not any(each.disabled for each in controls))


def test_a_plan_names_its_dangers_its_database_and_that_there_is_no_way_back(tmp_path: Path) -> None:
    shutil.copy(FIXTURE, tmp_path / "airflow.db")
    with sqlite3.connect(tmp_path / "airflow.db") as connection:
        connection.execute("UPDATE task_instance SET state = 'running' WHERE task_id = 'evaluate'")
    connection.close()
    clock = ManualClock(datetime(2026, 11, 23, tzinfo=UTC))
    with sk.connect(tmp_path / "airflow.db", writable=True, clock=clock) as airflow:
        view = sk.notebook.PlanReview(airflow, now=AT)
        settled(lambda: view.state.shown is not None)
        view._make.click()
        settled(lambda: view.state.plan is not None)
        dangers = view.state.source.snapshot.preview(AT).dangers().set_index("danger")
        unfinished = dangers.at["unfinished-task", "rows"]
        card, prompt = said(view._card), view._confirm.prompt
        assert f"unfinished task: {unfinished} rows" in card
        assert "its next try will not find what it saved" in card
        assert "inactive-asset" in dangers.index  # of rows that no plan names
        assert "inactive asset" not in card
        assert f"unfinished task: {unfinished} rows" in prompt
        assert str(tmp_path / "airflow.db") in prompt
        assert view.state.archive in prompt
        assert "undone" not in prompt
        view._archiving.value = False
        assert "It cannot be undone: nothing is archived." in view._confirm.prompt
        view.state.set(page_size=100)
        places = [at for at, row in enumerate(view._rows.rows) if row[2].startswith("evaluate")]
        assert [at for at, mark in enumerate(view._rows.marks) if mark == "danger"] == places
        assert set(view._rows.marks) == {"danger", ""}
        due = view.state.source.snapshot.preview().deleted
        assert f"{due} rows had expired when the snapshot was taken" in card


def test_under_a_policy_both_numbers_are_spans_and_the_tables_say_their_end(fixture: sk.Store) -> None:
    view = sk.notebook.PreviewTable(fixture.snapshot(), now=AT, policies=[sk.Policy(default_retention_days=1)])
    assert "high end" not in view._table.total + view._groups.total
    view._policy.value = 0
    shown = view.state.shown
    assert shown.deleted < shown.deleted_high
    totals = said(view._totals)
    for low, high in ((shown.deleted, shown.deleted_high), (shown.kept_low, shown.kept)):
        assert f"{low:,} … {high:,}" in totals
    assert view._table.total == f"{shown.deleted_high} rows, the high end: with all that cannot be told apart"
    assert "high end" in view._groups.total
    assert view._table.marks == []  # all of them are deleted


def test_a_policy_that_a_program_set_stays_and_is_named(fixture: sk.Store) -> None:
    app = sk.explore(fixture)
    settled(lambda: app.state.contents.shown is not None)
    policy = sk.Policy(name="tonight", default_retention_days=2)
    app.state.preview.policy = policy
    app.state.section = "preview"
    view = app.view("preview")
    assert app.state.preview.policy == policy
    assert view._policy.label == "tonight, had it always been in force"
    view._policy.value = 1
    assert app.state.preview.policy == app.state.lab.policies[1]
    assert len(view._policy.options) == 4
    app.state.preview.policy = policy
    assert view._policy.label == "tonight, had it always been in force"
    app.state.preview.policy = None
    assert view._policy.label == "what is in force"
    # One of the lab's that is gone from there is gone here.
    view._policy.value = 2
    app.state.section = "lab"
    app.state.lab.remove(2)
    app.state.section = "preview"
    assert app.state.preview.policy is None


def test_a_danger_lists_its_rows_kept_ones_too(fixture: sk.Store) -> None:
    view = sk.notebook.PreviewTable(fixture.snapshot())
    assert view.state.verdict == "delete"
    view._danger.value = "inactive-asset"
    assert view._table.total == "3 rows"
    assert view._verdict.value == ""
    assert view._table.marks == ["danger"] * 3
    view._danger.value = ""
    assert view.state.verdict == "delete"
    assert view._verdict.value == "delete"
    assert view._table.marks == []  # all of them are deleted, and none is in danger


def test_what_raises_in_a_drawing_is_shown(fixture: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    view = sk.notebook.ContentsBrowser(fixture.snapshot())
    app = sk.explore(fixture.snapshot())
    with monkeypatch.context() as patched:
        patched.setattr("storekit.notebook.views.contents.table_rows", lambda *_: 1 / 0)
        view.state.set(text="cursor")
        assert "ZeroDivisionError" in view._notice.message
        patched.setattr("storekit.notebook.views.preview.PreviewTable.offer", lambda *_: 1 / 0)
        app.state.section = "preview"
        assert "ZeroDivisionError" in app._notice.message
    view.state.set(text="")
    assert view._notice.kind == ""
    app.state.section = "contents"
    assert app._notice.kind == ""


def test_a_row_that_is_chosen_no_more_leaves_no_trace(fixture: sk.Store) -> None:
    view = sk.notebook.ContentsBrowser(fixture, now=AT)
    settled(lambda: view.state.shown is not None)
    assert view._show.disabled
    view._table.selected = 2
    assert "store.tasks(" in view._code.text
    view._table.selected = -1
    assert view._code.text == view.state.shown.call
    assert view._show.disabled
    view.state.selected = 99  # there is no such row
    assert view._show.disabled


def test_a_large_store_says_that_enter_searches(fixture: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    view = sk.notebook.ContentsBrowser(fixture.snapshot())
    assert "Enter" not in view._search.placeholder
    assert view._search.continuous_update
    monkeypatch.setattr("storekit.notebook.views.contents._EACH_LETTER", 10)
    view = sk.notebook.ContentsBrowser(fixture.snapshot())
    assert view._search.placeholder.endswith("then Enter")
    assert not view._search.continuous_update


def test_a_chosen_section_is_shown_before_its_answer_is_there(
    fixture: sk.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = sk.explore(fixture.snapshot())
    seen: list[bool] = []
    answer = type(app.state.lab)._answer

    def slow(lab: Any) -> Any:
        shown = [each for each in app._body.children if each.layout.display is None]
        seen.append(shown == [app.view("lab")])
        return answer(lab)

    monkeypatch.setattr(type(app.state.lab), "_answer", slow)
    app._tabs.selected = 1
    assert seen == [True]
    assert app.state.section == "lab"


def test_no_section_is_shown_while_another_thread_draws(fixture: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    app = sk.explore(fixture.snapshot())
    shown: list[str] = []
    show = type(app)._show

    def shows(self: Any, view: Any) -> None:
        shown.append(type(view).__name__)
        show(self, view)

    monkeypatch.setattr(type(app), "_show", shows)
    with app.state.source.lock:
        chooser = threading.Thread(target=lambda: app._tabs.set_trait("selected", 2))
        chooser.start()
        chooser.join(0.3)
        assert shown == []
    chooser.join(20)
    assert set(shown) == {"PreviewTable"}


def test_what_is_no_instant_is_mended_in_the_box(fixture: sk.Store) -> None:
    app = sk.explore(fixture.snapshot())
    app._now.value = "2026-11-22"
    assert "2026-11-22T10:00:00Z" in app._notice.hint
    assert "datetime(" not in app._notice.hint


# --- hostile texts ---


class Tags(HTMLParser):
    """What a piece of HTML holds, as a browser's parser finds it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


HARMLESS = {
    *("div", "p", "span", "table", "thead", "tbody", "tr", "th", "td", "code", "em", "strong", "br", "img", "style"),
    *("h2", "h3", "b", "i"),
}


def harmless(html: str) -> Tags:
    found = Tags(html)
    assert found.tags <= HARMLESS
    for name, value in found.attributes:
        assert not name.startswith("on")
        if name in {"src", "href"}:
            assert value.startswith("data:image/")
    return found


def test_hostile_texts_are_texts_in_every_view_and_without_a_kernel(store: sk.Store) -> None:
    app = sk.explore(store, policies=[sk.Policy(), sk.Policy(name=HOSTILE[0], default_retention_days=3)])
    shown = ""
    for section in SECTIONS:
        app.state.section = section
        view = app.view(section)
        if section == "plan":
            view._make.click()
            settled(lambda: app.state.plan.plan is not None and not app.state.source.work.running)
        harmless(view.fallback())
        for widget in inside(view):
            if isinstance(widget, ipywidgets.HTML):
                harmless(widget.value)
            elif isinstance(widget, Table):
                shown += "\n".join(cell for row in widget.rows for cell in row)
            elif isinstance(widget, Facet):
                shown += "\n".join(item["text"] for item in widget.items)
            elif isinstance(widget, Code):
                shown += widget.text
            elif isinstance(widget, Notice):
                assert widget.message == ""
    assert "\u202e" not in shown
    assert "\u200b" not in shown
    assert "a\\u202egnp.exe\\u202c\\u200b" in shown
    assert HOSTILE[0] in shown
    for trace in app.view("lab")._figure.widget.data:
        assert "<" not in (trace.name or "")  # plotly reads markup
    found = harmless(app._repr_mimebundle_()["text/html"])
    assert HOSTILE[0] in found.text


def test_what_stands_in_for_a_view_is_an_output_of_its_own(fixture: sk.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[dict[str, Any]] = []
    monkeypatch.setattr("storekit.notebook.views.base.display", lambda data, raw: outputs.append(data))
    for widget in (sk.explore(fixture.snapshot()), sk.notebook.PreviewTable(fixture.snapshot())):
        outputs.clear()
        widget._ipython_display_()
        live, still = outputs
        assert set(live) >= {"application/vnd.jupyter.widget-view+json", "text/plain"}
        assert "text/html" not in live  # else an untrusted notebook would show it twice
        assert set(still) == {"text/html"}
        assert "table" in harmless(still["text/html"]).tags


def test_without_a_kernel_there_is_a_table_and_a_picture(fixture: sk.Store) -> None:
    app = sk.explore(fixture, now=AT)
    settled(lambda: app.state.contents.shown is not None)
    bundle = app._repr_mimebundle_()
    found = harmless(bundle["text/html"])
    assert {"table", "img"} <= found.tags
    assert "orders_etl" in found.text
    assert "32" in found.text
    assert "sqlite:///" in bundle["text/plain"]
    snap = fixture.snapshot()
    for name in ("ContentsBrowser", "PolicyLab"):
        assert {"table", "img"} <= harmless(getattr(sk.notebook, name)(snap).fallback()).tags
    for name in ("PreviewTable", "PlanReview"):
        assert harmless(getattr(sk.notebook, name)(snap).fallback()).text
