"""Run the notebooks and write them in the form in which they are committed; see CONTRIBUTING.md, "Notebooks".

    python notebooks/execute.py                    # all of them, in place
    python notebooks/execute.py 02-what-if.ipynb   # one
    python notebooks/execute.py --check            # run, write nothing; 1 where a cell raises or complains

The kernel is the Python that runs this, whatever kernels are installed in the home folder.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).resolve().parent
SECONDS_PER_CELL = 120
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
COLOURS = re.compile(r"\x1b\[[\d;]*m")
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def environment(folder: Path) -> dict[str, str]:
    """Return what the kernel sees: nothing of the user's Airflow or IPython, and temporary files in ``folder``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **kept,
        "AIRFLOW_HOME": str(folder / "no-airflow-here"),
        "IPYTHONDIR": str(folder / "ipython"),
        "TMPDIR": str(folder),
        "PYTHONWARNINGS": "default",
        # The debugger would complain of Python's frozen modules.
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def run(notebook: nbformat.NotebookNode, at: Path) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom in the folder ``at``; return it with its outputs, cleaned."""
    with tempfile.TemporaryDirectory(prefix="nb-") as name:
        folder = Path(name).resolve()
        # No folder of kernels: "python3" is then this Python.
        kernels = KernelSpecManager(kernel_dirs=[])
        manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=kernels)
        manager.connection_file = str(folder / "kernel.json")
        if os.name == "posix":
            # Two runs at once could be given the same TCP port; a file of one's own cannot clash.
            manager.transport, manager.ip = "ipc", str(folder / "ipc")
        client = NotebookClient(
            notebook,
            km=manager,
            timeout=SECONDS_PER_CELL,
            resources={"metadata": {"path": str(at)}},
            store_widget_state=False,
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute(env=environment(folder), cleanup_kc=True)
        return cleaned(notebook, folder)


def cleaned(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Take out what differs between machines and runs: metadata, temporary paths, views of widgets that are gone."""
    notebook.metadata = nbformat.from_dict(METADATA)
    temporary = re.compile(re.escape(str(folder)) + r"(/tmp\w{8})?")
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({key: value for key, value in cell.metadata.items() if key == "tags"})
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            # Without its model a view says only that the model is missing; the fallback beside it shows something.
            if len(data) > 1:
                data.pop(WIDGET_VIEW, None)
            for holder in (output, data):
                for key, value in holder.items():
                    holder[key] = without(temporary, value)
    nbformat.validate(notebook)
    return notebook


def without(temporary: re.Pattern[str], value: Any) -> Any:
    """Return a text, or texts, with an ellipsis for the temporary folder."""
    if isinstance(value, str):
        return temporary.sub("…", value)
    return [without(temporary, each) for each in value] if isinstance(value, list) else value


def complaints(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what the cells wrote to stderr, warnings above all."""
    return [
        f"cell {cell.id}: {output.text.strip()}"
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="names or paths (default: all in this folder)")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    paths = [path if path.exists() else HERE / path.name for path in options.notebooks]
    failed = False
    for path in paths or sorted(HERE.glob("[0-9]*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        try:
            done = run(notebook, path.resolve().parent)
        except CellExecutionError as error:
            print(f"{path.name}: a cell raised\n{COLOURS.sub('', str(error))}", file=sys.stderr)
            failed = True
            continue
        wrong = complaints(done)
        failed = failed or bool(wrong)
        print(f"{path.name}: {'ran' if not wrong else 'wrote to stderr'}", *wrong, sep="\n  ", flush=True)
        if not options.check:
            nbformat.write(done, path)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
