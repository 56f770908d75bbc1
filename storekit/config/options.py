"""The options of a state store, validated."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from storekit.config.resolving import resolve_backend_class, said_by
from storekit.config.sources import SECTION, Given, Sources, as_keyword, not_an_option
from storekit.errors import ConfigError
from storekit.state import BaseStoreBackend, adapt_backend

__all__ = ["DEFAULT_BACKEND", "StateStoreConfig"]

DEFAULT_BACKEND = "storekit.metastore.MetastoreStateBackend"

# Airflow's own default, under its released name and the seed's: all mean the metastore.
_METASTORE_PATHS = frozenset(
    {
        DEFAULT_BACKEND,
        "storekit.MetastoreStateBackend",
        "airflow.state.metastore.MetastoreBackend",
        "airflow.state.metastore.MetastoreStateBackend",
        # Airflow's own class with storekit's cleanup in it: the rows are where they were.
        "storekit.airflow.CleaningMetastoreBackend",
        "storekit.airflow.backend.CleaningMetastoreBackend",
    }
)

_TRUE, _FALSE = frozenset({"t", "true", "1"}), frozenset({"f", "false", "0"})


class StateStoreConfig(BaseModel):
    """The options of a state store.

    Parameters
    ----------
    backend
        Dotted path of a `BaseStoreBackend` subclass.
    default_retention_days
        Days after which a task's key expires when it is written without a retention; 0: no expiry. It is
        resolved at the write, so changing it changes no row that exists. Not for asset rows.
    clear_on_success
        Whether a task instance's keys are deleted when it turns success. Not for asset rows.
    state_cleanup_batch_size
        Rows per transaction of cleanup; 0: all in one statement.
    max_value_storage_bytes
        Size in bytes past which a write warns; 0: never.
    state_backend
        Dotted path of the worker-side backend, or None.

    Raises
    ------
    ConfigError
        One error that lists every option that is wrong or unknown, with its value and what it may be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    backend: str = Field(default=DEFAULT_BACKEND, min_length=1)
    default_retention_days: int = Field(default=30, ge=0, le=timedelta.max.days)
    clear_on_success: bool = False
    state_cleanup_batch_size: int = Field(default=0, ge=0)
    max_value_storage_bytes: int = Field(default=65535, ge=0)
    state_backend: str | None = None

    if not TYPE_CHECKING:  # a type checker knows the options by name

        def __init__(self, /, **options: Any) -> None:
            try:
                super().__init__(**options)
            except ValidationError as error:
                raise _refusal(
                    _problems(error, {name: as_keyword(name, each) for name, each in options.items()})
                ) from None

    @field_validator("clear_on_success", mode="before")
    @classmethod
    def _airflow_boolean(cls, value: Any) -> Any:
        if isinstance(value, str):
            lowered = value.partition("#")[0].strip().lower()  # Airflow lets a comment follow a boolean, only there
            if lowered in _TRUE or lowered in _FALSE:
                return lowered in _TRUE
            raise ValueError("must be True or False")
        return value

    @field_validator("state_backend", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **overrides: Any,
    ) -> StateStoreConfig:
        """Read a file, the environment over it, and keywords over both.

        Parameters
        ----------
        path
            An ``airflow.cfg``; by default ``$AIRFLOW_CONFIG``, else ``$AIRFLOW_HOME/airflow.cfg``, else
            ``~/airflow/airflow.cfg``, if it is there.
        environ
            By default the process's environment.
        **overrides
            Options by name, as the class has them.

        Returns
        -------
        StateStoreConfig
            What none of the three says has its default.

        Raises
        ------
        ConfigError
            One error that lists every option that is wrong, with its value, where it came from, and what it
            may be. An unknown option is wrong as a keyword, and elsewhere if it looks like a slip of the pen.

        Warns
        -----
        UnknownOptionWarning
            Of other unknown options in the file or the environment, such as a later Airflow's.
        """
        return cls._of(Sources(environ, path), overrides)

    @classmethod
    def from_environment(cls, *, environ: Mapping[str, str] | None = None, **overrides: Any) -> StateStoreConfig:
        """Read the environment, and keywords over it, but no file.

        For a database that is not the one of this machine's ``airflow.cfg``.

        Parameters
        ----------
        environ, **overrides
            As for `load`.

        Returns
        -------
        StateStoreConfig
            What neither of the two says has its default.

        Raises
        ------
        ConfigError
            As for `load`.
        """
        return cls._of(Sources(environ, with_file=False), overrides)

    @classmethod
    def _of(cls, sources: Sources, overrides: Mapping[str, Any]) -> StateStoreConfig:
        sources.refuse_mistaken_sections()
        given: dict[str, Given] = {}
        problems: list[str] = []
        for name in cls.model_fields:
            try:
                # What is overridden is not even looked at: a mistake in it harms nobody, as in Airflow.
                each = as_keyword(name, overrides[name]) if name in overrides else sources.option(name)
            except ConfigError as error:
                problems.append(f"{error.message} ({error.hint})")
            else:
                if each is not None:
                    given[name] = each
        unknown = [as_keyword(name, overrides[name]) for name in overrides if name not in cls.model_fields]
        problems += [not_an_option(each, cls.model_fields) for each in unknown]
        problems += sources.slips()
        config = cls.__new__(cls)
        try:
            # Not the constructor: an option that is wrong shall be told with where it came from.
            BaseModel.__init__(config, **{name: each.value for name, each in given.items()})
        except ValidationError as error:
            problems += _problems(error, given)
        if problems:
            raise _refusal(problems)
        sources.warn_of_unknown_options()
        return config

    @property
    def default_retention(self) -> timedelta | None:
        """``default_retention_days`` as a duration; None: no expiry."""
        return timedelta(days=self.default_retention_days) if self.default_retention_days else None

    @property
    def custom_backend(self) -> str | None:
        """The dotted path of a backend other than the metastore; time-based cleanup skips it."""
        return None if self.backend in _METASTORE_PATHS else self.backend

    def resolve_backend(self) -> type[BaseStoreBackend]:
        """Return the class that ``backend`` names.

        Returns
        -------
        type of BaseStoreBackend
            A subclass; `MetastoreStateBackend` for any of the metastore's names, Airflow's too.

        Raises
        ------
        ConfigError
            If the path leads to no backend class, or to one that was written for released Airflow.
        """
        path = DEFAULT_BACKEND if self.custom_backend is None else self.backend
        cls = resolve_backend_class(path, option=f"[{SECTION}] backend")
        if not issubclass(cls, BaseStoreBackend):
            raise ConfigError(
                f"[{SECTION}] backend = {path!r} was written for released Airflow; it cannot be used as a class",
                hint="make an instance and wrap it: storekit.adapt_backend(instance)",
            )
        return cls

    def make_custom_backend(self) -> BaseStoreBackend | None:
        """Return an instance of the backend that ``backend`` names, or None where that is the metastore.

        Returns
        -------
        BaseStoreBackend or None
            A new instance, made without arguments; one written for released Airflow is adapted (`adapt_backend`).

        Raises
        ------
        ConfigError
            If the path leads to no backend class, or an instance of it cannot be made.
        """
        return _made(self.custom_backend, f"[{SECTION}] backend")

    def make_worker_backend(self) -> BaseStoreBackend | None:
        """Return an instance of the worker-side backend, or None where none is configured.

        Returns
        -------
        BaseStoreBackend or None
            As for `make_custom_backend`.

        Raises
        ------
        ConfigError
            If the path leads to no backend class, or an instance of it cannot be made.
        """
        return _made(self.state_backend, "[workers] state_backend")


def _problems(error: ValidationError, given: Mapping[str, Given]) -> list[str]:
    """Return what is wrong with each option, with its value and where it came from."""
    problems = []
    for detail in error.errors():
        each = given[str(detail["loc"][0])]
        if detail["type"] == "extra_forbidden":
            problems.append(not_an_option(each, StateStoreConfig.model_fields))
            continue
        said = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
        problems.append(f"{each.name} = {each.value!r} ({each.source}): {said}")
    return problems


def _refusal(problems: list[str]) -> ConfigError:
    return ConfigError(
        f"[{SECTION}] cannot be used: " + "; ".join(problems),
        hint="default_retention_days and the sizes are whole numbers of at least 0 (0 switches them off)",
    )


def _made(path: str | None, option: str) -> BaseStoreBackend | None:
    if path is None:
        return None
    cls = resolve_backend_class(path, option=option)
    try:
        made = cls()
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{option} = {path!r}: making an instance failed: {said_by(error)}",
            hint="name a whole class whose constructor takes no arguments",
        ) from error
    return adapt_backend(made)
