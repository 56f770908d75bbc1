"""A rule of a retention policy, and how a list of them is read: all mistakes at once, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from storekit.config.sources import suggest
from storekit.errors import PolicyError
from storekit.retention import fields
from storekit.retention.durations import Retention, read_retention, write_retention
from storekit.retention.fields import MOST, TASK_STATES
from storekit.retention.matching import TEXT_FIELDS
from storekit.retention.mistakes import Problem, place, policy_error, prefixed, shown
from storekit.retention.reach import never_reached

__all__ = ["A_DURATION", "MOST_RULES", "Checked", "Rule", "called", "read_rules"]

MOST_RULES = 1000
"""Of one policy: rules are compared with each other."""

_Bytes = Annotated[
    int | None,
    PlainValidator(fields.whole),
    WithJsonSchema({"type": ["integer", "null"], "minimum": 0, "maximum": MOST}),
]
_Pattern = Annotated[
    str | None, PlainValidator(fields.pattern), WithJsonSchema({"type": ["string", "null"], "minLength": 1})
]


_A_PATTERN = "glob (* ? [a-z] [!a-z]), or a regular expression after re:; the whole text, with case"
A_DURATION = "a number with its unit: w, d, h, min, s; or ISO 8601"


class Checked(BaseModel):
    """A frozen model whose one error is `PolicyError`, with every mistake in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    _what: ClassVar[str]
    _example: ClassVar[str]

    def __init__(self, /, *placed: Any, **given: Any) -> None:
        if placed:
            raise PolicyError(
                f"{self._what} takes its fields by name, and {shown(placed[0])} has none", hint=self._example
            )
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise policy_error(self._what, _problems(type(self), error)) from None

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Return the model of a mapping; raise `PolicyError` as the constructor does."""
        if isinstance(obj, Mapping) and (odd := [key for key in obj if not isinstance(key, str)]):
            raise policy_error(cls._what, [("", f"{shown(key)} is no field's name: put it in quotes") for key in odd])
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            raise policy_error(cls._what, _problems(cls, error)) from None

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Return the model of a JSON text; raise `PolicyError` as the constructor does."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            raise policy_error(cls._what, _problems(cls, error)) from None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; what ``update`` changes is checked, unlike in other pydantic models."""
        # Every value is frozen, so a deep copy is no other.
        return type(self)(**(self._given() | dict(update or {})))

    def _given(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields}


def _problems(model: type[BaseModel], error: ValidationError) -> list[Problem]:
    found: list[Problem] = []
    for detail in error.errors(include_url=False):
        at, cause = place(*detail["loc"]), detail.get("ctx", {}).get("error")
        if isinstance(cause, PolicyError):
            found += prefixed(at, cause.problems)
        elif detail["type"] == "extra_forbidden":
            known = suggest(str(detail["loc"][-1]), model.model_fields)
            found.append((at, f"there is no such field{known}: the fields are {', '.join(model.model_fields)}"))
        elif detail["type"] == "missing":
            found.append((at, "is missing: write it, such as '14d', 'never' or 'as written'"))
        else:
            found.append(
                (at, str(cause) if isinstance(cause, ValueError) else f"{shown(detail['input'])}: {detail['msg']}")
            )
    return found


class Rule(Checked):
    """Which rows it takes, and what they get. What is left out matches every row.

    Parameters
    ----------
    name
        What to call it in explanations.
    dag_id, task_id, key
        A glob (``*``, ``?``, ``[a-z]``, ``[!a-z]``), or after ``re:`` a regular expression in RE2's syntax. Either must
        match the whole text, with case. ``[[]`` stands for ``[``; ``[r]e:`` begins a glob with ``re:``.
    min_bytes, max_bytes
        Bounds of the stored text's size, both inclusive.
    task_state
        One state or several, of `TASK_STATES`. A row whose task instance is gone, or could not be seen, matches none.
    retention
        A timedelta of 0 or more: the row expires that long after its write (0: at the write, which is not Airflow's
        0); `NEVER_EXPIRE`; or `AS_WRITTEN`: as if no rule had taken it. As text ``14d``, ``36h``, ``90min``, ``30s``,
        ``2 days``, ``1d 12h``, ``P14D``, ``never``, ``as written``. A number alone is refused.

    Raises
    ------
    PolicyError
        With every mistake, each with its place.
    """

    _what: ClassVar[str] = "the rule"
    _example: ClassVar[str] = "Rule(key='job_*', retention='14d')"

    name: Annotated[str | None, BeforeValidator(fields.label), Field(description="what to call it in explanations")] = (
        None
    )
    dag_id: Annotated[_Pattern, Field(description=_A_PATTERN)] = None
    task_id: Annotated[_Pattern, Field(description=_A_PATTERN)] = None
    key: Annotated[_Pattern, Field(description=_A_PATTERN)] = None
    min_bytes: Annotated[_Bytes, Field(description="least size of the stored text, inclusive")] = None
    max_bytes: Annotated[_Bytes, Field(description="largest size, inclusive")] = None
    task_state: Annotated[
        tuple[str, ...] | None,
        BeforeValidator(fields.states),
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": list(TASK_STATES)},
                    {"type": "array", "minItems": 1, "items": {"enum": list(TASK_STATES)}},
                    {"type": "null"},
                ],
                "description": "state of the task instance: one or several",
            }
        ),
    ] = None
    retention: Annotated[
        Retention,
        PlainValidator(read_retention),
        PlainSerializer(write_retention, when_used="json"),
        WithJsonSchema(
            {
                "type": "string",
                "minLength": 1,
                "description": f"never, as written, or how long after the write the row expires: {A_DURATION}",
                "examples": ["14d", "36h", "90min", "1d 12h", "P14D", "never", "as written"],
            }
        ),
    ]

    @field_validator("max_bytes")
    @classmethod
    def _not_below_the_least(cls, value: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min_bytes")
        if value is not None and least is not None and value < least:
            raise ValueError(f"{value} is less than min_bytes, {least}: no row could match; swap them")
        return value

    if TYPE_CHECKING:
        # What is accepted is wider than what is kept.
        def __init__(
            self,
            *,
            retention: Retention | str,
            name: str | None = None,
            dag_id: str | None = None,
            task_id: str | None = None,
            key: str | None = None,
            min_bytes: int | None = None,
            max_bytes: int | None = None,
            task_state: str | Iterable[str] | None = None,
        ) -> None: ...

    def __repr__(self) -> str:
        said = {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}
        said["retention"] = write_retention(self.retention)
        return f"Rule({', '.join(f'{name}={value!r}' for name, value in said.items())})"

    __str__ = __repr__

    def asks(self) -> str:
        """Return what it asks of a row, in words."""
        asked = [f"{name} {getattr(self, name)!r}" for name in TEXT_FIELDS if getattr(self, name) is not None]
        asked += [f"at least {self.min_bytes:,} bytes"] if self.min_bytes is not None else []
        asked += [f"at most {self.max_bytes:,} bytes"] if self.max_bytes is not None else []
        asked += [f"task state {' or '.join(self.task_state)}"] if self.task_state is not None else []
        return ", ".join(asked) or "every row"


def read_rules(value: Any, handler: Any) -> Any:
    """Read all rules, whatever is wrong with one of them, and then compare those that could be read."""
    if isinstance(value, Mapping | str | Rule) or not isinstance(value, Iterable):
        raise ValueError(f"{shown(value)} is no list of rules: write a list; in TOML, [[rules]] with two brackets")
    items = list(value)
    if len(items) > MOST_RULES:
        raise ValueError(f"{len(items):,} rules are too many: {MOST_RULES:,} is the most; use patterns")
    read: list[Rule | None] = []
    problems: list[list[Problem]] = []
    for index, item in enumerate(items):
        rule, found = _rule(item)
        read.append(rule)
        problems.append(prefixed(place(index), found))
    for later, earlier in never_reached(read):
        by = f"rules[{earlier}]{called(read[earlier])}"
        problems[later].append(
            (place(later), f"is never reached, since {by} takes all of its rows: put it first, or drop it")
        )
    every = [each for found in problems for each in found]
    if every:
        raise policy_error("the rules", every)
    return handler(tuple(read))


def _rule(item: Any) -> tuple[Rule | None, list[Problem]]:
    if isinstance(item, Rule):
        return item, []
    if not isinstance(item, Mapping):
        return None, [("", f"{shown(item)} is no rule: write its fields, such as key = '*' and retention = '14d'")]
    try:
        return Rule.model_validate(item), []
    except PolicyError as error:
        return None, list(error.problems)


def called(rule: Rule | None) -> str:
    return "" if rule is None or rule.name is None else f" {rule.name!r}"
