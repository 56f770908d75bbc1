"""What every part is: an anywidget with its own script and the one style sheet, that takes several values at once."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import anywidget

__all__ = ["STYLE", "Part", "script"]

_HERE = files("storekit.notebook.parts")

STYLE = (_HERE / "parts.css").read_text(encoding="utf-8")
"""The style sheet of all parts."""

_COMMON = (_HERE / "common.js").read_text(encoding="utf-8")


def script(name: str) -> str:
    """Return a part's ES module: what all share, then its own text.

    Parameters
    ----------
    name
        The file beside this module, without ``.js``.
    """
    return f"{_COMMON}\n{(_HERE / f'{name}.js').read_text(encoding='utf-8')}"


class Part(anywidget.AnyWidget):
    """A small widget that shows texts and hands back what the user did.

    Texts are shown as text, whatever they hold. What is invisible in them is the caller's to spell
    (`storekit.frames.display.plain`).

    Raises
    ------
    TypeError
        A keyword that is no trait of the part.
    traitlets.TraitError
        A value that the trait does not take.
    """

    _css = STYLE

    def __init__(self, **values: Any) -> None:
        _known(self, values)
        super().__init__(**values)

    def put(self, **values: Any) -> None:
        """Set several traits as one: checked together, and sent as one message with what differs.

        If one is refused, none is set.

        Raises
        ------
        TypeError
            A keyword that is no trait of the part.
        traitlets.TraitError
            A value that the trait does not take.
        """
        _known(self, values)
        with self.hold_sync(), self.hold_trait_notifications():
            for name, value in values.items():
                setattr(self, name, value)


def _known(part: Part, values: dict[str, Any]) -> None:
    for name in values:
        if name.startswith("_") or not part.has_trait(name):
            own = sorted(set(part.trait_names(sync=True)) - set(anywidget.AnyWidget.class_trait_names()))
            named = ", ".join(each for each in own if not each.startswith("_"))
            raise TypeError(f"{type(part).__name__} has no {name!r}; it has {named}")
