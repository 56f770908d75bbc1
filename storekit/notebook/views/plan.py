"""A plan to look over, to save, and to carry out behind a typed confirmation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import ipywidgets as widgets

from storekit.frames.display import escape, human_bytes, human_instant, human_rows, plain
from storekit.frames.plan import Plan
from storekit.frames.planview import plan_html
from storekit.frames.report import framed
from storekit.frames.snapshot import Snapshot
from storekit.notebook.parts import Confirm, Notice, Table
from storekit.notebook.state import Planning
from storekit.notebook.state.paging import PAGE_SIZES
from storekit.notebook.state.planning import PlanningShown
from storekit.notebook.views.base import View, heading, row, soft, state_of
from storekit.notebook.views.cells import (
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
from storekit.store import Store

__all__ = ["PlanReview"]

_ROWS = fixed(
    Column("key", "key", text_of("key")),
    Column("dag_id", "Dag", text_of("dag_id")),
    Column("task_id", "task", task_of),
    Column("run_id", "run", text_of("run_id")),
    Column("value_bytes", "size", bytes_of("value_bytes"), numeric=True),
    Column("updated_at", "last write (UTC)", instant_of("updated_at")),
    Column("expires_at", "expired (UTC)", instant_of("expires_at")),
)
_BY_DAG = by_dag()
_MOST_DAGS = 8


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
        self._batch = widgets.BoundedIntText(description="Batch rows", min=1, max=1_000_000, value=10_000)
        self._confirm = Confirm()
        self._confirmed: Plan | None = None
        self._told = Notice()
        self._report = widgets.HTML()
        self._planned = widgets.VBox(
            [
                self._by,
                self._rows,
                heading("Compare with the store"),
                soft("What the plan would delete by now. Nothing is written."),
                row(self._look),
                self._looked,
                heading("Delete"),
                row(self._archiving, self._archive, self._batch),
                self._confirm,
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
        self.click(self._make, state.make)
        self.click(self._save, lambda: state.save(self._file.value))
        self.click(self._open, lambda: state.open(self._file.value))
        self.click(self._look, state.look)
        self.on(self._archiving, "value", lambda archiving: state.set(archiving=archiving))
        self.on(self._archive, "value", lambda archive: state.set(archive=archive))
        self.on(self._batch, "value", lambda size: state.set(batch_size=size))
        self.turns(self._rows)
        self._confirm.on_fire(state.delete)
        state.observe(self._tell, ["told"])

    def _tell(self, _change: Any) -> None:
        self._told.put(message=plain(self.state.told), kind="info" if self.state.told else "")

    def draw(self, shown: PlanningShown) -> None:
        state = self.state
        self._card.value = framed(_card(shown))
        self._report.value = "" if shown.report is None else shown.report._repr_html_() + framed(_undo(shown))
        self._planned.layout.display = None if shown.plan is not None else "none"
        self._save.disabled = shown.plan is None
        self._archiving.value, self._archive.value = state.archiving, state.archive
        self._archive.disabled = not state.archiving
        self._batch.value = state.batch_size
        if shown.plan is not None and shown.by_dag is not None and shown.rows is not None:
            self._by.put(
                rows=table_rows(_BY_DAG, shown.by_dag.head(_MOST_DAGS)),
                total=largest(shown.by_dag, _MOST_DAGS),
            )
            self._rows.put(
                rows=table_rows(_ROWS, shown.rows),
                **at_page(shown.page),
                total=f"{human_rows(len(shown.plan))}, {human_bytes(shown.plan.value_bytes)}",
            )
        self._looked.value = "" if shown.looked is None else shown.looked._repr_html_()
        if shown.plan is not self._confirmed:
            # What was typed was typed for another plan.
            self._confirm.typed = ""
            self._confirmed = shown.plan
        self._confirm.put(prompt=_prompt(shown), expected=shown.phrase, disabled=not shown.phrase, label=_label(shown))
        self._code.text = "\n".join(
            filter(None, (shown.plan_call, f"{shown.look_call}  # a dry run", shown.delete_call))
            if shown.plan is not None
            else (shown.plan_call,)
        )

    def fallback(self) -> str:
        shown = self.state.shown
        if shown is None:
            return ""
        if shown.report is not None:
            said: str = shown.report._repr_html_()
            return said
        return framed(_card(shown)) if shown.plan is None else plan_html(shown.plan)


def _card(shown: PlanningShown) -> str:
    plan = shown.plan
    if plan is None:
        said = "No plan yet. A plan names the rows to delete; a row dies only if it still is as planned."
        return "" if shown.report is not None else f'<p class="sk-soft">{said}</p>'
    info = plan.info
    ahead = ""
    if info.now > info.taken_at:
        ahead = '<p class="sk-note">The plan looks ahead: what has not expired when it is carried out is kept.</p>'
    return (
        f'<p class="sk-title">Delete {human_rows(len(plan))}, {human_bytes(plan.value_bytes)}</p>'
        f'<p class="sk-soft">expired by {escape(human_instant(info.now))} · {escape(info.database)} · content sha256 '
        f"{escape(info.sha256[:12])}…</p>{ahead}"
    )


def _prompt(shown: PlanningShown) -> str:
    if shown.refusal:
        return f"Nothing can be deleted here: {plain(shown.refusal)}."
    return "This deletes rows of the live store."


def _label(shown: PlanningShown) -> str:
    return "Delete" if shown.plan is None else f"Delete {human_rows(len(shown.plan))}"


def _undo(shown: PlanningShown) -> str:
    if shown.report is None or shown.report.archive is None:
        return ""
    archive = plain(repr(str(shown.report.archive)))
    return f"<p>To undo it: <code>sk.restore({escape(archive)}, store, dry_run=False)</code></p>"
