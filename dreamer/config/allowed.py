"""Whose code a configuration may name: this package's, the current project's, and what the user allowed.

A configuration may come from somebody else, and importing a module runs it. So a dotted name is looked at before
anything is imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path

VARIABLE = "DREAMER_ALLOW"
"""The environment variable that lists allowed packages, with commas; processes that are started inherit it."""
_OURS = ("dreamer", "__main__")


def allow(packages: Iterable[str]) -> None:
    """Let configurations name parts of these packages, in this process and those that it starts."""
    os.environ[VARIABLE] = ",".join(dict.fromkeys([*_listed(), *packages]))


def refusal(path: str) -> str | None:
    """Why the module of a dotted path may not be imported, in a sentence; None where it may, or is not there.

    Allowed are the packages of :func:`allow`, and modules that lie below the folder in which the command was typed, or
    beside the script that runs; installed packages and the standard library are not.
    """
    top = path.partition(".")[0]
    if top in _OURS or top in _listed():
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or (top not in sys.stdlib_module_names and any(map(_of_project, _places(spec)))):
        return None
    return f"{path!r} lies in another package: a configuration may name its parts only where you --allow {top}"


def _listed() -> list[str]:
    return [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]


def _places(spec: ModuleSpec) -> list[str]:
    return [*([spec.origin] if spec.origin and spec.has_location else []), *(spec.submodule_search_locations or ())]


def _of_project(place: str) -> bool:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    roots = [Path.cwd(), *([Path(script).parent] if script else [])]
    found = Path(place).resolve()
    if {"site-packages", "dist-packages"} & set(found.parts):
        return False
    return any(found.is_relative_to(root.resolve()) for root in roots)
