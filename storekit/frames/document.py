"""A report of a snapshot as one HTML file: it needs no kernel, no network and no script."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from storekit.errors import QueryError
from storekit.frames.display import (
    escape,
    human_bytes,
    human_count,
    human_instant,
    row_word,
)
from storekit.frames.exports import whole_file
from storekit.frames.fates import spelled
from storekit.frames.report import bar, cut, framed, html_table, preview_html
from storekit.frames.simview import advice_html, simulation_html
from storekit.frames.snapshot import Snapshot
from storekit.frames.spread import ages_html, sizes_html
from storekit.retention.policy import Policy

if TYPE_CHECKING:
    from storekit.frames.selection import Selection

__all__ = ["POLICIES", "report"]

POLICIES = (Policy(), *(Policy(default_retention_days=days) for days in (30, 14, 7)))
"""What is compared where nothing is named."""

_GROUPS = 15
_WIDTH = 28

# Nothing is fetched and nothing runs, whatever a key says: the browser is told so too.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_STYLE = """
:root{color-scheme:light dark}
body{margin:0 auto;max-width:1200px;padding:28px 24px 60px;background:Canvas;color:CanvasText;
 font:14px/1.55 system-ui,sans-serif}
h1{font-size:22px;margin:0 0 2px}
h2{font-size:17px;margin:34px 0 10px}
nav ul{list-style:none;padding:0;margin:14px 0 0;display:flex;gap:18px;flex-wrap:wrap}
a{color:LinkText}
.sk-pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(520px,1fr));gap:4px 40px}
.sk-box.sk-box .sk-pair .sk-wide{min-width:70px}
@media (max-width:600px){.sk-pair{grid-template-columns:minmax(0,1fr)}}
.sk-box.sk-box{max-width:none;margin:0 0 14px}
#contents .sk-box.sk-box .sk-bar{background:#3b82c4}
@media print{.sk-box.sk-box{break-inside:avoid}nav{display:none}}
"""


def report(
    snapshot: Snapshot,
    path: str | Path,
    *,
    policies: Sequence[Policy] = POLICIES,
    now: datetime | str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write what is in a snapshot, what cleanup would delete and what policies would do, as one HTML file.

    It holds names, sizes and instants, no values. It can be opened anywhere, offline, in light and dark.

    Parameters
    ----------
    snapshot
        What it is about.
    path
        The file. It appears whole or not at all.
    policies
        What is compared, as for `Snapshot.simulate`.
    now
        The instant of the cleanup: aware, or ISO text with a zone, not before the snapshot; None: when it was taken.
    overwrite
        Replace an existing file.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    QueryError
        If the file exists and ``overwrite`` is not set, or cannot be written, or an argument cannot be.
    """
    if not isinstance(snapshot, Snapshot):
        raise QueryError(f"{snapshot!r} is no snapshot", hint="sk.report(store.snapshot(), 'store.html')")
    text = _document(snapshot, policies, now)
    with whole_file(path, overwrite=overwrite) as file:
        file.write(text.encode("utf-8"))
    return Path(path)


def _document(snapshot: Snapshot, policies: Sequence[Policy], now: datetime | str | None) -> str:
    preview = snapshot.preview(now)
    forward = snapshot.simulate(policies, now=preview.now)
    as_if = snapshot.simulate(policies, mode="as-if", now=preview.now, future=False)
    advice = snapshot.recommend(now=preview.now)
    sections = [
        ("contents", "Contents", _contents(snapshot)),
        ("preview", "What cleanup would delete", preview_html(preview)),
        ("written", "How the rows were written", framed(_written(snapshot))),
        ("forward", "Policies from now on", simulation_html(forward)),
        ("as-if", "Policies, had they always been in force", simulation_html(as_if, forward.assumptions)),
        ("advice", "Bytes against risk", advice_html(advice, (*forward.assumptions, *as_if.assumptions))),
    ]
    info = snapshot.info
    links = "".join(f'<li><a href="#{name}">{escape(title)}</a></li>' for name, title, _ in sections)
    body = "".join(f'<section id="{name}"><h2>{escape(title)}</h2>{html}</section>' for name, title, html in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>storekit report: {escape(info.database)}</title><style>{_STYLE}</style></head><body>"
        f"<header><h1>State store of {escape(info.database)}</h1>"
        f"<p>Layout {escape(info.layout)}, snapshot of {escape(human_instant(info.taken_at))}: "
        f"{human_count(info.task_rows)} task {row_word(info.task_rows)}, "
        f"{human_count(info.asset_rows)} asset {row_word(info.asset_rows)}, "
        f"{human_bytes(snapshot.value_bytes)} of values. Written by storekit {escape(info.storekit_version)}.</p>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header><main>{body}</main></body></html>\n'
    )


def _contents(snapshot: Snapshot) -> str:
    if not len(snapshot):
        return framed("<p>The store is empty.</p>")
    everything = snapshot.select()
    pairs = [
        f'<div><p class="sk-head">{title}</p>{table}</div>'
        for title, table in (
            ("By Dag", _by(everything, "dag_id", "Dag")),
            ("By key", _by(everything, "key", "key")),
            ("By size of the value", sizes_html(everything.sizes())),
            ("By last write", ages_html(everything.ages())),
        )
    ]
    assets = ""
    if snapshot.info.asset_rows:
        assets = (
            f'<p class="sk-head">Asset rows, by asset</p>{_by(snapshot.select(store="asset"), "asset_name", "asset")}'
        )
    return framed(f'<div class="sk-pair">{"".join(pairs)}</div>{assets}')


def _by(selection: Selection, column: str, title: str) -> str:
    lines = selection.by(column, limit=_GROUPS + 1).to_dict("records")
    largest = max((row["value_bytes"] for row in lines), default=0) or 1
    body = []
    for row in lines[:_GROUPS]:
        name = "<em>asset rows</em>" if pd.isna(row[column]) else cut(row[column], _WIDTH)
        body.append(
            f'<th scope="row">{name}</th><td class="sk-n">{human_count(row["rows"])}</td>'
            f'<td class="sk-n">{human_bytes(row["value_bytes"])}</td>'
            f'<td class="sk-wide">{bar(row["value_bytes"] / largest)}</td>'
            f"<td>{row['newest_at']:%Y-%m-%d}</td>"
        )
    more = "" if len(lines) <= _GROUPS else '<p class="sk-soft">the largest are shown</p>'
    return html_table([title, "rows", "bytes", "bytes, to scale", "last write"], body) + more


def _written(snapshot: Snapshot) -> str:
    body = []
    for row in snapshot.written().to_dict("records"):
        lived = row["retention"]
        retention = "-" if pd.isna(lived) else spelled(lived // pd.Timedelta(microseconds=1))
        body.append(
            f'<th scope="row">{escape(row["written"])}</th><td>{escape(retention)}</td>'
            f'<td class="sk-n">{human_count(row["rows"])}</td><td class="sk-n">{human_bytes(row["value_bytes"])}</td>'
            f"<td>{escape(row['because'])}</td>"
        )
    return html_table(["written", "retention", "rows", "bytes", "because"], body)
