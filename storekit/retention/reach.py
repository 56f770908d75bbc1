"""Rules that no row can reach: an earlier one takes all that they could.

What is said here is certain; what is not said may still be so. Two regular expressions are compared by their texts
only, and several earlier rules that take a rule's rows between them are not put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from storekit.retention.matching import (
    REGEX_MARK,
    TEXT_FIELDS,
    Glob,
    as_literal,
    parse_glob,
    pattern_matches,
)

if TYPE_CHECKING:
    from storekit.retention.rules import Rule

__all__ = ["covers", "never_reached"]

# Of two globs longer than this only equal ones are compared: the comparison takes the product of their lengths.
_LONGEST_GLOB = 200


def never_reached(rules: Sequence[Rule | None]) -> list[tuple[int, int]]:
    """Return each rule that is never reached, with the first rule that takes all of its rows, as indexes.

    Parameters
    ----------
    rules
        In order; None: a rule that could not be read.
    """
    found = []
    for later, rule in enumerate(rules):
        for earlier, other in enumerate(rules[:later]):
            if rule is not None and other is not None and covers(other, rule):
                found.append((later, earlier))
                break
    return found


def covers(earlier: Rule, later: Rule) -> bool:
    """Return whether every row that ``later`` matches is surely matched by ``earlier``."""
    least, most = earlier.min_bytes or 0, earlier.max_bytes
    if least > (later.min_bytes or 0) or (most is not None and (later.max_bytes is None or later.max_bytes > most)):
        return False
    if earlier.task_state is not None and (
        later.task_state is None or not set(later.task_state) <= set(earlier.task_state)
    ):
        return False
    return all(_pattern_covers(getattr(earlier, name), getattr(later, name)) for name in TEXT_FIELDS)


def _pattern_covers(earlier: str | None, later: str | None) -> bool:
    if earlier is None or earlier == later:
        return True
    if not earlier.startswith(REGEX_MARK) and parse_glob(earlier) == (None,):
        return True
    if later is None or later.startswith(REGEX_MARK):
        return False
    literal = as_literal(later)
    if literal is not None:
        other = as_literal(earlier)
        if other is not None:
            return literal == other
        return bool(pattern_matches(earlier, pa.array([literal]))[0])
    if earlier.startswith(REGEX_MARK):
        return False
    return _glob_covers(parse_glob(earlier), parse_glob(later))


def _glob_covers(earlier: Glob, later: Glob) -> bool:
    """Walk both: which places of ``earlier`` can be reached by whatever the places of ``later`` so far took."""
    if max(len(earlier), len(later)) > _LONGEST_GLOB:
        return earlier == later
    reached = _past_stars(earlier, {0})
    for place in later:
        onward = set()
        for at in reached:
            if at == len(earlier):
                continue
            mine = earlier[at]
            if mine is None:  # a star takes a place of any kind, another star too, and stays
                onward.add(at)
            elif place is not None and all(any(a <= low and high <= b for a, b in mine) for low, high in place):
                onward.add(at + 1)
        reached = _past_stars(earlier, onward)
        if not reached:
            return False
    return len(earlier) in reached


def _past_stars(glob: Glob, places: set[int]) -> set[int]:
    # A star may take nothing. Stars do not follow each other.
    return places | {at + 1 for at in places if at < len(glob) and glob[at] is None}
