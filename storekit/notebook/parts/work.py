"""The progress of long work, and a button that stops it."""

from __future__ import annotations

from traitlets import Bool, Int, Unicode

from storekit.notebook.parts.base import Part, script

__all__ = ["Work"]


class Work(Part):
    """How far work has come; nothing is shown while none is running.

    Attributes
    ----------
    label : str
        What is done, such as ``Deleting``.
    done : int
        How much is done.
    total : int
        Of how much; 0 where nobody knows.
    running : bool
        Whether it is under way.
    stoppable : bool
        Whether there is a button to stop it.
    aloud : bool
        Whether a screen reader is told how far it has come.
    stops : int
        How often the button was pressed. *Counted up by the user*, once per run: then the button says that it waits.
    """

    _esm = script("work")

    label = Unicode().tag(sync=True)
    done = Int(min=0).tag(sync=True)
    total = Int(min=0).tag(sync=True)
    running = Bool().tag(sync=True)
    stoppable = Bool().tag(sync=True)
    aloud = Bool(True).tag(sync=True)
    stops = Int(min=0).tag(sync=True)
