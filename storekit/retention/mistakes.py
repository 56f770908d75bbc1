"""How what is wrong with a policy is said: place, value, remedy. Values may be hostile, so they are quoted."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any

from storekit.errors import PolicyError

__all__ = ["Problem", "place", "policy_error", "prefixed", "readable", "shown"]

Problem = tuple[str, str]
"""A place, such as ``rules[2].key``, and what is wrong there with its remedy. An empty place: the whole."""

_MOST = 50  # problems that a message lists; the error holds all
_LONGEST = 200

_brief = reprlib.Repr()
_brief.maxlevel, _brief.maxstring, _brief.maxother, _brief.maxlong = 2, 80, 80, 60


def shown(value: Any) -> str:
    """Return a value as an error may show it: its ``repr``, cut where it is long."""
    try:
        return readable(_brief.repr(value))
    except Exception:  # Python refuses to write a very long integer, and a value's own repr may fail
        return f"a value of type {type(value).__name__}"


def readable(text: str) -> str:
    """Return a text with what is not printable escaped, cut where it is long."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in cut)


def place(*steps: str | int) -> str:
    """Return a place as Python would reach it: ``rules[2].key``; a name that is none, in quotes."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif not step.isidentifier():
            text += f"[{shown(step)}]"
        else:
            text += f".{step}" if text else step
    return text


def prefixed(prefix: str, problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems with their places seen from further out."""
    return [(f"{prefix}{'.' if at and prefix and at[0] != '[' else ''}{at}", said) for at, said in problems]


def policy_error(what: str, problems: Sequence[Problem], *, hint: str | None = None) -> PolicyError:
    """Return the one error for all that is wrong with ``what``."""
    said = [f"{at}: {text}" if at else text for at, text in problems]
    if len(said) == 1:
        message = f"{what} cannot be used: {said[0]}"
    else:
        rest = [f"and {len(said) - _MOST:,} more"] if len(said) > _MOST else []
        lines = "".join(f"\n  {each}" for each in said[:_MOST] + rest)
        message = f"{what} cannot be used, {len(said):,} mistakes:{lines}"
    return PolicyError(message, problems=problems, hint=hint)
