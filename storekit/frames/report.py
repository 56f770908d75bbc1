"""A preview to look at: as text in a terminal, as HTML in a notebook.

The HTML takes its colours from the page it stands in (``currentColor``, transparent backgrounds), so that it fits a
light theme and a dark one; it holds no script, no inline SVG (an untrusted notebook strips it) and fetches
nothing. Where even ``<style>`` is stripped, plain tables are left. Every text from the store goes through `escape`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd

from storekit.frames.dangers import notes
from storekit.frames.display import (
    escape,
    human_bytes,
    human_count,
    human_instant,
    human_margin,
    plain,
    row_word,
    shorten,
    task_name,
)
from storekit.retention.verdicts import Reason

if TYPE_CHECKING:
    from storekit.frames.preview import Preview

__all__ = ["bar", "cut", "framed", "html_table", "preview_html", "preview_text", "scrolled"]

_GROUPS = 10
_ROWS = 10
_WIDTH = 40
_NARROW = 28

# The class is doubled to outweigh a notebook's own rules for tables, whatever their order.
_STYLE = """
.sk-box.sk-box{font:13px/1.5 system-ui,sans-serif;color:inherit;background:transparent;max-width:1100px;
 border:1px solid color-mix(in srgb,currentColor 18%,transparent);border-radius:8px;padding:14px 18px 12px;
 font-variant-numeric:tabular-nums}
.sk-box.sk-box p{margin:0}
.sk-box.sk-box .sk-title{font-weight:600;font-size:14px;margin-bottom:6px}
.sk-box.sk-box .sk-soft{opacity:.68;font-size:12px}
.sk-box.sk-box .sk-numbers{display:flex;gap:40px;flex-wrap:wrap;margin:12px 0 8px}
.sk-box.sk-box .sk-big{font-size:24px;line-height:1.15;font-weight:600;letter-spacing:-.01em}
.sk-box.sk-box .sk-delete{color:color-mix(in srgb,#e5484d 78%,currentColor)}
.sk-box.sk-box .sk-track{display:block;height:6px;border-radius:3px;overflow:hidden;
 background:color-mix(in srgb,currentColor 13%,transparent)}
.sk-box.sk-box .sk-bar{display:block;height:100%;border-radius:3px;background:#e5484d;opacity:.85}
.sk-box.sk-box .sk-note{border-left:3px solid color-mix(in srgb,#e6a23c 85%,currentColor);padding:1px 0 1px 9px;
 margin:6px 0 0}
.sk-box.sk-box .sk-head{font-weight:600;margin:16px 0 4px}
.sk-box.sk-box .sk-scroll{overflow-x:auto}
.sk-box.sk-box table{border-collapse:collapse;border:0;margin:0;font:inherit;color:inherit;background:transparent;
 width:auto;table-layout:auto}
.sk-box.sk-box tr,.sk-box.sk-box tbody tr:nth-child(odd),.sk-box.sk-box tbody tr:hover{background:transparent}
.sk-box.sk-box th,.sk-box.sk-box td{text-align:left;vertical-align:baseline;padding:3px 18px 3px 0;border:0;
 border-bottom:1px solid color-mix(in srgb,currentColor 10%,transparent);white-space:nowrap;background:transparent;
 color:inherit;max-width:none}
.sk-box.sk-box thead th{font-weight:500;font-size:12px;opacity:.68}
.sk-box.sk-box tbody th{font-weight:400}
.sk-box.sk-box .sk-card th{opacity:.68}
.sk-box.sk-box .sk-n{text-align:right}
.sk-box.sk-box .sk-wide{min-width:120px;vertical-align:middle}
.sk-box.sk-box code{font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:transparent;
 color:inherit;padding:0;border:0;white-space:pre}
"""


def framed(body: str) -> str:
    """Return a piece of HTML in storekit's box. ``body`` must be escaped already."""
    # The last two classes keep MathJax from typesetting keys with dollar signs.
    return f'<div class="sk-box tex2jax_ignore mathjax_ignore"><style>{_STYLE}</style>{body}</div>'


def _missing(cell: Any) -> bool:
    return cell is None or bool(pd.isna(cell))


def cut(text: Any, width: int = _WIDTH) -> str:
    """Return a text from the store as HTML: cut where it is wide, whole in the title."""
    return f'<code title="{escape(text)}">{escape(shorten(plain(text), width))}</code>'


def _number(text: str) -> str:
    return f'<td class="sk-n">{escape(text)}</td>'


def html_table(head: Sequence[str], rows: Sequence[str]) -> str:
    """Return a table; the cells of ``rows`` are HTML already, those of ``head`` are not."""
    numeric = {"rows", "bytes", "delete", "keep", "bytes deleted", "bytes kept"}
    cells = "".join(f'<th scope="col"{" class=sk-n" if name in numeric else ""}>{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return scrolled(f"<table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>")


def scrolled(table: str) -> str:
    """Return a table that is scrolled where it is too wide, by keyboard too."""
    return f'<div class="sk-scroll" tabindex="0">{table}</div>'


def bar(share: float) -> str:
    """Return a bar that is full at 1."""
    # A width is all that is said inline: sanitizers let it pass.
    return (
        f'<span class="sk-track"><span class="sk-bar" style="width:{min(max(share, 0), 1) * 100:.1f}%"></span></span>'
    )


def _margins(row: Mapping[Any, Any]) -> str:
    ends = [human_margin(_margin(row[name])) for name in ("soonest_margin", "latest_margin")]
    if ends[0] == "no expiry":
        return "-"
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} … {ends[1]}"


def _margin(cell: Any) -> timedelta | None:
    return None if _missing(cell) else pd.Timedelta(cell).to_pytimedelta()


def preview_html(preview: Preview) -> str:
    """Return a preview as a piece of HTML."""
    info = preview.info
    total = preview.deleted + preview.kept
    share = preview.deleted / total if total else 0.0
    parts = [
        '<p class="sk-title">Cleanup preview</p>',
        f'<p class="sk-soft">at {escape(human_instant(preview.now))} · {escape(info.database)} · '
        f"layout {escape(info.layout)}"
        + ("" if preview.now == info.taken_at else f" · snapshot of {escape(human_instant(info.taken_at))}")
        + "</p>",
        '<div class="sk-numbers">'
        + _headline("deleted", preview.deleted, preview.deleted_bytes, " sk-delete")
        + _headline("kept", preview.kept, preview.kept_bytes, "")
        + "</div>",
        bar(share),
        *(f'<p class="sk-note">{escape(note)}</p>' for note in notes(preview)),
    ]
    if len(endangered := preview.dangers()):
        parts += ['<p class="sk-head">Dangers</p>', _dangers_table(endangered)]
    if total:
        parts += ['<p class="sk-head">Why</p>', _reasons_table(preview), '<p class="sk-head">By Dag</p>']
        parts += [_groups_table(preview)]
    if preview.deleted:
        parts += [f'<p class="sk-head">{_first_rows(preview)}</p>', _rows_table(preview)]
    return framed("".join(parts))


def _headline(what: str, rows: int, size: int, extra: str) -> str:
    return (
        f'<div><div class="sk-big{extra}">{human_count(rows)}</div>'
        f'<div class="sk-soft">{row_word(rows)} would be {what} · {human_bytes(size)}</div></div>'
    )


def _first_rows(preview: Preview) -> str:
    if preview.deleted <= _ROWS:
        return "Rows to delete"
    return f"The first {_ROWS} of {human_count(preview.deleted)} rows to delete"


def _reasons_table(preview: Preview) -> str:
    rows = [
        f"<td{' class=sk-delete' if row['verdict'] == 'delete' else ''}>{escape(row['verdict'])}</td>"
        f'<th scope="row" title="{escape(row["reason"])}">{escape(Reason(row["reason"]).sentence)}</th>'
        + _number(human_count(row["rows"]))
        + _number(human_bytes(row["value_bytes"]))
        + f"<td>{escape(_margins(row))}</td>"
        for row in preview.reasons.to_dict("records")
    ]
    return html_table(["verdict", "reason", "rows", "bytes", "expiry"], rows)


def _dangers_table(dangers: pd.DataFrame) -> str:
    rows = [
        f'<th scope="row">{escape(row["danger"])}</th>'
        + _number(human_count(row["rows"]))
        + _number(human_bytes(row["value_bytes"]))
        + f"<td>{escape(row['about'])}</td>"
        for row in dangers.to_dict("records")
    ]
    return f'<div class="sk-note">{html_table(["danger", "rows", "bytes", "what happens"], rows)}</div>'


def _groups_table(preview: Preview) -> str:
    groups = preview.by("dag_id")
    largest = max(int(groups["deleted_bytes"].max()), 1)
    rows = []
    for row in groups.head(_GROUPS).to_dict("records"):
        name = "<em>asset rows</em>" if _missing(row["dag_id"]) else cut(row["dag_id"])
        soonest = row["next_expiry"]
        next_expiry = "-" if _missing(soonest) else human_margin((soonest - preview.now).to_pytimedelta())
        rows.append(
            f'<th scope="row">{name}</th>'
            + _number(human_count(row["deleted"]))
            + _number(human_bytes(row["deleted_bytes"]))
            + f'<td class="sk-wide">{bar(row["deleted_bytes"] / largest)}</td>'
            + _number(human_count(row["kept"]))
            + _number(human_bytes(row["kept_bytes"]))
            + f"<td>{escape(next_expiry)}</td>"
        )
    more = len(groups) - _GROUPS
    tail = f'<p class="sk-soft">and {human_count(more)} more: preview.by(&quot;dag_id&quot;)</p>' if more > 0 else ""
    head = ["Dag", "delete", "bytes deleted", "to scale", "keep", "bytes kept", "next expiry"]
    return html_table(head, rows) + tail


def _rows_table(preview: Preview) -> str:
    rows = [
        f'<th scope="row">{cut(row["key"])}</th>'
        + "".join(
            f"<td>{cut(each, _NARROW)}</td>"
            for each in (row["dag_id"], row["run_id"], task_name(row["task_id"], row["map_index"]))
        )
        + _number(human_bytes(row["value_bytes"]))
        + f"<td>{escape(row['reason'])}</td><td>{escape(human_margin(_margin(row['margin'])))}</td>"
        for row in preview.rows(_ROWS).to_dict("records")
    ]
    return html_table(["key", "Dag", "run", "task", "bytes", "reason", "expiry"], rows)


def preview_text(preview: Preview) -> str:
    """Return a preview as text for a terminal."""
    info = preview.info
    lines = [
        f"Cleanup preview at {human_instant(preview.now)}",
        f"  {plain(info.database)} (layout {plain(info.layout)}, snapshot of {human_instant(info.taken_at)})",
        "",
    ]
    reasons = preview.reasons.to_dict("records")
    for verdict, rows, size in (
        ("delete", preview.deleted, preview.deleted_bytes),
        ("keep", preview.kept, preview.kept_bytes),
    ):
        why = [row for row in reasons if row["verdict"] == verdict]
        # A lone reason stands beside the total: on a line of its own it would repeat the numbers.
        alone = Reason(why[0]["reason"]).sentence if len(why) == 1 else ""
        lines.append(f"{_line(verdict, rows, size)}  {alone}")
        if len(why) > 1:
            lines += [f"{_line('', row['rows'], row['value_bytes'])}  {Reason(row['reason']).sentence}" for row in why]
    if preview.notes:
        lines += ["", *(f"  note: {note}" for note in preview.notes)]
    return "\n".join(line.rstrip() for line in lines)


def _line(verdict: str, rows: int, size: int) -> str:
    return f"  {verdict:<6} {human_count(rows):>14} {row_word(rows):<4} {human_bytes(size):>10}"
