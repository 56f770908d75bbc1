"""Cleanups in processes that may be killed: `Cleaner` for the tests, and the script that it runs.

The script imports storekit once and forks for each order, so that a child costs milliseconds. It never opens a database
itself, and nothing that it imports has started a thread that a fork would lose.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Self

__all__ = ["Cleaner", "Ended"]


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a cleanup's process ended.

    Attributes
    ----------
    began, over
        By ``time.monotonic``, which all processes share: when the cleanup was called, and when it returned or was
        killed.
    report
        The fields of its report that are plain; empty if it was killed before it returned.
    error
        What it raised, if anything.
    batches_seen
        Transactions that it had told of as committed.
    """

    began: float
    over: float
    signalled: int
    exit_code: int
    report: dict[str, Any]
    error: str | None
    batches_seen: int

    @property
    def finished(self) -> bool:
        """Whether the cleanup returned; a kill may have come after that."""
        return bool(self.report)


class Cleaner:
    """Runs cleanups of one database, each in a child of its own; use it as a context manager."""

    def __init__(self, url: str, log: Path) -> None:
        import storekit

        # The package that is tested, wherever it is; and one thread, for the sake of fork.
        package = str(Path(storekit.__file__).resolve().parents[1])
        environment = {**os.environ, "PYTHONPATH": package, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._log = log
        with log.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), url],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the cleaner ended:\n{self._log.read_text()[-3000:]}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def start(
        self,
        *,
        now: datetime,
        batch_size: int,
        archive: Path | None = None,
        plan: Path | None = None,
        start_at: float | None = None,
        kill_after: float | None = None,
        kill_at_step: int | None = None,
        interrupt_after_batches: int | None = None,
        interrupt_in_delete: int | None = None,
        interrupt_after_commit: int | None = None,
        interrupts: int = 1,
    ) -> None:
        """Begin a cleanup; `end` waits for it.

        Parameters
        ----------
        start_at
            By ``time.monotonic``: when to call it, the connection being made.
        kill_after
            Seconds from its call to SIGKILL.
        kill_at_step
            The child kills itself right after this step, from 1: a statement, a commit (before, and after), a file that
            is opened for writing, linked, renamed or removed (each just before).
        interrupt_after_batches
            Send SIGINT from outside once so many batches are told of.
        interrupt_in_delete
            Send it from inside, right after the DELETE of this number (from 1), before its commit.
        interrupt_after_commit
            Send it from inside, right after the commit of this number, before anybody has been told.
        interrupts
            How many SIGINT to send there.
        """
        order = {
            "now": now.isoformat(),
            "batch_size": batch_size,
            "archive": archive and str(archive),
            "plan": plan and str(plan),
            "start_at": start_at,
            "kill_after": kill_after,
            "kill_at_step": kill_at_step,
            "interrupt_after_batches": interrupt_after_batches,
            "interrupt_in_delete": interrupt_in_delete,
            "interrupt_after_commit": interrupt_after_commit,
            "interrupts": interrupts,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def end(self) -> Ended:
        """Wait until the child is gone."""
        return Ended(**self._read())

    def run(self, **order: Any) -> Ended:
        """`start` and `end`."""
        self.start(**order)
        return self.end()


# --- the script ------------------------------------------------------------------------------------------------


def _clean(url: str, order: dict[str, Any], tell: int) -> None:
    """Clean up, in the child, and tell of it through a pipe."""
    import sqlalchemy as sa

    import storekit as sk
    from storekit.clock import ManualClock

    def say(**what: Any) -> None:
        os.write(tell, (json.dumps(what) + "\n").encode())

    now = datetime.fromisoformat(order["now"])
    plan = order["plan"] and sk.open_plan(order["plan"])
    with sk.connect(url, writable=True, clock=ManualClock(now)) as store:
        _interrupt_from_inside(sa, store.backend.database.engine, order)
        if order["kill_at_step"]:
            _kill_from_inside(sa, store.backend.database.engine, order["kill_at_step"])
        if order["start_at"] is not None:
            time.sleep(max(0.0, order["start_at"] - time.monotonic()))
        say(began=time.monotonic())
        try:
            report = store.cleanup(
                plan,
                now=now,
                batch_size=order["batch_size"],
                archive=order["archive"],
                dry_run=False,
                progress=lambda done, total: say(batch=done),
            )
        except BaseException as error:
            say(error=f"{type(error).__name__}: {error}", over=time.monotonic())
            raise
        plain = {name: getattr(report, name) for name in ("deleted", "deleted_bytes", "batches", "planned", "stopped")}
        plain["archive"] = report.archive and str(report.archive)
        plain["drifted"] = dict(report.drifted)
        say(report=plain, over=time.monotonic())


def _interrupt_from_inside(sa: Any, engine: Any, order: dict[str, Any]) -> None:
    seen = {"DELETE": 0, "COMMIT": 0}

    def count(what: str, wanted: int | None) -> None:
        seen[what] += 1
        if seen[what] == wanted:
            for _each in range(order["interrupts"]):
                os.kill(os.getpid(), signal.SIGINT)

    def after_statement(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "DELETE" in statement:
            count("DELETE", order["interrupt_in_delete"])

    commit = engine.dialect.do_commit

    def do_commit(connection: object) -> None:
        commit(connection)
        # What commits before the first DELETE is the look at how many rows there are.
        if seen["DELETE"]:
            count("COMMIT", order["interrupt_after_commit"])

    sa.event.listen(engine, "after_cursor_execute", after_statement)
    engine.dialect.do_commit = do_commit


def _kill_from_inside(sa: Any, engine: Any, wanted: int) -> None:
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    commit = engine.dialect.do_commit

    def do_commit(connection: object) -> None:
        step()
        commit(connection)
        step()

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        written = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
        if written or event in {"os.link", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}:
            step()

    sa.event.listen(engine, "after_cursor_execute", step)
    engine.dialect.do_commit = do_commit
    sys.addaudithook(audit)


def _carry_out(url: str, order: dict[str, Any]) -> dict[str, Any]:
    """Fork, look after the child, and say how it ended."""
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hear)
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _clean(url, order, tell)
            code = 0
        except BaseException as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            sys.stderr.flush()
        finally:
            os._exit(code)
    os.close(tell)
    told: dict[str, Any] = {"began": 0.0, "over": 0.0, "report": {}, "error": None}
    batches, to_interrupt = 0, order["interrupt_after_batches"]
    with os.fdopen(hear) as lines:
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                break  # killed in the middle of a word
            batches += "batch" in said
            told |= {name: value for name, value in said.items() if name != "batch"}
            if "began" in said and order["kill_after"] is not None:
                time.sleep(max(0.0, said["began"] + order["kill_after"] - time.monotonic()))
                # Not waited for yet, so the id is the child's still, dead or alive.
                os.kill(child, signal.SIGKILL)
                told["over"] = time.monotonic()
            if to_interrupt is not None and batches == to_interrupt:
                to_interrupt = None
                for _each in range(order["interrupts"]):
                    os.kill(child, signal.SIGINT)
    status = os.waitpid(child, 0)[1]
    return {
        **told,
        "signalled": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1,
        "batches_seen": batches,
    }


def main() -> None:
    # All that a cleanup imports on its way, so that children need not.
    import psycopg  # noqa: F401
    import pymysql  # noqa: F401
    import sqlalchemy.dialects.mysql.pymysql
    import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

    import storekit as sk
    import storekit.frames.snapshot
    import storekit.restoring

    _ = sk.connect, sk.open_plan, sk.open_archive  # loaded at the first use

    sys.stdout.write("{}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_carry_out(sys.argv[1], json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
