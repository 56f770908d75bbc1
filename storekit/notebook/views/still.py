"""What is seen where no widget can be: in an untrusted notebook, in nbconvert's HTML, on a code host."""

from __future__ import annotations

from storekit.frames.chart import COLOURS, as_image
from storekit.frames.display import escape, human_bytes, human_count, human_rows
from storekit.frames.report import cut, framed, html_table
from storekit.frames.spread import age_name
from storekit.notebook.state.contents import ContentsShown

__all__ = ["contents_still"]

_WIDTH, _LINE, _LEFT, _BAR = 620, 24, 150, 330
_INK = "#868e96"


def contents_still(shown: ContentsShown) -> str:
    """Return the contents as HTML: Dags as a table, ages as a picture."""
    dags = [
        f'<th scope="row">{"<em>asset rows</em>" if row["dag_id"] != row["dag_id"] else cut(row["dag_id"])}</th>'
        f'<td class="sk-n">{human_count(int(row["rows"]))}</td>'
        f'<td class="sk-n">{human_bytes(int(row["value_bytes"]))}</td>'
        for row in shown.facets["dag_id"].to_dict("records")
    ]
    ages = [(age_name(row), int(row["rows"])) for row in shown.ages.to_dict("records")]
    total = f"{human_rows(shown.total_rows)}, {human_bytes(shown.total_bytes)}"
    return framed(
        f'<p class="sk-title">{escape(total)}</p>'
        + html_table(["Dag", "rows", "bytes"], dags)
        + '<p class="sk-head">Rows by last write</p>'
        + as_image(_bars(ages), alt="rows by age; Selection.ages() has the numbers")
    )


def _bars(lines: list[tuple[str, int]]) -> str:
    most = max((rows for _, rows in lines), default=0) or 1
    height = max(1, len(lines)) * _LINE + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="system-ui,sans-serif" font-size="12" fill="{_INK}">'
    ]
    for at, (name, rows) in enumerate(lines):
        y = at * _LINE + 4
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{_LEFT}" y="{y + 3}" width="{rows / most * _BAR:.1f}" height="{_LINE - 8}" fill="{COLOURS[0]}"/>'
            f'<text x="{_LEFT + rows / most * _BAR + 6:.1f}" y="{y + 15}">{human_count(rows)}</text>'
        )
    return "".join([*parts, "</svg>"])
