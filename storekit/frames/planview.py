"""A plan to look at: as text in a terminal, as HTML in a notebook; safe for either, whatever its keys hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storekit.frames.display import escape, human_bytes, human_count, human_instant, plain, row_word, shorten, task_name
from storekit.frames.report import framed, scrolled

if TYPE_CHECKING:
    from storekit.frames.plan import Plan

__all__ = ["plan_html", "plan_summary", "plan_text"]

_SHOWN = 10
_WIDTH = 40
_NUMERIC = {"rows", "bytes"}


def plan_text(plan: Plan, limit: int = _SHOWN) -> str:
    """Return a plan as text for a terminal: what it is, by Dag, and its first rows, ``limit`` of each at most."""
    lines = _card_lines(plan)
    for title, head, cells in _tables(plan, limit):
        widths = [max(len(row[place]) for row in [head, *cells]) for place in range(len(head))]
        lines += ["", f"  {title}"]
        for row in [head, *cells]:
            # Numbers to the right, under their heads.
            aligned = [
                cell.rjust(width) if name in _NUMERIC else cell.ljust(width)
                for name, cell, width in zip(head, row, widths, strict=True)
            ]
            lines.append(f"    {'  '.join(aligned)}".rstrip())
    return "\n".join(lines)


def plan_summary(plan: Plan) -> str:
    """Return what a plan is, and what to do with it in Python."""
    return "\n".join([*_card_lines(plan), f"  {'next':<15}{_next(plan)}"])


def _card(plan: Plan) -> list[tuple[str, str]]:
    info = plan.info
    card = [
        ("database", f"{plain(info.database)} (layout {plain(info.layout)})"),
        ("as of", human_instant(info.now)),
        ("snapshot", human_instant(info.taken_at)),
        ("content", f"sha256 {info.sha256[:12]}…"),
    ]
    if info.custom_backend is not None:
        card.append(("custom backend", f"{plain(info.custom_backend)} (cleanup is skipped)"))
    return card


def _next(plan: Plan) -> str:
    if not plan:
        return "nothing to delete"
    return 'plan.rows(), plan.by("dag_id"); then store.cleanup(plan, archive="gone.parquet", dry_run=False)'


def _card_lines(plan: Plan) -> list[str]:
    head = f"storekit plan: delete {human_count(len(plan))} {row_word(len(plan))}, {human_bytes(plan.value_bytes)}"
    return [head, *(f"  {name:<15}{value}" for name, value in _card(plan))]


def _tables(plan: Plan, limit: int) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, heads and cells of the tables to show; cells are safe for a terminal, not for HTML."""
    if not plan or limit < 1:
        return []
    groups, rows = plan.by("dag_id"), plan.rows(limit)
    by_dag = [
        [plain(row["dag_id"]), human_count(row["rows"]), human_bytes(row["value_bytes"])]
        for row in groups.head(limit).to_dict("records")
    ]
    first = [
        [
            *(plain(row[name]) for name in ("key", "dag_id", "run_id")),
            plain(task_name(row["task_id"], row["map_index"])),
            human_bytes(row["value_bytes"]),
            human_instant(row["expires_at"].to_pydatetime()),
        ]
        for row in rows.to_dict("records")
    ]
    said = "the first {} of {}" if len(plan) > len(first) else "all"
    dags = "by Dag" if len(groups) <= limit else f"by Dag, the largest {limit} of {human_count(len(groups))}"
    return [
        (dags, ["Dag", "rows", "bytes"], [[shorten(cell, _WIDTH) for cell in row] for row in by_dag]),
        (
            f"rows, {said.format(len(first), human_count(len(plan)))}",
            ["key", "Dag", "run", "task", "bytes", "expired at"],
            [[shorten(cell, _WIDTH) for cell in row] for row in first],
        ),
    ]


def plan_html(plan: Plan) -> str:
    info = plan.info
    card = [
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in [*_card(plan), ("next", _next(plan))]
    ]
    parts = [
        '<p class="sk-title">Cleanup plan</p>',
        f'<div class="sk-numbers"><div><div class="sk-big sk-delete">{human_count(info.rows)}</div>'
        f'<div class="sk-soft">{row_word(info.rows)} to delete · {human_bytes(info.value_bytes)}</div></div></div>',
        f'<table class="sk-card"><tbody>{"".join(card)}</tbody></table>',
    ]
    for title, head, cells in _tables(plan, _SHOWN):
        kinds = [' class="sk-n"' if name in _NUMERIC else "" for name in head]
        heads = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, head, strict=True))
        lines = [
            "".join(f"<td{kind}><code>{escape(cell)}</code></td>" for kind, cell in zip(kinds, row, strict=True))
            for row in cells
        ]
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        parts.append(
            f'<p class="sk-head">{escape(title[0].upper() + title[1:])}</p>'
            + scrolled(f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>")
        )
    return framed("".join(parts))
