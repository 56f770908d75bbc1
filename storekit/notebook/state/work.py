"""Long work beside the notebook: it says how far it is, and can be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from traitlets import Bool, HasTraits, Int, Unicode

from storekit.errors import QueryError

__all__ = ["Runner", "Work", "in_thread", "inline"]

T = TypeVar("T")

Runner = Callable[[Callable[[], None]], None]
"""Runs a piece of work, now or beside."""

_PATIENCE = 0.5  # seconds; what is done by then is seen as if it had been done at once


def inline(job: Callable[[], None]) -> None:
    """Run a piece of work now: the program waits for it.

    Parameters
    ----------
    job
        Called once, without arguments.
    """
    job()


def in_thread(job: Callable[[], None]) -> None:
    """Run a piece of work in a thread of its own, and wait for it a moment only.

    A program that ends waits for it: a batch is not cut off.

    Parameters
    ----------
    job
        Called once, without arguments. This returns when it has, or after half a second.
    """
    thread = threading.Thread(target=job, name="storekit-work")
    thread.start()
    thread.join(_PATIENCE)


class Work(HasTraits):
    """One piece of long work at a time.

    Parameters
    ----------
    runner
        How it is run: `inline`, `in_thread`, or any function that calls what it is given once.

    Attributes
    ----------
    label : str
        What is done.
    done, total : int
        How far it is; a total of 0: not known.
    running : bool
        Whether something is under way.
    """

    label = Unicode("")
    done = Int(0)
    total = Int(0)
    running = Bool(False)

    def __init__(self, runner: Runner = inline) -> None:
        super().__init__()
        self._runner = runner
        self._stop = threading.Event()
        self._claiming = threading.Lock()
        self._claimed = False

    def start(
        self,
        label: str,
        job: Callable[[Callable[[int, int], None]], T],
        then: Callable[[T], None],
        failed: Callable[[BaseException], None],
    ) -> bool:
        """Start a piece of work, unless one is under way.

        Parameters
        ----------
        label
            What is done, for people.
        job
            The work. It is given a function to call with (done, total), which raises KeyboardInterrupt once `stop` was
            called: between two batches, a cleanup ends there and still reports.
        then
            Called with what the job returned, in the same thread.
        failed
            Called with what it raised. Both are called before `running` turns False.

        Returns
        -------
        bool
            Whether it was started.
        """
        with self._claiming:
            if self._claimed:
                return False
            self._claimed = True
        # Who observes the traits may wait for a lock that is held by who asks to start: ours is free by now.
        self._stop.clear()
        self.label, self.done, self.total = label, 0, 0
        self._tell()

        def run() -> None:
            try:
                then(job(self._progress))
            except BaseException as error:
                failed(error)
            finally:
                with self._claiming:
                    self._claimed = False
                self._tell()

        self._runner(run)
        return True

    def _tell(self) -> None:
        # What is begun meanwhile, in another thread, is what is told in the end.
        while self.running != self._claimed:
            self.running = self._claimed

    def stop(self) -> None:
        """Ask the work to stop where it can."""
        self._stop.set()

    def refusal(self) -> QueryError:
        """Return why other work was not started."""
        return QueryError(f"{self.label} is still under way", hint="wait for it, or stop it")

    def _progress(self, done: int, total: int) -> None:
        self.done, self.total = int(done), int(total)
        if self._stop.is_set():
            raise KeyboardInterrupt
