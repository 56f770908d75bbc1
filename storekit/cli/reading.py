"""Where a command reads from: a live database or a saved snapshot, with progress for whoever watches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from storekit.errors import ConnectError, LayoutError

if TYPE_CHECKING:
    from storekit.config import StateStoreConfig
    from storekit.frames.outcomes import Progress
    from storekit.frames.snapshot import Snapshot
    from storekit.store import Store

__all__ = ["is_saved_snapshot", "opened", "options_in_force", "progress_bar", "snapshot_of"]


def is_saved_snapshot(url: str | None) -> bool:
    """Tell whether what was typed is a folder: no database is one."""
    return url is not None and "://" not in url and Path(url).is_dir()


def options_in_force(options: argparse.Namespace) -> StateStoreConfig:
    """Return the options that apply to the database named: Airflow's own, or another's."""
    from storekit.config import StateStoreConfig

    named = getattr(options, "config", None)
    if options.url is not None and named is None:
        # This machine's file says nothing of another deployment's database; who exports a variable means it.
        return StateStoreConfig.from_environment()
    return StateStoreConfig.load(named)


def opened(options: argparse.Namespace, *, config: StateStoreConfig | None, writable: bool = False) -> Store:
    """Connect to the database; where none was named, an error says whose word was taken.

    Raises
    ------
    ConnectError, LayoutError
        As `storekit.connect`.
    """
    from storekit.store import connect

    try:
        return connect(_database_of(options), writable=writable, layout=options.layout, config=config)
    except (ConnectError, LayoutError) as error:
        if options.url is not None:
            raise
        asked = getattr(options, "config", None) or "Airflow's configuration"
        found = not isinstance(error, LayoutError) and not error.message.startswith("no such file")
        raise type(error)(
            f"no URL was given, so {asked} was asked for the database: {error.message}",
            hint=error.hint if found else "name a URL, or set AIRFLOW_HOME to the Airflow that is meant",
        ) from error


def _database_of(options: argparse.Namespace) -> str | None:
    """Return what to connect to: what was typed, or what the named airflow.cfg names; None: Airflow's own."""
    from storekit.config import metadata_database_url

    named = getattr(options, "config", None)
    if options.url is None and named is not None:
        return metadata_database_url(named)
    url: str | None = options.url
    return url


@contextmanager
def snapshot_of(options: argparse.Namespace, config: StateStoreConfig | None = None) -> Iterator[Snapshot]:
    """Take a snapshot of a database, or open a saved one; it is closed at the end."""
    from storekit.frames.snapshot import open_snapshot

    if is_saved_snapshot(options.url):
        taken = open_snapshot(options.url)
    else:
        with (
            opened(options, config=config or options_in_force(options)) as store,
            progress_bar() as progress,
        ):
            taken = store.snapshot(progress=progress)
    try:
        yield taken
    finally:
        taken.close()


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """Show rows done on stderr, if someone looks and it takes long; a total of 0 is one that nobody knows."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    with tqdm(unit=" rows", unit_scale=True, delay=1, file=sys.stderr, leave=False) as bar:

        def update(done: int, total: int) -> None:
            bar.total = total or None
            bar.update(done - bar.n)

        yield update
