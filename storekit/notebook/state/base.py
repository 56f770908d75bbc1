"""What all states share: inputs that are traits, one answer that follows from them, and trouble that is shown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from traitlets import Any as AnyTrait
from traitlets import Bool, HasTraits, Instance, TraitError

from storekit.errors import QueryError
from storekit.notebook.state.source import Source
from storekit.notebook.state.trouble import Trouble, trouble_of

__all__ = ["State"]


class State(HasTraits):
    """Inputs, and the answer to them.

    Setting an input computes the answer anew. `set` changes several inputs at once. An input that cannot be answered
    leaves the last answer where it is and says why in `trouble`; nothing is raised.

    Parameters
    ----------
    source
        What it is about; several states may share one.
    active
        Whether it follows the source at once. An inactive state does so when it is activated.
    **values
        Inputs to start with, as for `set`.

    Attributes
    ----------
    shown : object or None
        The answer, frozen; each has a class of its own. None: nothing was computed yet.
    trouble : Trouble or None
        Why the inputs have no answer.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    shown: Any = AnyTrait(None, allow_none=True)
    trouble = Instance(Trouble, allow_none=True)
    active = Bool(False)

    def __init__(self, source: Source, *, active: bool = True, **values: Any) -> None:
        super().__init__()
        self.source = source
        self._mine = threading.local()  # what this thread holds; another's changes are no echo of it
        self._act: Trouble | None = None
        self._stale = True
        self.observe(self._on_input, list(self.inputs))
        self.observe(self._on_active, ["active"])
        source.observe(self._on_source, ["moment"])
        self._take_in(values)
        self.active = active

    def set(self, **values: Any) -> None:
        """Change several inputs, and compute once.

        Values that have no answer, such as a column that is not there, or that no input can have, raise nothing:
        `trouble` says why, and `shown` stays.

        Parameters
        ----------
        **values
            Inputs by name, each as the class lists it under Attributes.

        Raises
        ------
        QueryError
            If there is no such input; then nothing is changed.
        """
        before = {name: getattr(self, name) for name in values if name in self.inputs}
        self._act = None
        try:
            self._take_in(values)
        except TraitError as error:
            self._take_in(before)
            self._fail(QueryError(str(error), hint=f"the inputs of {type(self).__name__} say what they take"))
            return
        self.refresh()

    def _take_in(self, values: dict[str, Any]) -> None:
        for name in values:
            if name not in self.inputs:
                raise QueryError(
                    f"{type(self).__name__} has no input {name!r}", hint=f"it has {', '.join(self.inputs)}"
                )
        with self.source.lock, self._holding():
            for name, value in values.items():
                setattr(self, name, value)

    def _fail(self, error: BaseException) -> None:
        """Say why something that was asked for was not done; it stays said until something else is asked for."""
        self._act = self.trouble = trouble_of(error)

    def _begin(self) -> None:
        """Forget what was said of the last thing that was asked for."""
        self._act = self.trouble = None

    def refresh(self) -> None:
        """Compute the answer anew."""
        with self.source.lock, self._holding():
            self._stale = False
            if self.source.snapshot is None:
                return
            try:
                shown = self._answer()
            except Exception as error:  # a callback that raises is swallowed by the notebook: it has to be shown
                self.trouble = trouble_of(error)
                self._unanswered()
            else:
                self.shown, self.trouble = shown, self._act

    def _answer(self) -> Any:
        """Return what is shown for the inputs as they are. It may correct them."""
        raise NotImplementedError

    def _unanswered(self) -> None:
        """Forget what was half worked out for inputs that have no answer."""

    @contextmanager
    def _holding(self) -> Iterator[None]:
        self._mine.held = getattr(self._mine, "held", 0) + 1
        try:
            yield
        finally:
            self._mine.held -= 1

    def _on_input(self, _change: Any) -> None:
        if not getattr(self._mine, "held", 0):
            self._act = None
            self.refresh()

    def _on_source(self, _change: Any) -> None:
        self._stale = True
        self._on_active(None)

    def _on_active(self, _change: Any) -> None:
        if self.active and self._stale:
            self.refresh()
