"""Which part of an answer is asked for."""

from __future__ import annotations

from numbers import Integral

from storekit.engines.texts import NO_LIMIT
from storekit.errors import QueryError

__all__ = ["check_page"]


def check_page(limit: int | None, offset: int) -> None:
    """Raise QueryError unless both are numbers of rows."""
    for name, number in (("limit", limit), ("offset", offset)):
        if name == "limit" and number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, Integral) or not 0 <= number <= NO_LIMIT:
            raise QueryError(f"{name}={number!r} is not a number of rows", hint="a whole number of at least 0")
