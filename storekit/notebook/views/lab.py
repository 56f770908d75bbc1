"""The what-if lab: retentions by slider, policies side by side, and who dies under which."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

import ipywidgets as widgets

from storekit.frames.chart import COLOURS
from storekit.frames.display import escape, human_bytes, human_rows, plain
from storekit.frames.report import framed
from storekit.frames.simview import cells_html, legend_html, simulation_html, summary_cells, summary_legend
from storekit.frames.snapshot import Snapshot
from storekit.notebook.parts import Code, Retention, Table
from storekit.notebook.state import Lab
from storekit.notebook.state.lab import MOST_POLICIES, LabShown
from storekit.notebook.state.paging import PAGE_SIZES
from storekit.notebook.views.base import View, heading, rests_html, row, soft, state_of
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
    object_of,
    table_rows,
    task_of,
    text_of,
)
from storekit.notebook.views.figure import Figure
from storekit.retention.durations import write_duration
from storekit.retention.policy import Policy
from storekit.retention.simulate import FINISHED
from storekit.store import Store

__all__ = ["PolicyLab"]

_DIFFERENCE = fixed(
    Column("key", "key", text_of("key")),
    Column("dag_id", "Dag or asset", object_of),
    Column("task_id", "task", task_of),
    RUN,
    Column("value_bytes", "size", bytes_of("value_bytes"), numeric=True),
    Column("updated_at", "last write (UTC)", instant_of("updated_at")),
    Column("expires_under_a", "expires under the first", instant_of("expires_under_a", "never")),
    Column("expires_under_b", "under the second", instant_of("expires_under_b", "never")),
    Column("task_state", "task state", text_of("task_state")),
)
_BY_DAG = by_dag("asset rows")
_MOST_DAGS = 8
_SAME = "No row differs."
_CHOOSE = "Choose two policies to compare."
_KEPT = f"{_SAME} Rows that exist keep the expiry they have; “as if always in force” compares policies on them."
_EVERY = [("1 h", "1h"), ("6 h", "6h"), ("1 d", "1d"), ("7 d", "7d"), ("30 d", "30d"), ("never", "never")]
_SLIDER_DAYS = 120


class _Card(widgets.VBox):
    """One policy: its retention, and how cleanup goes about it."""

    def __init__(self, view: PolicyLab, at: int) -> None:
        state = view.state
        self.days = Retention(
            label=f"Policy {at}", maximum=_SLIDER_DAYS, allow_unset=True, colour=COLOURS[at], note="0: no expiry"
        )
        self.every = widgets.Dropdown(options=_EVERY, value="1d", description_allow_html=True)
        self.clear = widgets.Checkbox(indent=False, description_allow_html=True)
        self.remove = widgets.Button()
        super().__init__([self.days, row(self.every, self.clear, self.remove)])
        self.add_class("sk-policy")
        view.on(self.days, "value", lambda days: None if self.days.unset else state.set_days(at, days))
        view.on(self.days, "unset", lambda unset: state.set_days(at, None if unset else self.days.value))
        view.on(self.every, "value", lambda every: state.set_cleanup(at, None if every == "never" else every))
        view.on(self.clear, "value", lambda clear: state.set_clear_on_success(at, clear))
        view.click(self.remove, lambda: state.remove(at))

    def draw(self, policy: Policy, *, alone: bool) -> None:
        days, name = policy.default_retention_days, plain(policy.name)
        self.days.put(label=name, unset=days is None, **({} if days is None else _range(days)))
        every = "never" if policy.cleanup_every is None else write_duration(policy.cleanup_every)
        if every not in {value for _, value in self.every.options}:
            self.every.options = [*_EVERY, (every, every)]
        self.every.value = every
        self.clear.value = policy.clear_on_success
        self.remove.disabled = alone
        # Each card has these: who hears a name alone has to hear whose it is.
        self.every.description = f"Cleanup every<i>, {escape(policy.name)}</i>"
        self.clear.description = f"clear on success<i>, {escape(policy.name)}</i>"
        self.remove.description, self.remove.tooltip = f"Remove {name.partition(':')[0]}", f"Remove {name}"


def _range(days: int) -> dict[str, int]:
    return {"value": days, "hard_maximum": max(days, 36_500)}


class PolicyLab(View):
    """Policies side by side, simulated anew at every move.

    Parameters
    ----------
    store_or_snapshot
        A store, or a snapshot.
    now
        The first cleanup: aware, or ISO text with a zone, not before the snapshot; None: when it was taken.
    policies
        One to six, to start with; None: as written, 30 days and 14 days.
    **inputs
        Inputs of `storekit.notebook.state.Lab` to start with, such as ``mode="as-if"``.

    Examples
    --------
    >>> sk.notebook.PolicyLab(store, policies=[sk.Policy(), sk.Policy(default_retention_days=7)])  # doctest: +SKIP
    """

    state: Lab

    def __init__(
        self,
        store_or_snapshot: Store | Snapshot | Lab,
        *,
        now: datetime | str | None = None,
        policies: Policy | Iterable[Policy] | None = None,
        **inputs: Any,
    ) -> None:
        state = state_of(store_or_snapshot, Lab, now, policies=policies, **inputs)
        self.state = state
        self._drawing = False
        self._cards = [_Card(self, at) for at in range(MOST_POLICIES)]
        self._add = widgets.Button(description="Add a policy")
        self._file = widgets.Text(description="Policy file", placeholder="policy.toml")
        self._load = widgets.Button(description="Load it as a policy")
        self._mode = widgets.Dropdown(
            description="Rows that exist",
            options=[("keep the expiry they have (forward)", "forward"), ("as if always in force", "as-if")],
        )
        # Without bounds: a box that has some shows another number than the one that is used.
        self._horizon = widgets.IntText(description="Days ahead")
        self._future = widgets.Checkbox(description="forecast future writes", indent=False)
        self._filters = {
            name: widgets.Combobox(description=label, placeholder="all", continuous_update=False)
            for name, label in (("dag_id", "Dag"), ("task_id", "Task"), ("key", "Key"))
        }
        self._measure = widgets.Dropdown(description="Show", options=["bytes", "rows"])
        self._figure = Figure()
        self._summary = widgets.HTML()
        self._a = widgets.Dropdown(description="Rows that live under")
        self._b = widgets.Dropdown(description="and die under")
        self._same = widgets.HTML()
        self._by = Table(caption="By Dag", columns=heads(_BY_DAG), page_sizes=[], selectable=False)
        self._by.add_class("sk-narrow")
        self._rows = Table(
            caption="Rows that differ", columns=heads(_DIFFERENCE), page_sizes=list(PAGE_SIZES), selectable=False
        )
        self._assumptions = widgets.HTML()
        self._toml = Code(label="The second as a policy file (TOML)")
        self._cfg = Code(label="The second as lines of airflow.cfg")
        self._policies = widgets.VBox()
        self._policies.add_class("sk-policies")
        exports = widgets.VBox([self._toml, self._cfg])
        exports.add_class("sk-exports")
        figure = widgets.VBox([self._figure.widget])
        figure.add_class("sk-figure")
        super().__init__(
            state,
            [
                self._policies,
                row(self._add, self._file, self._load),
                row(self._mode, self._horizon, self._future),
                row(*self._filters.values(), self._measure),
                figure,
                self._summary,
                heading("What this rests on"),
                self._assumptions,
                heading("Who lives under one and dies under another"),
                row(self._a, self._b),
                self._same,
                self._by,
                self._rows,
                heading("To take with you"),
                soft("The second of the two that are compared."),
                exports,
            ],
            alone=state is not store_or_snapshot,
        )
        self.click(self._add, state.add)
        self.click(self._load, lambda: state.load(self._file.value))
        self.on(self._mode, "value", lambda mode: state.set(mode=mode))
        self.on(self._horizon, "value", lambda days: state.set(horizon_days=days))
        self.on(self._future, "value", lambda future: state.set(future=future))
        for name, box in self._filters.items():
            self.on(box, "value", partial(self._narrow, name))
        self.on(self._measure, "value", lambda _: self._redraw(None))
        self.on(self._a, "value", lambda _: self._weigh())
        self.on(self._b, "value", lambda _: self._weigh())
        self.turns(self._rows)

    def _narrow(self, name: str, text: str) -> None:
        self.state.set(**{name: text or None})

    def _weigh(self) -> None:
        if self._a.value is not None and self._b.value is not None:
            self.state.set(compared=[self._a.value, self._b.value])

    def draw(self, shown: LabShown) -> None:
        state = self.state
        for card, policy in zip(self._cards, state.policies, strict=False):
            card.draw(policy, alone=len(state.policies) == 1)
        children = tuple(self._cards[: len(state.policies)])
        if self._policies.children != children:
            self._policies.children = children
        self._add.disabled = self._load.disabled = len(state.policies) == MOST_POLICIES
        self._mode.value, self._horizon.value, self._future.value = state.mode, state.horizon_days, state.future
        for name, box in self._filters.items():
            box.options, box.value = shown.names[name], getattr(state, name) or ""
        names = [each.name for each in state.policies]
        self._figure.draw(shown.over_time, names, self._measure.value)
        self._summary.value = framed(_summary(shown))
        options = [(plain(name), at) for at, name in enumerate(names)]
        for dropdown, at in zip((self._a, self._b), state.compared, strict=True):
            if tuple(dropdown.options) != tuple(options):
                dropdown.options = options
            dropdown.value = at
        self._draw_difference(shown)
        self._assumptions.value = framed(rests_html(shown.assumptions))
        self._toml.text, self._cfg.text = plain_lines(shown.toml), plain_lines(shown.cfg)
        self._code.text = "\n".join(filter(None, (f"sim = {shown.call}", "sim.over_time()", shown.difference_call)))

    def _draw_difference(self, shown: LabShown) -> None:
        if shown.difference is None or shown.difference_by is None:
            said = _CHOOSE
        elif not shown.difference_rows:
            said = _KEPT if self.state.mode == "forward" else _SAME
        else:
            said = ""
        self._same.value = f'<p class="sk-explained">{said}</p>'
        for widget in (self._by, self._rows):
            widget.layout.display = "none" if said else None
        self._same.layout.display = None if said else "none"
        if said or shown.difference is None or shown.difference_by is None:
            return
        unfinished = ["danger" if _unfinished(each) else "" for each in shown.difference["task_state"]]
        self._by.put(
            rows=table_rows(_BY_DAG, shown.difference_by.head(_MOST_DAGS)),
            total=largest(shown.difference_by, _MOST_DAGS),
        )
        self._rows.put(
            rows=table_rows(_DIFFERENCE, shown.difference),
            marks=unfinished if any(unfinished) else [],
            **at_page(shown.page),
            total=f"{human_rows(shown.difference_rows)}, {human_bytes(shown.difference_bytes)}",
        )

    def fallback(self) -> str:
        return "" if self.state.shown is None else simulation_html(self.state.shown.simulation)


def _unfinished(state: Any) -> bool:
    return isinstance(state, str) and state not in FINISHED


def plain_lines(text: str) -> str:
    """Return a text of several lines, each of which is plain."""
    return "\n".join(plain(line) for line in text.split("\n"))


def _summary(shown: LabShown) -> str:
    head, body = summary_cells(shown.simulation)
    for cells, count in zip(body, shown.summary["unsafe_rows"], strict=True):
        if count:
            cells[-1] = f"⚠ {cells[-1]}"
    return cells_html(head, body) + legend_html(summary_legend(shown.simulation))
