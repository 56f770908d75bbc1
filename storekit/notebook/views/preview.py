"""What cleanup would delete, to look through: totals, dangers, reasons, groups and rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import ipywidgets as widgets

from storekit.errors import QueryError
from storekit.frames.display import escape, human_bytes, human_count, human_instant, human_rows, plain, row_word
from storekit.frames.report import framed
from storekit.frames.simview import span_text
from storekit.frames.snapshot import Snapshot
from storekit.notebook.parts import Table
from storekit.notebook.state import Previewing
from storekit.notebook.state.paging import PAGE_SIZES
from storekit.notebook.state.previewing import DANGERS, GROUPS, PreviewingShown
from storekit.notebook.views.base import View, rests_html, row, state_of
from storekit.notebook.views.cells import (
    RUN,
    Column,
    at_page,
    bytes_of,
    count_of,
    fixed,
    heads,
    instant_of,
    largest,
    margin_of,
    object_of,
    table_rows,
    task_of,
    text_of,
)
from storekit.notebook.views.dangers import danger_marks, danger_name, dangers_html, marks, of_deletion
from storekit.retention.policy import Policy
from storekit.retention.verdicts import Reason
from storekit.store import Store

__all__ = ["PreviewTable"]

_NAMED = (
    Column("key", "key", text_of("key")),
    Column("dag_id", "Dag or asset", object_of),
    Column("task_id", "task", task_of),
    RUN,
    Column("value_bytes", "size", bytes_of("value_bytes"), numeric=True),
)
IN_FORCE = (
    *_NAMED,
    Column("reason", "reason", text_of("reason")),
    Column("margin", "expiry", margin_of()),
    Column("expires_at", "expires (UTC)", instant_of("expires_at", "no expiry")),
    Column("dangers", "danger", text_of("dangers"), sortable=False),
)
UNDER_A_POLICY = fixed(
    *_NAMED,
    Column("written", "written", text_of("written")),
    Column("rule", "rule", text_of("rule", "the default")),
    Column("margin", "expiry under it", margin_of()),
    Column("task_state", "task state", text_of("task_state")),
)
_GROUP_NAMES = {"dag_id": "Dag", "task_id": "task", "key": "key", "reason": "reason"}
_MOST_GROUPS = 10


class PreviewTable(View):
    """What cleanup would delete at an instant, or would have deleted under a policy.

    Parameters
    ----------
    store_or_snapshot
        A store, or a snapshot.
    now
        The instant of the cleanup, aware or ISO text with a zone; None: when the snapshot was taken.
    policies
        Those that can be chosen, beside what is in force.
    **inputs
        Inputs of `storekit.notebook.state.Previewing` to start with, such as ``group="key"``.

    Examples
    --------
    >>> sk.notebook.PreviewTable(store, policies=[sk.Policy(default_retention_days=14)])  # doctest: +SKIP
    """

    state: Previewing

    def __init__(
        self,
        store_or_snapshot: Store | Snapshot | Previewing,
        *,
        now: datetime | str | None = None,
        policies: tuple[Policy, ...] | list[Policy] = (),
        **inputs: Any,
    ) -> None:
        state = state_of(store_or_snapshot, Previewing, now, **inputs)
        self._offered: tuple[Policy, ...] = ()
        self._choices: tuple[Policy, ...] = ()
        self._policy = widgets.Dropdown(description="Policy")
        self._verdict = widgets.Dropdown(
            description="Rows listed",
            options=[("rows to delete", "delete"), ("rows to keep", "keep"), ("all rows", "")],
        )
        self._danger = widgets.Dropdown(
            description="Danger", options=[("any or none", ""), *((danger_name(each), each) for each in DANGERS)]
        )
        self._group = widgets.Dropdown(description="Group by", options=[(_GROUP_NAMES[each], each) for each in GROUPS])
        self._totals = widgets.HTML()
        self._groups = Table(caption="By group", page_sizes=[], selectable=False, empty="There is no such row.")
        self._groups.add_class("sk-narrow")
        self._table = Table(caption="Rows", page_sizes=list(PAGE_SIZES), selectable=False)
        self._table.empty = self._groups.empty
        super().__init__(
            state,
            [
                row(self._policy, self._verdict, self._danger),
                self._totals,
                row(self._group),
                self._groups,
                self._table,
            ],
            alone=state is not store_or_snapshot,
        )
        self.offer(tuple(policies))
        self.on(self._policy, "value", self._choose)
        self.on(self._verdict, "value", lambda verdict: state.set(verdict=verdict or None))
        self.on(self._danger, "value", self._endanger)
        self.on(self._group, "value", lambda group: state.set(group=group))
        self.turns(self._table, sorts=True)

    def offer(self, policies: tuple[Policy, ...]) -> None:
        """Offer these policies beside what is in force.

        A chosen one that was changed is followed to its new form; one that a program chose stays, as one more.

        Parameters
        ----------
        policies
            In the lab's order; they replace those that were offered before.
        """
        names = [each.name for each in policies]
        if len(set(names)) < len(names):
            raise QueryError(f"two policies have one name in {names!r}", hint="Policy(name=…) tells them apart")
        before, self._offered, chosen = self._offered, policies, self.state.policy
        if chosen is not None and chosen not in policies:
            followed = _followed(chosen, before, policies)
            if followed is not None or chosen in before:
                chosen = followed
        with self._no_echo():
            self._draw_policies(chosen)
        if chosen != self.state.policy:
            self.state.set(policy=chosen)

    def _draw_policies(self, chosen: Policy | None) -> None:
        self._choices = self._offered
        if chosen is not None and chosen not in self._offered:
            self._choices = (*self._offered, chosen)
        options = [("what is in force", -1)]
        options += [(f"{plain(each.name)}, had it always been in force", at) for at, each in enumerate(self._choices)]
        if tuple(self._policy.options) != tuple(options):
            self._policy.options = options
        self._policy.value = -1 if chosen is None else self._choices.index(chosen)

    def _choose(self, at: int | None) -> None:
        self.state.set(policy=None if at is None or at < 0 else self._choices[at])

    def _endanger(self, danger: str) -> None:
        # Of some dangers all rows are kept: asked for with the rows to delete, there would be none.
        verdict = None if danger else self.state.verdict or "delete"
        self.state.set(danger=danger or None, verdict=verdict)

    def draw(self, shown: PreviewingShown) -> None:
        state = self.state
        under = shown.reasons is None
        columns = UNDER_A_POLICY if under else IN_FORCE
        self._draw_policies(state.policy)
        self._verdict.value, self._danger.value = state.verdict or "", state.danger or ""
        self._verdict.disabled = self._danger.disabled = under
        self._group.value = state.group
        self._totals.value = framed(_totals(shown))
        self._draw_groups(shown)
        self._table.put(
            columns=heads(columns),
            rows=table_rows(columns, shown.rows),
            marks=self._marks(shown),
            **at_page(shown.page),
            total=_with_end(human_rows(shown.page.total), shown),
            sort=state.sort,
            descending=state.descending,
        )
        self._code.text = f"{shown.call}\n{shown.rows_call}"

    def _marks(self, shown: PreviewingShown) -> list[str]:
        if shown.dangers is None:
            return []  # under a policy: rows deleted, all of them
        if self.state.verdict != "delete":
            return marks(shown.rows)
        return danger_marks(shown.rows) if len(of_deletion(shown.dangers)) else []

    def _draw_groups(self, shown: PreviewingShown) -> None:
        by = self.state.group
        if shown.reasons is None:
            by = "dag_id" if by == "reason" else by
            counted = [("rows", "rows deleted", count_of), ("value_bytes", "bytes deleted", bytes_of)]
        else:
            counted = [
                ("deleted", "delete", count_of),
                ("deleted_bytes", "bytes deleted", bytes_of),
                ("kept", "keep", count_of),
                ("kept_bytes", "bytes kept", bytes_of),
            ]
        missing = {"dag_id": "asset rows", "task_id": "asset rows"}.get(by, "-")
        said = (lambda each: Reason(each["reason"]).sentence) if by == "reason" else text_of(by, missing)
        columns = [
            Column(by, _GROUP_NAMES[by], said, sortable=False),
            *(Column(name, label, made(name), numeric=True, sortable=False) for name, label, made in counted),
        ]
        self._groups.put(
            caption=f"By {_GROUP_NAMES[by]}",
            columns=heads(columns),
            rows=table_rows(columns, shown.groups.head(_MOST_GROUPS)),
            total=_with_end(largest(shown.groups, _MOST_GROUPS), shown),
        )

    def fallback(self) -> str:
        said: str = "" if self.state.shown is None else self.state.shown.whole._repr_html_()
        return said


def _followed(chosen: Policy, before: tuple[Policy, ...], now: tuple[Policy, ...]) -> Policy | None:
    """Return what has become of a policy: the same under another letter, or what was changed in its place."""
    same = [each for each in now if each.model_copy(update={"name": chosen.name}) == chosen]
    if same:
        return same[0]
    moved = len(before) == len(now) and chosen in before
    return now[before.index(chosen)] if moved else None


def _with_end(total: str, shown: PreviewingShown) -> str:
    """Return what is said under a table, and where deleted is a span, which end of it the table has."""
    if shown.deleted == shown.deleted_high:
        return total
    return ", ".join(filter(None, (total, "the high end: with all that cannot be told apart")))


def _totals(shown: PreviewingShown) -> str:
    deleted = span_text(shown.deleted, shown.deleted_high, human_count)
    size = span_text(shown.deleted_bytes, shown.deleted_bytes_high, human_bytes)
    kept = span_text(shown.kept_low, shown.kept, human_count)
    kept_size = span_text(shown.kept_bytes_low, shown.kept_bytes, human_bytes)
    numbers = (
        f'<div class="sk-numbers"><div><div class="sk-big sk-delete">{escape(deleted)}</div>'
        f'<div class="sk-soft">{row_word(shown.deleted_high)} deleted · {escape(size)}</div></div>'
        f'<div><div class="sk-big">{escape(kept)}</div>'
        f'<div class="sk-soft">{row_word(shown.kept)} kept · {escape(kept_size)}</div></div></div>'
    )
    dangers = "" if shown.dangers is None else dangers_html(shown.dangers)
    # Under a policy the first note says what the numbers are, the others what they rest on.
    notes, rests = (shown.notes, ()) if shown.dangers is not None else (shown.notes[:1], shown.notes[1:])
    said = "".join(f'<p class="sk-note">{escape(note)}</p>' for note in notes if not note.startswith("Danger "))
    said += rests_html(rests) if rests else ""
    return f'<p class="sk-soft">Cleanup at {escape(human_instant(shown.now))}</p>{numbers}{dangers}{said}'
