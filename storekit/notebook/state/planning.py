"""A plan: made of what is previewed, looked over, saved, and carried out behind a typed confirmation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from traitlets import Any as AnyTrait
from traitlets import Bool, Int, Unicode

from storekit.errors import CleanupStoppedError, PlanError, QueryError, ReadOnlyError, StorekitError
from storekit.frames.display import human_count, row_word
from storekit.frames.outcomes import CleanupReport
from storekit.frames.plan import Plan, open_plan
from storekit.notebook.state.calls import Raw, call
from storekit.notebook.state.paging import Page, Paged
from storekit.notebook.state.source import Source
from storekit.notebook.state.trouble import trouble_of
from storekit.store import Store

__all__ = ["BATCH_ROWS", "Planning", "PlanningShown"]

BATCH_ROWS = 10_000
"""Rows per transaction: few enough that Stop is heeded soon."""


@dataclass(frozen=True, eq=False)
class PlanningShown:
    """What `Planning` shows.

    Attributes
    ----------
    plan : Plan or None
        None: none was made yet.
    rows : DataFrame or None
        A page of it.
    by_dag : DataFrame or None
        As `Plan.by`.
    page : Page
        Of the rows.
    looked : CleanupReport or None
        The dry run.
    report : CleanupReport or None
        What the deletion did.
    phrase : str
        What has to be typed before anything is deleted; empty where nothing can be.
    refusal : str
        Why nothing can be deleted; empty where it can.
    plan_call, look_call, delete_call : str
        The Python calls.
    """

    plan: Plan | None
    rows: pd.DataFrame | None
    by_dag: pd.DataFrame | None
    page: Page
    looked: CleanupReport | None
    report: CleanupReport | None
    phrase: str
    refusal: str
    plan_call: str
    look_call: str
    delete_call: str


class Planning(Paged):
    """A plan, and what is done by it.

    Nothing is deleted but by `delete`, with the phrase that `PlanningShown.phrase` asks for.

    Attributes
    ----------
    archive : str
        The folder that the deleted rows are archived in; made by the deletion, and proposed anew with each plan.
    archiving : bool
        Whether they are archived.
    batch_size : int
        Rows per transaction.
    page, page_size : int
        Of the plan's rows.
    plan, looked, report
        As in `PlanningShown`.
    """

    inputs: ClassVar = ("archive", "archiving", "batch_size", "page", "page_size", "plan", "looked", "report")
    archive = Unicode("")
    archiving = Bool(True)
    batch_size = Int(BATCH_ROWS)
    page_size = Int(10)
    plan: Any = AnyTrait(None, allow_none=True)
    looked: Any = AnyTrait(None, allow_none=True)
    report: Any = AnyTrait(None, allow_none=True)

    def __init__(self, source: Source, **kwargs: Any) -> None:
        self._spent = False
        super().__init__(source, **kwargs)
        source.work.observe(self._on_work, ["running"])

    # --- what a user does ------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Make the plan of what would be deleted at the source's instant."""

        def made(told: Callable[[int, int], None]) -> Plan:
            if self.source.snapshot is None:
                raise PlanError("the store was not read", hint="refresh it first")
            plan: Plan = self.source.snapshot.plan(self.source.instant, progress=told)
            return plan

        self._in_work("Making the plan", made, self._take)

    def open(self, path: str | Path) -> None:
        """Open a saved plan."""
        self._in_work("Reading the plan", lambda _told: open_plan(_path(path, "the plan")), self._take)

    def save(self, path: str | Path) -> None:
        """Save the plan; a file that is there is not replaced."""

        def saved(_told: Any) -> None:
            if self.plan is None:
                raise PlanError("there is no plan to save", hint="make one first")
            self.plan.save(_path(path, "the plan"))

        self._in_work("Saving the plan", saved, lambda _nothing: None)

    def look(self) -> None:
        """Look what the plan would delete by now: a dry run, against the live store."""

        def look(told: Any) -> CleanupReport:
            store, plan = self._store_and_plan()
            return store.cleanup(plan, progress=told)

        self._in_work("Comparing with the store", look, lambda report: self.set(looked=report))

    def delete(self, typed: str) -> None:
        """Delete what the plan names, if ``typed`` is the phrase that is asked for."""
        try:
            refusal, phrase = self._refusal(), self._phrase()
            if refusal:
                raise ReadOnlyError(f"nothing is deleted: {refusal}")
            if not isinstance(typed, str) or typed.strip() != phrase:
                raise QueryError(f"nothing is deleted: {typed!r} is not {phrase!r}", hint="type it exactly")
            if self.archiving and not self.archive.strip():
                raise QueryError("nothing is deleted: the archive has no name", hint="name a folder, or do not archive")
        except StorekitError as error:
            self.trouble = trouble_of(error)
            return
        store, plan = self._store_and_plan()
        archive = self.archive.strip() if self.archiving else None
        size = self.batch_size

        def run(told: Callable[[int, int], None]) -> CleanupReport:
            return store.cleanup(plan, batch_size=size, archive=archive, dry_run=False, progress=told)

        self._in_work("Deleting", run, self._done)

    def _done(self, report: CleanupReport) -> None:
        # The plan is spent: what is left of it is another plan.
        self._spent = True
        self.set(report=report, plan=None, looked=None, page=0)

    def _take(self, plan: Plan) -> None:
        self.set(plan=plan, looked=None, report=None, page=0, archive=_proposed(plan))

    def _in_work(self, label: str, job: Callable[[Any], Any], then: Callable[[Any], None]) -> None:
        def failed(error: BaseException) -> None:
            if isinstance(error, CleanupStoppedError) and error.report is not None:
                self._done(error.report)
            self.trouble = trouble_of(error)

        def done(result: Any) -> None:
            self.trouble = None
            then(result)

        if not self.source.work.start(label, job, done, failed):
            self.trouble = trouble_of(
                QueryError(f"{self.source.work.label} is still under way", hint="wait for it, or stop it")
            )

    def _on_work(self, _change: Any) -> None:
        """Read the store again after a deletion: what it deleted is not there any more, in any view."""
        if self._spent and not self.source.work.running:
            self._spent = False
            self.source.refresh()

    def _store_and_plan(self) -> tuple[Store, Plan]:
        if self.source.store is None:
            raise ReadOnlyError("this is a snapshot, not a store", hint="sk.explore(sk.connect(url))")
        if self.plan is None:
            raise PlanError("there is no plan", hint="make one first")
        return self.source.store, self.plan

    # --- the answer ------------------------------------------------------------------------------------------------

    def _refusal(self) -> str:
        if self.plan is None:
            return "there is no plan"
        if not self.plan:
            return "the plan names no row"
        if self.source.store is None:
            return "this is a snapshot; explore the store itself, sk.explore(sk.connect(url, writable=True))"
        if not self.source.writable:
            return "the store is open for reading only; sk.explore(sk.connect(url, writable=True))"
        if self.plan.info.custom_backend is not None or self.source.store.config.custom_backend is not None:
            return "[state_store] backend is a custom one, and cleanup is skipped for it"
        return ""

    def _phrase(self) -> str:
        if self._refusal():
            return ""
        return f"delete {human_count(len(self.plan))} {row_word(len(self.plan))}"

    def _answer(self) -> PlanningShown:
        plan = self.plan
        self._turned(plan)
        page = self._turn(0 if plan is None else len(plan))
        archive = self.archive.strip() if self.archiving else None
        return PlanningShown(
            plan=plan,
            rows=None if plan is None else plan.rows(page.size, page.offset),
            by_dag=None if plan is None else plan.by("dag_id"),
            page=page,
            looked=self.looked,
            report=self.report,
            phrase=self._phrase(),
            refusal=self._refusal(),
            plan_call=call("snap.plan", *([self.source.now_argument] if self.source.now_argument else [])),
            look_call=call("store.cleanup", Raw("plan")),
            delete_call=call("store.cleanup", Raw("plan"), batch_size=self.batch_size, archive=archive, dry_run=False),
        )


def _path(path: str | Path, what: str) -> Path:
    if not str(path).strip():
        raise QueryError(f"{what} has no file name", hint="name a file, such as tonight.parquet")
    return Path(path)


def _proposed(plan: Plan) -> str:
    """Return a folder's name that tells when it was planned and what."""
    return f"archive-{plan.info.now:%Y%m%dT%H%M%SZ}-{plan.info.sha256[:8]}.parquet"
