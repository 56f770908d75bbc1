"""One policy's retention: a slider and a number box that never disagree with what is used."""

from __future__ import annotations

import re
from typing import Any

from traitlets import Bool, Int, TraitError, Unicode, validate

from storekit.notebook.parts.base import Part, script

__all__ = ["Retention"]

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


class Retention(Part):
    """A retention in whole days, by slider and by number box.

    The box takes more than the slider shows; the slider then stands at its end and the value used is said in words.
    What is no whole number of days in range is said beside the box and not handed back. A drag hands back its first
    value at once and its last one surely, one at a time between.

    Attributes
    ----------
    label : str
        Whose retention it is.
    value : int
        Days, from 0 to ``hard_maximum``, both included. *Set by the user.*
    maximum : int
        The slider's end, days, at least 1.
    hard_maximum : int
        The box's end, days.
    unset : bool
        The policy says no retention: slider and box are hidden. *Set by the user* if ``allow_unset``.
    allow_unset : bool
        Whether there is a box to tick for it.
    note : str
        What is said beside the value, such as ``0: no expiry``.
    colour : str
        ``#rrggbb`` as in the policy's lines in a picture, or empty.

    Raises
    ------
    traitlets.TraitError
        Also where ``value`` is above ``hard_maximum``; set them together by `put`.
    """

    _esm = script("retention")

    label = Unicode("Retention").tag(sync=True)
    value = Int(30, min=0).tag(sync=True)
    maximum = Int(90, min=1).tag(sync=True)
    hard_maximum = Int(36_500, min=1).tag(sync=True)
    unset = Bool().tag(sync=True)
    allow_unset = Bool().tag(sync=True)
    note = Unicode().tag(sync=True)
    colour = Unicode().tag(sync=True)

    @validate("value", "hard_maximum")
    def _in_range(self, proposal: Any) -> int:
        name, days = proposal["trait"].name, int(proposal["value"])
        value = days if name == "value" else self.value
        most = days if name == "hard_maximum" else self.hard_maximum
        if value > most:
            raise TraitError(f"value is {value} days, above hard_maximum, which is {most}; set both by put()")
        return days

    @validate("colour")
    def _colour(self, proposal: Any) -> str:
        colour = str(proposal["value"])
        if colour and not _COLOUR.fullmatch(colour):
            raise TraitError(f"colour is {colour!r}; write it as #rrggbb")
        return colour
