"""The generators of the kit are tested too: what a property never sees, it never tests."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from storekit.state import NEVER_EXPIRE, REFERENCE_KEY, TaskScope, check_key
from storekit.testing import (
    BAD_KEYS,
    HOSTILE_KEYS,
    TextRules,
    asset_scopes,
    bad_keys,
    expiries,
    instants,
    json_texts,
    json_values,
    key_twins,
    keys,
    retentions,
    task_scopes,
    texts,
)

NOW = datetime(2026, 11, 22, 10, 35, 18, 757162, tzinfo=UTC)
TICK = timedelta(microseconds=1)
SLOPPY = TextRules(
    max_codepoint=0xFFFF, max_bytes=255, tells_trailing_spaces=False, tells_case=False, tells_normalisation=False
)

REACHED: list[tuple[str, st.SearchStrategy[Any], Callable[[Any], bool]]] = [
    ("a key with a trailing space", keys(), lambda key: key.endswith(" ")),
    ("a key of one character", keys(), lambda key: len(key) == 1),
    ("a key of 512 characters", keys(), lambda key: len(key) == 512),
    ("a key of more than 512 bytes", keys(), lambda key: len(key.encode()) > 512),
    ("a quote", keys(), lambda key: "'" in key),
    ("markup", keys(), lambda key: "<script" in key),
    ("an emoji", keys(), lambda key: any(ord(each) > 0xFFFF for each in key)),
    ("a control character", keys(), lambda key: any(unicodedata.category(each) == "Cc" for each in key)),
    ("a combining character", keys(), lambda key: any(unicodedata.combining(each) for each in key)),
    ("a path out", keys(), lambda key: key.startswith("../")),
    ("twins by case", key_twins(), lambda pair: pair[0] != pair[1] and pair[0].lower() == pair[1].lower()),
    ("twins by a trailing space", key_twins(), lambda pair: pair[0].rstrip(" ") == pair[1].rstrip(" ")),
    (
        "twins by normalisation",
        key_twins(),
        lambda pair: unicodedata.normalize("NFC", pair[0]) == unicodedata.normalize("NFC", pair[1]),
    ),
    ("an expiry equal to now", expiries(NOW), lambda each: each == NOW),
    ("an expiry one microsecond ago", expiries(NOW), lambda each: each == NOW - TICK),
    ("an expiry in one microsecond", expiries(NOW), lambda each: each == NOW + TICK),
    ("no expiry", expiries(NOW), lambda each: each is None),
    ("NEVER_EXPIRE", expiries(NOW), lambda each: each is NEVER_EXPIRE),
    ("an expiry long ago", expiries(NOW), lambda each: isinstance(each, datetime) and each < NOW - timedelta(days=9)),
    ("the default retention", retentions(), lambda each: each is None),
    ("retention zero", retentions(), lambda each: each == timedelta(0)),
    ("retention for good", retentions(), lambda each: each is NEVER_EXPIRE),
    ("a mapped index", task_scopes(), lambda scope: scope.map_index > 0),
    ("index zero", task_scopes(), lambda scope: scope.map_index == 0),
    ("no index", task_scopes(), lambda scope: scope.map_index == -1),
    ("an asset by URI alone", asset_scopes(), lambda scope: scope.name is None),
    ("an asset by name alone", asset_scopes(), lambda scope: scope.uri is None),
    ("microseconds", instants(), lambda each: each.microsecond % 1000 != 0),
    ("another zone", instants(), lambda each: each.utcoffset() != timedelta(0)),
    ("an empty text", texts(), lambda text: text == ""),
    ("an object", json_values(), lambda value: isinstance(value, dict) and len(value) > 0),
    ("null inside", json_values(), lambda value: isinstance(value, list) and None in value),
    ("a lone surrogate", json_values(), lambda value: isinstance(value, str) and "\\ud" in json.dumps(value)),
    ("NUL in a value", json_values(), lambda value: isinstance(value, str) and "\x00" in value),
    ("a large integer", json_values(), lambda value: type(value) is int and abs(value) > 2**53),
    ("indented JSON", json_texts(), lambda text: "\n" in text),
    ("JSON not in ASCII", json_texts(), lambda text: not text.isascii()),
    *(
        (f"bad key {bad!r}"[:40], bad_keys(), lambda key, bad=bad: type(key) is type(bad) and key == bad)
        for bad in BAD_KEYS
    ),
]


@pytest.mark.parametrize(("strategy", "is_case"), [case[1:] for case in REACHED], ids=[case[0] for case in REACHED])
def test_a_hard_case_is_reached(strategy: st.SearchStrategy[Any], is_case: Callable[[Any], bool]) -> None:
    # 2,000 examples: what a suite of twenty properties of a hundred would see.
    find(strategy, is_case, settings=settings(max_examples=2000, database=None, deadline=None))


@given(key=keys())
def test_keys_are_keys(key: str) -> None:
    assert check_key(key) == key


@given(key=bad_keys())
def test_bad_keys_are_not_keys(key: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which one is test_state's matter
        check_key(key)


@given(key=keys(SLOPPY), twins=key_twins(SLOPPY))
def test_rules_are_kept(key: str, twins: tuple[str, str]) -> None:
    for each in (key, *twins):
        assert each
        assert max(map(ord, each)) <= 0xFFFF
        assert len(each.encode()) <= 255
        assert not each.endswith(" ")
    assert unicodedata.normalize("NFC", twins[0]).casefold() != unicodedata.normalize("NFC", twins[1]).casefold()


@given(twins=key_twins())
def test_twins_are_two(twins: tuple[str, str]) -> None:
    assert twins[0] != twins[1]


def test_hostile_keys_are_two_by_two_different() -> None:
    assert len(set(HOSTILE_KEYS)) == len(HOSTILE_KEYS)


@given(value=json_values())
def test_json_values_survive_json(value: Any) -> None:
    assert value is not None
    assert not (isinstance(value, dict) and REFERENCE_KEY in value)
    assert json.loads(json.dumps(value, allow_nan=False)) == value


@given(text=json_texts())
def test_json_texts_are_json_that_any_database_holds(text: str) -> None:
    json.loads(text)
    text.encode()
    assert "\x00" not in text


@given(at=instants())
def test_instants_are_aware(at: datetime) -> None:
    assert at.utcoffset() is not None
    assert datetime(1970, 1, 2, tzinfo=UTC) <= at <= datetime(2037, 12, 31, tzinfo=UTC)


@given(scope=task_scopes())
def test_scopes_are_scopes(scope: TaskScope) -> None:
    assert scope.map_index >= -1


def test_strategies_shrink_to_the_plainest() -> None:
    def plainest(strategy: st.SearchStrategy[Any]) -> Any:
        return find(strategy, lambda _: True, settings=settings(database=None))

    assert plainest(keys()) == "a"
    assert plainest(expiries(NOW)) is None
    assert plainest(retentions()) is None
    assert plainest(task_scopes()) == TaskScope("a", "a", "a", -1)
    assert plainest(key_twins()) == ("a", "A")
    assert plainest(json_texts()) == "false"
