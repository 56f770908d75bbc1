"""What cleanup would delete, to look through: totals, dangers, reasons, groups and rows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import ipywidgets as widgets

from storekit.errors import QueryError
from storekit.frames.dangers import Danger
from storekit.frames.display import escape, human_bytes, human_instant, human_rows, plain, row_word
from storekit.frames.report import framed
from storekit.frames.simview import span_text
from storekit.frames.snapshot import Snapshot
from storekit.notebook.parts import Table
from storekit.notebook.state import Previewing
from storekit.notebook.state.paging import PAGE_SIZES
from storekit.notebook.state.previewing import DANGERS, GROUPS, PreviewingShown
from storekit.notebook.views.base import View, row, state_of
from storekit.notebook.views.cells import (
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
from storekit.notebook.views.contents import marks
from storekit.retention.policy import Policy
from storekit.retention.verdicts import Reason
from storekit.store import Store

__all__ = ["PreviewTable"]

_NAMED = (
    Column("key", "key", text_of("key")),
    Column("dag_id", "Dag or asset", object_of),
    Column("task_id", "task", task_of),
    Column("value_bytes", "size", bytes_of("value_bytes"), numeric=True),
)
_RUN = Column("run_id", "run", text_of("run_id"))
IN_FORCE = (
    *_NAMED,
    Column("reason", "reason", text_of("reason")),
    Column("margin", "expiry", margin_of()),
    Column("expires_at", "expires (UTC)", instant_of("expires_at", "no expiry")),
    Column("dangers", "danger", text_of("dangers"), sortable=False),
    _RUN,
)
UNDER_A_POLICY = fixed(
    *_NAMED,
    Column("written", "written", text_of("written")),
    Column("rule", "rule", text_of("rule", "the default")),
    Column("margin", "expiry under it", margin_of()),
    Column("task_state", "task is", text_of("task_state")),
    _RUN,
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
        self._policies: tuple[Policy, ...] = ()
        self._policy = widgets.Dropdown(description="Under")
        self._verdict = widgets.Dropdown(
            description="List", options=[("rows to delete", "delete"), ("rows to keep", "keep"), ("all rows", "")]
        )
        self._danger = widgets.Dropdown(
            description="Danger", options=[("any or none", ""), *((each.replace("-", " "), each) for each in DANGERS)]
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
        given = tuple(policies)
        self.offer(given if state.policy is None or state.policy in given else (*given, state.policy))
        self.on(self._policy, "value", self._choose)
        self.on(self._verdict, "value", lambda verdict: state.set(verdict=verdict or None))
        self.on(self._danger, "value", lambda danger: state.set(danger=danger or None))
        self.on(self._group, "value", lambda group: state.set(group=group))
        self.turns(self._table, sorts=True)

    def offer(self, policies: tuple[Policy, ...]) -> None:
        """Offer these policies beside what is in force. A chosen one that was changed is followed to its new form.

        Parameters
        ----------
        policies
            In the lab's order; they replace those that were offered before.
        """
        names = [each.name for each in policies]
        if len(set(names)) < len(names):
            raise QueryError(f"two policies have one name in {names!r}", hint="Policy(name=…) tells them apart")
        before, self._policies, chosen = self._policies, policies, self.state.policy
        if chosen is not None and chosen not in policies:
            chosen = _followed(chosen, before, policies)
        with self._no_echo():
            options = [("what is in force", -1)]
            options += [(f"{plain(each.name)}, had it always been in force", at) for at, each in enumerate(policies)]
            self._policy.options = options
            self._policy.value = -1 if chosen is None else policies.index(chosen)
        if chosen != self.state.policy:
            self.state.set(policy=chosen)

    def _choose(self, at: int | None) -> None:
        self.state.set(policy=None if at is None or at < 0 else self._policies[at])

    def draw(self, shown: PreviewingShown) -> None:
        state = self.state
        under = shown.reasons is None
        columns = UNDER_A_POLICY if under else IN_FORCE
        if getattr(self, "_policies", ()) and state.policy in self._policies:
            self._policy.value = self._policies.index(state.policy)
        self._verdict.value, self._danger.value = state.verdict or "", state.danger or ""
        self._verdict.disabled = self._danger.disabled = under
        self._group.value = state.group
        self._totals.value = framed(_totals(shown))
        self._draw_groups(shown)
        self._table.put(
            columns=heads(columns),
            rows=table_rows(columns, shown.rows),
            marks=["delete"] * len(shown.rows) if under else marks(shown.rows),
            **at_page(shown.page),
            total=human_rows(shown.page.total),
            sort=state.sort,
            descending=state.descending,
        )
        self._code.text = f"{shown.call}\n{shown.rows_call}"

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
            total=largest(shown.groups, _MOST_GROUPS),
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


def _totals(shown: PreviewingShown) -> str:
    deleted = span_text(shown.deleted, shown.deleted_high, lambda count: f"{count:,}")
    size = span_text(shown.deleted_bytes, shown.deleted_bytes_high, human_bytes)
    numbers = (
        f'<div class="sk-numbers"><div><div class="sk-big sk-delete">{escape(deleted)}</div>'
        f'<div class="sk-soft">{row_word(shown.deleted_high)} deleted · {escape(size)}</div></div>'
        f'<div><div class="sk-big">{shown.kept:,}</div>'
        f'<div class="sk-soft">{row_word(shown.kept)} kept · {human_bytes(shown.kept_bytes)}</div></div></div>'
    )
    notes = "".join(f'<p class="sk-note">{escape(note)}</p>' for note in shown.notes if not note.startswith("Danger "))
    dangers = "" if shown.dangers is None or not len(shown.dangers) else _dangers(shown)
    return f'<p class="sk-soft">Cleanup at {escape(human_instant(shown.now))}</p>{numbers}{dangers}{notes}'


def _dangers(shown: PreviewingShown) -> str:
    assert shown.dangers is not None  # noqa: S101 - asked for by the caller
    return "".join(
        f'<p class="sk-note"><strong>⚠ {escape(each["danger"].replace("-", " "))}</strong>: '
        f"{human_rows(each['rows'])}, {human_bytes(each['value_bytes'])}: {escape(Danger(each['danger']).sentence)}</p>"
        for each in shown.dangers.to_dict("records")
    )
