"""What the notebook's views show, without a view: traits to set, answers to read. Nothing here knows a widget."""

from storekit.notebook.state.base import State
from storekit.notebook.state.contents import Contents
from storekit.notebook.state.explorer import Explorer
from storekit.notebook.state.lab import Lab
from storekit.notebook.state.planning import Planning
from storekit.notebook.state.previewing import Previewing
from storekit.notebook.state.source import Source
from storekit.notebook.state.trouble import Trouble
from storekit.notebook.state.work import Work, in_thread, inline

__all__ = [
    "Contents",
    "Explorer",
    "Lab",
    "Planning",
    "Previewing",
    "Source",
    "State",
    "Trouble",
    "Work",
    "in_thread",
    "inline",
]
