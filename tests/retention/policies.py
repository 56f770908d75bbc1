"""Strategies for rules, policies and rows, and an oracle of matching that shares nothing with storekit."""

from __future__ import annotations

import fnmatch
import re
from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import strategies as st

from storekit.errors import PolicyError
from storekit.retention.policy import AS_WRITTEN, TASK_STATES, Policy, Rule
from storekit.retention.rows import NO_EXPIRY, Labels, StoreRows
from storekit.state import NEVER_EXPIRE

# Few characters, so that patterns meet names; those that patterns treat specially among them.
names = st.text("ab", min_size=1, max_size=3) | st.text("ab-_.[]!^\\é\n", min_size=1, max_size=3)
_brackets = ["[ab]", "[!a]", "[a-c]", "[]]", "[[]", "[-a]", "[a-]", "[!]a]", "[^a]", "[a-b-c]", "[\\]", "[!-a]"]
_pieces = (
    st.sampled_from(["a", "b", "*", "?"]) | st.sampled_from(_brackets) | st.sampled_from([".", "\\", "é", "]", "\n"])
)
globs = st.lists(_pieces, min_size=1, max_size=3).map("".join)
# Only what RE2 and Python's re read alike.
regexes = st.sampled_from(["a.*", "[ab]+", "(a|b)?-", ".", "(?s).*", "a|b", "[^a]{2,3}", "\\.", "(?i)A+", "^a$", "b"])
patterns = st.one_of(globs, regexes.map("re:{}".format))
spans = st.one_of(
    st.sampled_from([timedelta(0), timedelta(days=14), timedelta(hours=36), timedelta(microseconds=1)]),
    st.timedeltas(timedelta(0), timedelta(days=40_000)),
)
retentions = st.one_of(spans, st.just(NEVER_EXPIRE), st.just(AS_WRITTEN))
sizes = st.integers(0, 3)
_state = st.sampled_from(["failed", "none"]) | st.sampled_from(TASK_STATES)
states = st.lists(_state, min_size=1, max_size=3, unique=True).map(tuple)
labels = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=8)


@st.composite
def rule_fields(draw: st.DrawFn, texts: st.SearchStrategy[str] = patterns) -> dict[str, Any]:
    """Fields of a rule that asks three things at the most: of a rule that asks more, hardly a row is taken."""
    asked = {"dag_id": texts, "task_id": texts, "key": texts, "task_state": states}
    asked |= {"min_bytes": sizes, "max_bytes": sizes}
    names = draw(st.lists(st.sampled_from(list(asked)), max_size=3, unique=True))
    fields = {"retention": draw(retentions)} | {name: draw(asked[name]) for name in names}
    if draw(st.booleans()):
        fields["name"] = draw(labels)
    if fields.get("max_bytes", 9) < fields.get("min_bytes", 0):
        fields["min_bytes"], fields["max_bytes"] = fields["max_bytes"], fields["min_bytes"]
    return fields


rules = rule_fields().map(lambda fields: Rule(**fields))
any_text = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6).map(
    lambda text: text.replace("[", "[[]")
)


texts = st.one_of(patterns, any_text)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Policies whose rules can all be reached."""
    kept: list[Rule] = []
    for fields in draw(st.lists(rule_fields(texts), max_size=4)):
        try:
            Policy(rules=[*kept, Rule(**fields)])
        except PolicyError:
            continue
        kept.append(Rule(**fields))
    return Policy(
        name=draw(labels),
        default_retention_days=draw(st.sampled_from([None, 0, 14]) | st.integers(0, 999_999_999)),
        rules=kept,
        clear_on_success=draw(st.booleans()),
        cleanup_every=draw(st.none() | spans.filter(bool)),
        batch_size=draw(st.integers(0, 2**63 - 1)),
    )


row_fields = st.fixed_dictionaries(
    {
        "dag_id": names,
        "task_id": names,
        "key": names,
        "value_bytes": sizes,
        "task_state": st.none() | _state,
    }
)


@st.composite
def store_rows(draw: st.DrawFn) -> tuple[list[dict[str, Any]], StoreRows]:
    """Rows as dictionaries and as arrays; an asset's row, as in a snapshot, has no names but its key."""
    rows = []
    for fields in draw(st.lists(row_fields, max_size=12)):
        is_asset = draw(st.booleans()) and draw(st.booleans())
        lost = {"dag_id": None, "task_id": None, "task_state": None} if is_asset else {}
        rows.append(fields | lost | {"is_asset": is_asset})
    return rows, as_store_rows(rows)


def as_store_rows(rows: list[dict[str, Any]]) -> StoreRows:
    count = len(rows)
    return StoreRows(
        updated_us=np.zeros(count, np.int64),
        expires_us=np.full(count, NO_EXPIRY, np.int64),
        value_bytes=np.array([row["value_bytes"] for row in rows], np.int64),
        never=np.zeros(count, np.int8),
        is_asset=np.array([row.get("is_asset", False) for row in rows], np.bool_),
        is_reference=np.zeros(count, np.bool_),
        **{name: Labels.of([row[name] for row in rows]) for name in ("dag_id", "task_id", "key", "task_state")},
        row=np.arange(count),
    )


# --- the oracle -------------------------------------------------------------------------------------------------


def text_matches(pattern: str, text: str) -> bool:
    if pattern.startswith("re:"):
        return re.fullmatch(pattern[3:], text) is not None
    return fnmatch.fnmatchcase(text, pattern)


def matches(rule: Rule, row: dict[str, Any]) -> bool:
    for name in ("dag_id", "task_id", "key"):
        pattern = getattr(rule, name)
        if pattern is not None and not text_matches(pattern, row[name]):
            return False
    if rule.min_bytes is not None and row["value_bytes"] < rule.min_bytes:
        return False
    if rule.max_bytes is not None and row["value_bytes"] > rule.max_bytes:
        return False
    return rule.task_state is None or row["task_state"] in rule.task_state


def first_match(rules: Any, row: dict[str, Any]) -> int:
    if row.get("is_asset"):
        return -1
    return next((index for index, rule in enumerate(rules) if matches(rule, row)), -1)
