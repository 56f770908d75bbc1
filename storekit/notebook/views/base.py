"""What all views share: they draw what a state shows, hand back what a user does, and can be shown without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar, cast

import ipywidgets as widgets
from IPython.display import display
from traitlets import TraitError

from storekit.errors import QueryError
from storekit.frames.display import escape, plain
from storekit.frames.report import framed
from storekit.frames.snapshot import Snapshot
from storekit.notebook.parts import Code, Notice, Table, Work
from storekit.notebook.state import Source, State, in_thread
from storekit.notebook.state.trouble import Trouble, trouble_of
from storekit.notebook.views.ground import Ground
from storekit.store import Store

__all__ = ["View", "WorkView", "as_typed", "heading", "rests_html", "row", "say", "show", "soft", "state_of", "still"]


class View(widgets.VBox):
    """A widget over one state.

    The data flows one way: what a user does is set in the state; when the state's answer changes, `draw` shows it all.

    Parameters
    ----------
    state
        What is shown.
    children
        The widgets that show it.
    alone
        Whether the view stands alone: then it shows the source's work and trouble too, which in an app the app does.
    """

    state: State

    def __init__(self, state: State, children: Sequence[widgets.Widget], *, alone: bool) -> None:
        self.state = state
        self._drawing = False
        self._undrawn: Trouble | None = None
        self._notice = Notice()
        self._code = Code(label="The same in Python")
        work = [WorkView(state.source)] if alone else []
        super().__init__([*work, self._notice, *children, self._code, Ground()])
        self.add_class("sk-view")
        self._heard: list[State | Source] = [state.source, state] if alone else [state]
        state.observe(self._redraw, ["shown"])
        for each in self._heard:
            each.observe(self._say, ["trouble"])
        self._redraw(None)
        self._say(None)

    def draw(self, shown: Any) -> None:
        """Show the state's answer, and its inputs as they are.

        Parameters
        ----------
        shown
            The state's ``shown``.
        """
        raise NotImplementedError

    def fallback(self) -> str:
        """Return what a viewer without a kernel shows: HTML, escaped, with a table and a picture."""
        raise NotImplementedError

    def _redraw(self, _change: Any) -> None:
        if self.state.shown is not None:
            self._drawn(lambda: self.draw(self.state.shown))

    def _drawn(self, draw: Callable[[], None]) -> None:
        """Draw, or say why it cannot be done: what an observer raises is swallowed."""
        before, self._undrawn = self._undrawn, None
        with self._no_echo():
            try:
                draw()
            except Exception as error:
                self._undrawn = trouble_of(error)
        if self._undrawn != before:
            self._say(None)

    def _say(self, _change: Any) -> None:
        say(self._notice, self._said())

    def _said(self) -> Trouble | None:
        """Return what has to be said: what could not be drawn before what could not be answered."""
        troubles = [self._undrawn, *(each.trouble for each in self._heard)]
        return as_typed(self.state.source, next((each for each in troubles if each is not None), None))

    @contextmanager
    def _no_echo(self) -> Iterator[None]:
        # What is drawn must not come back as if a user had done it.
        with self.state.source.lock:
            before, self._drawing = self._drawing, True
            try:
                yield
            finally:
                self._drawing = before

    def on(self, widget: widgets.Widget, name: str, do: Callable[[Any], None]) -> None:
        """Call ``do`` with the new value whenever a user changes a widget's trait.

        Parameters
        ----------
        widget, name
            The widget, and its trait.
        do
            Called with the value. What it raises is shown as the state's trouble.
        """

        def done(change: Any) -> None:
            with self.state.source.lock:
                if self._drawing:
                    return
            try:
                do(change["new"])
            except Exception as error:  # it would be swallowed
                self.state.trouble = trouble_of(error)
                self._redraw(None)

        widget.observe(done, [name])

    def turns(self, table: Table, *, sorts: bool = False) -> None:
        """Turn the state's pages by a table's.

        Parameters
        ----------
        table
            Whose pages a user turns.
        sorts
            Order the state's rows by the table's headings, too.
        """
        self.on(table, "page", lambda page: self.state.set(page=page))
        self.on(table, "page_size", lambda size: self.state.set(page_size=size))
        if sorts:
            for name in ("sort", "descending"):
                self.on(table, name, lambda _: self.state.set(sort=table.sort, descending=table.descending))

    def click(self, button: widgets.Button, do: Callable[[], object]) -> None:
        """Call ``do`` at each click.

        Parameters
        ----------
        button
            What is clicked.
        do
            Called without arguments. What it raises is shown as the state's trouble.
        """

        def done(_button: Any) -> None:
            try:
                do()
            except Exception as error:
                self.state.trouble = trouble_of(error)

        button.on_click(done)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        # Where no widget can be: an untrusted notebook, nbconvert, a code host.
        bundle["text/html"] = still(self.fallback, self.state.source)
        return bundle

    def _ipython_display_(self) -> None:
        show(self._repr_mimebundle_())

    def __repr__(self) -> str:
        # ipywidgets' own would spell every widget inside.
        return f"{type(self).__name__}({self.state.source.title})"


class WorkView(widgets.VBox):
    """Long work on a source: how far it is, and a button to stop it.

    Parameters
    ----------
    source
        Whose work it is.
    aloud
        Whether a screen reader is told how far it is. Of several views of one source, one tells.
    """

    def __init__(self, source: Source, *, aloud: bool = True) -> None:
        work = source.work
        self._part = Work(stoppable=True, aloud=aloud)
        super().__init__([self._part])

        def draw(_change: Any) -> None:
            self._part.put(label=work.label, done=work.done, total=work.total, running=work.running)

        work.observe(draw, ["label", "done", "total", "running"])
        draw(None)
        self._part.observe(lambda _change: work.stop(), ["stops"])


def still(fallback: Callable[[], str], source: Source) -> str:
    """Return what is seen without a kernel; where there is nothing to see, why."""
    try:
        found = fallback()
    except Exception as error:  # showing a widget must not fail for the sake of its stand-in
        found, said = "", trouble_of(error).message
    else:
        said = source.title if source.trouble is None else source.trouble.message
    hint = "" if source.trouble is None else source.trouble.hint
    if not found and not hint and source.work.running:
        hint = "The store was still being read when this was shown. Run the cell again for tables that stay."
    return found or framed(f"<p>{escape(said)}</p><p>{escape(hint)}</p>")


def show(bundle: dict[str, Any]) -> None:
    """Display a view, and right after it, as an output of its own, what stands in for it.

    Of one output JupyterLab takes the widget wherever the notebook is trusted, as its author's is, and where the kernel
    is gone it says no more than that there is none. Of two, the style sheet hides the second while the first is there.
    """
    stand_in = bundle.pop("text/html")
    for each in (bundle, {"text/html": f'<div class="sk-stand-in">{stand_in}</div>'}):
        display(each, raw=True)  # type: ignore[no-untyped-call]


def say(notice: Notice, trouble: Trouble | None) -> None:
    """Show trouble, or none."""
    if trouble is None:
        notice.kind = ""
        return
    notice.put(message=plain(trouble.message), hint=plain(trouble.hint), kind="error")


def as_typed(source: Source, trouble: Trouble | None) -> Trouble | None:
    """Return trouble with an instant as who typed it into a box can mend it, not as a program does."""
    try:
        source.check_now()
    except QueryError as error:
        if trouble == trouble_of(error):
            return Trouble(error.message, "Such as 2026-11-22T10:00:00Z; empty: when the snapshot was taken.")
    return trouble


S = TypeVar("S", bound=State)


def state_of(given: Store | Snapshot | S, kind: type[S], now: datetime | str | None, **inputs: Any) -> S:
    """Return the state of a view: the one that it is given, or one of its own over a store or a snapshot.

    Raises
    ------
    QueryError
        For inputs that cannot be answered: who typed them looks at a call, not at a widget yet.
    """
    asked = {name: value for name, value in inputs.items() if value is not None}
    if isinstance(given, Store | Snapshot) or not isinstance(given, kind):
        source = Source(cast("Store | Snapshot", given), now=now, runner=in_thread)
        try:
            state = kind(source, **inputs)
        except TraitError as error:
            raise QueryError(
                str(error), hint=f"the inputs are those of storekit.notebook.state.{kind.__name__}"
            ) from None
        if asked and state.trouble is not None:
            raise QueryError(state.trouble.message, hint=state.trouble.hint)
        return state
    told = [*(["now"] if now else []), *asked]
    if told:
        raise QueryError(f"{', '.join(told)}: the state that is shown has its own", hint="set the state's traits")
    return given


def heading(text: str) -> widgets.HTML:
    """Return a heading; ``text`` is ours, not a store's."""
    return widgets.HTML(f'<h3 class="sk-heading">{text}</h3>')


def soft(text: str) -> widgets.HTML:
    """Return a line of explanation; ``text`` is ours, not a store's."""
    return widgets.HTML(f'<p class="sk-explained">{text}</p>')


def rests_html(assumptions: Sequence[str]) -> str:
    """Return what numbers rest on as HTML, doubts first: they are what has to be read."""
    doubts = [each for each in assumptions if each.startswith("Doubt: ")]
    others = [each for each in assumptions if each not in doubts]
    return "".join(
        [
            *(f'<p class="sk-note">{escape(each)}</p>' for each in doubts),
            '<div class="sk-rests">',
            *(f"<p>{escape(each)}</p>" for each in others),
            "</div>",
        ]
    )


def row(*children: widgets.Widget) -> widgets.HBox:
    """Return widgets side by side, wrapped where they do not fit."""
    box = widgets.HBox(children)
    box.add_class("sk-row")
    return box
