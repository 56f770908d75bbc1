"""The named SQL texts: loaded once, assembled from whole texts only, never from data.

A text may start with a line ``-- over: verdicts``: it then reads from ``verdicts`` as from a table, and is
handed out with that text in front, as a common table expression. ``:keys:``, ``:keys_order:`` and ``:order:``
stand for columns that a caller chose; `with_columns` and `with_order` are what fills them, from an allow-list.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import cache
from importlib import resources

from storekit.errors import QueryError

__all__ = ["NO_LIMIT", "Order", "parameters", "text", "with_columns", "with_order"]

NO_LIMIT = 2**62
"""A LIMIT that is none, for the texts that take one."""

Order = Sequence[tuple[str, bool]]
"""What an answer is sorted by: columns, each with whether it descends. Missing values are last either way."""

_OVER = re.compile(r"^-- over: (.+)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n?", re.MULTILINE)
_PARAMETER = re.compile(r"\$([a-z_]+)")


@cache
def text(name: str) -> str:
    """Return the text ``sql/<name>.sql``, without its comments and with what it stands on in front."""
    raw = resources.files("storekit.engines").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    body = _COMMENT.sub("", raw).strip()
    found = _OVER.search(raw)
    if found is None:
        return body
    below = [f"{each} AS (\n{text(each)}\n)" for each in found.group(1).split(", ")]
    return f"WITH {', '.join(below)}\n{body}"


def parameters(sql: str) -> frozenset[str]:
    """Return the names of the parameters (``$name``) of one of our own texts."""
    return frozenset(_PARAMETER.findall(sql))


def with_columns(sql: str, columns: Sequence[str], *, allowed: Collection[str]) -> str:
    """Fill in the columns that a caller chose.

    Raises
    ------
    QueryError
        For no column, a column twice, or one that is not in ``allowed``.
    """
    hint = f"choose from {', '.join(allowed)}"
    if not columns:
        raise QueryError("no column to group by", hint=hint)
    for column in columns:
        if column not in allowed:
            raise QueryError(f"cannot group by {column!r}", hint=hint)
    if len(set(columns)) < len(columns):
        raise QueryError(f"a column is named twice in {', '.join(columns)}", hint="name each column once")
    # Only words of the contract come this far; the quotes keep a future one from being read as a keyword.
    quoted = [f'"{column}"' for column in columns]
    return sql.replace(":keys:", ", ".join(quoted)).replace(
        ":keys_order:", ", ".join(f"{each} ASC NULLS LAST" for each in quoted)
    )


def with_order(sql: str, order: Order, *, allowed: Collection[str], backwards: bool = False) -> str:
    """Fill in what a caller sorts by; ``backwards`` is the same order, its last row first.

    Raises
    ------
    QueryError
        For no column, or one that is not in ``allowed``.
    """
    hint = f"choose from {', '.join(allowed)}"
    if not order:
        raise QueryError("no column to sort by", hint=hint)
    for column, _ in order:
        if column not in allowed:
            raise QueryError(f"cannot sort by {column!r}", hint=hint)
    missing = "NULLS FIRST" if backwards else "NULLS LAST"
    terms = [f'"{column}" {"DESC" if descending != backwards else "ASC"} {missing}' for column, descending in order]
    return sql.replace(":order:", ", ".join(terms))
