"""Rows or bytes over time, a line with its band for each policy, updated in place."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from storekit.frames.chart import COLOURS
from storekit.frames.display import plain
from storekit.notebook.state.lab import MOST_POLICIES

__all__ = ["Figure", "get_ready"]

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_INK = "#868e96"  # neither black nor white; the style sheet says what the theme says
_TEETH = 30


def get_ready() -> None:
    """Import what a figure needs: with a notebook's own packages around, plotly takes seconds to find them all."""
    go.FigureWidget  # noqa: B018 - the name is imported when it is asked for


class Figure:
    """A plotly figure of a simulation. Made once: what changes is sent, not the whole.

    Attributes
    ----------
    widget : plotly.graph_objects.FigureWidget
        To be shown.
    """

    def __init__(self) -> None:
        self.widget = go.FigureWidget(layout=_layout())
        # Its buttons would be nine more stops of the Tab key, and one of them sends the data away.
        self.widget._config = {"displayModeBar": False, "responsive": True}
        for at in range(MOST_POLICIES):
            colour = COLOURS[at]
            still: dict[str, Any] = {"visible": False, "mode": "lines", "legendgroup": str(at)}
            # Bands that lie upon each other mix to one grey: each has its edges too, in its colour and dashes.
            outline = {"color": _thin(colour, 0.55), "width": 1, "dash": _DASHES[at]}
            edge = {**still, "line": outline, "showlegend": False, "hoverinfo": "skip"}
            self.widget.add_scatter(**edge)
            self.widget.add_scatter(**edge, fill="tonexty", fillcolor=_thin(colour, 0.09))
            self.widget.add_scatter(**still, line={"color": colour, "width": 2, "dash": _DASHES[at]})

    def draw(self, over_time: pd.DataFrame, names: Sequence[str], measure: str) -> None:
        """Show a simulation's `over_time`.

        Parameters
        ----------
        over_time
            As `Simulation.over_time` without groups.
        names
            The policies, in order.
        measure
            ``bytes`` or ``rows``.
        """
        groups = dict(iter(over_time.groupby("policy", sort=False)))
        toothless = False
        with self.widget.batch_update():
            for at in range(MOST_POLICIES):
                low, high, line = self.widget.data[3 * at : 3 * at + 3]
                if at >= len(names):
                    if line.visible:
                        low.visible = high.visible = line.visible = False
                    continue
                frame = _drawn(groups[names[at]])
                toothless = toothless or len(frame) < len(groups[names[at]])
                # Texts: of numbers plotly would guess anew, at each change of a line, that the axis has no dates; and
                # instants without a zone would be taken for this machine's own. What is as it was is not sent.
                x = frame["at"].dt.strftime("%Y-%m-%d %H:%M:%S.%f").to_numpy(str)
                for trace, column in ((low, f"{measure}_low"), (high, f"{measure}_high"), (line, measure)):
                    trace.update(x=x, y=frame[column].to_numpy(np.float64), visible=True)
                # plotly reads markup in a name; of quotes it makes nothing, nor does it know how they are spelled.
                line.name = html.escape(plain(names[at]), quote=False)
            self.widget.layout.yaxis.title.text = f"{measure}, as each cleanup leaves them" if toothless else measure


def _thin(colour: str, share: float) -> str:
    """Return a colour ``#rrggbb`` that lets through what is behind it."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{share})"


def _drawn(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what of a policy's line is drawn: many cleanups are so many teeth that nothing else is seen."""
    before = frame["moment"] == "before cleanup"
    if before.sum() <= _TEETH:
        return frame
    return frame[~before]


def _layout() -> dict[str, Any]:
    axis = {"gridcolor": "rgba(134,142,150,0.25)", "zeroline": False, "linecolor": _INK}
    return {
        "height": 340,
        "margin": {"l": 64, "r": 16, "t": 8, "b": 40},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui,sans-serif", "size": 12, "color": _INK},
        "xaxis": {**axis, "type": "date"},
        "yaxis": {**axis, "rangemode": "tozero", "title": {"text": "bytes", "font": {"size": 12}}},
        "legend": {"orientation": "h", "y": 1.12},
        "hovermode": "x unified",
        "template": None,
    }
