"""The notebook: `explore` and the widgets it is made of, each usable alone. Needs ``storekit[notebook]``.

``storekit.notebook.state`` holds what they show, without a view, and needs no more than traitlets.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from storekit.errors import MissingDriverError

if TYPE_CHECKING:
    from storekit.notebook.views.app import App, explore
    from storekit.notebook.views.contents import ContentsBrowser
    from storekit.notebook.views.lab import PolicyLab
    from storekit.notebook.views.plan import PlanReview
    from storekit.notebook.views.preview import PreviewTable

__all__ = ["App", "ContentsBrowser", "PlanReview", "PolicyLab", "PreviewTable", "explore"]

_HOMES = {
    "App": "app",
    "ContentsBrowser": "contents",
    "PlanReview": "plan",
    "PolicyLab": "lab",
    "PreviewTable": "preview",
    "explore": "app",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"storekit.notebook.views.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"anywidget", "ipywidgets", "plotly", "traitlets"}:
            raise
        raise MissingDriverError(
            f"the notebook's widgets need {error.name}", hint="pip install 'storekit[notebook]'"
        ) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
