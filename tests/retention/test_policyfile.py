"""Files of policies: three syntaxes with one meaning, and every mistake with its place."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from policies import policies

from storekit.errors import PolicyError
from storekit.retention import load_policies, policy_schema
from storekit.retention.policy import Policy, Rule
from storekit.state import NEVER_EXPIRE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("policies")


def load(folder: Path, name: str, text: str | bytes) -> list[Policy]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_policies(path)


def refused(folder: Path, name: str, text: str | bytes) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        load(folder, name, text)
    assert name in str(caught.value)
    assert all(each.isprintable() or each == "\n" for each in str(caught.value))
    return caught.value


def as_toml(many: list[Policy]) -> str:
    parts = []
    for each in many:
        text = re.sub(r"(?m)^\[\[rules]]$", "[[policies.rules]]", each.to_toml())
        parts.append(f"[[policies]]\n{text}")
    return "\n".join(parts)


# --- one meaning ---


@given(policies())
def test_toml_round_trip(folder: Path, policy: Policy) -> None:
    assert load(folder, "p.toml", policy.to_toml()) == [policy]


@given(policies())
def test_one_policy_is_the_same_in_every_syntax(folder: Path, policy: Policy) -> None:
    data = json.loads(policy.model_dump_json())
    assert load(folder, "p.json", json.dumps(data)) == [policy]
    assert load(folder, "p.yaml", yaml.safe_dump(data)) == [policy]
    assert load(folder, "p.YML", yaml.safe_dump(data, allow_unicode=True, sort_keys=False)) == [policy]


@given(st.lists(policies(), min_size=1, max_size=3, unique_by=lambda each: each.name))
def test_several_policies_are_the_same_in_every_syntax(folder: Path, many: list[Policy]) -> None:
    data = {"policies": [json.loads(each.model_dump_json()) for each in many]}
    assert load(folder, "p.json", json.dumps(data)) == many
    assert load(folder, "p.yaml", yaml.safe_dump(data)) == many
    assert load(folder, "p.toml", as_toml(many)) == many


def test_what_people_write(folder: Path) -> None:
    expected = Policy(
        name="short",
        default_retention_days=14,
        cleanup_every=None,
        rules=[
            Rule(name="cursors", key="cursor_*", retention=NEVER_EXPIRE),
            Rule(dag_id="re:etl_[0-9]+", min_bytes=1000, task_state=("success", "none"), retention=timedelta(hours=36)),
        ],
    )
    toml = """
        default_retention_days = 14
        cleanup_every = "never"
        [[rules]]
        name = "cursors"
        key = "cursor_*"
        retention = "never"
        [[rules]]
        dag_id = 're:etl_[0-9]+'
        min_bytes = 1_000
        task_state = ["success", "none"]
        retention = "36h"
    """
    text = """
default_retention_days: 14
cleanup_every: never
rules:
  - {name: cursors, key: cursor_*, retention: never}
  - dag_id: re:etl_[0-9]+
    min_bytes: 1000
    task_state: [success, none]
    retention: 36h
"""
    assert load(folder, "short.toml", toml) == load(folder, "short.yaml", text) == [expected]
    merged = "policies:\n- &a {name: a, batch_size: 5}\n- <<: *a\n  name: b\n"
    assert [(each.name, each.batch_size) for each in load(folder, "m.yaml", merged)] == [("a", 5), ("b", 5)]
    assert load(folder, "short.toml", b"\xef\xbb\xbf" + toml.encode()) == [expected]


def test_a_missing_name_is_the_files(folder: Path) -> None:
    assert load(folder, "two weeks.yaml", "default_retention_days: 14")[0].name == "two weeks"
    assert load(folder, "x.json", '{"policies": [{"name": ""}]}')[0].name == "x"
    assert load(folder, "x\x1b.json", '{"batch_size": 0}')[0].name == "as written"
    assert refused(folder, "x.json", '{"name": 0}').problems[0][0] == "name"


# --- mistakes ---


TWO_ERRORS = {
    "e.toml": "[[policies]]\nname='a'\nbatch_size=-1\n[[policies]]\nname='b'\n[[policies.rules]]\nretention=30\n",
    "e.yaml": "policies:\n- {name: a, batch_size: -1}\n- {name: b, rules: [{retention: 30}]}\n",
    "e.json": '{"policies": [{"name": "a", "batch_size": -1}, {"name": "b", "rules": [{"retention": 30}]}]}',
}


@pytest.mark.parametrize("name", TWO_ERRORS)
def test_two_mistakes_in_two_policies_are_both_said(folder: Path, name: str) -> None:
    error = refused(folder, name, TWO_ERRORS[name])
    assert [place for place, _ in error.problems] == ["policies[0].batch_size", "policies[1].rules[0].retention"]
    assert "say the unit" in str(error)
    assert "2 mistakes" in str(error)


@pytest.mark.parametrize(
    ("name", "text", "problems"),
    [
        ("a.yaml", "rules: [{retention: 30}]", {"rules[0].retention": "say the unit"}),
        ("a.yaml", "rules: [{retention: 1:30}]", {"rules[0].retention": "'1:30' is no plain number"}),
        ("a.yaml", "default_retention_days: 014", {"default_retention_days": "'014' is no plain number"}),
        ("a.yaml", "default_retention_days: 1:30", {"default_retention_days": "'1:30' is no plain number"}),
        ("a.yaml", "policies: [{name: a, batch_size: 0x1f}]", {"policies[0].batch_size": "'0x1f'"}),
        ("a.yaml", "name: yes", {"name": "'yes' is true or false to YAML: put it in quotes"}),
        ("a.yaml", "rules: [{retention: null}]", {"rules[0].retention": "None is no duration"}),
        ("a.yaml", "rules: [{retention: 1d, key: 2026-01-01}]", {"rules[0].key": "is no text"}),
        ("a.yaml", "rules: [{retention: 1d, key: on}]", {"rules[0].key": "'on' is true or false"}),
        ("a.yaml", "clear_on_success: 'yes'", {"clear_on_success": "neither true nor false"}),
        ("a.yaml", "batch_size: 1\nbatch_size: 2\n", {"batch_size": "is there 2 times"}),
        ("a.yaml", "1: 2", {"": "1 is no field's name"}),
        ("a.yaml", "", {"": "the file is empty"}),
        ("a.yaml", "# nothing\n", {"": "the file is empty"}),
        ("a.yaml", "[]", {"": "[] is no policy"}),
        ("a.yaml", "policies: [{name: 'x\\y'}, 3]", {"policies[1]": "3 is no policy"}),
        ("a.yaml", "policies: []", {"policies": "with one at least"}),
        ("a.yaml", "policies: {name: a}", {"policies": "is no list of policies"}),
        ("a.yaml", "policies: [{}]\nbatch_size: 3", {"batch_size": "stands beside 'policies'"}),
        ("a.yaml", "policies: [{}]\n3: 3", {"[3]": "stands beside 'policies'"}),
        ("a.yaml", "policies: [{name: a}, {name: b}, {name: a}]", {"policies[2].name": "name of policies[0]"}),
        ("a.yaml", "policies: [{name: a, x: 1}, {name: a, y: 2}]", {
            "policies[0].x": "no such field", "policies[1].y": "no such field", "policies[1].name": "of policies[0]",
        }),
        ("a.yaml", "policies: [{batch_size: 1}, {batch_size: 2}]", {"policies[1].name": "'a' is the name of"}),
        (
            "a.yaml",
            "policies: [{name: a, name: b, rules: [{retention: 1d, key: a, key: b, key: c}]}]",
            {"policies[0].name": "2 times", "policies[0].rules[0].key": "3 times"},
        ),
        ("a.json", '{"name": "a", "name": "b", "rules": [{"retention": 3, "retention": 4}]}',
            {"name": "is there 2 times", "rules[0].retention": ""}),
        ("a.json", "{}", {"": "holds no policy"}),
        ("a.json", '{"rules": [{"retention": NaN}]}', {"rules[0].retention": "say the unit"}),
        ("a.json", '{"rules": [{"retention": "1d", "key": "\\ud800"}]}', {"rules[0].key": "lone surrogate"}),
        ("a.toml", "", {"": "holds no policy"}),
        ("a.toml", "[rules]\nkey = 'a'", {"rules": "[[rules]] with two brackets"}),
        ("a.toml", "cleanup_every = 07:00:00", {"cleanup_every": "is no duration"}),
        ("a.toml", "'we\\u001bird' = 1\n\"we\\u001bird\" = 2", {r"['we\\u001bird']": "no", r"['we\x1bird']": "no"}),
    ],
)  # fmt: skip
def test_each_mistake_is_said_with_its_place(folder: Path, name: str, text: str, problems: dict[str, str]) -> None:
    error = refused(folder, name, text)
    assert {place for place, _ in error.problems} == set(problems), error.problems
    for place, said in error.problems:
        assert problems[place] in said
        assert place in str(error)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.toml", "a = 1\nb =\n", "line 2"),
        ("s.toml", "a = 1\na = 2\n", "line 2"),
        ("s.toml", "a = " + "9" * 5000, "no TOML"),
        ("s.yaml", "a: 1\nb: [\n", "line 3, column 1"),
        ("s.yaml", "a: 1\n---\nb: 1\n", "line 2, column 1"),
        ("s.yaml", "a: 1\nb: *c\n", "line 2, column 4"),
        ("s.yaml", "a: 1\nb: x\x1b\n", "line 2, column 5"),
        ("s.yaml", "\n? [a]\n: b\n", "line 2, column 3"),
        ("s.yaml", "a: 2026-13-45\n", "no YAML"),
        ("s.yaml", "a: !!python/object/apply:os.system ['false']\n", "line 1, column 4"),
        ("s.json", '{"a": 1,\n "b": }', "line 2, column 7"),
        ("s.json", "", "line 1, column 1"),
        ("s.json", "9" * 5000, "no JSON"),
        ("s.json", b'{"a": 1,\n "b": "\xff"}', "line 2: the text is not UTF-8"),
        ("s.json", "[" * 100_000, "nested too deeply"),
        ("s.toml", "a = " + "[" * 100_000, "nested too deeply"),
        ("s.yaml", "[" * 100_000, "nested too deeply"),
        ("s.yaml", "a: &a [*a]\n", "holds itself"),
        ("s.txt", "", "call it .toml"),
        (".toml", "", "call it .toml"),
        ("s.toml", " " * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_what_is_no_policy_file(folder: Path, name: str, text: str | bytes, said: str) -> None:
    assert said in str(refused(folder, name, text))


def test_a_file_of_the_largest_size_is_read(folder: Path) -> None:
    text = "batch_size = 3\n#"
    assert load(folder, "big.toml", text + " " * (1_000_000 - len(text)))[0].batch_size == 3


def test_an_alias_bomb_is_refused_quickly(folder: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    began = time.perf_counter()
    assert "aliases" in str(refused(folder, "bomb.yaml", "\n".join(lines)))
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("path", ["no/such/file.toml", "nul\0.toml"])
def test_a_file_that_is_not_there(path: str) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policies(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "d.toml").mkdir()
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policies(tmp_path / "d.toml")


# --- schema ---


def allowed(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    """The part of JSON Schema that the policy's uses; a keyword that is not known here fails the test."""
    types = {"string": str, "array": list, "object": dict, "boolean": bool, "integer": int, "null": type(None)}

    def is_type(name: str) -> bool:
        if name == "integer" and isinstance(value, float):
            return value.is_integer()
        return isinstance(value, types[name]) and not (name == "integer" and isinstance(value, bool))

    def holds(keyword: str, said: Any) -> bool:
        match keyword:
            case "title" | "description" | "default" | "examples" | "$schema" | "$defs":
                return True
            case "$ref":
                return allowed(root["$defs"][said.removeprefix("#/$defs/")], value, root)
            case "oneOf":
                return sum(allowed(each, value, root) for each in said) == 1
            case "anyOf":
                return any(allowed(each, value, root) for each in said)
            case "type":
                return any(is_type(each) for each in ([said] if isinstance(said, str) else said))
            case "enum":
                return value in said
            case "minimum":
                return not isinstance(value, int | float) or value >= said
            case "maximum":
                return not isinstance(value, int | float) or value <= said
            case "minProperties":
                return not isinstance(value, dict) or len(value) >= said
            case "minLength":
                return not isinstance(value, str) or len(value) >= said
            case "minItems":
                return not isinstance(value, list) or len(value) >= said
            case "maxItems":
                return not isinstance(value, list) or len(value) <= said
            case "items":
                return not isinstance(value, list) or all(allowed(said, each, root) for each in value)
            case "properties":
                return not isinstance(value, dict) or all(
                    allowed(said[name], each, root) for name, each in value.items() if name in said
                )
            case "required":
                return not isinstance(value, dict) or set(said) <= set(value)
            case "additionalProperties":
                assert said is False
                return not isinstance(value, dict) or set(value) <= set(schema["properties"])
        raise AssertionError(f"the schema has a keyword {keyword!r} that this test does not know")

    return all(holds(keyword, said) for keyword, said in schema.items())


@given(policies())
def test_the_schema_allows_what_is_read(policy: Policy) -> None:
    schema = json.loads(json.dumps(policy_schema()))
    data = json.loads(policy.model_dump_json())
    short = {name: value for name, value in data.items() if value is not None}
    for document in (data, short, {"policies": [data, short]}):
        assert allowed(schema, document, schema)


@pytest.mark.parametrize(
    "document",
    [
        {"name": None},
        {"default_retention_days": 14.0, "batch_size": 0.0},
        {"policies": [{}]},
        {"rules": [{"retention": "1d", "min_bytes": 3.0}]},
    ],
)
def test_the_schema_and_the_reader_allow_alike(folder: Path, document: Any) -> None:
    schema = policy_schema()
    assert allowed(schema, document, schema)
    assert load(folder, "a.json", json.dumps(document))


def test_a_path_that_is_none_is_refused() -> None:
    for wrong in (None, 3, b"p.toml"):
        with pytest.raises(PolicyError, match="is no path of a policy file"):
            load_policies(wrong)  # type: ignore[arg-type]


def test_yaml_may_say_yes_to_what_is_true_or_false(folder: Path) -> None:
    assert load(folder, "yes.yaml", "clear_on_success: yes")[0].clear_on_success


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"default_retention_days": 14.5},
        {"policies": []},
        {"policies": [{}], "batch_size": 3},
        {"default_retention_days": -1},
        {"default_retention_days": "30"},
        {"default_retention_days": 10**9},
        {"batch_size": 2**63},
        {"batch_size": -1},
        {"batch_size": None},
        {"clear_on_success": 1},
        {"cleanup_every": 1},
        {"nme": "x"},
        {"name": 3},
        {"rules": [{}]},
        {"rules": [{"retention": 30}]},
        {"rules": [{"retention": "1d", "kee": "a"}]},
        {"rules": [{"retention": "1d", "key": ""}]},
        {"rules": [{"retention": "1d", "min_bytes": -1}]},
        {"rules": [{"retention": "1d", "task_state": "gone"}]},
        {"rules": [{"retention": "1d", "task_state": []}]},
    ],
)
def test_the_schema_and_the_reader_refuse_alike(folder: Path, document: Any) -> None:
    schema = policy_schema()
    assert not allowed(schema, document, schema)
    refused(folder, "r.json", json.dumps(document))
