"""Ctrl-C while batches are committed: heeded where nothing is half done, and never between a commit and its count."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupts"]


class Interrupts:
    """Interrupts of one piece of work done in batches.

    Parameters
    ----------
    in_batches
        True: the first Ctrl-C is noted, and the work asks for it between two batches (`asked`); the second one breaks
        into the batch. False: the first one does, since there is nothing between.
    """

    def __init__(self, *, in_batches: bool) -> None:
        self._waits_for = 1 if in_batches else 0
        self._count = 0
        self._may_break_in = False

    @property
    def asked(self) -> bool:
        """Whether an interrupt has come."""
        return self._count > 0

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note interrupts inside, where they arrive: in the main thread, and unless they are ignored already."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or not callable(before):
            yield
            return

        def note(number: int, frame: Any) -> None:
            self._count += 1
            if self._may_break_in and self._count > self._waits_for:
                before(number, frame)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def may_break_in(self) -> Iterator[None]:
        """Let an interrupt raise KeyboardInterrupt inside: what is done there can be rolled back."""
        self._may_break_in = True
        try:
            yield
        finally:
            self._may_break_in = False
