"""A JupyterLab server of the tests' own: private folders, this very Python as its kernel, ended with all it started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

__all__ = ["REPOSITORY", "LabServer"]

REPOSITORY = Path(__file__).resolve().parents[2]

SETTINGS: dict[str, dict[str, Any]] = {
    # No news, no question about news: both ask outside.
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/extensionmanager-extension/plugin": {"enabled": False},
    # Every cell is in the page, seen or not; a screenshot has all of them.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    # What the tests find in a notebook is what they wrote.
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}

STARTING_TAKES_AT_MOST = 60.0
ENDING_TAKES_AT_MOST = 10.0


class LabServer:
    """A running JupyterLab server.

    Parameters
    ----------
    home
        An empty folder, for everything it keeps.

    Attributes
    ----------
    files
        The folder that notebooks are opened from; ``data/fixtures`` is copied there at the same place.
    url, token
        Where it answers, without a slash at its end, and the word that lets a caller in.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.files = home / "files"
        self.url = self.token = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        environment = self._lay_out()
        options = [
            "--no-browser",
            "--port=0",
            "--ip=127.0.0.1",
            "--allow-root",
            "--expose-app-in-browser",
            f"--ServerApp.root_dir={self.files}",
            "--ServerApp.terminals_enabled=False",
            "--LabApp.extension_manager=readonly",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        with (self.home / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *options],
                cwd=self.files,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self._await_start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Ask it to end, with its kernels; what does not end by itself is ended by its id, and nothing else is."""
        if self._process is None:
            return
        kernels = _children(self._process.pid)
        try:
            self.ask("POST", "/api/shutdown")
            self._process.wait(ENDING_TAKES_AT_MOST)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        deadline = time.monotonic() + ENDING_TAKES_AT_MOST
        while any(map(_lives, kernels)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid, _started in filter(_lives, kernels):
            os.kill(pid, 9)

    @property
    def log(self) -> str:
        """What the server and its kernels have written so far."""
        return (self.home / "server.log").read_text(encoding="utf-8", errors="replace")

    def ask(self, method: str, path: str) -> Any:
        """Send one request of the server's REST API; return what it answers, None for an empty answer."""
        request = urllib.request.Request(  # noqa: S310 - always this server
            self.url + path, method=method, headers={"Authorization": f"token {self.token}"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=ENDING_TAKES_AT_MOST) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def _lay_out(self) -> dict[str, str]:
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
            "AIRFLOW_HOME": "no-airflow-here",
        }
        for folder in folders.values():
            (self.home / folder).mkdir(parents=True)
        shutil.copytree(REPOSITORY / "data" / "fixtures", self.files / "data" / "fixtures")
        kernel = self.home / "data" / "kernels" / "python3" / "kernel.json"
        kernel.parent.mkdir(parents=True)
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        kernel.write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
        for name, values in SETTINGS.items():
            self.set(name, values)
        # The developer's own Airflow and Jupyter stay out; the private kernel comes before one of the environment.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "JUPYTER"))}
        own = {name: str(self.home / folder) for name, folder in folders.items()}
        return kept | own | {"JUPYTER_PREFER_ENV_PATH": "0", "PYTHONUNBUFFERED": "1"}

    def set(self, name: str, values: dict[str, Any]) -> None:
        """Write the user's settings of one JupyterLab plugin; a page reads them when it opens."""
        file = self.home / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))

    def _await_start(self) -> None:
        assert self._process is not None
        known = self.home / "runtime" / f"jpserver-{self._process.pid}.json"
        deadline = time.monotonic() + STARTING_TAKES_AT_MOST
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                found = json.loads(known.read_text())
                self.url, self.token = f"http://127.0.0.1:{found['port']}", found["token"]
                self.ask("GET", "/api/status")
                return
            except (OSError, ValueError):  # not written yet, half written, or not answering yet
                time.sleep(0.05)
        raise RuntimeError(f"JupyterLab did not start; it said:\n{self.log}")


def _children(parent: int) -> list[tuple[int, str]]:
    """Return the process ids below one, each with its start time, which tells it from a later process of that id."""
    stats = [_stat(int(folder.name)) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    direct = [(pid, started) for pid, above, started in filter(None, stats) if above == parent]
    return direct + [each for pid, _ in direct for each in _children(pid)]


def _lives(process: tuple[int, str]) -> bool:
    found = _stat(process[0])
    return found is not None and found[2] == process[1]


def _stat(pid: int) -> tuple[int, int, str] | None:
    try:
        fields = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (pid, int(fields[1]), fields[19])
