"""How a table is laid out in a terminal: what is shortened, what is wrapped, what is left out, and what never is.

Names are shortened with an ellipsis. Sentences and lists of numbers are wrapped, between words. A heading, a number
with its unit, and an instant are never parted. Where that is not enough, columns that say the least are left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

__all__ = ["GAP", "Layout", "hung", "laid_out", "wrapped"]

GAP = 3
"""Between two columns, where there is room."""
_NARROW_GAP = 2

# Headings as they are printed.
_NAMES = frozenset(
    {
        "dag id",
        "run id",
        "task id",
        "region id",
        "key",
        "value",
        "asset",
        "asset uri",
        "policy",
        "writer's dag",
        "writer's task",
    }
)
_SENTENCES = frozenset({"reason", "about"})
# Left out where there is no room, the first one first: what another column says as well, or says the least.
_LEAST = (
    "planned updated at",
    "archived updated at",
    "updated at",
    "planned expires at",
    "task state",
    "expires at",
    "expires under",
    "asset uri",
    "region id",
    "cleanups",
    "youngest lost",
    "bytes",
    "next expiry",
    "margin",
)
_NAME_FLOOR = 12
_RUN_FLOOR = 16  # of a run id that holds an instant: …11-22T13:24:20…
_SENTENCE_FLOOR = 24
_HARD_FLOOR = 6
_NARROWEST = 20

_WHOLE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: UTC)?\S*"  # an instant
    r"|(?:in )?[\d,]+ (?:y|d|h|min|s)(?: \d+ (?:d|h|min|s))?(?: ago)?(?![\w-])\S*"  # the distance to an expiry
    r"|[\d.,]+ (?:[kMGTPE]?B|rows?|days?)(?![\w-])\S*"  # a number and its unit
    r"|\S+"
)
_LEAD = re.compile(r" +note: | +\S.*\S {2,}(?=\S)| *")
_RUN = re.compile(r"(?P<kind>.*?__)(?P<instant>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<rest>\.\d+)?(?:\+00:00|Z)?")


@dataclass(frozen=True)
class Layout:
    """A table that fits, if it can: which columns, their cells as they are shown, and the width of it all."""

    places: list[int]
    rows: list[list[str]]
    gap: int
    width: int
    left_out: list[str]


@dataclass(frozen=True)
class _Column:
    """One column: how wide it would be, how narrow it may be, and how narrow it can be."""

    place: int
    head: str
    natural: int
    least: int
    hard: int

    @property
    def is_name(self) -> bool:
        return self.head in _NAMES


def laid_out(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Layout:
    """Lay a table out in ``width`` columns of a terminal."""
    columns = [_measured(place, name, [row[place] for row in rows]) for place, name in enumerate(head)]
    if _total([each.natural for each in columns], GAP) <= width:
        widths = {each.place: each.natural for each in columns}
        return _made(columns, rows, widths, GAP, [])
    left_out: list[str] = []
    while _total([each.least for each in columns], _NARROW_GAP) > width:
        heads = [each.head for each in columns]
        least = next((name for name in _LEAST if name in heads), None)
        if least is None:
            break
        left_out.append(least)
        del columns[heads.index(least)]
    room = width - _NARROW_GAP * (len(columns) - 1)
    return _made(columns, rows, _widths(columns, room), _NARROW_GAP, left_out)


def hung(text: str, width: int) -> list[str]:
    """Wrap a line between words; further lines stand under what follows its mark or its columns.

    A line that holds a command stays one, to be copied.
    """
    if cell_len(text) <= width or "storekit " in text:
        return [text]
    led = _LEAD.match(text)
    lead = "" if led is None else led[0]
    room = width - cell_len(lead)
    if room < _NARROWEST:
        return [text]
    lines = wrapped(text[len(lead) :], room)
    return [lead + lines[0], *(" " * cell_len(lead) + line for line in lines[1:])]


def _measured(place: int, head: str, cells: list[str]) -> _Column:
    title = cell_len(head)
    natural = max([title, *map(cell_len, cells)])
    if head in _NAMES:
        floor = _RUN_FLOOR if head == "run id" else _NAME_FLOOR
        return _Column(place, head, natural, min(natural, max(title, floor)), min(natural, max(title, _HARD_FLOOR)))
    parts = max((cell_len(part) for cell in cells for part in _WHOLE.findall(cell)), default=0)
    hard = max(title, parts)
    least = max(hard, min(natural, _SENTENCE_FLOOR)) if head in _SENTENCES else hard
    return _Column(place, head, natural, least, hard)


def _widths(columns: Sequence[_Column], room: int) -> dict[int, int]:
    """Divide the room: all what they need, then what is left to sentences and names, and to run ids at last."""
    narrow = sum(each.least for each in columns) > room
    widths = {each.place: each.hard if narrow else each.least for each in columns}
    most = {each.place: each.least if narrow else each.natural for each in columns}
    for group in (
        [each.place for each in columns if each.head != "run id"],
        [each.place for each in columns if each.head == "run id"],
    ):
        left = room - sum(widths.values())
        while left > 0 and (growing := [place for place in group if widths[place] < most[place]]):
            # One at a time to the narrowest: those that need little get all of it.
            widths[min(growing, key=lambda place: widths[place])] += 1
            left -= 1
    return widths


def _made(
    columns: Sequence[_Column], rows: Sequence[Sequence[str]], widths: dict[int, int], gap: int, left_out: list[str]
) -> Layout:
    shown = [[_fitted(row[each.place], each, widths[each.place]) for each in columns] for row in rows]
    return Layout([each.place for each in columns], shown, gap, _total(widths.values(), gap), left_out)


def _total(widths: Collection[int], gap: int) -> int:
    return sum(widths) + gap * max(len(widths) - 1, 0)


def _fitted(cell: str, column: _Column, width: int) -> str:
    if cell_len(cell) <= width:
        return cell
    if column.head == "run id" and (run := _RUN.fullmatch(cell)) is not None:
        return _short_run(run, width)
    return _short(cell, width) if column.is_name else "\n".join(wrapped(cell, width))


def _short_run(run: re.Match[str], width: int) -> str:
    """Shorten a run id where it says the least: behind the second, then before the day."""
    instant = run["instant"] + ("…" if run["rest"] else "")
    if len(instant) >= width:
        return "…" + instant[len(instant) - width + 1 :]
    kind = run["kind"]
    return (kind if cell_len(kind) <= width - len(instant) else _short(kind, width - len(instant))) + instant


def _short(text: str, width: int) -> str:
    """Leave out the middle: what tells names apart stands at either end."""
    tail = (width - 1) // 3
    return _taken(text, width - 1 - tail) + "…" + _taken(text[::-1], tail)[::-1]


def _taken(text: str, width: int) -> str:
    """Return as many characters as fit; a combining mark has no width."""
    taken = ""
    for each in text:
        if cell_len(taken + each) > width:
            break
        taken += each
    return taken


def wrapped(text: str, width: int) -> list[str]:
    """Wrap a text between words; a number with its unit, or an instant, is one."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for part in _WHOLE.findall(text):
        longer = f"{lines[-1]} {part}" if lines[-1] else part
        if lines[-1] and cell_len(longer) > width:
            lines.append(part)
        else:
            lines[-1] = longer
    return lines
