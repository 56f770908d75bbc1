"""The what-if lab: policies side by side, simulated anew at every change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from traitlets import Bool, Int, List, TraitError, Tuple, Unicode, validate

from storekit.errors import PolicyError, QueryError
from storekit.frames.display import human_instant
from storekit.frames.simulation import Simulation
from storekit.frames.snapshot import Snapshot
from storekit.notebook.state.calls import call
from storekit.notebook.state.paging import Page, Paged
from storekit.retention.policy import Policy
from storekit.retention.policyfile import load_policies

__all__ = ["MOST_POLICIES", "Lab", "LabShown", "start_policies"]

MOST_POLICIES = 6
"""Side by side; more cannot be told apart in the picture."""

_LETTERS = "ABCDEF"
_LARGE = 300_000  # rows; what is smaller is read before one could look up
_FILTERS = ("dag_id", "task_id", "key")
_MOST_NAMES = 200


def start_policies(days: Sequence[int | None] = (None, 30, 14)) -> tuple[Policy, ...]:
    """Return policies that differ in the default alone; None: as written."""
    return tuple(Policy(default_retention_days=each) for each in days)


def _named(at: int, policy: Policy) -> Policy:
    """Return a policy under the letter of its place: two that say the same are two all the same."""
    return policy.model_copy(update={"name": f"{_LETTERS[at]}: {policy.name}"})


def as_policies(policies: Policy | Iterable[Policy]) -> tuple[Policy, ...]:
    """Return one policy, or several.

    Raises
    ------
    QueryError
        If they are none.
    """
    if isinstance(policies, Policy):
        return (policies,)
    given = tuple(policies) if isinstance(policies, Iterable) else (policies,)
    if not all(isinstance(each, Policy) for each in given):
        raise QueryError(f"{policies!r} are no policies", hint="policies=[sk.Policy(default_retention_days=14)]")
    return given


@dataclass(frozen=True, eq=False)
class LabShown:
    """What `Lab` shows.

    Attributes
    ----------
    simulation : Simulation
        The whole, as `Snapshot.simulate`.
    summary, over_time : DataFrame
        Of it.
    difference_by, difference : DataFrame or None
        Who lives under the first of the two compared and dies under the second: by Dag, and a page of rows. None where
        there is one policy only.
    difference_rows, difference_bytes : int
        In all.
    page : Page
        Of the rows.
    assumptions : tuple of str
        What the numbers rest on.
    names : dict of str to tuple of str
        For ``dag_id``, ``task_id`` and ``key`` the names in the snapshot, those with most bytes first, 200 at most.
    toml, cfg : str
        The second of the two compared, as a policy file and as lines of airflow.cfg.
    call, difference_call : str
        The Python calls.
    """

    simulation: Simulation
    summary: pd.DataFrame
    over_time: pd.DataFrame
    difference_by: pd.DataFrame | None
    difference: pd.DataFrame | None
    difference_rows: int
    difference_bytes: int
    page: Page
    assumptions: tuple[str, ...]
    names: dict[str, tuple[str, ...]]
    toml: str
    cfg: str
    call: str
    difference_call: str


class Lab(Paged):
    """Policies side by side.

    What a user does to them (`set_days`, `put`, `load`, `add`, `remove`, …) raises no error where it cannot be done:
    `trouble` says why, and the policies stay as they are.

    Parameters
    ----------
    source, active, **values
        As for `State`.
    policies
        What it starts with: one to `MOST_POLICIES`; None: as written, 30 days and 14 days.

    Raises
    ------
    QueryError
        If ``policies`` are none, or too many.

    Attributes
    ----------
    policies : tuple of Policy
        One to `MOST_POLICIES`. They are named by the lab: ``A: as written``, ``B: 30 days``, …
    mode : str
        ``forward`` or ``as-if``.
    horizon_days : int
        How far, in days.
    future : bool
        Whether future writes are forecast.
    dag_id, task_id, key : str or None
        Only rows of these, exactly.
    compared : list of int
        The places of the two policies that are compared.
    page, page_size : int
        Of the rows that differ.
    """

    inputs: ClassVar = (
        "policies",
        "mode",
        "horizon_days",
        "future",
        "dag_id",
        "task_id",
        "key",
        "compared",
        "page",
        "page_size",
    )
    policies = Tuple()
    mode = Unicode("forward")
    horizon_days = Int(90)
    future = Bool(True)
    dag_id = Unicode(None, allow_none=True)
    task_id = Unicode(None, allow_none=True)
    key = Unicode(None, allow_none=True)
    compared = List(Int(), default_value=[0, 1], minlen=2, maxlen=2)
    page_size = Int(10)

    def __init__(self, *args: Any, policies: Policy | Iterable[Policy] | None = None, **kwargs: Any) -> None:
        self._warming, self._warmed, self._waiting = False, None, False
        self._names: tuple[Snapshot | None, dict[str, tuple[str, ...]]] = (None, {})
        given = start_policies() if policies is None else as_policies(policies)
        if not 1 <= len(given) <= MOST_POLICIES:
            raise QueryError(f"{len(given)} policies to compare", hint=f"1 to {MOST_POLICIES}")
        named = tuple(_named(at, each) for at, each in enumerate(given))
        super().__init__(*args, policies=named, **kwargs)
        self.source.work.observe(self._on_work, ["running"])

    # --- what a user does to the policies ------------------------------------------------------------------------

    def set_days(self, at: int, days: int | None) -> None:
        """Give the policy at a place another ``default_retention_days``.

        Parameters
        ----------
        at
            The place, from 0. One that is not there is said in `trouble`, not raised.
        days
            0 or more, where 0 is no expiry; None: as written. What is no number of days is said in `trouble`.
        """
        self._change(lambda policy: policy.model_copy(update={"default_retention_days": days}), at)

    def set_cleanup(self, at: int, every: timedelta | str | None) -> None:
        """Give the policy at a place another time between two cleanups.

        Parameters
        ----------
        at
            As for `set_days`.
        every
            A timedelta of more than 0, or text such as ``"6h"``; None: cleanup never runs. What is no such time is said
            in `trouble`, not raised.
        """
        self._change(lambda policy: policy.model_copy(update={"cleanup_every": every}), at)

    def set_clear_on_success(self, at: int, clear: bool) -> None:
        """Say whether a task's rows go when it turns success.

        Parameters
        ----------
        at
            As for `set_days`.
        clear
            Whether they go under the policy at that place.
        """
        self._change(lambda policy: policy.model_copy(update={"clear_on_success": clear}), at)

    def put(self, at: int, policy: Policy) -> None:
        """Put another policy in a place.

        Parameters
        ----------
        at
            As for `set_days`.
        policy
            The lab names it by the letter of its place. What is no policy is said in `trouble`, not raised.
        """
        self._change(lambda _before: policy, at)

    def load(self, path: str | Path, at: int | None = None) -> None:
        """Add the policy of a file, or put it in a place.

        Parameters
        ----------
        path
            A file as for `storekit.load_policies`, with one policy in it; ``~`` is the user's home. One that cannot be
            read, or holds several, is said in `trouble`, not raised.
        at
            The place, from 0; None: after the last.
        """
        try:
            policies = load_policies(Path(path).expanduser())
            if len(policies) != 1:
                raise PolicyError(
                    f"the file holds {len(policies)} policies", hint="leave one in it, or give them all to PolicyLab()"
                )
        except Exception as error:
            self._fail(error)
            return
        if at is None:
            self.add(policies[0])
        else:
            self.put(at, policies[0])

    def add(self, policy: Policy | None = None) -> None:
        """Add a policy after the last. One more than `MOST_POLICIES` is said in `trouble`, not raised.

        Parameters
        ----------
        policy
            None: one like the last.
        """
        if len(self.policies) >= MOST_POLICIES:
            self._refuse(f"there are {MOST_POLICIES} policies already", "remove one first")
            return
        if policy is not None and not isinstance(policy, Policy):
            self._refuse(f"{policy!r} is no policy", "sk.Policy(default_retention_days=14)")
            return
        given = self.own(len(self.policies) - 1) if policy is None else policy
        changed: dict[str, Any] = {"policies": (*self.policies, _named(len(self.policies), given))}
        if len(self.policies) == 1:
            changed["compared"] = [0, 1]  # there was nothing to compare with
        self.set(**changed)

    def remove(self, at: int) -> None:
        """Remove the policy at a place.

        Parameters
        ----------
        at
            The place, from 0. One that is not there, or is the only one, is said in `trouble`, not raised.
        """
        if not 0 <= at < len(self.policies):
            self._refuse(f"there is no policy at place {at}", f"0 to {len(self.policies) - 1}")
            return
        if len(self.policies) == 1:
            self._refuse("the last policy cannot be removed", "one has to stay")
            return
        left = [self.own(place) for place in range(len(self.policies)) if place != at]
        a, b = (place - (place > at) for place in self.compared)
        if at in self.compared or a == b:
            a, b = 0, len(left) - 1
        self.set(policies=tuple(_named(place, each) for place, each in enumerate(left)), compared=[a, b], page=0)

    def own(self, at: int) -> Policy:
        """Return the policy at a place under the name that it has outside the lab.

        Parameters
        ----------
        at
            The place, from 0.

        Returns
        -------
        Policy
            Named without the letter of its place.

        Raises
        ------
        IndexError
            If there is no such place.
        """
        policy: Policy = self.policies[at]
        return policy.model_copy(update={"name": policy.name.removeprefix(f"{_LETTERS[at]}: ")})

    def _change(self, made: Callable[[Policy], Policy], at: int) -> None:
        try:
            if not 0 <= at < len(self.policies):
                raise QueryError(f"there is no policy at place {at}", hint=f"0 to {len(self.policies) - 1}")
            # Under its own name: one that was made from what it said is made anew.
            (policy,) = as_policies(made(self.own(at)))
            changed = list(self.policies)
            changed[at] = _named(at, policy)
        except Exception as error:
            self._fail(error)
            return
        self.set(policies=tuple(changed))

    def _refuse(self, message: str, hint: str) -> None:
        self._fail(QueryError(message, hint=hint))

    # --- the answer ------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Compute the answer anew. Of a large snapshot the rows are read beside the notebook, once."""
        snapshot, work = self.source.snapshot, self.source.work
        if self._warming:
            return  # what is asked meanwhile is answered with the rest
        if snapshot is None or snapshot is self._warmed or len(snapshot) < _LARGE:
            super().refresh()
            return
        if work.running:
            self._waiting = True  # in its thread, reading would hold up the app and could not be stopped
            return
        self._warming = True

        def settle(_read: Any) -> None:
            self._warming, self._warmed = False, snapshot
            self._begin()
            super(Lab, self).refresh()

        def failed(error: BaseException) -> None:
            self._warming = False
            self._fail(error)

        label = "Reading how the rows were written"
        if not work.start(label, lambda told: snapshot.written(progress=told), settle, failed):
            self._warming, self._waiting = False, True

    def _on_work(self, _change: Any) -> None:
        if self._waiting and not self.source.work.running:
            self._waiting = False
            self.refresh()

    def _answer(self) -> LabShown:
        snapshot = self.source.snapshot
        asked: dict[str, Any] = {
            "now": self.source.now_argument,
            "dag_id": self.dag_id,
            "task_id": self.task_id,
            "key": self.key,
        }
        if not self.future:
            asked["future"] = False
        if not 1 <= self.horizon_days <= 36_500:
            raise QueryError(f"a horizon of {self.horizon_days:,} days", hint="1 to 36,500")
        taken_at = snapshot.info.taken_at
        if self.source.instant < taken_at:
            raise QueryError(
                f"{self.source.said} lies before the snapshot was taken, {human_instant(taken_at)}",
                hint="what was there then is not known: choose a later instant, or none",
            )
        horizon = f"{self.horizon_days}d"
        simulation = snapshot.simulate(self.policies, horizon, self.mode, **asked)
        self._refuse_nobody(simulation)
        a, b = self._compared()
        by = rows = None
        count = size = 0
        self._turned(self.policies, horizon, self.mode, *asked.values(), a, b)
        compared = self.policies[a], self.policies[b]
        if a != b:
            by = simulation.difference_by(*compared, "dag_id")
            count, size = int(by["rows"].sum()), int(by["value_bytes"].sum())
        page = self._turn(count)
        if a != b:
            rows = simulation.difference(*compared, limit=page.size, offset=page.offset)
        made = call("snap.simulate", list(self.policies), horizon, self.mode, **asked)
        return LabShown(
            simulation=simulation,
            summary=simulation.summary,
            over_time=simulation.over_time(),
            difference_by=by,
            difference=rows,
            difference_rows=count,
            difference_bytes=size,
            page=page,
            assumptions=simulation.assumptions,
            names=self._known_names(),
            toml=self.own(b).to_toml(),
            cfg=self.policies[b].cfg_lines(),
            call=made,
            difference_call=""
            if a == b
            else call("sim.difference", *(each.name for each in compared), limit=page.size, offset=page.offset or None),
        )

    def _refuse_nobody(self, simulation: Simulation) -> None:
        """Refuse filters that no row passes: a name that is not quite one would be a flat line, and no word."""
        chosen = {name: getattr(self, name) for name in _FILTERS if getattr(self, name) is not None}
        line = simulation.summary.iloc[0]
        if chosen and not line["deleted_now"] + line["kept_now"] + line["cleared"]:
            said = " and ".join(f"{name} = {text!r}" for name, text in chosen.items())
            raise QueryError(f"no task row has {said}", hint="names are taken whole and exactly; leave empty for all")

    def _known_names(self) -> dict[str, tuple[str, ...]]:
        snapshot = self.source.snapshot
        if self._names[0] is not snapshot:
            tasks = snapshot.select(store="task")
            self._names = snapshot, {name: tuple(tasks.by(name, limit=_MOST_NAMES)[name]) for name in _FILTERS}
        return self._names[1]

    @validate("policies")
    def _policies(self, proposal: Any) -> Any:
        given = proposal["value"]
        if not 1 <= len(given) <= MOST_POLICIES or not all(isinstance(each, Policy) for each in given):
            raise TraitError(f"{given!r} is not 1 to {MOST_POLICIES} policies")
        return given

    def _compared(self) -> tuple[int, int]:
        last = len(self.policies) - 1
        a, b = (min(max(each, 0), last) for each in self.compared)
        self.compared = [a, b]
        return a, b
