"""Files of policies: TOML, YAML or JSON, with one meaning. All mistakes in a file are said at once, with their places.

Files come from others, so they are bounded: in size, in what YAML's aliases can grow them to, and in depth.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storekit.errors import PolicyError
from storekit.retention.mistakes import Problem, place, policy_error, prefixed, readable, shown
from storekit.retention.policy import Policy

if TYPE_CHECKING:
    import yaml

__all__ = ["MAX_FILE_BYTES", "load_policies", "policy_schema"]

MAX_FILE_BYTES = 1_000_000
"""Of a policy file, inclusive."""

_MOST_NODES = 200_000  # of a YAML file, once its aliases are written out
_PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_POLICIES = "policies"
_SHAPES = "write one policy's fields at the top, or a list of policies under 'policies'"


def load_policies(path: str | Path) -> list[Policy]:
    """Read the policies of a file.

    Parameters
    ----------
    path
        A ``.toml``, ``.yaml``, ``.yml`` or ``.json`` file, in UTF-8, of at most 1,000,000 bytes. It holds one policy's
        fields, or a list of policies under ``policies``. A policy without a name gets the file's, without its suffix.

    Returns
    -------
    list of Policy
        In the file's order.

    Raises
    ------
    PolicyError
        If the file cannot be read; with its line, if its syntax is wrong; else with everything that is wrong in any
        of its policies, each with its place, such as ``policies[1].rules[0].retention``. A key or a policy's name
        that is there twice is wrong, and so is a file that holds no policy. In YAML a number must be plain decimal,
        and a text must not be one of the words that YAML 1.1 takes for true or false.
    """
    try:
        file = Path(path)
    except TypeError:
        raise PolicyError(f"{shown(path)} is no path of a policy file", hint="load_policies('policies.toml')") from None
    name = readable(str(path))
    kind = file.suffix.lower()
    read = {".toml": _from_toml, ".yaml": _from_yaml, ".yml": _from_yaml, ".json": _from_json}.get(kind)
    if read is None:
        raise PolicyError(f"{name} is no policy file by its name", hint="call it .toml, .yaml, .yml or .json")
    text = _text(file, name)
    try:
        document, problems = read(text, name)
    except RecursionError:
        raise PolicyError(f"{name} is nested too deeply", hint=_SHAPES) from None
    policies, found = _policies(document, file.stem)
    told = {at for at, _ in problems}
    problems += [(at, said) for at, said in found if at not in told]  # what YAML made of it is no other mistake
    if problems:
        raise policy_error(name, problems)
    return policies


def _text(file: Path, name: str) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else error
        raise PolicyError(f"{name} cannot be read: {why}", hint="name a policy file that is there") from error
    if len(raw) > MAX_FILE_BYTES:
        raise PolicyError(
            f"{name} is larger than {MAX_FILE_BYTES:,} bytes", hint="split it, or write patterns instead of many names"
        )
    try:
        return raw.decode("utf-8-sig")  # an editor's byte order mark is no part of the text
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{name}, line {line}: the text is not UTF-8", hint="save it as UTF-8") from None


# --- what the document says ------------------------------------------------------------------------------------


def _policies(document: Any, stem: str) -> tuple[list[Policy], list[Problem]]:
    if not isinstance(document, dict):
        what = "the file is empty" if document is None else f"{shown(document)} is no policy"
        return [], [("", f"{what}: {_SHAPES}")]
    if not document:
        return [], [("", f"the file holds no policy: {_SHAPES}")]
    if _POLICIES not in document:
        policy, problems = _policy(document, stem)
        return [policy] if policy else [], problems
    problems = [
        (_at(key), "stands beside 'policies': move it into one of them") for key in document if key != _POLICIES
    ]
    items = document[_POLICIES]
    if not isinstance(items, list) or not items:
        said = f"{shown(items)} is no list of policies: write a list with one at least; in TOML, [[policies]]"
        return [], [*problems, (_POLICIES, said)]
    policies: list[Policy] = []
    places: dict[str, str] = {}
    for index, item in enumerate(items):
        at = place(_POLICIES, index)
        policy, found = _policy(item, stem)
        problems += prefixed(at, found)
        # Names are compared even where a policy is wrong in another field.
        name = policy.name if policy else (item.get("name") or stem if isinstance(item, dict) else None)
        if isinstance(name, str) and places.setdefault(name, at) != at:
            where = f"{at}.name"
            problems.append((where, f"{shown(name)} is the name of {places[name]} too: give each its own name"))
        if policy:
            policies.append(policy)
    return policies, problems


def _policy(item: Any, stem: str) -> tuple[Policy | None, list[Problem]]:
    if not isinstance(item, dict):
        return None, [("", f"{shown(item)} is no policy: write its fields, such as default_retention_days = 14")]
    try:
        # A stem that cannot be a name (control characters) leaves the name to be made from the policy.
        named = item if item.get("name") not in (None, "") else {**item, "name": stem if stem.isprintable() else ""}
        return Policy.model_validate(named), []
    except PolicyError as error:
        return None, list(error.problems)


def _at(key: Any) -> str:
    return place(key) if isinstance(key, str) else f"[{shown(key)}]"


def _twice(at: tuple[str | int, ...], keys: list[str]) -> list[Problem]:
    return [
        (place(*at, key), f"is there {count} times: leave one of them")
        for key, count in Counter(keys).items()
        if count > 1
    ]


# --- three syntaxes --------------------------------------------------------------------------------------------


def _syntax_error(name: str, why: str, line: int | None = None, column: int | None = None) -> PolicyError:
    where = f", line {line}, column {column}" if line else ""
    return PolicyError(f"{name}{where}: {readable(why)}", hint="correct the file's syntax there")


def _from_toml(text: str, name: str) -> tuple[Any, list[Problem]]:
    try:
        return tomllib.loads(text), []
    except ValueError as error:  # TOMLDecodeError, which says the line, or a number that Python will not read
        raise _syntax_error(name, f"no TOML: {error}") from None


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys were there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.keys_written = [key for key, _ in pairs]


def _from_json(text: str, name: str) -> tuple[Any, list[Problem]]:
    try:
        document = json.loads(text, object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        raise _syntax_error(name, f"no JSON: {error.msg}", error.lineno, error.colno) from None
    except ValueError as error:
        raise _syntax_error(name, f"no JSON: {error}") from None
    problems: list[Problem] = []
    stack: list[tuple[tuple[str | int, ...], Any]] = [((), document)]
    while stack:
        at, value = stack.pop()
        if isinstance(value, _Object):
            problems += _twice(at, value.keys_written)
            stack += [((*at, key), each) for key, each in value.items()]
        elif isinstance(value, list):
            stack += [((*at, index), each) for index, each in enumerate(value)]
    return document, problems


def _from_yaml(text: str, name: str) -> tuple[Any, list[Problem]]:
    import yaml

    try:
        # What yaml.safe_load does, in two steps: the tree is looked at before anything is made of it.
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None, []
            nodes = _nodes(root, {}, name)
            if nodes > _MOST_NODES:
                grows = f"{name} grows to {nodes:.3g} values when its aliases are written out"
                raise PolicyError(grows, hint=f"{_MOST_NODES:,} is the most; write out what *names stand for")
            problems = _misread(root)
            return loader.construct_document(root), problems
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        raise _syntax_error(name, f"no YAML: {error.reason} (#x{error.character:04x})", line, column) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        why = f"no YAML: {error.problem or error.context}"
        raise _syntax_error(name, why, *((mark.line + 1, mark.column + 1) if mark else ())) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the latter two: a date or a number that is none
        raise _syntax_error(name, f"no YAML: {error}") from None


def _nodes(node: yaml.Node, known: dict[int, int | None], name: str) -> int:
    """Return how many nodes there are once every alias is written out; each is visited once."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise PolicyError(f"{name} holds itself, by an alias", hint="write no alias (*name)")
        return count
    known[id(node)] = None
    total = 1 + sum(_nodes(each, known, name) for each in _children(node))
    known[id(node)] = total
    return total


def _children(node: yaml.Node) -> list[yaml.Node]:
    if not isinstance(node.value, list):
        return []
    return [part for each in node.value for part in (each if isinstance(each, tuple) else (each,))]


def _misread(root: yaml.Node) -> list[Problem]:
    """Return keys that are there twice, and scalars of which YAML 1.1 makes something else than is written."""
    import yaml

    problems: list[Problem] = []
    stack: list[tuple[tuple[str | int, ...], yaml.Node]] = [((), root)]
    seen: set[int] = set()
    while stack:
        at, node = stack.pop()
        if isinstance(node, yaml.ScalarNode) and (said := _surprise(node, at)):
            problems.append((place(*at), said))
        if id(node) in seen or not isinstance(node.value, list):
            continue
        seen.add(id(node))  # an alias is looked at where it was first written
        if isinstance(node, yaml.MappingNode):
            pairs = [(key.value if isinstance(key.value, str) else "?", value) for key, value in node.value]
            problems += _twice(at, [key for key, _ in pairs])
            stack += [((*at, key), value) for key, value in reversed(pairs)]
        else:
            stack += [((*at, index), each) for index, each in reversed(list(enumerate(node.value)))]
    return problems


def _surprise(node: yaml.ScalarNode, at: tuple[str | int, ...]) -> str | None:
    kind, written = node.tag.rpartition(":")[2], node.value
    if kind in ("int", "float") and not _PLAIN_NUMBER.fullmatch(written):
        # 014 is 12, 0x1f is 31, 1:30 is 90, 1_4 is 14
        return f"{shown(written)} is no plain number to YAML: write decimal digits alone, or a text in quotes"
    if kind == "bool" and written.lower() not in ("true", "false") and at[-1:] != ("clear_on_success",):
        return f"{shown(written)} is true or false to YAML: put it in quotes"
    return None


# --- schema ----------------------------------------------------------------------------------------------------


def policy_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a policy file: one policy, or several under ``policies``.

    It tells fields, types and bounds, for editors; that patterns can be run, that rules can be reached and that names
    are distinct, `load_policies` alone tells.

    Returns
    -------
    dict of str to Any
        What ``json.dumps`` writes as it is; a new one at each call.
    """
    policy = Policy.model_json_schema(ref_template="#/$defs/{model}")
    rule = policy.pop("$defs")
    for model in (policy, *rule.values()):
        model["description"] = model["description"].partition("\n")[0]  # what follows is about Python
    several = {
        "type": "object",
        "properties": {_POLICIES: {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Policy"}}},
        "required": [_POLICIES],
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "storekit retention policies",
        "oneOf": [{"$ref": "#/$defs/Policy", "minProperties": 1}, several],
        "$defs": {**rule, "Policy": policy},
    }
