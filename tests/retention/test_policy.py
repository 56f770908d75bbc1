"""Policies: what they take, what they refuse, what they say of themselves, and what a write gets under them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parts import airflow_python, require
from policies import first_match, policies, retentions, row_fields, rules, spans

from storekit.config import StateStoreConfig
from storekit.errors import PolicyError
from storekit.retention.durations import read_duration, read_retention, spell_duration, write_duration, write_retention
from storekit.retention.policy import AS_WRITTEN, TASK_STATES, Policy, Rule
from storekit.state import NEVER_EXPIRE


def refused(make: Any, **fields: Any) -> dict[str, str]:
    """All places that are wrong, with what is said of each; and the message says all of that."""
    with pytest.raises(PolicyError) as caught:
        make(**fields)
    error = caught.value
    assert isinstance(error, ValueError)
    assert all(place in str(error) and said in str(error) for place, said in error.problems)
    assert all(each.isprintable() or each == "\n" for each in str(error))
    places = dict(error.problems)
    assert len(places) == len(error.problems)
    return places


# --- durations ---


@given(spans)
def test_a_duration_is_written_so_that_it_reads_back(span: timedelta) -> None:
    assert read_duration(write_duration(span)) == span
    assert read_duration(spell_duration(span)) == span
    assert type(read_duration(pd.Timedelta(span) if span < timedelta(days=90_000) else span)) is timedelta


@given(retentions)
def test_a_retention_is_written_so_that_it_reads_back(retention: Any) -> None:
    assert read_retention(write_retention(retention)) == retention


UNITS = {"w": 604_800, "d": 86_400, "h": 3600, "min": 60, "s": 1, "ms": Fraction(1, 1000), "us": Fraction(1, 10**6)}


@given(
    st.lists(st.tuples(st.integers(0, 9999), st.sampled_from(list(UNITS))), min_size=1, unique_by=lambda p: p[1]),
    st.sampled_from(["", " "]),
    st.sampled_from(["", " ", "  "]),
)
def test_parts_are_added_up(parts: list[tuple[int, str]], inner: str, between: str) -> None:
    us = sum(count * UNITS[unit] for count, unit in parts) * 10**6
    text = between.join(f"{count}{inner}{unit}" for count, unit in parts)
    assert read_duration(text) == timedelta(microseconds=int(us))
    assert read_duration(text.upper()) == timedelta(microseconds=int(us))


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("14d", timedelta(days=14)),
        ("36h", timedelta(hours=36)),
        ("90min", timedelta(minutes=90)),
        ("30s", timedelta(seconds=30)),
        ("2 days", timedelta(days=2)),
        ("1w", timedelta(days=7)),
        ("P14D", timedelta(days=14)),
        ("PT1H30M", timedelta(minutes=90)),
        ("P1W2DT0.5S", timedelta(days=9, milliseconds=500)),
        ("0.5d", timedelta(hours=12)),
        ("0s", timedelta(0)),
        ("0.000001s", timedelta(microseconds=1)),
        ("never", NEVER_EXPIRE),
        ("Never expire", NEVER_EXPIRE),
        ("as written", AS_WRITTEN),
        ("as_written", AS_WRITTEN),
        (timedelta.max, NEVER_EXPIRE),
        (NEVER_EXPIRE, NEVER_EXPIRE),
        (AS_WRITTEN, AS_WRITTEN),
    ],
)
def test_what_a_retention_may_be(text: Any, span: Any) -> None:
    rule = Rule(retention=text)
    assert rule.retention == span
    assert type(rule.retention) is type(span)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (30, "say the unit"),
        (0, "say the unit"),
        (1.5, "say the unit"),
        ("30", "say the unit"),
        (float("nan"), "say the unit"),
        (True, "True is no duration"),
        (None, "None is no duration"),
        ("", "'' is no duration"),
        ("soon", "'soon' is no duration"),
        ("1m", "could be minutes or months"),
        ("1 month", "no fixed length"),
        ("P1Y", "no fixed length"),
        ("P1M", "no fixed length"),
        ("3 fortnights", "'fortnights' is no unit"),
        ("1d 2d", "says a unit twice"),
        ("-14d", "is negative"),
        ("-P14D", "is negative"),
        (timedelta(microseconds=-1), "is negative"),
        ("0.1us", "finer than a microsecond"),
        (pd.Timedelta(1, "ns"), "finer than a microsecond"),
        ("9999999999d", "is longer than 999999999 days"),
        ("1" * 5000 + "d", "is no duration"),
        ("1 " * 49 + "!", "is no duration"),
        ("1" * 99 + "!", "is no duration"),
        ("1d\x1b[31m", r"'1d\x1b[31m' is no duration"),
        (np.timedelta64(1, "D"), "is no duration"),
        (["14d"], "is no duration"),
    ],
)
def test_what_a_retention_may_not_be(value: Any, said: str) -> None:
    places = refused(Rule, retention=value)
    assert list(places) == ["retention"]
    assert said in places["retention"]
    # A stranger is told what may stand there.
    remedies = ("write ", "say the unit, such as '30d'", "round it", "add the numbers up", "is the shortest")
    assert any(each in places["retention"] for each in remedies)


# --- fields, each with its place ---


@pytest.mark.parametrize(
    ("fields", "place", "said"),
    [
        ({"default_retention_days": -1}, "default_retention_days", "-1 is negative"),
        ({"default_retention_days": "30"}, "default_retention_days", "'30' is no whole number"),
        ({"default_retention_days": 1.5}, "default_retention_days", "1.5 is no whole number"),
        ({"default_retention_days": True}, "default_retention_days", "True is no whole number"),
        ({"default_retention_days": 10**9}, "default_retention_days", "write 999999999 or less"),
        ({"default_retention_days": 16**5000}, "default_retention_days", "is too large"),
        ({"batch_size": -1}, "batch_size", "-1 is negative"),
        ({"batch_size": None}, "batch_size", "write 0"),
        ({"batch_size": 2**63}, "batch_size", "is too large"),
        ({"clear_on_success": "yes"}, "clear_on_success", "'yes' is neither true nor false"),
        ({"clear_on_success": 1}, "clear_on_success", "1 is neither true nor false"),
        ({"cleanup_every": timedelta(0)}, "cleanup_every", "no time at all"),
        ({"cleanup_every": "0s"}, "cleanup_every", "no time at all"),
        ({"cleanup_every": "-1d"}, "cleanup_every", "is negative"),
        ({"cleanup_every": 1}, "cleanup_every", "say the unit"),
        ({"name": 3}, "name", "3 is no text"),
        ({"name": "a\nb"}, "name", r"'a\nb' holds control characters"),
        ({"retention_days": 3}, "retention_days", "did you mean default_retention_days?"),
        ({"we\x1bird": 3}, r"['we\x1bird']", "there is no such field"),
        ({"rules": "x"}, "rules", "'x' is no list of rules"),
        ({"rules": {"key": "a"}}, "rules", "[[rules]] with two brackets"),
        ({"rules": 3}, "rules", "3 is no list of rules"),
        ({"rules": Rule(retention="1d")}, "rules", "is no list of rules"),
        ({"rules": [3]}, "rules[0]", "3 is no rule"),
        ({"rules": [{"key": str(i), "retention": "1d"} for i in range(1001)]}, "rules", "1,001 rules are too many"),
        ({"rules": [{}]}, "rules[0].retention", "is missing"),
        ({"rules": [{"retention": "1d", 3: 4}]}, "rules[0]", "3 is no field's name"),
        ({"rules": [{"retention": "1d", "keys": "a"}]}, "rules[0].keys", "did you mean key?"),
        ({"rules": [{"retention": "1d", "key": ""}]}, "rules[0].key", "empty pattern"),
        ({"rules": [{"retention": "1d", "key": "re:"}]}, "rules[0].key", "empty pattern"),
        ({"rules": [{"retention": "1d", "key": 7}]}, "rules[0].key", "7 is no text"),
        ({"rules": [{"retention": "1d", "key": "[a"}]}, "rules[0].key", "'[' that is not closed"),
        ({"rules": [{"retention": "1d", "key": "[!]"}]}, "rules[0].key", "'[' that is not closed"),
        ({"rules": [{"retention": "1d", "dag_id": "[z-a]"}]}, "rules[0].dag_id", "write 'a-z'"),
        ({"rules": [{"retention": "1d", "key": "[!\0-\U0010ffff]"}]}, "rules[0].key", "takes no character"),
        ({"rules": [{"retention": "1d", "task_id": "re:(a"}]}, "rules[0].task_id", "missing )"),
        ({"rules": [{"retention": "1d", "task_id": "re:a)(b"}]}, "rules[0].task_id", "unexpected )"),
        ({"rules": [{"retention": "1d", "task_id": "re:a(?=b)"}]}, "rules[0].task_id", "no lookahead"),
        ({"rules": [{"retention": "1d", "task_id": r"re:\Qa"}]}, "rules[0].task_id", r"end each \Q with \E"),
        ({"rules": [{"retention": "1d", "key": "re:(\x1b"}]}, "rules[0].key", r"'re:(\x1b' is no regular"),
        ({"rules": [{"retention": "1d", "key": "\ud800"}]}, "rules[0].key", "lone surrogate"),
        ({"rules": [{"retention": "1d", "key": "a" * 4097}]}, "rules[0].key", "4,097 characters"),
        ({"rules": [{"retention": "1d", "min_bytes": -1}]}, "rules[0].min_bytes", "-1 is negative"),
        ({"rules": [{"retention": "1d", "max_bytes": "9"}]}, "rules[0].max_bytes", "'9' is no whole number"),
        ({"rules": [{"retention": "1d", "min_bytes": 3, "max_bytes": 2}]}, "rules[0].max_bytes", "than min_bytes, 3"),
        ({"rules": [{"retention": "1d", "task_state": "sucess"}]}, "rules[0].task_state", "did you mean success?"),
        ({"rules": [{"retention": "1d", "task_state": []}]}, "rules[0].task_state", "an empty list matches no row"),
        (
            {"rules": [{"retention": "1d", "task_state": [None, 3]}]},
            "rules[0].task_state",
            "None, 3 are no task states",
        ),
        ({"rules": [{"retention": "1d", "task_state": 3}]}, "rules[0].task_state", "3 is no task state"),
        ({"rules": [{"retention": "1d", "name": "a\u2028"}]}, "rules[0].name", "control characters"),
        ({"rules": [Rule(retention="never"), Rule(key="x", retention="1d")]}, "rules[1]", "since rules[0] takes all"),
    ],
)
def test_each_mistake_is_said_with_its_place(fields: dict[str, Any], place: str, said: str) -> None:
    places = refused(Policy, **fields)
    assert len(places) == 1
    assert (place, said in places.get(place, "")) == (next(iter(places)), True), places


def test_all_mistakes_are_said_at_once() -> None:
    places = refused(
        Policy,
        nme="x",
        default_retention_days=-1,
        cleanup_every=30,
        batch_size="many",
        rules=[
            {"key": "[a", "retention": 30, "min_bytes": 4, "max_bytes": 3},
            {"kee": "x"},
            {"name": "all", "retention": "never"},
            {"key": "x", "retention": "1d", "task_state": "gone"},
            {"key": "x", "retention": "1d"},
            7,
        ],
    )
    assert set(places) == {
        "nme",
        "default_retention_days",
        "cleanup_every",
        "batch_size",
        "rules[0].key",
        "rules[0].retention",
        "rules[0].max_bytes",
        "rules[1].kee",
        "rules[1].retention",
        "rules[3].task_state",
        "rules[4]",
        "rules[5]",
    }
    assert "rules[2] 'all' takes all of its rows" in places["rules[4]"]


def test_every_way_in_refuses_alike() -> None:
    bad = {"rules": [{"retention": 30}, {"retention": "1d", "key": "[a"}]}
    expected = refused(Policy, **bad)
    assert set(expected) == {"rules[0].retention", "rules[1].key"}
    assert refused(lambda: Policy.model_validate(bad)) == expected
    assert refused(lambda: Policy().model_copy(update=bad)) == expected
    assert refused(lambda: Policy.current(StateStoreConfig(), **bad)) == expected
    text = '{"rules": [{"retention": 30}, {"retention": "1d", "key": "[a"}]}'
    assert refused(lambda: Policy.model_validate_json(text)) == expected
    assert "JSON" in str(refused(lambda: Policy.model_validate_json("{")))
    assert set(refused(lambda: Policy.model_validate({3: 4}))) == {""}
    assert set(refused(lambda: Policy.model_validate([]))) == {""}


def test_the_error_survives_pickling() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy(batch_size=-1)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (again.problems, str(again)) == (caught.value.problems, str(caught.value))


def test_a_thousand_mistakes_are_not_all_printed() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy(rules=[{}] * 1000)
    assert len(caught.value.problems) == 1000
    assert "and 950 more" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 52


# --- what is kept ---


def test_a_policy_is_frozen_hashable_and_picklable() -> None:
    policy = Policy(default_retention_days=14, rules=[Rule(key="a*", retention="never", task_state={"none", "failed"})])
    with pytest.raises(ValueError, match="frozen"):
        policy.batch_size = 3
    assert len({policy, copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))}) == 1  # noqa: S301 - our own
    assert policy.rules[0].task_state == ("failed", "none")


@given(policies())
def test_its_json_reads_back(policy: Policy) -> None:
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
    assert Policy.model_validate(policy.model_dump()) == policy
    assert policy.model_copy() == policy


def test_values_of_other_libraries_become_plain() -> None:
    policy = Policy(default_retention_days=np.int64(3), clear_on_success=np.True_, batch_size=np.int32(5))
    assert type(policy.default_retention_days) is int
    assert policy.clear_on_success is True
    assert type(policy.batch_size) is int


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (Policy(), "as written"),
        (Policy(default_retention_days=0), "no expiry"),
        (Policy(default_retention_days=1), "1 day"),
        (Policy(default_retention_days=14), "14 days"),
        (Policy(default_retention_days=14, rules=[Rule(retention="1d")]), "14 days, 1 rule"),
        (
            Policy(default_retention_days=14, rules=[Rule(key="a", retention="1d"), Rule(retention="1d")]),
            "14 days, 2 rules",
        ),
        (Policy(clear_on_success=True, cleanup_every=None), "as written, clear on success, no cleanup"),
        (Policy(cleanup_every="6h", batch_size=1000), "as written, cleanup every 6 hours, batches of 1,000"),
        (Policy(name="mine"), "mine"),
        (Policy(name="  "), "as written"),
    ],
)
def test_a_policy_names_itself(policy: Policy, name: str) -> None:
    assert policy.name == name
    assert repr(policy) == str(policy) == f"Policy({name!r})"


def test_a_made_name_follows_a_change_and_a_given_one_does_not() -> None:
    assert Policy(default_retention_days=14).model_copy(update={"default_retention_days": 7}).name == "7 days"
    assert Policy(name="mine").model_copy(update={"default_retention_days": 7}).name == "mine"


@given(rules)
def test_a_rules_repr_makes_it_again(rule: Rule) -> None:
    assert eval(repr(rule), {"Rule": Rule}) == rule  # noqa: S307 - our own repr


# --- what a write gets ---


@given(policies(), row_fields, st.none() | spans | st.just(NEVER_EXPIRE))
def test_what_a_write_gets(policy: Policy, row: dict[str, Any], explicit: Any) -> None:
    index = first_match(policy.rules, row)
    said = AS_WRITTEN if index < 0 else policy.rules[index].retention
    if said is AS_WRITTEN and explicit is not None:
        said = explicit
    elif said is AS_WRITTEN and policy.default_retention_days is not None:
        said = timedelta(policy.default_retention_days) if policy.default_retention_days else None
    assert policy.retention_for(**row, explicit=explicit) == said


def test_the_first_match_wins() -> None:
    policy = Policy(
        default_retention_days=5,
        rules=[
            Rule(name="logs", key="log_*", min_bytes=10, retention="1d"),
            Rule(key="log_*", retention="as written"),
            Rule(retention="never"),
        ],
    )
    row = {"dag_id": "d", "task_id": "t", "key": "log_1"}
    assert policy.retention_for(**row, value_bytes=10, explicit=NEVER_EXPIRE) == timedelta(days=1)
    assert policy.retention_for(**row, value_bytes=9, explicit=None) == timedelta(days=5)
    assert policy.retention_for(**row, value_bytes=9, explicit=timedelta.max) is NEVER_EXPIRE
    assert policy.retention_for(dag_id="d", task_id="t", key="x", explicit=timedelta(1)) is NEVER_EXPIRE
    # Without a rule's word and the program's: the default, whose 0 is no expiry; without a default the caller decides.
    assert Policy(default_retention_days=0).retention_for(**row, explicit=None) is None
    assert Policy().retention_for(**row, explicit=None) is AS_WRITTEN
    assert policy.explain(**row, value_bytes=9) == (
        "rules[1] takes the row (key 'log_*'): it expires as it was written\n"
        "  rules[0] 'logs' passed it over: min_bytes is 10, the row is 9 bytes"
    )


def test_explanations_of_no_rule() -> None:
    row = {"dag_id": "d", "task_id": "t", "key": "\x1b"}
    assert Policy(default_retention_days=0).explain(**row) == (
        "the policy has no rules: it gets what its program says, or else the default: no expiry"
    )
    policy = Policy(rules=[Rule(key="a", dag_id="e*", task_state="failed", max_bytes=2, retention="0s")])
    assert policy.explain(**row, value_bytes=3) == (
        "no rule takes the row: it gets what its program says, or else the default: as written\n"
        r"  rules[0] passed it over: dag_id is 'e*', the row is 'd'; key is 'a', the row is '\x1b'; "
        "max_bytes is 2, the row is 3 bytes; task_state is ('failed',), the row is of no known task instance"
    )


# --- configuration ---

configs = st.builds(
    StateStoreConfig,
    default_retention_days=st.integers(0, 10_000),
    clear_on_success=st.booleans(),
    state_cleanup_batch_size=st.integers(0, 10**6),
)


@given(configs)
def test_current_is_what_the_configuration_says(config: StateStoreConfig) -> None:
    policy = Policy.current(config)
    assert policy == Policy(
        name="current",
        default_retention_days=config.default_retention_days,
        clear_on_success=config.clear_on_success,
        batch_size=config.state_cleanup_batch_size,
    )


def test_current_by_default_is_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__DEFAULT_RETENTION_DAYS", "11")
    assert Policy.current().default_retention_days == 11
    assert Policy.current(name="x", cleanup_every="never").cleanup_every is None


@given(policies())
def test_cfg_lines_read_back(tmp_path_factory: pytest.TempPathFactory, policy: Policy) -> None:
    path = tmp_path_factory.getbasetemp() / "airflow.cfg"
    path.write_text(policy.cfg_lines(), encoding="utf-8")
    config = StateStoreConfig.load(path, environ={})
    days = 30 if policy.default_retention_days is None else policy.default_retention_days
    assert config.default_retention_days == days
    assert config.clear_on_success is policy.clear_on_success
    assert config.state_cleanup_batch_size == policy.batch_size


def test_cfg_lines_say_what_they_cannot_do() -> None:
    policy = Policy(cleanup_every=None, rules=[Rule(name="n", key="a\n*", retention="0s")])
    assert policy.cfg_lines() == (
        "[state_store]\nclear_on_success = False\nstate_cleanup_batch_size = 0\n"
        "# default_retention_days: as written; the policy does not change it\n"
        "# cleanup runs never: whatever calls `airflow state-store clean` has to see to it\n"
        "# airflow.cfg has no rules; pass retention= where these keys are written:\n"
        "#   rules[0] 'n': key 'a\\n*': expires at the write\n"
    )


def test_the_task_states_are_airflows() -> None:
    require("airflow")
    code = "from airflow.utils.state import TaskInstanceState as S; print(*sorted(S), sep=',')"
    done = subprocess.run([airflow_python(), "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[-2].split(",") == sorted(set(TASK_STATES) - {"none"})


def test_yaml_is_loaded_on_use() -> None:
    code = "import sys, storekit.retention; sys.exit('yaml' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_what_is_not_given_by_name_or_is_something_else_is_refused() -> None:
    for wrong, said in (
        (lambda: Policy(14), "Policy(default_retention_days=14)"),  # type: ignore[call-arg, misc]
        (lambda: Rule("a*"), "Rule(key="),  # type: ignore[call-arg, misc]
        (lambda: Policy.current(3), "3 is no configuration"),  # type: ignore[arg-type]
        (lambda: Policy().explain(dag_id="\ud800", task_id="t", key="k"), "dag_id: '\\ud800' holds a lone surrogate"),
        (lambda: Policy(rules=[Rule(retention="1d")]).rule_for(dag_id="d", task_id="t", key=3), "key: 3 is no text"),  # type: ignore[arg-type]
    ):
        with pytest.raises(PolicyError) as caught:
            wrong()
        assert said in str(caught.value)
