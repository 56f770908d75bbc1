"""A plan: made of what is previewed, looked over, saved, and carried out behind a typed confirmation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pandas as pd
from traitlets import Bool, Instance, Int, Unicode

from storekit.errors import CleanupStoppedError, PlanError, QueryError, ReadOnlyError, StorekitError
from storekit.frames.display import human_count, human_instant, row_word
from storekit.frames.outcomes import CleanupReport, Progress
from storekit.frames.plan import Plan, open_plan
from storekit.frames.preview import Preview
from storekit.frames.selection import Selection
from storekit.notebook.state.calls import Raw, call
from storekit.notebook.state.paging import Page, Paged
from storekit.notebook.state.source import Source
from storekit.store import Store

__all__ = ["BATCH_ROWS", "Planning", "PlanningShown"]

T = TypeVar("T")

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
        A page of it, as `Plan.rows`, and ``dangers`` (str), as `Selection.rows`, where they are known.
    by_dag : DataFrame or None
        As `Plan.by`.
    dangers : DataFrame or None
        As `Preview.dangers`; None where the plan was made of another snapshot than was shown since.
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
        What does the same in Python; the last is empty where nothing can be deleted.
    """

    plan: Plan | None
    rows: pd.DataFrame | None
    by_dag: pd.DataFrame | None
    dangers: pd.DataFrame | None
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

    What a user does (`make`, `open`, `save`, `look`, `delete`) raises no error: `trouble` says why it was not done, and
    so it does while other work is under way. It is done by the source's runner; under `in_thread` it may go on when
    the call has returned, and ``source.work.running`` says so.

    Parameters
    ----------
    source, **kwargs
        As for `State`.

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
    told : str
        What was done that shows nowhere else, such as that the plan is saved.
    """

    inputs: ClassVar = ("archive", "archiving", "batch_size", "page", "page_size", "plan", "looked", "report")
    archive = Unicode("")
    archiving = Bool(True)
    batch_size = Int(BATCH_ROWS)
    page_size = Int(10)
    plan = Instance(Plan, allow_none=True)
    looked = Instance(CleanupReport, allow_none=True)
    report = Instance(CleanupReport, allow_none=True)

    told = Unicode("")

    def __init__(self, source: Source, **kwargs: Any) -> None:
        self._spent = False
        self._proposed: tuple[Plan | None, str] = (None, "")
        self._origin: tuple[Plan | None, str] = (None, "")
        self._by_dag: tuple[Plan | None, pd.DataFrame | None] = (None, None)
        self._judged: tuple[Plan | None, Preview | None, Selection | None] = (None, None, None)
        super().__init__(source, **kwargs)
        source.work.observe(self._on_work, ["running"])

    # --- what a user does ------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Make the plan of what would be deleted at the source's instant; it becomes `plan`."""
        now, made_by = self.source.now_argument, self._making()

        def made(told: Progress) -> Plan:
            self.source.check_now()
            if self.source.snapshot is None:
                raise PlanError("the store was not read", hint="read it again first")
            plan: Plan = self.source.snapshot.plan(now, progress=told)
            return plan

        self._in_work("Making the plan", made, lambda plan: self._take(plan, made_by))

    def open(self, path: str | Path) -> None:
        """Open a saved plan; it becomes `plan`.

        Parameters
        ----------
        path
            A file that `Plan.save` wrote; ``~`` is the user's home. One that is missing, no plan, or changed since is
            said in `trouble`, not raised.
        """

        def opened(plan: Plan) -> None:
            # As it was found: a call does not know what ~ is.
            self._take(plan, call("sk.open_plan", str(_path(path))))

        self._in_work("Reading the plan", lambda _: open_plan(_path(path)), opened)

    def save(self, path: str | Path) -> None:
        """Save the plan; `told` says where.

        Parameters
        ----------
        path
            The file; its folder must exist, ``~`` is the user's home. One that is there is not replaced: that, and that
            there is no plan, is said in `trouble`, not raised.
        """

        def saved(_told: Progress) -> str:
            if self.plan is None:
                raise PlanError("there is no plan to save", hint="make one first")
            return f"The plan is saved as {self.plan.save(_path(path))}."

        self._in_work("Saving the plan", saved, self._tell)

    def look(self) -> None:
        """Look what the plan would delete by now: a dry run, against the live store; it becomes `looked`."""

        def look(told: Progress) -> CleanupReport:
            store, plan = self._store_and_plan()
            return store.cleanup(plan, progress=told)

        self._in_work("Comparing with the store", look, lambda report: self.set(looked=report))

    def delete(self, typed: str) -> None:
        """Delete what the plan names, if ``typed`` is the phrase that is asked for; the outcome becomes `report`.

        The plan is then spent, and the store is read again. If it fails half way, `report` says what was deleted, and
        `trouble` why no more was.

        Parameters
        ----------
        typed
            `PlanningShown.phrase`, such as ``delete 64 rows``; blanks around it do not count. Another text deletes
            nothing; that, a store that is open for reading only, or an archive without a name is said in `trouble`,
            not raised.
        """
        with self.source.lock:
            # All of it is looked at once: another plan may come in while this one is being confirmed.
            plan, size = self.plan, self.batch_size
            archive = self.archive.strip() if self.archiving else None
            refusal, phrase = self._refusal(plan), self._phrase(plan)
        try:
            if refusal:
                raise ReadOnlyError(f"nothing is deleted: {refusal}")
            if not isinstance(typed, str) or typed.strip() != phrase:
                raise QueryError(f"nothing is deleted: {typed!r} is not {phrase!r}", hint="type it exactly")
            if archive == "":
                raise QueryError("nothing is deleted: the archive has no name", hint="name a folder, or do not archive")
        except StorekitError as error:
            self._fail(error)
            return
        store = self.source.store
        assert store is not None  # noqa: S101 - it would have been refused

        def run(told: Progress) -> CleanupReport:
            return store.cleanup(plan, batch_size=size, archive=archive, dry_run=False, progress=told)

        self._in_work("Deleting", run, self._done)

    def _done(self, report: CleanupReport) -> None:
        # The plan is spent: what is left of it is another plan.
        self._spent = True
        self.set(report=report, plan=None, looked=None, archive="", page=0)

    def _take(self, plan: Plan, made_by: str) -> None:
        self._origin = plan, made_by
        self.set(plan=plan, looked=None, report=None, page=0)

    def _tell(self, said: str) -> None:
        self.told = said

    def _in_work(self, label: str, job: Callable[[Progress], T], then: Callable[[T], None]) -> None:
        def failed(error: BaseException) -> None:
            if isinstance(error, CleanupStoppedError) and error.report is not None:
                self._done(error.report)
            self._fail(error)

        self._begin()
        self.told = ""
        if not self.source.work.start(label, job, then, failed):
            self._fail(self.source.work.refusal())

    def _on_work(self, _change: Any) -> None:
        """Read the store again after a deletion: what it deleted is not there any more, in any view."""
        if self._spent and not self.source.work.running:
            self._spent = False
            if not self.source.refresh():
                self._spent = True  # other work came in between: once that has ended

    def _store_and_plan(self) -> tuple[Store, Plan]:
        if self.source.store is None:
            raise ReadOnlyError("this is a snapshot, not a store", hint="sk.explore(sk.connect(url))")
        if self.plan is None:
            raise PlanError("there is no plan", hint="make one first")
        return self.source.store, self.plan

    # --- the answer ------------------------------------------------------------------------------------------------

    def _refusal(self, plan: Plan | None) -> str:
        store = self.source.store
        if plan is None:
            return "there is no plan"
        if not plan:
            return "the plan names no row"
        if store is None:
            return "this is a snapshot; explore the store itself, sk.explore(sk.connect(url, writable=True))"
        if not store.writable:
            return "the store is open for reading only; sk.explore(sk.connect(url, writable=True))"
        if plan.info.custom_backend is not None or store.config.custom_backend is not None:
            return "[state_store] backend is a custom one, and cleanup is skipped for it"
        return ""

    def _phrase(self, plan: Plan | None) -> str:
        if plan is None or self._refusal(plan):
            return ""
        return f"delete {human_count(len(plan))} {row_word(len(plan))}"

    def _answer(self) -> PlanningShown:
        plan = self.plan
        self._turned(plan)
        page = self._turn(0 if plan is None else len(plan))
        if plan is not None and plan is not self._proposed[0]:
            proposed = _proposed(plan)
            if self.archive in {"", self._proposed[1]}:
                self.archive = proposed
            self._proposed = plan, proposed
        if plan is not self._by_dag[0]:
            self._by_dag = plan, None if plan is None else plan.by("dag_id")
        self._judge(plan)
        phrase = self._phrase(plan)
        archive = self.archive.strip() if self.archiving else None
        deleting = call("store.cleanup", Raw("plan"), batch_size=self.batch_size, archive=archive, dry_run=False)
        return PlanningShown(
            plan=plan,
            rows=None if plan is None else self._rows(plan, page),
            dangers=None if self._judged[1] is None else self._judged[1].dangers(),
            by_dag=self._by_dag[1],
            page=page,
            looked=self.looked,
            report=self.report,
            phrase=phrase,
            refusal=self._refusal(plan),
            plan_call=self._made_by(plan),
            look_call=call("store.cleanup", Raw("plan")),
            delete_call=deleting if phrase else "",
        )

    def _judge(self, plan: Plan | None) -> None:
        """Look what else would go with the plan's rows, while the snapshot that it was made of is shown."""
        snapshot = self.source.snapshot
        if plan is None:
            self._judged = None, None, None
            return
        if plan is self._judged[0] or snapshot is None:
            return
        made_of = (plan.info.taken_at, plan.info.database_id) == (snapshot.info.taken_at, snapshot.info.database_id)
        now = plan.info.now
        self._judged = (
            (plan, snapshot.preview(now), snapshot.select(now=now, verdict="delete")) if made_of else (plan, None, None)
        )

    def _rows(self, plan: Plan, page: Page) -> pd.DataFrame:
        rows, selection = plan.rows(page.size, page.offset), self._judged[2]
        if selection is not None:
            # Both stand by natural key.
            rows["dangers"] = selection.rows(page.size, page.offset)["dangers"]
        return rows

    def _making(self) -> str:
        now = self.source.now_argument
        return call("snap.plan", *([now] if now else []))

    def _made_by(self, plan: Plan | None) -> str:
        if plan is None:
            return f"plan = {self._making()}"
        if plan is not self._origin[0]:
            return "# plan: the one that was given"
        text = f"plan = {self._origin[1]}"
        if self.source.snapshot is not None and plan.info.taken_at != self.source.snapshot.info.taken_at:
            text += f"  # of the snapshot of {human_instant(plan.info.taken_at)}, not of the one that is shown"
        return text


def _path(path: str | Path) -> Path:
    if not isinstance(path, str | Path) or not str(path).strip() or "\0" in str(path):
        raise QueryError(f"{path!r} is no file's name", hint="name a file, such as tonight.parquet")
    return Path(path).expanduser()


def _proposed(plan: Plan) -> str:
    """Return a folder's name that tells when it was planned and what."""
    instant = plan.info.now.isoformat(timespec="seconds")[:19].replace("-", "").replace(":", "")
    return f"archive-{instant}Z-{plan.info.sha256[:8]}.parquet"
