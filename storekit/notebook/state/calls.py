"""The Python call that gives what a view shows, as text to copy. Executing it gives the same."""

from __future__ import annotations

from typing import Any

from storekit.retention.policy import Policy

__all__ = ["call", "policy_call"]

_WIDTH = 88


def call(name: str, /, *args: Any, **kwargs: Any) -> str:
    """Return a call as Python text; keywords that are None are left out.

    A text is written by ``repr``, so what a key holds cannot leave its quotes. A policy is written as a call.
    """
    written = [_written(each) for each in args]
    written += [f"{key}={_written(value)}" for key, value in kwargs.items() if value is not None]
    line = f"{name}({', '.join(written)})"
    if len(line) <= _WIDTH or not written:
        return line
    return f"{name}(\n" + "".join(f"    {_inset(each)},\n" for each in written) + ")"


def policy_call(policy: Policy) -> str:
    """Return the call that makes a policy."""
    told = policy.model_dump(mode="json", exclude_defaults=True)
    told.pop("name", None)
    if "cleanup_every" in told and policy.cleanup_every is None:
        told["cleanup_every"] = Raw("None")
    if policy.rules:
        told["rules"] = [
            Raw(call("sk.Rule", **each.model_dump(mode="json", exclude_defaults=True, exclude_none=True)))
            for each in policy.rules
        ]
    made = Policy.model_validate({**policy.model_dump(), "name": ""}).name
    if policy.name != made:
        told = {"name": policy.name, **told}
    return call("sk.Policy", **told)


class Raw(str):
    """A text that is Python already."""

    __slots__ = ()


def _written(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Policy):
        return policy_call(value)
    if isinstance(value, list | tuple):
        items = [_written(each) for each in value]
        line = f"[{', '.join(items)}]"
        if len(line) <= _WIDTH - 10 and "\n" not in line:
            return line
        return "[\n" + "".join(f"    {_inset(each)},\n" for each in items) + "]"
    return _quoted(value) if type(value) is str else repr(value)


def _quoted(text: str) -> str:
    written = repr(text)
    # As this house writes texts: repr chose the single quotes for no reason of the text's.
    return f'"{written[1:-1]}"' if written[0] == "'" and '"' not in text else written


def _inset(text: str) -> str:
    return text.replace("\n", "\n    ")
