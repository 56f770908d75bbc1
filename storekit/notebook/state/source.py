"""What an app is about: a store, or a snapshot of one, and the instant at which it is judged."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import HasTraits, Instance, Int, Unicode

from storekit.errors import QueryError
from storekit.frames.display import human_instant
from storekit.frames.instants import as_instant
from storekit.frames.simview import source
from storekit.frames.snapshot import Snapshot
from storekit.notebook.state.trouble import Trouble, trouble_of
from storekit.notebook.state.work import Runner, Work, inline
from storekit.store import Store

__all__ = ["Source"]


class Source(HasTraits):
    """A store, or a snapshot, and an instant. Every app has one of its own.

    Parameters
    ----------
    store_or_snapshot
        Of a store a snapshot is taken at once, and again at `refresh`.
    now
        As the trait, or aware; None: when the snapshot was taken.
    runner
        How long work is run; `inline` waits for it.

    Attributes
    ----------
    snapshot : Snapshot or None
        What is shown; None while the first one is taken.
    now : str
        The instant at which rows are judged, as ISO text with a zone; empty: when the snapshot was taken.
    instant : datetime or None
        The same, understood. It stays where it was while ``now`` is no instant; `trouble` then says so.
    moment : int
        Counts the changes of the two.
    trouble : Trouble or None
        Why the store could not be read, until it can be; or that ``now`` is no instant.
    work : Work
        Long work on this source.

    Raises
    ------
    QueryError
        If it is neither a store nor a snapshot, or ``now`` is no instant.
    """

    snapshot: Any = AnyTrait(None, allow_none=True)
    now = Unicode("")
    instant: Any = AnyTrait(None, allow_none=True)
    moment = Int(0)
    trouble = Instance(Trouble, allow_none=True)

    def __init__(
        self, store_or_snapshot: Store | Snapshot, *, now: datetime | str | None = None, runner: Runner = inline
    ) -> None:
        super().__init__()
        if not isinstance(store_or_snapshot, Store | Snapshot):
            raise QueryError(
                f"{store_or_snapshot!r} is neither a store nor a snapshot",
                hint="sk.explore(sk.connect(url)), or sk.explore(sk.open_snapshot(directory))",
            )
        self.store = store_or_snapshot if isinstance(store_or_snapshot, Store) else None
        self.work = Work(runner)
        self.lock = threading.RLock()
        self._unread: Trouble | None = None
        self._no_instant: Trouble | None = None
        self.now = _as_text(now)
        self.observe(self._on_now, ["now"])
        if isinstance(store_or_snapshot, Snapshot):
            self._settle(store_or_snapshot)
        else:
            self.refresh()

    def refresh(self) -> bool:
        """Take another snapshot of the store. A snapshot stays as it is.

        What fails is said in `trouble`, not raised: a store that cannot be read, or other work that is under way.

        Returns
        -------
        bool
            Whether it began.
        """
        store = self.store
        if store is None:
            return False
        began = self.work.start("Reading the store", lambda told: store.snapshot(progress=told), self._take, self._fail)
        if not began:
            self.trouble = trouble_of(self.work.refusal())
        return began

    def check_now(self) -> None:
        """Refuse to go on with the instant as it was, while what ``now`` says is none.

        Raises
        ------
        QueryError
            If ``now`` is no instant.
        """
        if self._no_instant is not None:
            raise QueryError(self._no_instant.message, hint=self._no_instant.hint)

    @property
    def now_argument(self) -> str | None:
        """``now`` as an argument of a call; None: it can be left out."""
        if self.instant is None or self.snapshot is None or self.instant == self.snapshot.info.taken_at:
            return None
        return _as_argument(self.instant)

    @property
    def title(self) -> str:
        """What is shown, in one line."""
        if self.snapshot is None:
            return "Reading the store …" if self.work.running else "The store was not read"
        return source(self.snapshot.info)

    @property
    def said(self) -> str:
        """The instant, for people."""
        return "" if self.instant is None else human_instant(self.instant)

    def _take(self, snapshot: Snapshot) -> None:
        self._unread = None
        self._settle(snapshot)

    def _fail(self, error: BaseException) -> None:
        self.trouble = trouble_of(error)
        # Who stopped it knows. All else is true until the store is read again: what is shown is not what is there.
        self._unread = None if isinstance(error, KeyboardInterrupt) else self.trouble

    def _on_now(self, _change: Any) -> None:
        if self.snapshot is not None:
            self._settle(self.snapshot)

    def _settle(self, snapshot: Snapshot) -> None:
        with self.lock:
            taken_at = snapshot.info.taken_at
            before, self._no_instant = (self.snapshot, self.instant), None
            try:
                instant: datetime = as_instant(self.now.strip()) if self.now.strip() else taken_at
            except QueryError as error:
                instant, self._no_instant = self.instant or taken_at, trouble_of(error)
            self.snapshot, self.instant, self.trouble = snapshot, instant, self._no_instant or self._unread
            if before != (snapshot, instant):
                self.moment += 1


def _as_text(now: datetime | str | None) -> str:
    """Return an instant as the trait has it, if it is one."""
    if now is None or (isinstance(now, str) and not now.strip()):
        return ""
    instant = as_instant(now)
    return now if isinstance(now, str) else _as_argument(instant)


def _as_argument(instant: datetime) -> str:
    """Return an instant as a call's argument: ``2026-11-28T00:00:00Z``."""
    return instant.isoformat().replace("+00:00", "Z")
