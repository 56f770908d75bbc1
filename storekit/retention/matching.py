"""Which rule takes which row: patterns in RE2, run once for each distinct name.

There is one meaning of a rule, this one: `Policy.rule_for` asks it about a single row. RE2 takes linear time whatever
the pattern, so a pattern from a file cannot hang the program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from storekit.retention.mistakes import readable, shown
from storekit.retention.rows import NO_EXPIRY, Labels, StoreRows

if TYPE_CHECKING:
    from storekit.retention.policy import Policy
    from storekit.retention.rules import Rule

__all__ = [
    "REGEX_MARK",
    "TEXT_FIELDS",
    "Glob",
    "as_literal",
    "check_pattern",
    "conditions",
    "matched_rules",
    "one_row",
    "parse_glob",
    "pattern_matches",
]

Bools = npt.NDArray[np.bool_]

TEXT_FIELDS = ("dag_id", "task_id", "key")
"""Fields of a rule that are patterns."""

REGEX_MARK = "re:"
"""What a regular expression begins with; a pattern without it is a glob."""

_LONGEST_PATTERN = 4096
_LAST = 0x10FFFF

Characters = tuple[tuple[int, int], ...]
"""Code points that one place of a glob takes: sorted ranges, apart from each other, ends included."""

Glob = tuple[Characters | None, ...]
"""A glob, place by place; None: ``*``."""

_ANY: Characters = ((0, _LAST),)


def matched_rules(policy: Policy, rows: StoreRows) -> npt.NDArray[np.int32]:
    """Return, for each row, the index of the rule that takes it: the first that matches.

    Parameters
    ----------
    policy
        The rules.
    rows
        Rows of a snapshot. A row that lacks an id or a key, which no database has, is matched as if that were empty.
        A row whose task state is missing (there is no such task instance, or it could not be seen) has no state, and
        ``none`` is one: of an instance that is there and has not started.

    Returns
    -------
    ndarray of int32, shape (len(rows),)
        -1: no rule takes it. Asset rows are always -1: they have no expiry.
    """
    taken = np.full(len(rows), -1, np.int32)
    free = ~rows.is_asset
    for index, rule in enumerate(policy.rules):
        takes = free.copy()
        for _, holds in conditions(rule, rows):
            takes &= holds
        taken[takes] = index
        free &= ~takes
        if not free.any():
            break
    return taken


def conditions(rule: Rule, rows: StoreRows) -> Iterator[tuple[str, Bools]]:
    """Yield each field that the rule asks about, and for which rows it is as asked."""
    for name in TEXT_FIELDS:
        pattern = getattr(rule, name)
        if pattern is not None:
            labels: Labels = getattr(rows, name)
            yield name, _spread(labels, pattern_matches(pattern, labels.names), missing=_matches_empty(pattern))
    if rule.min_bytes is not None:
        yield "min_bytes", rows.value_bytes >= rule.min_bytes
    if rule.max_bytes is not None:
        yield "max_bytes", rows.value_bytes <= rule.max_bytes
    if rule.task_state is not None:
        states = pc.is_in(rows.task_state.names, pa.array(rule.task_state, rows.task_state.names.type))
        yield "task_state", _spread(rows.task_state, _as_bools(states), missing=False)


def one_row(*, dag_id: str, task_id: str, key: str, value_bytes: int = 0, task_state: str | None = None) -> StoreRows:
    """Return one task row with what rules ask about; the rest of it is of no meaning."""
    number = np.zeros(1, np.int64)
    return StoreRows(
        updated_us=number,
        expires_us=np.full(1, NO_EXPIRY, np.int64),
        value_bytes=np.array([value_bytes], np.int64),
        never=np.zeros(1, np.int8),
        is_asset=np.zeros(1, np.bool_),
        is_reference=np.zeros(1, np.bool_),
        dag_id=Labels.of([dag_id]),
        task_id=Labels.of([task_id]),
        key=Labels.of([key]),
        task_state=Labels.of([task_state]),
        row=number,
    )


def pattern_matches(pattern: str, names: pa.Array) -> Bools:
    """Return which of these texts the pattern matches, whole and with case."""
    return _as_bools(pc.match_substring_regex(names, pattern=_as_re2(pattern)))


def _as_bools(answers: Any) -> Bools:
    bools: Bools = answers.fill_null(False).to_numpy(zero_copy_only=False)
    return bools


def _spread(labels: Labels, of_names: Bools, *, missing: bool) -> Bools:
    # The code of what is missing is -1: the last place.
    spread: Bools = np.append(of_names, missing)[labels.codes]
    return spread


@lru_cache(maxsize=4096)
def _matches_empty(pattern: str) -> bool:
    return bool(pattern_matches(pattern, pa.array([""]))[0])


# --- patterns ---------------------------------------------------------------------------------------------------


def check_pattern(pattern: Any) -> str:
    """Return a pattern that can be run: a glob, or a regular expression after ``re:``.

    Raises
    ------
    ValueError
        If it cannot, with what to write instead.
    """
    if not isinstance(pattern, str):
        raise ValueError(f"{shown(pattern)} is no text: write the pattern in quotes")
    if pattern in ("", REGEX_MARK):
        raise ValueError(f"{pattern!r} is an empty pattern, which no row matches: leave it out to match every row")
    if len(pattern) > _LONGEST_PATTERN:
        raise ValueError(
            f"{shown(pattern)} has {len(pattern):,} characters, and the most is {_LONGEST_PATTERN:,}: split the rule"
        )
    try:
        pattern.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{shown(pattern)} holds a lone surrogate, which no key can: leave it out") from None
    if pattern.startswith(REGEX_MARK):
        _check_regex(pattern)
    try:
        _run(_as_re2(pattern))
    except pa.ArrowInvalid:
        # Whole by itself, yet not between brackets: \Q without its \E swallows the closing one.
        raise ValueError(
            f"{shown(pattern)} cannot be matched as a whole: end each \\Q with \\E, or shorten it"
        ) from None
    return pattern


def _check_regex(pattern: str) -> None:
    try:
        _run(pattern.removeprefix(REGEX_MARK))
    except pa.ArrowInvalid as error:
        why = str(error).removeprefix("Invalid regular expression: ").rpartition(": ")[0] or "it cannot be read"
        raise ValueError(
            f"{shown(pattern)} is no regular expression: {readable(why)}; write it as RE2 reads it "
            f"(no lookahead, no backreferences), or leave {REGEX_MARK!r} out for a glob"
        ) from None


def _run(re2: str) -> None:
    pc.match_substring_regex(pa.array([""]), pattern=re2)


@lru_cache(maxsize=4096)
def _as_re2(pattern: str) -> str:
    if pattern.startswith(REGEX_MARK):
        return rf"\A(?:{pattern.removeprefix(REGEX_MARK)})\z"
    return rf"\A(?s:{''.join(_place_as_re2(each) for each in parse_glob(pattern))})\z"


def _place_as_re2(characters: Characters | None) -> str:
    if characters is None:
        return ".*"
    if characters == _ANY:
        return "."
    (low, high), *more = characters
    if not more and low == high:
        return _escaped(low)
    return f"[{''.join(f'{_escaped(low)}-{_escaped(high)}' for low, high in characters)}]"


def _escaped(code: int) -> str:
    return chr(code) if re.match(r"[A-Za-z0-9_]", chr(code)) else rf"\x{{{code:x}}}"


@lru_cache(maxsize=4096)
def parse_glob(pattern: str) -> Glob:
    """Return a glob place by place, as `fnmatch` reads it: ``*``, ``?``, ``[a-z]``, ``[!a-z]``.

    Raises
    ------
    ValueError
        If a ``[`` is not closed (fnmatch takes it for itself, which is seldom meant), a range runs backwards, or a
        bracket takes no character.
    """
    glob: list[Characters | None] = []
    at = 0
    while at < len(pattern):
        each = pattern[at]
        at += 1
        if each == "*":
            if not glob or glob[-1] is not None:
                glob.append(None)
        elif each == "?":
            glob.append(_ANY)
        elif each == "[":
            negated = pattern.startswith("!", at)
            start = at + negated
            end = pattern.find("]", start + 1)  # a "]" that comes first stands for itself
            if end < 0:
                raise ValueError(f"{shown(pattern)} has a '[' that is not closed: close it, or write '[[]' for '['")
            glob.append(_bracket(pattern, pattern[start:end], negated))
            at = end + 1
        else:
            glob.append(((ord(each), ord(each)),))
    return tuple(glob)


def _bracket(pattern: str, inside: str, negated: bool) -> Characters:
    ranges, at = [], 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == "-" and at + 2 < len(inside):
            low, high = inside[at], inside[at + 2]
            if low > high:
                raise ValueError(
                    f"{shown(pattern)} has a range that runs backwards, {shown(f'{low}-{high}')}: "
                    f"write {shown(f'{high}-{low}')}"
                )
            at += 3
        else:
            low = high = inside[at]
            at += 1
        ranges.append((ord(low), ord(high)))
    merged = _merged(ranges)
    found = _complement(merged) if negated else merged
    if not found:
        raise ValueError(f"{shown(pattern)} has a bracket that takes no character: correct it")
    return found


def _merged(ranges: list[tuple[int, int]]) -> Characters:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Characters) -> Characters:
    edges = [-1, *(edge for each in ranges for edge in each), _LAST + 1]
    gaps = [(low + 1, high - 1) for low, high in zip(edges[::2], edges[1::2], strict=True)]
    return tuple((low, high) for low, high in gaps if low <= high)


def as_literal(pattern: str) -> str | None:
    """Return the one text that a glob matches; None where it matches several, or is a regular expression."""
    if pattern.startswith(REGEX_MARK):
        return None
    codes = []
    for each in parse_glob(pattern):
        if each is None or len(each) > 1 or each[0][0] != each[0][1]:
            return None
        codes.append(each[0][0])
    return "".join(map(chr, codes))
