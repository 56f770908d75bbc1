"""A strip of tabs; what they show is swapped by whoever owns it."""

from __future__ import annotations

from traitlets import Int, List, Unicode

from storekit.notebook.parts.base import Part, script

__all__ = ["Tabs"]


class Tabs(Part):
    """A tab list: arrows, Home and End move, and what has the focus is chosen.

    Attributes
    ----------
    titles : list of str
        A title per tab.
    selected : int
        From 0. *Set by the user.*
    label : str
        What the tabs are tabs of.
    """

    _esm = script("tabs")

    titles = List(Unicode()).tag(sync=True)
    selected = Int(min=0).tag(sync=True)
    label = Unicode("Views").tag(sync=True)
