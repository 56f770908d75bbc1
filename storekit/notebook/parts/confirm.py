"""A button that asks for a text to be typed first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traitlets import Bool, Dict, TraitError, Unicode, validate

from storekit.frames.display import plain
from storekit.notebook.parts.base import Part, script
from storekit.notebook.parts.checks import records

__all__ = ["Confirm"]


class Confirm(Part):
    """A typed confirmation. The browser enables the button; the kernel decides, from what was typed.

    Pressing Enter fires nothing. Firing empties the box, so that each shot is typed anew.

    Attributes
    ----------
    prompt : str
        What will happen, and why something must be typed.
    expected : str
        What must be typed, exactly. With an empty one nothing fires.
    about : str
        What is confirmed, by a name that nothing else has: a click that was on its way when another came confirms
        nothing.
    typed : str
        What stands in the box. *Set by the user.*
    label : str
        The button's, such as ``Delete 13 rows``.
    armed : bool
        Whether the browser has the button enabled; decides nothing. *Set by the browser.*
    disabled : bool
        Whether the box is closed.
    fired : dict
        Empty, or ``typed``, ``about`` (str) and ``count`` (int) of the last click; the count goes up by one with each.
        *Set by the user.*

    Raises
    ------
    traitlets.TraitError
        Also where ``expected`` has what cannot be seen or typed: control or invisible characters, blanks at its ends.
    """

    _esm = script("confirm")

    prompt = Unicode().tag(sync=True)
    expected = Unicode().tag(sync=True)
    about = Unicode().tag(sync=True)
    typed = Unicode().tag(sync=True)
    label = Unicode("Confirm").tag(sync=True)
    armed = Bool().tag(sync=True)
    disabled = Bool().tag(sync=True)
    fired = Dict().tag(sync=True)

    def accepts(self, typed: object) -> bool:
        """Return whether this text, typed now, confirms."""
        return not self.disabled and self.expected != "" and typed == self.expected

    def on_fire(self, callback: Callable[[str], object]) -> Callable[[], None]:
        """Call back with the typed text, once per click whose text confirms; other clicks are nothing.

        Returns
        -------
        Callable
            What ends it.
        """

        def fired(change: Any) -> None:
            shot, before = change["new"], change["old"]
            # What comes back with a count that was there already was no click.
            if not shot or shot["count"] <= before.get("count", 0):
                return
            if shot["about"] == self.about and self.accepts(shot["typed"]):
                callback(shot["typed"])

        self.observe(fired, "fired")
        return lambda: self.unobserve(fired, "fired")

    @validate("fired")
    def _fired(self, proposal: Any) -> dict[str, Any]:
        (shot,) = (
            records("fired", [proposal["value"]], {"typed": str, "about": str, "count": int}, {})
            if proposal["value"]
            else ({},)
        )
        return shot

    @validate("expected")
    def _expected(self, proposal: Any) -> str:
        expected = str(proposal["value"])
        if plain(expected) != expected or expected.strip() != expected:
            raise TraitError(f"expected is {expected!r}, which cannot be typed as it is seen; give a plain text")
        return expected
