"""The command line: ``storekit tables|preview|snapshot URL`` and ``storekit state-store …``.

Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 a database, file or snapshot could not be
used, or stdout not be written; 2 the call or the configuration is wrong; 130 interrupted; 141 the reader of the pipe
went away.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import TextIO

from storekit.errors import StorekitError

__all__ = ["main"]

_FAILED, _MISUSED, _INTERRUPTED, _PIPE_CLOSED = 1, 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return _run(arguments)
    except BrokenPipeError:
        _drop_stdout()
        return _PIPE_CLOSED
    except OSError as error:
        # Databases and snapshots raise errors of ours; what is left is stdout, on a disk that is full.
        _drop_stdout()
        _say(f"cannot write: {error.strerror or error}")
        return _FAILED
    except KeyboardInterrupt:
        _say("interrupted")
        return _INTERRUPTED
    except StorekitError as error:
        from storekit.cli.wording import as_typed

        _say(as_typed(error))
        # What is wrong with a call is a ValueError all over storekit.
        return _MISUSED if isinstance(error, ValueError) else _FAILED


def _run(arguments: Sequence[str] | None) -> int:
    from storekit.cli.arguments import parse

    try:
        options = parse(arguments)
        code: int = options.run(options)
    finally:
        # A closed pipe or a full disk is noticed here, not by the interpreter on its way out; --help prints as well.
        sys.stdout.flush()
    return code


def _drop_stdout() -> None:
    """Send what is still buffered nowhere: the interpreter must not try again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    from storekit.frames.display import plain

    print("storekit: " + "\n".join(plain(line) for line in text.split("\n")), file=sys.stderr)  # noqa: T201


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    # Where in storekit's code it was raised helps nobody who typed a command.
    _say(f"warning: {message}")
