"""A picture of a simulation as one SVG text: it needs no script, no font and nothing from outside."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storekit.frames.display import escape, human_bytes, shorten

__all__ = ["COLOURS", "Line", "as_image", "line_chart"]

COLOURS = ("#3b82c4", "#e5484d", "#2f9e77", "#b1700e", "#8e5bd0", "#c2407f", "#6b7280")
"""Of policies, in order; each can be told from a white and from a black ground."""

_WIDTH, _HEIGHT = 760, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 150, 12, 30
# Neither black nor white: the picture does not know the ground it lies on.
_INK = "#868e96"


@dataclass(frozen=True)
class Line:
    """One line with its band; ``x`` in days from now."""

    name: str
    x: npt.NDArray[np.float64]
    middle: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


def line_chart(lines: Sequence[Line], *, days: float, starts: str, ends: str) -> str:
    """Return bytes over time as SVG. Texts are escaped here."""
    top = _nice(max((float(each.high.max()) for each in lines if len(each.high)), default=0.0))
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def px(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return _LEFT + x / max(days, 1e-9) * (right - _LEFT)

    def py(y: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return bottom - y / top * (bottom - _TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="system-ui,sans-serif" font-size="12" fill="{_INK}">'
    ]
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = bottom - share * (bottom - _TOP)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}H{right}" stroke="{_INK}" stroke-opacity="{0.5 if share == 0 else 0.18}"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{human_bytes(round(top * share))}</text>'
        )
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 10}">{escape(starts)}</text>'
        f'<text x="{right}" y="{_HEIGHT - 10}" text-anchor="end">{escape(ends)}</text>'
    )
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        x = px(line.x)
        area = _points(np.concatenate([x, x[::-1]]), np.concatenate([py(line.high), py(line.low)[::-1]]))
        parts.append(f'<polygon points="{area}" fill="{colour}" fill-opacity="0.15"/>')
        dashes = "" if number == 0 else f' stroke-dasharray="{6 + 3 * number} {2 + number}"'
        parts.append(
            f'<polyline points="{_points(x, py(line.middle))}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
        )
    for (number, line), y in zip(
        enumerate(lines), _apart([float(py(each.middle[-1:])[0]) for each in lines]), strict=True
    ):
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<text x="{right + 8}" y="{y + 4:.1f}" fill="{colour}">{escape(shorten(line.name, 20))}</text>')
    return "".join([*parts, "</svg>"])


def as_image(svg: str, *, alt: str) -> str:
    """Return the picture as an ``<img>``: an untrusted notebook strips inline SVG, and keeps this."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}" style="max-width:100%">'


def _points(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))


def _nice(value: float) -> float:
    """Return a round number not below a value, so that its quarters are round too."""
    if value <= 4:
        return 4.0
    unit = 10.0 ** np.floor(np.log10(value / 4))
    return float(next(4 * unit * each for each in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if 4 * unit * each >= value))


def _apart(places: list[float]) -> list[float]:
    """Return label places at least one line apart, none above the top or below the bottom while there is room."""
    order = sorted(range(len(places)), key=lambda each: places[each])
    placed = list(places)
    floor = float(_TOP)
    for each in order:
        placed[each] = floor = max(places[each], floor)
        floor += 15
    ceiling = float(_HEIGHT - _BOTTOM)
    for each in reversed(order):
        placed[each] = min(placed[each], ceiling)
        ceiling = placed[each] - 15
    return placed
