"""What cleanup would delete at an instant, or would have deleted under a policy: in all, by group and by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import pandas as pd
from traitlets import Bool, Instance, TraitError, Unicode, validate

from storekit.frames.dangers import Danger
from storekit.frames.preview import Preview
from storekit.frames.simulation import Simulation
from storekit.notebook.state.calls import call
from storekit.notebook.state.paging import Page, Paged, ordered
from storekit.retention.policy import Policy

__all__ = ["DANGERS", "GROUPS", "Previewing", "PreviewingShown"]

GROUPS = ("dag_id", "task_id", "key", "reason")
"""What the deleted rows can be grouped by; under a policy by all but the reason."""

DANGERS = tuple(each.value for each in Danger if each is not Danger.DB_CLEAN)
"""The dangers that rows can be looked at by; ``db-clean`` needs a cutoff of its own."""

_VERDICTS = (None, "delete", "keep")


@dataclass(frozen=True, eq=False)
class PreviewingShown:
    """What `Previewing` shows.

    Attributes
    ----------
    whole : Preview or Simulation
        What it is read from.
    now : datetime
        The instant.
    deleted, deleted_bytes, kept, kept_bytes : int
        As `Preview`, or under a policy as `Simulation.summary`.
    deleted_high, deleted_bytes_high, kept_low, kept_bytes_low : int
        The same if rows that cannot be told apart are the default's, as ``groups`` and ``rows`` are; without a policy
        equal to the first.
    reasons, dangers : DataFrame or None
        As `Preview.reasons` and `Preview.dangers`; None under a policy.
    groups : DataFrame
        As `Preview.by` or `Simulation.gone_by`.
    rows : DataFrame
        The page, as `Selection.rows` or `Simulation.gone`.
    page : Page
        Which one.
    notes : tuple of str
        What to know before trusting the numbers.
    call, rows_call : str
        The Python calls that return the whole, and the page.
    """

    whole: Preview | Simulation
    now: datetime
    deleted: int
    deleted_bytes: int
    kept: int
    kept_bytes: int
    deleted_high: int
    deleted_bytes_high: int
    kept_low: int
    kept_bytes_low: int
    reasons: pd.DataFrame | None
    dangers: pd.DataFrame | None
    groups: pd.DataFrame
    rows: pd.DataFrame
    page: Page
    notes: tuple[str, ...]
    call: str
    rows_call: str


class Previewing(Paged):
    """What cleanup would delete.

    Attributes
    ----------
    policy : Policy or None
        None: what cleanup does now. A policy: what it would do, had the policy been in force at every write.
    group : str
        One of `GROUPS`.
    verdict : str or None
        Which rows are listed: ``delete``, ``keep``, or None for both. Under a policy always those deleted.
    danger : str or None
        Only rows in one of `DANGERS`; not under a policy.
    sort, descending, page, page_size
        As for `Contents`. Under a policy rows stand by natural key.
    """

    inputs: ClassVar = ("policy", "group", "verdict", "danger", "sort", "descending", "page", "page_size")
    policy = Instance(Policy, allow_none=True)
    group = Unicode("dag_id")
    verdict = Unicode("delete", allow_none=True)
    danger = Unicode(None, allow_none=True)
    sort = Unicode("")
    descending = Bool(False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._found: Any = None
        self._groups: dict[str, pd.DataFrame] = {}
        super().__init__(*args, **kwargs)

    @validate("group")
    def _group(self, proposal: Any) -> Any:
        return _one_of(proposal["value"], GROUPS)

    @validate("verdict")
    def _verdict(self, proposal: Any) -> Any:
        return _one_of(proposal["value"], _VERDICTS)

    @validate("danger")
    def _danger(self, proposal: Any) -> Any:
        return _one_of(proposal["value"], (None, *DANGERS))

    def _answer(self) -> PreviewingShown:
        return self._in_force() if self.policy is None else self._under(self.policy)

    def _in_force(self) -> PreviewingShown:
        snapshot, now, told = self.source.snapshot, self.source.instant, self.source.now_argument
        asked = {"verdict": self.verdict, "danger": self.danger}
        if self._turned(None, *asked.values()):
            self._found, self._groups = (snapshot.preview(now), snapshot.select(now=now, **asked)), {}
        preview, selection = self._found
        page = self._turn(len(selection))
        order = ordered(self.sort, descending=self.descending)
        return PreviewingShown(
            whole=preview,
            now=preview.now,
            deleted=preview.deleted,
            deleted_bytes=preview.deleted_bytes,
            kept=preview.kept,
            kept_bytes=preview.kept_bytes,
            deleted_high=preview.deleted,
            deleted_bytes_high=preview.deleted_bytes,
            kept_low=preview.kept,
            kept_bytes_low=preview.kept_bytes,
            reasons=preview.reasons,
            dangers=preview.dangers(),
            groups=self._grouped(lambda: _by(preview, self.group)),
            rows=selection.rows(page.size, page.offset, **order),
            page=page,
            notes=tuple(preview.notes),
            call=call("snap.preview", now=told),
            rows_call=call(f"{call('snap.select', **asked, now=told)}.rows", *page.arguments, **order),
        )

    def _grouped(self, counted: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return the groups; they are counted once, since another page has the same ones."""
        if self.group not in self._groups:
            self._groups[self.group] = counted()
        return self._groups[self.group]

    def _under(self, policy: Policy) -> PreviewingShown:
        snapshot, now, told = self.source.snapshot, self.source.instant, self.source.now_argument
        if self._turned(policy):
            self._found, self._groups = snapshot.simulate(policy, "1d", "as-if", now=now, future=False), {}
        simulation = self._found
        (line,) = simulation.summary.to_dict("records")
        deleted, high = int(line["deleted_now"]), int(line["deleted_now_high"])
        unsure_bytes = int(line["deleted_now_bytes_high"] - line["deleted_now_bytes"])
        cleared = int(line["cleared"])
        page = self._turn(high + cleared)
        by = "dag_id" if self.group == "reason" else self.group
        made = call("snap.simulate", policy, "1d", "as-if", now=told, future=False)
        return PreviewingShown(
            whole=simulation,
            now=simulation.now,
            deleted=deleted + cleared,
            deleted_bytes=int(line["deleted_now_bytes"] + line["cleared_bytes"]),
            kept=int(line["kept_now"]),
            kept_bytes=int(line["kept_now_bytes"]),
            deleted_high=high + cleared,
            deleted_bytes_high=int(line["deleted_now_bytes_high"] + line["cleared_bytes"]),
            # What is not known to be deleted is not known to be kept.
            kept_low=int(line["kept_now"]) - (high - deleted),
            kept_bytes_low=int(line["kept_now_bytes"]) - unsure_bytes,
            reasons=None,
            dangers=None,
            groups=self._grouped(lambda: simulation.gone_by(policy, by)),
            rows=simulation.gone(policy, limit=page.size, offset=page.offset),
            page=page,
            notes=(
                "As if this policy had been in force at every write. Cleanup itself deletes what has expired by the "
                "expiry that is stored, so no plan is made of these rows.",
                *simulation.assumptions,
            ),
            call=f"{made}.summary",
            rows_call=call(f"{made}.gone", policy.name, limit=page.size, offset=page.offset or None),
        )


def _by(preview: Preview, group: str) -> pd.DataFrame:
    if group != "reason":
        return preview.by(group)
    counted = preview.reasons
    groups = counted[["reason"]].copy()
    for verdict, name in (("delete", "deleted"), ("keep", "kept")):
        ours = counted["verdict"] == verdict
        groups[name] = counted["rows"].where(ours, 0)
        groups[f"{name}_bytes"] = counted["value_bytes"].where(ours, 0)
    return groups


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise TraitError(f"{value!r} is none of {', '.join(map(repr, allowed))}")
    return value
