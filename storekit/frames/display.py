"""Untrusted text made safe to look at, and sizes and times made readable.

Keys, names and values in a state store are written by anyone's tasks. A terminal must not obey them, a browser
must not run them, and two different keys must not look the same.
"""

from __future__ import annotations

import html
import re
import unicodedata
from datetime import datetime, timedelta

__all__ = [
    "escape",
    "human_bytes",
    "human_count",
    "human_instant",
    "human_margin",
    "human_rows",
    "plain",
    "row_word",
    "shorten",
    "task_name",
]

# A joiner after an emoji is part of it; anywhere else it is a way to hide.
_HIDDEN = re.compile(
    "(?<![\u2600-\u27bf\ufe0f\U0001f300-\U0001faff])\u200d"
    "|[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ud800-\udfff]"
)


def _spelled(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(text: object) -> str:
    """Return a text for a terminal: control characters, bidirectional overrides and invisible ones are spelled.

    ``"a\\x1b[31m"`` becomes the nine characters ``a\\x1b[31m``. Letters of every script and emoji stay.
    """
    return _HIDDEN.sub(_spelled, str(text))


def escape(text: object) -> str:
    """Return a text for HTML, inside an element or a quoted attribute: `plain`, then escaped."""
    return html.escape(plain(text), quote=True)


def shorten(text: str, width: int) -> str:
    """Return at most ``width`` characters, the last an ellipsis where some are left out.

    A combining mark is not parted from its letter.
    """
    if len(text) <= width:
        return text
    end = width - 1
    while end > 1 and unicodedata.combining(text[end]):
        end -= 1
    return text[:end] + "…"


def task_name(task_id: object, map_index: int) -> str:
    """Return a task as it is shown: with its index in brackets, where it is mapped."""
    return str(task_id) if map_index == -1 else f"{task_id}[{map_index}]"


def human_count(count: int) -> str:
    """Return a count with its thousands apart: ``1,234,567``."""
    return f"{count:,}"


def human_rows(count: int) -> str:
    """Return a number of rows in words: ``1 row``, ``1,234 rows``."""
    return f"{human_count(count)} {row_word(count)}"


def row_word(count: int) -> str:
    """Return ``row`` or ``rows``."""
    return "row" if count == 1 else "rows"


def human_bytes(size: int) -> str:
    """Return a size in decimal units, three digits of it: ``0 B``, ``999 B``, ``1.2 kB``, ``34.5 MB``."""
    if abs(size) < 1000:
        return f"{size} B"
    scaled, units = size / 1000, ["kB", "MB", "GB", "TB", "PB", "EB"]
    while abs(scaled) >= 999.95 and len(units) > 1:  # 999.95 would be shown as 1000.0
        scaled /= 1000
        del units[0]
    return f"{scaled:.1f} {units[0]}"


def human_margin(margin: timedelta | None) -> str:
    """Return the distance to an expiry in its two largest units: ``in 2 h``, ``3 d 4 h ago``; None: ``no expiry``.

    Rounded towards the expiry: what is said to be hours away is at least that.
    """
    if margin is None or margin != margin:  # pandas' NaT is not equal to itself
        return "no expiry"
    past = margin < timedelta(0)
    seconds = abs(margin) // timedelta(seconds=1)
    if seconds == 0:
        return "now" if not margin else "less than 1 s ago" if past else "in less than 1 s"
    parts: list[str] = []
    for unit, length in (("y", 31_536_000), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count:,} {unit}")
        elif parts:
            break
        if len(parts) == 2:
            break
    said = " ".join(parts)
    return f"{said} ago" if past else f"in {said}"


def human_instant(instant: datetime) -> str:
    """Return an aware UTC instant to the second, with its zone said; a fraction is shown where there is one."""
    naive = instant.replace(tzinfo=None)
    return f"{naive.isoformat(sep=' ', timespec='microseconds' if naive.microsecond else 'seconds')} UTC"
