"""A column's values with their shares, of which one can be chosen."""

from __future__ import annotations

from typing import Any

from traitlets import Dict, List, TraitError, Unicode, observe, validate

from storekit.frames.display import plain
from storekit.notebook.parts.base import Part, script
from storekit.notebook.parts.checks import records

__all__ = ["Facet"]


class Facet(Part):
    """The values of one column as buttons with a bar behind each.

    A value that is chosen and is no longer among the items is still shown, on top.

    Attributes
    ----------
    label : str
        What the values are, such as ``Dag``.
    items : list of dict
        ``value`` (str, each once: what is handed back), ``text`` (str: what is shown), ``rows`` and ``size`` (str: such
        as ``1,234`` and ``5.6 MB``), ``share`` (float, 0 to 1: the bar), ``missing`` (bool: the value is no value).
    selected : str or None
        The value chosen. *Set by the user*: a value chosen again is None.
    selected_text : str
        How a chosen value is shown that never was among the items; its plain text unless set after `selected`.
    more : str
        Such as ``and 12 more``; not shown where empty.
    """

    _esm = script("facet")

    label = Unicode().tag(sync=True)
    items = List(Dict()).tag(sync=True)
    selected = Unicode(None, allow_none=True).tag(sync=True)
    selected_text = Unicode().tag(sync=True)
    more = Unicode().tag(sync=True)

    @validate("items")
    def _items(self, proposal: Any) -> list[dict[str, Any]]:
        optional = {"rows": "", "size": "", "share": 0.0, "missing": False}
        items = records("items", proposal["value"], {"value": str, "text": str}, optional)
        seen: set[str] = set()
        for place, item in enumerate(items):
            if not 0 <= item["share"] <= 1:  # NaN is not either
                raise TraitError(f"items[{place}]: share is {item['share']!r}; it is from 0 to 1")
            if item["value"] in seen:
                raise TraitError(f"items[{place}]: {item['value']!r} is there already")
            seen.add(item["value"])
        return items

    @observe("selected")
    def _spell(self, change: Any) -> None:
        self.selected_text = "" if change["new"] is None else plain(change["new"])
