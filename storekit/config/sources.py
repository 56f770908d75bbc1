"""Where options come from: the environment, then ``airflow.cfg``, each value read as Airflow reads it."""

from __future__ import annotations

import configparser
import difflib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from storekit.errors import ConfigError

__all__ = ["SECTION", "Given", "Sources", "UnknownOptionWarning", "as_keyword", "not_an_option", "suggest"]

SECTION = "state_store"
_OPTIONS = (
    "backend",
    "default_retention_days",
    "clear_on_success",
    "state_cleanup_batch_size",
    "max_value_storage_bytes",
)
# Option of [workers] -> our field; the seed's name first: it wins where both are set.
_WORKER_OPTIONS = ("state_backend", "state_store_backend")
# What people write for [state_store]; the seed warns of the first.
_MISTAKEN_SECTIONS = frozenset(
    {
        "task_store",
        "asset_store",
        "task_state_store",
        "asset_state_store",
        "state-store",
        "statestore",
        "store",
    }
)
# How alike a name must be to be taken for a slip of the pen. An option that a later Airflow adds is less alike:
# default_retention_hours is 0.84 of default_retention_days; a letter too few or two swapped are 0.9 and more.
_SLIP = 0.88


class UnknownOptionWarning(UserWarning):
    """The file or the environment sets an option of ``[state_store]`` that storekit does not know; it is ignored."""


@dataclass(frozen=True)
class Given:
    name: str
    value: Any
    source: str


class Sources:
    """The environment and ``airflow.cfg``, read value by value, each only when it is asked for.

    Lazily, because Airflow does so: what one value fails at must not matter to who asks for another.

    Parameters
    ----------
    environ
        By default the process's environment.
    path
        The file; by default where Airflow looks.
    with_file
        False: read no file at all.
    """

    def __init__(
        self, environ: Mapping[str, str] | None, path: str | Path | None = None, *, with_file: bool = True
    ) -> None:
        self._env = os.environ if environ is None else environ
        self._path = path
        self._with_file = with_file

    @cached_property
    def home(self) -> str:
        """The Airflow home."""
        return _expanded(self._env.get("AIRFLOW_HOME", "~/airflow"), self._env, "AIRFLOW_HOME")

    @cached_property
    def _file(self) -> tuple[configparser.ConfigParser, str]:
        parser = configparser.ConfigParser()
        if not self._with_file:
            return parser, ""
        if self._path is not None:
            file = Path(self._path)
            if not file.exists():
                raise ConfigError(f"no such file: {file}", hint="name an airflow.cfg, or leave path out")
        elif "AIRFLOW_CONFIG" in self._env:
            file = Path(_expanded(self._env["AIRFLOW_CONFIG"], self._env, "AIRFLOW_CONFIG"))
        else:
            file = Path(self.home, "airflow.cfg")
        if file.exists() and (self._path is not None or file != Path()):  # Airflow takes an empty name for no file
            try:
                # An editor's byte order mark is no part of the first section's name.
                parser.read_string(file.read_text(encoding="utf-8-sig"), source=str(file))
            except (configparser.Error, UnicodeDecodeError, OSError) as error:
                raise ConfigError(
                    f"{file} cannot be read as an airflow.cfg: {str(error).splitlines()[0]}",
                    hint="sections stand in [brackets], options as name = value, each once",
                ) from error
        return parser, str(file)

    def from_environment(self, section: str, option: str, *, expand: bool = True) -> Given | None:
        """Return what the option's variable holds, which may be nothing, or None where it is not set."""
        variable = f"AIRFLOW__{section}__{option}".upper()
        if variable not in self._env:
            return None
        value = self._env[variable]
        return Given(option, _expanded(value, self._env, variable) if expand else value, variable)

    def from_file(self, section: str, option: str, *, expand: bool = True) -> Given | None:
        """Return what the file holds, interpolated, or None where the option is not there."""
        parser, file = self._file
        if not parser.has_option(section, option):
            return None
        source = f"[{section}] {option} of {file}"
        try:
            value = parser.get(section, option)
        except configparser.InterpolationError as error:
            # Neither the parser's text nor the error itself is passed on: both quote the value, which may be a secret.
            raise ConfigError(
                f"{source} cannot be read: {_INTERPOLATION[type(error)]}",
                hint="write each % of the value as %%, also in %40: %%40",
            ) from None
        expanded = _expanded(value, self._env, source) if expand else value
        return Given(option, expanded, f"[{section}] of {file}" if section == SECTION else source)

    def option(self, field: str) -> Given | None:
        """Return a field of `StateStoreConfig`: the environment's, else the file's, else None."""
        section = SECTION if field in _OPTIONS else "workers"
        names = (field,) if field in _OPTIONS else _WORKER_OPTIONS
        for read in (self.from_environment, self.from_file):
            found = [each for name in names if (each := read(section, name))]
            if found:
                # Of two names the one that says something; if neither does, there is none, whatever lies below.
                best = next((each for each in found if each.value), found[0])
                return Given(field, best.value, best.source)
        return None

    def _unknown(self) -> Iterator[Given]:
        parser, file = self._file
        if parser.has_section(SECTION):
            named = set(parser.options(SECTION)) - parser.defaults().keys() - set(_OPTIONS)
            yield from (Given(name, None, f"[{SECTION}] of {file}") for name in sorted(named))
        for variable, section, option in self._variables():
            if section == SECTION and option not in _OPTIONS:
                yield Given(option, None, variable)

    def _variables(self) -> Iterator[tuple[str, str, str]]:
        for variable in self._env:
            parts = variable.split("__")
            # Airflow builds the names that it looks for in upper case; another spelling is no option of its.
            if len(parts) == 3 and parts[0] == "AIRFLOW" and variable == variable.upper():
                yield variable, parts[1].lower(), parts[2].lower()

    def refuse_mistaken_sections(self) -> None:
        """Raise ConfigError for a section that was surely meant to be ours: nothing would read it."""
        parser, file = self._file
        for section in parser.sections():
            if section != SECTION and _means_our_section(section):
                raise ConfigError(
                    f"{file} has a section [{section}], which nothing reads", hint=f"rename it to [{SECTION}]"
                )
        for variable, section, option in self._variables():
            if section != SECTION and _means_our_section(section):
                raise ConfigError(
                    f"{variable} names a section that nothing reads",
                    hint=f"write AIRFLOW__{SECTION.upper()}__{option.upper()}",
                )

    def slips(self) -> list[str]:
        """Return what is wrong with the unknown options that are surely known ones, mistyped or misplaced."""
        return [
            not_an_option(each, _OPTIONS)
            if each.name not in _WORKER_OPTIONS
            else f"{each.name} ({each.source}) is an option of [workers]; move it there"
            for each in self._unknown()
            if each.name in _WORKER_OPTIONS or difflib.get_close_matches(each.name, _OPTIONS, n=1, cutoff=_SLIP)
        ]

    def warn_of_unknown_options(self) -> None:
        """Warn, once, of what a later Airflow may know."""
        unknown = [not_an_option(each, _OPTIONS) for each in self._unknown()]
        if unknown:
            # Up past this method, _of and load, to whoever loads.
            warnings.warn(f"ignored: {'; '.join(unknown)}", UnknownOptionWarning, stacklevel=4)


_INTERPOLATION: Mapping[type[configparser.InterpolationError], str] = {
    configparser.InterpolationSyntaxError: "a lone % in it",
    configparser.InterpolationMissingOptionError: "a %(…)s in it names an option that is not there",
    configparser.InterpolationDepthError: "a %(…)s in it leads back to itself",
}


def as_keyword(name: str, value: Any) -> Given:
    return Given(name, value, "given as a keyword")


def not_an_option(each: Given, known: Any) -> str:
    return f"{each.name} ({each.source}) is not an option of [{SECTION}]{suggest(each.name, known)}"


def _means_our_section(section: str) -> bool:
    lowered = section.lower()
    bare = re.sub(r"[^a-z]", "", lowered)
    ours = SECTION.replace("_", "")
    return lowered in _MISTAKEN_SECTIONS or bool(difflib.get_close_matches(bare, [ours], cutoff=_SLIP))


_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})", re.ASCII)
_ROUNDS, _LONGEST = 100, 1_000_000


def _expanded(text: str, env: Mapping[str, str], source: str) -> str:
    """Expand ``$NAME``, ``${NAME}`` and a leading ``~`` until nothing changes, as Airflow does."""
    for _ in range(_ROUNDS):
        expanded = _home_expanded(_VARIABLE.sub(lambda m: env.get(m[1] or m[2], m[0]), text), env)
        if expanded == text:
            return text
        text = expanded
        if len(text) > _LONGEST:
            break
    # Airflow itself would never come back.
    raise ConfigError(
        f"{source} cannot be expanded: a variable in it leads back to itself", hint="correct that variable"
    )


def _home_expanded(text: str, env: Mapping[str, str]) -> str:
    user, slash, rest = text.partition("/")
    if user == "~" and "HOME" in env:
        return f"{env['HOME'].rstrip('/')}{slash}{rest}" or "/"
    return os.path.expanduser(text)  # noqa: PTH111 - a URL is no Path


def suggest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
