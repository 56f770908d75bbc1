"""Durations and retentions as people write them: read exactly, written so that reading gives them back.

A duration is a number with its unit. Units that have no fixed length (months, years) and units that could be two things
(``m``) are refused, and so is a number alone: days in one tool are seconds in another.
"""

from __future__ import annotations

import enum
import re
from datetime import timedelta
from fractions import Fraction
from typing import Any, Final, Literal

from storekit.retention.mistakes import shown
from storekit.state import NEVER_EXPIRE, NeverExpire

__all__ = [
    "AS_WRITTEN",
    "AsWritten",
    "Retention",
    "read_duration",
    "read_retention",
    "spell_duration",
    "spell_retention",
    "write_duration",
    "write_retention",
]


class AsWritten(enum.Enum):
    """The type of `AS_WRITTEN`. An enum member is one object under pickling, copying and threads."""

    AS_WRITTEN = "as written"

    def __repr__(self) -> str:
        return "AS_WRITTEN"


AS_WRITTEN: Final = AsWritten.AS_WRITTEN
"""A rule's retention that changes nothing: the row gets what the program passed, or else the policy's default."""

Retention = timedelta | Literal[NeverExpire.NEVER_EXPIRE] | Literal[AsWritten.AS_WRITTEN]
"""What a rule gives a row."""

# Symbol that is written, singular of the word, microseconds. Weeks are read only.
_UNITS = (
    ("d", "day", 86_400_000_000),
    ("h", "hour", 3_600_000_000),
    ("min", "minute", 60_000_000),
    ("s", "second", 1_000_000),
    ("ms", "millisecond", 1_000),
    ("us", "microsecond", 1),
)
_US = {symbol: us for symbol, _, us in _UNITS} | {"w": 7 * 86_400_000_000}
_SYMBOLS = {
    spelling: symbol
    for symbol, spellings in {
        "w": "w wk week weeks",
        "d": "d day days",
        "h": "h hr hrs hour hours",
        "min": "min mins minute minutes",
        "s": "s sec secs second seconds",
        "ms": "ms millisecond milliseconds",
        "us": "us µs μs microsecond microseconds",
    }.items()
    for spelling in spellings.split()
}
_NO_UNIT = "say the unit, such as '30d' for days or '36h' for hours"
_UNCLEAR = {
    "m": "'m' could be minutes or months: write 'min', or a number of days",
} | {
    spelling: f"{spelling!r} has no fixed length: write a number of days"
    for spelling in ("mo", "mon", "month", "months", "y", "yr", "year", "years", "quarter", "quarters")
}

_LONGEST = 100
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
# A unit has a letter at least: if it could be empty, digits could be cut into numbers in exponentially many ways.
_PART = rf"({_NUMBER})\s*([^\W\d_]+)\s*"
_PARTS = re.compile(rf"(?:{_PART})+")
_ISO = re.compile(
    rf"P(?=.)(?:({_NUMBER})Y)?(?:({_NUMBER})M)?(?:({_NUMBER})W)?(?:({_NUMBER})D)?"
    rf"(?:T(?=.)(?:({_NUMBER})H)?(?:({_NUMBER})M)?(?:({_NUMBER})S)?)?"
)
_ISO_UNITS = ("year", "month", "w", "d", "h", "min", "s")
_EXAMPLES = "'14d', '36h', '90min', '30s', '1d 12h' or 'P14D'"


def read_duration(value: Any) -> timedelta:
    """Return a duration from a timedelta or a text such as ``14d``, ``36h``, ``1d 12h``, ``2 days``, ``P14D``.

    Raises
    ------
    ValueError
        If it is neither, has no unit or one without a fixed length, is negative, is finer than a microsecond, or is
        longer than a timedelta can be.
    """
    if isinstance(value, timedelta):
        if getattr(value, "nanoseconds", 0):  # a pandas.Timedelta
            raise ValueError(f"{shown(value)} is finer than a microsecond, which no database keeps: round it")
        if value < timedelta(0):
            raise ValueError(_negative(value))
        return timedelta(value.days, value.seconds, value.microseconds)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is a number alone; {_NO_UNIT}")
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no duration: write a text such as {_EXAMPLES}, or in Python a timedelta")
    text = value.strip()
    if re.fullmatch(rf"-\s*P?\s*{_NUMBER}.*", text, re.DOTALL):
        raise ValueError(_negative(value))
    if re.fullmatch(_NUMBER, text):
        raise ValueError(f"{shown(value)} is a number alone; {_NO_UNIT}")
    parts = _iso_parts(text) or _plain_parts(text) if len(text) <= _LONGEST else None
    if not parts:
        raise ValueError(f"{shown(value)} is no duration: write a number and its unit, such as {_EXAMPLES}")
    symbols = [_SYMBOLS.get(unit.lower(), "") for _, unit in parts]
    for (_, unit), symbol in zip(parts, symbols, strict=True):
        if not symbol:
            why = _UNCLEAR.get(unit.lower(), f"{unit!r} is no unit: write w, d, h, min, s, ms or us")
            raise ValueError(f"{shown(value)} is no duration; {why}")
    if len(set(symbols)) < len(symbols):
        raise ValueError(f"{shown(value)} says a unit twice: add the numbers up")
    us = sum(Fraction(number) * _US[symbol] for (number, _), symbol in zip(parts, symbols, strict=True))
    if us.denominator != 1:
        raise ValueError(f"{shown(value)} is finer than a microsecond, which no database keeps: round it")
    try:
        return timedelta(microseconds=int(us))
    except OverflowError:
        raise ValueError(f"{shown(value)} is longer than {timedelta.max.days} days: write a shorter one") from None


def _negative(value: Any) -> str:
    return f"{shown(value)} is negative: a row cannot expire before its write; '0s' is the shortest"


def _plain_parts(text: str) -> list[tuple[str, str]] | None:
    return re.findall(_PART, text) if _PARTS.fullmatch(text) else None


def _iso_parts(text: str) -> list[tuple[str, str]] | None:
    found = _ISO.fullmatch(text.upper())
    if found is None:
        return None
    return [(number, unit) for number, unit in zip(found.groups(), _ISO_UNITS, strict=True) if number is not None]


def read_retention(value: Any) -> Retention:
    """Return a rule's retention: what `read_duration` reads, ``never``, ``as written``, or one of the two marks.

    ``timedelta.max`` is what released Airflow's NEVER_EXPIRE is, and means it here as well.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if value is NEVER_EXPIRE or value is AS_WRITTEN:
        return value
    if isinstance(value, str):
        words = " ".join(re.split(r"[\s_-]+", value.strip().lower()))
        if words in ("never", "never expire"):
            return NEVER_EXPIRE
        if words == "as written":
            return AS_WRITTEN
    try:
        span = read_duration(value)
    except ValueError as error:
        raise ValueError(f"{error}; 'never' and 'as written' may stand here as well") from None
    return NEVER_EXPIRE if span == timedelta.max else span


def _counts(span: timedelta) -> list[tuple[int, str, str]]:
    rest, counts = span // timedelta(microseconds=1), []
    for symbol, word, us in _UNITS:
        count, rest = divmod(rest, us)
        if count:
            counts.append((count, symbol, word))
    return counts or [(0, "s", "second")]


def write_duration(span: timedelta) -> str:
    """Return a duration as the text that `read_duration` reads back: ``14d``, ``1d 12h``, ``0s``."""
    return " ".join(f"{count}{symbol}" for count, symbol, _ in _counts(span))


def spell_duration(span: timedelta) -> str:
    """Return a duration in words: ``14 days``, ``1 day 12 hours``."""
    return " ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, _, word in _counts(span))


def write_retention(retention: Retention) -> str:
    """Return a retention as the text that `read_retention` reads back."""
    if isinstance(retention, timedelta):
        return write_duration(retention)
    return "never" if retention is NEVER_EXPIRE else AS_WRITTEN.value


def spell_retention(retention: Retention) -> str:
    """Return what a retention does to a row, in words."""
    if isinstance(retention, timedelta):
        return f"expires {spell_duration(retention)} after the write" if retention else "expires at the write"
    return "never expires" if retention is NEVER_EXPIRE else "expires as it was written"
