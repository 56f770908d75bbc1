"""What is said and not asked: a text to copy, and a notice."""

from __future__ import annotations

from traitlets import Enum, Unicode

from storekit.notebook.parts.base import Part, script

__all__ = ["KINDS", "Code", "Notice"]

KINDS = ("", "info", "warning", "error")
"""What a notice may be; an empty one shows nothing."""


class Code(Part):
    """A text in a fixed-width type with a button that copies it.

    Attributes
    ----------
    text : str
        What is shown and copied.
    label : str
        Its name.
    """

    _esm = script("code")

    text = Unicode().tag(sync=True)
    label = Unicode("Python").tag(sync=True)


class Notice(Part):
    """A message and what to do about it, read aloud when it comes: an error at once, others in their turn.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    message : str
        What happened.
    hint : str
        What to do next; not shown where empty.
    """

    _esm = script("notice")

    kind = Enum(KINDS, "").tag(sync=True)
    message = Unicode().tag(sync=True)
    hint = Unicode().tag(sync=True)
