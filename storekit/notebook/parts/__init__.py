"""The small widgets of the notebook app. They know nothing of stores: they show texts and hand back what the user did.

Each is an `anywidget` with its script beside it in plain DOM: no framework, nothing fetched, and every text is set as
text, never as markup.
"""

from storekit.notebook.parts.base import Part
from storekit.notebook.parts.confirm import Confirm
from storekit.notebook.parts.facet import Facet
from storekit.notebook.parts.keys import Keys
from storekit.notebook.parts.retention import Retention
from storekit.notebook.parts.said import Code, Notice
from storekit.notebook.parts.table import Table
from storekit.notebook.parts.tabs import Tabs
from storekit.notebook.parts.work import Work

__all__ = ["Code", "Confirm", "Facet", "Keys", "Notice", "Part", "Retention", "Table", "Tabs", "Work"]
