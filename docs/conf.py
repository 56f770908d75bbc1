"""How the documentation site is built: ``sphinx-build -W docs docs/_build``.

Nothing is fetched, neither when it is built nor when it is read: no inventories of other projects, no web fonts.
"""

from __future__ import annotations

import inspect
import sys
from enum import Enum
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]  # this checkout, not another that is installed

from pydantic import BaseModel  # noqa: E402
from pygments.lexer import RegexLexer  # noqa: E402
from pygments.token import Generic, Text  # noqa: E402
from sphinx.util.inspect import stringify_signature  # noqa: E402

import storekit  # noqa: E402

project = "storekit"
author = "the storekit authors"
copyright = "the storekit authors, Apache-2.0"  # noqa: A001
version = release = storekit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "columns"]
exclude_patterns = ["_build"]
nitpicky = False  # docstrings name types of other projects, whose inventories would have to be fetched
default_role = "py:obj"  # in docstrings `Store.tasks` is a name of storekit
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 90

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"storekit {release}"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "light_css_variables": {"font-stack--monospace": "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"},
}
html_static_path = ["_static"]
html_css_files = ["site.css"]


class Terminal(RegexLexer):
    """A command after its prompt, then what it prints, as plain text: a shell's lexer would colour words of tables."""

    name = "Terminal"
    tokens = {"root": [(r"^\$ .*\n", Generic.Prompt), (r".*\n", Text)]}  # noqa: RUF012 - as Pygments has it


def _shorten(app: Any, what: str, name: str, obj: Any, options: Any, signature: Any, returns: Any) -> Any:
    """Show how a class is called as its users call it; nothing where they do not."""
    if what != "class":
        return None
    told = "Parameters\n" in (obj.__doc__ or "")
    if issubclass(obj, BaseModel):
        fields = [
            field_name if field.is_required() else f"{field_name}={field.get_default(call_default_factory=True)!r}"
            for field_name, field in obj.model_fields.items()
        ]
        return (f"(*, {', '.join(fields)})" if told else ""), returns
    made_by_others = "made by `" in (obj.__doc__ or "").lower() or "Attributes\n" in (obj.__doc__ or "")
    if (made_by_others and not told) or issubclass(obj, Enum):
        return "", returns
    if (signature or "").startswith("(*args"):  # a metaclass's
        own = inspect.signature(obj.__init__)
        own = own.replace(parameters=list(own.parameters.values())[1:])
        return stringify_signature(own, show_annotation=False), returns
    return None


_kept: dict[str, list[str]] = {}


def _keep(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Hide an attribute's plain docstring from napoleon, which takes its first words, up to a colon, for a type."""
    if what in {"attribute", "data", "property"} and not any(line.startswith("---") for line in lines):
        _kept[name] = lines[:]
        lines.clear()


def _give_back(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = _kept.pop(name, lines)


def _public(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Resolve a name by its home module, `storekit.retention.judge`, to the public one, `storekit.judge`."""
    target = node.get("reftarget", "")
    for length in (1, 2):  # a class, or a member of one
        tail = target.split(".")[-length:]
        if node.get("refdomain") == "py" and tail[0] in storekit.__all__:
            name = ".".join(["storekit", *tail])
            return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
    return None


def setup(app: Any) -> None:
    app.add_lexer("console", Terminal)
    app.connect("autodoc-process-signature", _shorten)
    app.connect("autodoc-process-docstring", _keep, priority=400)  # before napoleon, whose priority is 500
    app.connect("autodoc-process-docstring", _give_back, priority=600)
    app.connect("missing-reference", _public)
