"""Keeps a notebook's own shortcuts away from the controls of a view."""

from __future__ import annotations

from storekit.notebook.parts.base import Part, script

__all__ = ["Keys"]


class Keys(Part):
    """Nothing to see: it sees to it that keys pressed on a control around it are the control's.

    It stands among the children of a widget with the class ``sk-view`` or ``sk-app``, and works for all in that.
    """

    _esm = script("keys")
