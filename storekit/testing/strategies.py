"""Hypothesis strategies for what a state store is given: scopes, keys, values, retentions, instants.

They shrink towards short, plain ASCII and towards few rows; the hostile cases come from short lists that are
themselves part of the public names, so that a failure's report names them.

Example
-------
>>> from hypothesis import given
>>> from storekit.testing import keys, json_values
>>> @given(key=keys(), value=json_values())
... def test_a_value_comes_back(key, value):
...     ...
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Literal

from hypothesis import strategies as st

from storekit.state import MAX_KEY_LENGTH, NEVER_EXPIRE, REFERENCE_KEY, AssetScope, NeverExpire, TaskScope

__all__ = [
    "ANY_TEXT",
    "BAD_KEYS",
    "HOSTILE_KEYS",
    "TextRules",
    "asset_names",
    "asset_scopes",
    "bad_keys",
    "expiries",
    "instants",
    "json_texts",
    "json_values",
    "key_twins",
    "keys",
    "retentions",
    "task_scopes",
    "texts",
]

Expiry = datetime | Literal[NeverExpire.NEVER_EXPIRE] | None
Retention = timedelta | Literal[NeverExpire.NEVER_EXPIRE] | None


@dataclass(frozen=True)
class TextRules:
    """What texts a store can hold, and which it can tell apart.

    Parameters
    ----------
    max_codepoint
        The largest character it holds, inclusive; ``0xFFFF`` for MySQL's three-byte ``utf8mb3``.
    control_characters
        Whether it holds U+0001 to U+001F and U+007F to U+009F. (NUL is never drawn: no store need hold it.)
    max_characters, max_bytes
        Bounds of a text, inclusive; bytes of its UTF-8 form, None: no bound.
    tells_trailing_spaces
        Whether ``"a"`` and ``"a "`` are two keys; a padding collation takes them for one.
    tells_case, tells_normalisation
        Whether ``"a"`` and ``"A"``, or a composed and a combining ``"é"``, are two keys.
    """

    max_codepoint: int = 0x10FFFF
    control_characters: bool = True
    max_characters: int = MAX_KEY_LENGTH
    max_bytes: int | None = None
    tells_trailing_spaces: bool = True
    tells_case: bool = True
    tells_normalisation: bool = True

    def allows(self, text: str) -> bool:
        """Return whether the store holds ``text``, and can tell it from every other text that it holds.

        Parameters
        ----------
        text
            A key, an id or a name.
        """
        if any(ord(each) > self.max_codepoint for each in text):
            return False
        if not self.control_characters and any(unicodedata.category(each) == "Cc" for each in text):
            return False
        # A padding comparison fills the shorter text with spaces, so also "a" and "a\t" sort strangely; only
        # the spaces at the end make two texts equal.
        if not self.tells_trailing_spaces and text.endswith(" "):
            return False
        if len(text) > self.max_characters:
            return False
        return self.max_bytes is None or len(text.encode()) <= self.max_bytes

    def tells_apart(self, one: str, other: str) -> bool:
        """Return whether two different texts are two keys to the store.

        Parameters
        ----------
        one, other
            Texts that it holds.
        """
        return self._folded(one) != self._folded(other)

    def _folded(self, text: str) -> str:
        if not self.tells_trailing_spaces:
            text = text.rstrip(" ")
        if not self.tells_case:
            text = text.casefold()
        if not self.tells_normalisation:
            text = unicodedata.normalize("NFC", text)
        return text


ANY_TEXT = TextRules()
"""The rules of a store that holds every key of the contract and takes no two for one."""

HOSTILE_KEYS = (
    " ",
    "a ",
    " a",
    "A",
    "a",
    "%",
    "_",
    "a%b_c",
    "'",
    '"',
    "'; DROP TABLE task_store; --",
    "\\",
    "\\'",
    "<script>alert(1)</script>",
    "<b onmouseover=alert(1)>&amp;",
    "../../etc/passwd",
    "..",
    ".",
    "/",
    "a/b",
    "a//b",
    "a%2Fb",
    ":p",
    "%s",
    "%(key)s",
    "?",
    "$1",
    "{0}",
    "\n",
    "a\nb",
    "\r\n",
    "\t",
    "\x01",
    "\x1b[31m",
    "\x7f",
    "\u0085",
    "é",
    "e\u0301",
    "ß",
    "ss",
    "İ",
    "\u212a",
    "k",
    "\u200b",
    "\u202e",
    "\ufeff",
    "\uffff",
    "漢字",
    "😀",
    "👩\u200d👩\u200d👧",
    "\U0010ffff",
    "null",
    "123",
    "NaN",
    REFERENCE_KEY,
)
"""Keys that have broken, or would break, some store: quotes, patterns, markup, paths, placeholders, controls,
characters outside the BMP, and pairs that sloppy comparison takes for one."""

BAD_KEYS: tuple[Any, ...] = ("", "a" * (MAX_KEY_LENGTH + 1), "a\x00b", "\x00", "\ud800", None, 1, b"key", ["key"])
"""Keys that a store must refuse: empty, too long, NUL, a lone surrogate, not a string."""

_PLAIN = "abcdefghijklmnopqrstuvwxyz"


def _characters(rules: TextRules) -> st.SearchStrategy[str]:
    excluded: tuple[Literal["Cs", "Cc"], ...] = ("Cs",) if rules.control_characters else ("Cs", "Cc")
    return st.characters(min_codepoint=1, max_codepoint=rules.max_codepoint, exclude_categories=excluded)


def keys(rules: TextRules = ANY_TEXT) -> st.SearchStrategy[str]:
    """Keys of 1 to 512 characters; plain ones first, so that failures shrink to ``"a"``.

    Parameters
    ----------
    rules
        Restricts the keys to those that a store holds and tells apart.

    Returns
    -------
    SearchStrategy of str
        `HOSTILE_KEYS`, as far as ``rules`` allow them, are among them.
    """
    hostile = [key for key in HOSTILE_KEYS if rules.allows(key)]
    characters = _characters(rules)
    longest = rules.max_characters
    return st.one_of(
        st.text(_PLAIN, min_size=1, max_size=8),
        st.sampled_from(hostile),
        st.text(characters, min_size=1, max_size=40),
        # As long as it may be; "aaa…" unless the character matters.
        st.builds(lambda each, less: each * (longest - less), st.just("a") | characters, st.integers(0, 2)),
    ).filter(rules.allows)


def key_twins(rules: TextRules = ANY_TEXT) -> st.SearchStrategy[tuple[str, str]]:
    """Pairs of different keys that a careless store takes for one; only pairs that ``rules`` tell apart.

    They differ by case, by spaces at the end, by Unicode normalisation, by a look-alike or by a pattern character.

    Parameters
    ----------
    rules
        Restricts them to what a store holds and tells apart.

    Returns
    -------
    SearchStrategy of (str, str)
        The two differ; `TextRules.tells_apart` is true of each pair.
    """
    pairs = [
        ("a", "A"),
        ("key", "Key"),
        ("a", "a "),
        ("a ", "a  "),
        ("a", "a\t"),
        ("a", " a"),
        ("é", "e\u0301"),
        ("Å", "\u212b"),
        ("ß", "ss"),
        ("k", "\u212a"),
        ("a", "а"),  # noqa: RUF001 - the second is Cyrillic, which is the point
        ("a", "á"),
        ("a_c", "abc"),
        ("a%", "ab"),
        ("a", "a\u200b"),
        ("1", "1.0"),
        ("1", "01"),
        ("a" * (rules.max_characters - 1) + "b", "a" * (rules.max_characters - 1) + "c"),
        ("😀", "😁"),
    ]
    kept = [pair for pair in pairs if all(map(rules.allows, pair)) and rules.tells_apart(*pair)]
    suffixed = st.builds(lambda key, end: (key, key + end), keys(rules), st.sampled_from([".", " ", "/", "%", "é"]))
    return st.sampled_from(kept) | suffixed.filter(
        lambda pair: all(map(rules.allows, pair)) and rules.tells_apart(*pair)
    )


def bad_keys() -> st.SearchStrategy[Any]:
    """Keys that a store must refuse, by type, length or content.

    Returns
    -------
    SearchStrategy of Any
        `BAD_KEYS` are among them.
    """
    spoilt = st.builds(
        lambda before, bad, after: before + bad + after,
        st.text(_PLAIN, max_size=5),
        st.sampled_from(["\x00", "\ud800", "\udfff"]),
        st.text(_PLAIN, max_size=5),
    )
    too_long = st.integers(1, 50).map(lambda more: "a" * (MAX_KEY_LENGTH + more))
    return st.sampled_from(BAD_KEYS) | spoilt | too_long


def texts(rules: TextRules = ANY_TEXT, *, max_size: int = 200) -> st.SearchStrategy[str]:
    """Texts that a backend keeps verbatim: anything but NUL and lone surrogates, empty ones too.

    Parameters
    ----------
    rules
        Restricts their characters.
    max_size
        Characters of a random one at most, inclusive.

    Returns
    -------
    SearchStrategy of str
        The empty text and `HOSTILE_KEYS`, as far as ``rules`` allow them, are among them.
    """
    hostile = [key for key in HOSTILE_KEYS if rules.allows(key)]
    return (
        st.text(_PLAIN, max_size=8) | st.sampled_from(["", *hostile]) | st.text(_characters(rules), max_size=max_size)
    )


def json_values(*, max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """Values that a store accepts: what JSON can hold, not None and not of a reference's shape.

    NUL and lone surrogates are among their characters: JSON escapes both.

    Parameters
    ----------
    max_leaves
        How many values stand in a nested one at most, about.

    Returns
    -------
    SearchStrategy of JSON value
        str, int, float (finite), bool, list and dict with string keys; None only inside.
    """
    leaves = (
        st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(), max_size=20)
        | st.sampled_from(HOSTILE_KEYS)
    )
    nested = st.recursive(
        st.none() | leaves,
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
        ),
        max_leaves=max_leaves,
    )
    return (leaves | nested).filter(
        lambda value: value is not None and not (isinstance(value, dict) and REFERENCE_KEY in value)
    )


def json_texts() -> st.SearchStrategy[str]:
    """JSON texts in the spellings that people and programs write: compact, spaced, indented, escaped or not.

    Returns
    -------
    SearchStrategy of str
        Each is what some value of `json_values` is written as.
    """
    spellings: list[dict[str, Any]] = [
        {},
        {"separators": (",", ":")},
        {"indent": 2},
        {"ensure_ascii": False},
        {"sort_keys": True},
    ]

    def spell(value: Any, spelling: dict[str, Any]) -> str:
        text = json.dumps(value, **spelling)
        try:
            text.encode()
        except UnicodeEncodeError:  # a lone surrogate survives as an escape only
            return json.dumps(value)
        return text

    # json.dumps escapes NUL in either spelling.
    return st.builds(spell, json_values(), st.sampled_from(spellings))


def instants(
    *,
    earliest: datetime = datetime(1970, 1, 2, tzinfo=UTC),
    latest: datetime = datetime(2037, 12, 31, tzinfo=UTC),
    zones: bool = True,
) -> st.SearchStrategy[datetime]:
    """Aware instants with microseconds.

    Parameters
    ----------
    earliest, latest
        Bounds, inclusive. The defaults are what MySQL's ``TIMESTAMP`` holds.
    zones
        Whether some are written in another zone than UTC.

    Returns
    -------
    SearchStrategy of datetime
        All aware.
    """
    naive = st.datetimes(earliest.replace(tzinfo=None), latest.replace(tzinfo=None))
    in_utc = naive.map(lambda each: each.replace(tzinfo=UTC))
    if not zones:
        return in_utc
    offsets = st.sampled_from([timedelta(hours=5, minutes=45), timedelta(hours=-3, minutes=-30), timedelta(hours=14)])
    elsewhere = st.builds(lambda each, offset: each.astimezone(timezone(offset)), in_utc, offsets)
    return in_utc | elsewhere


def retentions() -> st.SearchStrategy[Retention]:
    """Retentions as `TaskStoreAccessor.set` takes them.

    Returns
    -------
    SearchStrategy of timedelta, NEVER_EXPIRE or None
        None (the default), zero, a microsecond, up to 400 days inclusive, and `NEVER_EXPIRE`.
    """
    return (
        st.none()
        | st.just(NEVER_EXPIRE)
        | st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(days=30)])
        | st.timedeltas(timedelta(0), timedelta(days=400))
    )


def expiries(now: datetime) -> st.SearchStrategy[Expiry]:
    """Expiries as a backend's ``set`` takes them, close around ``now``: the edge is what cleanup can get wrong.

    None (no expiry), NEVER_EXPIRE, ``now`` itself, one microsecond either side, and up to 40 days either side.

    Parameters
    ----------
    now
        The instant of a cleanup, aware.

    Returns
    -------
    SearchStrategy of datetime, NEVER_EXPIRE or None
        The instants are aware, in the zone of ``now``.
    """
    near = st.sampled_from([timedelta(0), timedelta(microseconds=1), timedelta(microseconds=-1)])
    far = st.timedeltas(timedelta(days=-40), timedelta(days=40))
    return st.none() | st.just(NEVER_EXPIRE) | (near | far).map(lambda by: now + by)


def _ids(rules: TextRules) -> st.SearchStrategy[str]:
    hostile = [key for key in HOSTILE_KEYS if rules.allows(key)]
    return st.text(_PLAIN, min_size=1, max_size=6) | st.sampled_from(hostile)


def task_scopes(rules: TextRules = ANY_TEXT) -> st.SearchStrategy[TaskScope]:
    """Task scopes, not mapped first; ids of few characters, hostile ones among them.

    Parameters
    ----------
    rules
        Restricts them to what a store holds and tells apart.

    Returns
    -------
    SearchStrategy of TaskScope
        ``map_index`` is -1, or 0 to 1,000 inclusive.
    """
    return st.builds(
        TaskScope, _ids(rules), _ids(rules), _ids(rules), st.sampled_from([-1, 0, 1]) | st.integers(0, 1000)
    )


def asset_names(rules: TextRules = ANY_TEXT) -> st.SearchStrategy[tuple[str, str]]:
    """A name and a URI for an asset.

    Parameters
    ----------
    rules
        Restricts them to what a store holds and tells apart.

    Returns
    -------
    SearchStrategy of (str, str)
        The URI begins with ``s3://bucket/``.
    """
    return st.tuples(_ids(rules), _ids(rules).map(lambda each: f"s3://bucket/{each}"))


def asset_scopes(rules: TextRules = ANY_TEXT) -> st.SearchStrategy[AssetScope]:
    """Asset scopes as a worker makes them: by name, by URI, or by both.

    Parameters
    ----------
    rules
        Restricts them to what a store holds and tells apart.

    Returns
    -------
    SearchStrategy of AssetScope
        None has an ``asset_id``.
    """

    def scope(names: tuple[str, str], form: str) -> AssetScope:
        name, uri = names
        return AssetScope(name=name if "name" in form else None, uri=uri if "uri" in form else None)

    return st.builds(scope, asset_names(rules), st.sampled_from(["name", "uri", "name+uri"]))
