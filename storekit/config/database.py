"""Which database Airflow's own configuration names."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from storekit.config.sources import Given, Sources
from storekit.errors import ConfigError

__all__ = ["metadata_database_url"]


def metadata_database_url(path: str | Path | None = None, *, environ: Mapping[str, str] | None = None) -> str:
    """Return the URL of the metadata database that Airflow's own configuration names.

    In Airflow's order: ``AIRFLOW__DATABASE__SQL_ALCHEMY_CONN``, its ``_CMD`` form, ``[database]
    sql_alchemy_conn`` and ``sql_alchemy_conn_cmd`` of the file, else ``airflow.db`` in the Airflow home; at each
    step ``core``, the section's old name, after ``database``. Interpolated and expanded as Airflow does. A command
    is run, without a shell, as Airflow does.

    Raises
    ------
    ConfigError
        If the value cannot be interpolated or is empty, the command fails, or a secrets backend would be needed.
    """
    sources = Sources(environ, path)
    url = _configured_url(sources)
    if not url.value:
        raise ConfigError(f"{url.source} is empty", hint="write the database's URL there, or leave it out")
    return str(url.value)


def _configured_url(sources: Sources) -> Given:
    option = "sql_alchemy_conn"
    sections = ("database", "core")
    for section in sections:
        if found := sources.from_environment(section, option):
            return found
        if found := sources.from_environment(section, f"{option}_cmd", expand=False):
            return Given(option, _output_of(found.value, found.source), found.source)
        if sources.from_environment(section, f"{option}_secret", expand=False):
            raise _secret()
    for section in sections:
        if found := sources.from_file(section, option):
            return found
    for section in sections:
        found = sources.from_file(section, f"{option}_cmd", expand=False)
        # A command that prints nothing is passed over; a variable's is taken at its word.
        if found and (output := _output_of(found.value, found.source)):
            return Given(option, output, found.source)
    if any(sources.from_file(section, f"{option}_secret", expand=False) for section in sections):
        raise _secret()
    return Given(option, f"sqlite:///{sources.home}/airflow.db", "the default")


def _secret() -> ConfigError:
    return ConfigError(
        "the metadata database's URL is kept in a secrets backend, which storekit does not open",
        hint="pass the URL: storekit.connect('postgresql://…')",
    )


def _output_of(command: str, source: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - Airflow's own option for this; no shell
            shlex.split(command), check=True, capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigError(f"{source} failed: {type(error).__name__}", hint="run the command by hand") from error
    return done.stdout.strip()
