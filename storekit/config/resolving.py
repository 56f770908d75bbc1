"""Dotted paths to backends."""

from __future__ import annotations

import importlib
from typing import Any

from storekit.config.sources import suggest
from storekit.errors import ConfigError
from storekit.state import BaseStoreBackend, is_released_backend

__all__ = ["resolve_backend_class", "said_by"]


def resolve_backend_class(path: str, *, option: str) -> type[Any]:
    """Import the class at a dotted path and check that it is a backend.

    Raises
    ------
    ConfigError
        If there is no such module or name, or it is neither a `BaseStoreBackend` nor has the shape of a released
        Airflow backend.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise ConfigError(f"{option} = {path!r} is not a dotted path", hint="write package.module.ClassName")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        said = (
            f"there is no module {missing!r}"
            if module_name == missing or module_name.startswith(f"{missing}.")
            else f"its module {module_name!r} imports {missing!r}, which is not installed"
        )
        raise ConfigError(
            f"{option} = {path!r}: {said}", hint="install the package that holds it, or correct the path"
        ) from error
    except (Exception, SystemExit) as error:  # a script that calls sys.exit must not end the program that looks
        raise ConfigError(
            f"{option} = {path!r}: importing {module_name!r} failed: {said_by(error)}",
            hint="import it by hand to see the whole error",
        ) from error
    if not hasattr(module, name):
        raise ConfigError(
            f"{option} = {path!r}: module {module_name!r} has no name {name!r}{suggest(name, dir(module))}",
            hint="the path is case-sensitive",
        )
    cls = getattr(module, name)
    if not isinstance(cls, type) or not (issubclass(cls, BaseStoreBackend) or is_released_backend(cls)):
        what = "a subclass of BaseStoreBackend" if isinstance(cls, type) else f"a class but {type(cls).__name__}"
        raise ConfigError(f"{option} = {path!r} is not {what}", hint="subclass storekit.BaseStoreBackend")
    return cls


def said_by(error: BaseException) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {error}"
