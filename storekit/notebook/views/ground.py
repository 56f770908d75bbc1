"""What every view stands on: the style of views, and their keys."""

from __future__ import annotations

from importlib.resources import files

from storekit.notebook.parts import Keys

__all__ = ["Ground"]


class Ground(Keys):
    """Nothing to see: it brings the style of views, and keeps a notebook's shortcuts away from their controls."""

    _css = (files("storekit.notebook.views") / "views.css").read_text(encoding="utf-8")
