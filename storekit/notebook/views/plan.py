"""A plan to look over, to save, and to carry out behind a typed confirmation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import ipywidgets as widgets
import pandas as pd

from storekit.frames.display import escape, human_bytes, human_instant, human_rows, plain
from storekit.frames.plan import Plan
from storekit.frames.planview import plan_html
from storekit.frames.report import framed
from storekit.frames.snapshot import Snapshot
from storekit.notebook.parts import Confirm, Notice, Table
from storekit.notebook.state import Planning, Source
from storekit.notebook.state.paging import PAGE_SIZES
from storekit.notebook.state.planning import PlanningShown
from storekit.notebook.views.base import View, WorkView, heading, row, say, soft, state_of
from storekit.notebook.views.cells import (
    RUN,
    Column,
    at_page,
    by_dag,
    bytes_of,
    fixed,
    heads,
    instant_of,
    largest,
    table_rows,
    task_of,
    text_of,
)
from storekit.notebook.views.dangers import danger_marks, danger_name, dangers_html, of_deletion
from storekit.store import Store

__all__ = ["PlanReview"]

_ROWS = fixed(
    Column("key", "key", text_of("key")),
    Column("dag_id", "Dag", text_of("dag_id")),
    Column("task_id", "task", task_of),
    RUN,
    Column("value_bytes", "size", bytes_of("value_bytes"), numeric=True),
    Column("updated_at", "last write (UTC)", instant_of("updated_at")),
    Column("expires_at", "expires (UTC)", instant_of("expires_at")),
)
_DANGER = Column("dangers", "danger", text_of("dangers"), sortable=False)
_BY_DAG = by_dag()
_MOST_DAGS = 8


class _Beside(widgets.VBox):
    """Work and trouble next to what was pressed: what stands at the top of a long page is not seen from its end."""

    def __init__(self, source: Source) -> None:
        self.notice = Notice()
        super().__init__([WorkView(source, aloud=False), self.notice])


class PlanReview(View):
    """A plan: made, looked over, saved, compared with the store, carried out.

    Nothing is deleted unless the store was opened for writing and the phrase that is asked for was typed.

    Parameters
    ----------
    store_or_snapshot
        A store, or a snapshot.
    now
        The instant of the plan, aware or ISO text with a zone; None: when the snapshot was taken.
    **inputs
        Inputs of `storekit.notebook.state.Planning` to start with, such as ``plan=sk.open_plan(path)``.

    Examples
    --------
    >>> sk.notebook.PlanReview(sk.connect(url, writable=True))  # doctest: +SKIP
    """

    state: Planning

    def __init__(
        self, store_or_snapshot: Store | Snapshot | Planning, *, now: datetime | str | None = None, **inputs: Any
    ) -> None:
        state = state_of(store_or_snapshot, Planning, now, **inputs)
        self._make = widgets.Button(description="Make the plan", button_style="primary")
        self._file = widgets.Text(description="Plan file", value="tonight.parquet")
        self._save = widgets.Button(description="Save it there")
        self._open = widgets.Button(description="Open it from there")
        self._card = widgets.HTML()
        self._by = Table(caption="By Dag", columns=heads(_BY_DAG), page_sizes=[], selectable=False)
        self._by.add_class("sk-narrow")
        self._rows = Table(
            caption="Rows to delete", columns=heads(_ROWS), page_sizes=list(PAGE_SIZES), selectable=False
        )
        self._look = widgets.Button(description="Dry run")
        self._looked = widgets.HTML()
        self._archiving = widgets.Checkbox(description="archive what is deleted", indent=False)
        self._archive = widgets.Text(description="Archive", continuous_update=False)
        self._archive.add_class("sk-broad")
        # Without bounds: a box that has some shows another number than the one that is used.
        self._batch = widgets.IntText(description="Rows per batch (0: all at once)")
        self._confirm = Confirm()
        self._confirmed: Plan | None = None
        self._told = Notice()
        self._report = widgets.HTML()
        self._by_look, self._by_delete = _Beside(state.source), _Beside(state.source)
        self._pressed: _Beside | None = None
        self._by_look.layout.display = self._by_delete.layout.display = "none"
        self._planned = widgets.VBox(
            [
                self._by,
                self._rows,
                heading("Compare with the store"),
                soft("What the plan would delete by now. Nothing is written."),
                row(self._look),
                self._by_look,
                self._looked,
                heading("Delete"),
                row(self._archiving, self._archive, self._batch),
                self._confirm,
                self._by_delete,
            ]
        )
        super().__init__(
            state,
            [
                row(self._make, self._file, self._save, self._open),
                self._told,
                self._card,
                self._report,
                self._planned,
            ],
            alone=state is not store_or_snapshot,
        )
        self.click(self._make, lambda: self._press(None, state.make))
        self.click(self._save, lambda: self._press(None, lambda: state.save(self._file.value)))
        self.click(self._open, lambda: self._press(None, lambda: state.open(self._file.value)))
        self.click(self._look, lambda: self._press(self._by_look, state.look))
        self.on(self._archiving, "value", lambda archiving: state.set(archiving=archiving))
        self.on(self._archive, "value", lambda archive: state.set(archive=archive))
        self.on(self._batch, "value", lambda size: state.set(batch_size=size))
        self.turns(self._rows)
        self._confirm.on_fire(lambda typed: self._press(self._by_delete, lambda: state.delete(typed)))
        state.observe(self._tell, ["told"])
        state.source.work.observe(self._redraw, ["running"])

    def _press(self, beside: _Beside | None, do: Callable[[], object]) -> None:
        self._pressed = beside
        for each in (self._by_look, self._by_delete):
            each.layout.display = None if each is beside else "none"
        do()

    def _say(self, _change: Any) -> None:
        # A plan that is carried out takes its part of the page with it.
        beside = None if self.state.plan is None else self._pressed
        for notice in (self._notice, self._by_look.notice, self._by_delete.notice):
            here = self._notice if beside is None else beside.notice
            say(notice, self._said() if notice is here else None)

    def _tell(self, _change: Any) -> None:
        self._told.put(message=plain(self.state.told), kind="info" if self.state.told else "")

    def draw(self, shown: PlanningShown) -> None:
        state = self.state
        self._card.value = framed(_card(shown, self._due(shown)))
        self._report.value = "" if shown.report is None else shown.report._repr_html_() + framed(_undo(shown))
        self._planned.layout.display = None if shown.plan is not None else "none"
        # One thing at a time: what is pressed meanwhile would be refused, and what is changed would come too late.
        busy = state.source.work.running
        self._make.disabled = self._open.disabled = self._look.disabled = busy
        self._archiving.disabled = self._batch.disabled = busy
        self._save.disabled = busy or shown.plan is None
        self._archiving.value, self._archive.value = state.archiving, state.archive
        self._archive.disabled = busy or not state.archiving
        self._batch.value = state.batch_size
        if shown.plan is not None and shown.by_dag is not None and shown.rows is not None:
            self._by.put(
                rows=table_rows(_BY_DAG, shown.by_dag.head(_MOST_DAGS)),
                total=largest(shown.by_dag, _MOST_DAGS),
            )
            # A column for nothing would be in the way; but it comes and goes with the plan, not with the page.
            endangered = len(_dangers(shown)) > 0
            columns = (*_ROWS, _DANGER) if endangered else _ROWS
            self._rows.put(
                columns=heads(columns),
                rows=table_rows(columns, shown.rows),
                marks=danger_marks(shown.rows) if endangered else [],
                **at_page(shown.page),
                total=f"{human_rows(len(shown.plan))}, {human_bytes(shown.plan.value_bytes)}",
            )
        self._looked.value = "" if shown.looked is None else shown.looked._repr_html_()
        if shown.plan is not self._confirmed:
            # What was typed was typed for another plan.
            self._confirm.typed = ""
            self._confirmed = shown.plan
        self._confirm.put(
            prompt=_prompt(shown, archive=state.archive.strip() if state.archiving else None),
            expected=shown.phrase,
            about="" if shown.plan is None else shown.plan.info.sha256,
            disabled=busy or not shown.phrase,
            label=_label(shown),
        )
        self._say(None)
        self._code.text = "\n".join(
            filter(None, (shown.plan_call, f"{shown.look_call}  # a dry run", shown.delete_call))
            if shown.plan is not None
            else (shown.plan_call,)
        )

    def _due(self, shown: PlanningShown) -> int | None:
        """Return how many of the plan's rows had expired when its snapshot was taken; None: that one is not shown."""
        plan, snapshot = shown.plan, self.state.source.snapshot
        if plan is None or snapshot is None or shown.dangers is None:
            return None
        return snapshot.preview().deleted if plan.info.taken_at == snapshot.info.taken_at else None

    def fallback(self) -> str:
        shown = self.state.shown
        if shown is None:
            return ""
        if shown.report is not None:
            said: str = shown.report._repr_html_()
            return said
        return framed(_card(shown, None)) if shown.plan is None else plan_html(shown.plan)


def _card(shown: PlanningShown, due: int | None) -> str:
    plan = shown.plan
    if plan is None:
        said = "No plan yet. A plan names the rows to delete; a row dies only if it still is as planned."
        return "" if shown.report is not None else f'<p class="sk-soft">{said}</p>'
    info = plan.info
    ahead = ""
    if info.now > info.taken_at:
        said = "" if due is None else f" {human_rows(due)} had expired when the snapshot was taken."
        ahead = (
            f'<p class="sk-note">The plan looks ahead: what has not expired when it is carried out is kept.{said}</p>'
        )
    return (
        f'<p class="sk-title">Delete {human_rows(len(plan))}, {human_bytes(plan.value_bytes)}</p>'
        f'<p class="sk-soft">expired by {escape(human_instant(info.now))} · {escape(info.database)} · content sha256 '
        f"{escape(info.sha256[:12])}…</p>{ahead}{dangers_html(_dangers(shown))}"
    )


def _dangers(shown: PlanningShown) -> pd.DataFrame:
    """Return the dangers that the plan's rows are in; none where they are not known."""
    return pd.DataFrame({"danger": []}) if shown.dangers is None else of_deletion(shown.dangers)


def _prompt(shown: PlanningShown, *, archive: str | None) -> str:
    if shown.plan is None or shown.refusal:
        return f"Nothing can be deleted here: {plain(shown.refusal)}."
    rows, size = human_rows(len(shown.plan)), human_bytes(shown.plan.value_bytes)
    lines = [f"This deletes up to {rows}, {size}, from {plain(shown.plan.info.database)}."]
    lines += [
        f"⚠ {danger_name(each['danger'])}: {human_rows(each['rows'])}" for each in _dangers(shown).to_dict("records")
    ]
    lines.append(
        "It cannot be undone: nothing is archived."
        if archive is None
        else f"What is deleted is archived first, in {plain(archive)}."
    )
    return "\n".join(lines)


def _label(shown: PlanningShown) -> str:
    return "Delete" if shown.plan is None else f"Delete {human_rows(len(shown.plan))}"


def _undo(shown: PlanningShown) -> str:
    if shown.report is None or shown.report.archive is None:
        return ""
    archive = plain(repr(str(shown.report.archive)))
    return f"<p>To undo it: <code>sk.restore({escape(archive)}, store, dry_run=False)</code></p>"
