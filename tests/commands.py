"""The command line for tests: called in this process, or, where only that will do, started as one of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from parts import REPOSITORY

from storekit.cli import main

__all__ = ["Done", "storekit", "storekit_process"]


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code, and what it wrote, line ends as they were written."""

    returncode: int
    stdout: str
    stderr: str


def storekit(*arguments: str | Path, folder: Path, **environment: str) -> Done:
    """Call ``storekit …`` in this process, as a process of its own in ``folder`` would be called.

    It has streams, an environment, a working directory and warnings of its own. What it cannot have is a file
    descriptor: pipes, terminals, signals and the interpreter's start and end need `storekit_process`.
    """
    # Of a process in UTF-8 mode, which storekit_process starts.
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with (
        mock.patch.dict(os.environ, _environment(folder, environment)),
        _inside(folder),
        _warnings_as_in_a_process(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            code = main([str(each) for each in arguments])
        except SystemExit as stopped:  # --help, and what argparse refuses
            code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    return Done(code, _written(out), _written(err))


def storekit_process(*arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start ``python -m storekit …`` in ``folder`` and wait for its end."""
    return subprocess.run(
        [sys.executable, "-m", "storekit", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **_environment(folder, environment)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def _environment(folder: Path, more: dict[str, str]) -> dict[str, str]:
    return {"AIRFLOW_HOME": str(folder), "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1", **more}


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _warnings_as_in_a_process() -> Iterator[None]:
    """Show what an interpreter shows, where pytest makes an error of each."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for hidden in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", hidden)
        yield


def _written(stream: Any) -> str:
    stream.flush()
    # As written: csv's own line ends are part of what a program gets.
    return bytes(stream.buffer.getvalue()).decode("utf-8")
