"""Retention policies: what new writes get, and how cleanup goes about it. Frozen, and checked when they are made.

Source of what the fields mean: the seed document's "Configuration reference" for those that Airflow has; the rules are
storekit's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from storekit.config import StateStoreConfig
from storekit.errors import PolicyError
from storekit.retention import fields
from storekit.retention.durations import (
    AS_WRITTEN,
    AsWritten,
    Retention,
    spell_duration,
    spell_retention,
    write_duration,
)
from storekit.retention.fields import MOST, TASK_STATES
from storekit.retention.matching import conditions, matched_rules, one_row
from storekit.retention.mistakes import policy_error, shown
from storekit.retention.rows import StoreRows
from storekit.retention.rules import A_DURATION, MOST_RULES, Checked, Rule, called, read_rules
from storekit.state import NEVER_EXPIRE, NeverExpire

__all__ = ["AS_WRITTEN", "TASK_STATES", "AsWritten", "Policy", "Retention", "Rule"]


def _write_interval(span: timedelta | None) -> str:
    return "never" if span is None else write_duration(span)


class Policy(Checked):
    """What a write gets as its retention, and how cleanup goes about it.

    Parameters
    ----------
    name
        Empty: made from the rest, such as ``14 days, 2 rules``.
    default_retention_days
        Days that a row lives if neither a rule nor its program says; 0: no expiry, as in Airflow; None: as written.
    rules
        The first that matches takes the row. A rule with a duration or `NEVER_EXPIRE` wins over what the program said.
    clear_on_success
        Whether a task instance's rows go when it turns success.
    cleanup_every
        Time between two cleanups, more than 0; None (in files ``never``): cleanup never runs. A duration as text too.
    batch_size
        Rows per transaction of cleanup; 0: all in one.

    Raises
    ------
    PolicyError
        With every mistake, each with its place. ``model_validate`` and ``model_copy(update=...)`` check as well;
        pydantic's ``model_construct`` does not.
    """

    _what: ClassVar[str] = "the policy"
    _example: ClassVar[str] = "Policy(default_retention_days=14)"

    name: Annotated[
        str,
        BeforeValidator(lambda name: fields.label(name) or ""),
        WithJsonSchema({"type": ["string", "null"]}),
        Field(description="left out: the file's name"),
    ] = ""
    default_retention_days: Annotated[
        int | None,
        PlainValidator(fields.days),
        WithJsonSchema({"type": ["integer", "null"], "minimum": 0, "maximum": timedelta.max.days}),
        Field(description="0: no expiry; left out: as written"),
    ] = None
    rules: Annotated[
        tuple[Rule, ...],
        WrapValidator(read_rules),
        Field(description="the first that matches takes the row", json_schema_extra={"maxItems": MOST_RULES}),
    ] = ()
    clear_on_success: Annotated[
        bool, BeforeValidator(fields.flag), Field(description="whether a task's rows go when it turns success")
    ] = False
    cleanup_every: Annotated[
        timedelta | None,
        PlainValidator(fields.interval),
        PlainSerializer(_write_interval, when_used="json"),
        WithJsonSchema(
            {
                "type": ["string", "null"],
                "minLength": 1,
                "description": f"never, or the time between two cleanups: {A_DURATION}",
                "examples": ["1d", "6h", "never"],
            }
        ),
    ] = timedelta(days=1)
    batch_size: Annotated[
        int,
        PlainValidator(fields.count),
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MOST}),
        Field(description="rows per transaction of cleanup; 0: all in one"),
    ] = 0

    if TYPE_CHECKING:
        # What is accepted is wider than what is kept.
        def __init__(
            self,
            *,
            name: str | None = "",
            default_retention_days: int | None = None,
            rules: Iterable[Rule | Mapping[str, Any]] = (),
            clear_on_success: bool = False,
            cleanup_every: timedelta | str | None = ...,
            batch_size: int = 0,
        ) -> None: ...

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.name.strip():
            self.__dict__["name"] = self._made_name()  # the model is frozen for others
        return self

    def _made_name(self) -> str:
        said = [_spell_default(self.default_retention_days)]
        said += [f"{len(self.rules)} rule{'' if len(self.rules) == 1 else 's'}"] if self.rules else []
        said += ["clear on success"] if self.clear_on_success else []
        if self.cleanup_every is None:
            said.append("no cleanup")
        elif self.cleanup_every != timedelta(days=1):
            said.append(f"cleanup every {spell_duration(self.cleanup_every)}")
        said += [f"batches of {self.batch_size:,}"] if self.batch_size else []
        return ", ".join(said)

    def _given(self) -> dict[str, Any]:
        given = super()._given()
        if self.name == self._made_name():  # made again from what is changed
            del given["name"]
        return given

    def __repr__(self) -> str:
        return f"Policy({self.name!r})"

    __str__ = __repr__

    @classmethod
    def current(cls, config: StateStoreConfig | None = None, **changes: Any) -> Policy:
        """Return the policy in force: what the configuration says, no rules, cleanup once a day.

        Parameters
        ----------
        config
            By default this machine's: ``StateStoreConfig.load()``.
        **changes
            Fields that differ. How often cleanup runs, no configuration says: ``cleanup_every``.

        Returns
        -------
        Policy
            Named ``current``, unless ``changes`` name it.

        Raises
        ------
        PolicyError
            If ``config`` is none, or a change is wrong.
        ConfigError
            If the configuration cannot be read.
        """
        config = StateStoreConfig.load() if config is None else config
        if not isinstance(config, StateStoreConfig):
            raise PolicyError(
                f"{shown(config)} is no configuration", hint="Policy.current(sk.StateStoreConfig.load('airflow.cfg'))"
            )
        given: dict[str, Any] = {
            "name": "current",
            "default_retention_days": config.default_retention_days,
            "clear_on_success": config.clear_on_success,
            "batch_size": config.state_cleanup_batch_size,
        }
        return cls(**(given | changes))

    def rule_for(
        self, *, dag_id: str, task_id: str, key: str, value_bytes: int = 0, task_state: str | None = None
    ) -> Rule | None:
        """Return the rule that takes a task's row, by the same matching as `matched_rules`; None: none does.

        Parameters
        ----------
        dag_id, task_id, key
            Of the row.
        value_bytes
            Size of its stored text.
        task_state
            State of its task instance: ``none`` if it has none yet, None if there is no such instance.

        Returns
        -------
        Rule or None
            One of ``rules``.

        Raises
        ------
        PolicyError
            If a name or the state is no text that a row can hold.
        """
        if not self.rules:
            return None
        row = _row(dag_id, task_id, key, value_bytes, task_state)
        index = int(matched_rules(self, row)[0])
        return None if index < 0 else self.rules[index]

    def retention_for(
        self,
        *,
        dag_id: str,
        task_id: str,
        key: str,
        value_bytes: int = 0,
        task_state: str | None = None,
        explicit: timedelta | NeverExpire | None,
    ) -> timedelta | NeverExpire | AsWritten | None:
        """Return what a write gets under this policy.

        Parameters
        ----------
        dag_id, task_id, key, value_bytes, task_state
            As for `rule_for`.
        explicit
            What the program passed; None: nothing.

        Returns
        -------
        timedelta, NEVER_EXPIRE, AS_WRITTEN or None
            The rule's retention, if one takes the row and says something; else what the program passed; else the
            default, where None is no expiry (a default of 0); else, without one, `AS_WRITTEN`: the caller decides.

        Raises
        ------
        PolicyError
            As for `rule_for`.
        """
        rule = self.rule_for(dag_id=dag_id, task_id=task_id, key=key, value_bytes=value_bytes, task_state=task_state)
        if rule is not None and rule.retention is not AS_WRITTEN:
            return rule.retention
        if explicit is not None:
            # timedelta.max is what released Airflow's NEVER_EXPIRE is.
            return NEVER_EXPIRE if explicit == timedelta.max else explicit
        if self.default_retention_days is None:
            return AS_WRITTEN
        return timedelta(days=self.default_retention_days) if self.default_retention_days else None

    def explain(
        self, *, dag_id: str, task_id: str, key: str, value_bytes: int = 0, task_state: str | None = None
    ) -> str:
        """Return in words which rule takes a row, and which it was passed over by, and why.

        Parameters
        ----------
        dag_id, task_id, key, value_bytes, task_state
            As for `rule_for`.

        Returns
        -------
        str
            One line for what takes the row, then one for each rule that was asked before and passed it over.

        Raises
        ------
        PolicyError
            As for `rule_for`.
        """
        row = _row(dag_id, task_id, key, value_bytes, task_state)
        told = {"dag_id": dag_id, "task_id": task_id, "key": key}
        values = {name: shown(value) for name, value in told.items()}
        values |= dict.fromkeys(("min_bytes", "max_bytes"), f"{value_bytes:,} bytes")
        values["task_state"] = "of no known task instance" if task_state is None else shown(task_state)
        passed: list[str] = []
        for index, rule in enumerate(self.rules):
            which = f"rules[{index}]{called(rule)}"
            failed = [name for name, holds in conditions(rule, row) if not holds[0]]
            if not failed:
                took = f"{which} takes the row ({rule.asks()}): it {spell_retention(rule.retention)}"
                return "\n".join([took, *passed])
            why = "; ".join(f"{name} is {shown(getattr(rule, name))}, the row is {values[name]}" for name in failed)
            passed.append(f"  {which} passed it over: {why}")
        without = "no rule takes the row" if self.rules else "the policy has no rules"
        default = _spell_default(self.default_retention_days)
        return "\n".join([f"{without}: it gets what its program says, or else the default: {default}", *passed])

    def to_toml(self) -> str:
        """Return the policy as TOML that `load_policies` reads back, equal.

        Returns
        -------
        str
            A whole file's text, with a newline at its end. Durations are texts such as ``14d``.
        """
        lines = [f"name = {_quoted(self.name)}"]
        if self.default_retention_days is not None:
            lines.append(f"default_retention_days = {self.default_retention_days}")
        lines += [
            f"clear_on_success = {str(self.clear_on_success).lower()}",
            f"cleanup_every = {_quoted(_write_interval(self.cleanup_every))}",
            f"batch_size = {self.batch_size}",
        ]
        for rule in self.rules:
            lines += ["", "[[rules]]"]
            for name, value in rule.model_dump(mode="json", exclude_none=True).items():
                many = f"[{', '.join(map(_quoted, value))}]" if isinstance(value, list | tuple) else None
                lines.append(f"{name} = {many or (_quoted(value) if isinstance(value, str) else value)}")
        return "\n".join(lines) + "\n"

    def cfg_lines(self) -> str:
        """Return the lines of airflow.cfg that the policy means; what cannot be said there, as comments.

        Returns
        -------
        str
            The section ``[state_store]`` with ``default_retention_days`` (a comment where the policy has none),
            ``clear_on_success`` and ``state_cleanup_batch_size``. Comments say how often cleanup runs, and each rule.
        """
        lines = ["[state_store]"]
        if self.default_retention_days is not None:
            lines.append(f"default_retention_days = {self.default_retention_days}")
        lines += [
            f"clear_on_success = {self.clear_on_success}",
            f"state_cleanup_batch_size = {self.batch_size}",
        ]
        if self.default_retention_days is None:
            lines.append("# default_retention_days: as written; the policy does not change it")
        every = "never" if self.cleanup_every is None else f"every {spell_duration(self.cleanup_every)}"
        lines.append(f"# cleanup runs {every}: whatever calls `airflow state-store clean` has to see to it")
        if self.rules:
            lines.append("# airflow.cfg has no rules; pass retention= where these keys are written:")
        lines += [
            f"#   rules[{index}]{called(rule)}: {rule.asks()}: {spell_retention(rule.retention)}"
            for index, rule in enumerate(self.rules)
        ]
        return "\n".join(lines) + "\n"


def _row(dag_id: str, task_id: str, key: str, value_bytes: int, task_state: str | None) -> StoreRows:
    given = {"dag_id": dag_id, "task_id": task_id, "key": key, "task_state": task_state}
    problems = [
        (name, said)
        for name, text in given.items()
        if (name, text) != ("task_state", None) and (said := fields.not_a_name(text))
    ]
    if problems:
        raise policy_error("the row", problems)
    return one_row(dag_id=dag_id, task_id=task_id, key=key, value_bytes=value_bytes, task_state=task_state)


def _spell_default(days: int | None) -> str:
    if days is None:
        return "as written"
    return spell_duration(timedelta(days=days)) if days else "no expiry"


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's; DEL alone has to be escaped in TOML and need not in JSON.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
