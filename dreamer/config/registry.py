"""Parts are found by their file: ``class_conditional_vae`` is the class ``ClassConditionalVAE`` of that file.

A family is a folder of parts. There is no registry: a new file is a new part.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType

from dreamer.config.allowed import refusal
from dreamer.core.suggest import one_of

FAMILIES: dict[str, str] = {
    "problems": "dreamer.problems",
    "networks": "dreamer.networks",
    "memory": "dreamer.memory",
    "generators": "dreamer.generators",
    "perturbations": "dreamer.perturbations",
    "objectives": "dreamer.objectives",
    "plasticity": "dreamer.plasticity",
    "schedules": "dreamer.schedules",
    "stages": "dreamer.stages",
}
"""The package of each family."""


class UnknownPart(ValueError):
    """No part of that name."""


def names(family: str) -> list[str]:
    """The names of a family's parts, sorted: the files that define a class of their own name.

    Files that start with ``_``, ``base.py`` and files of functions are not parts.

    Raises:
        UnknownPart: when there is no such family.
    """
    files = _folder(family).glob("*.py")
    return sorted(
        file.stem for file in files if not file.stem.startswith("_") and file.stem != "base" and _defines(file)
    )


def resolve(family: str, name: str) -> type:
    """The class of a part.

    Args:
        name: the stem of one of its files, or the dotted path of a class of the user's own (``my.package.Thing``).

    Raises:
        UnknownPart: when there is no such part; says which there are.
    """
    if "." in name:
        return dotted(name)
    if name not in names(family) and not _file(family, name).is_file():
        raise UnknownPart(f"no part {name!r} among the {family}; {one_of(name, names(family))}")
    module = importlib.import_module(f"{_package(family)}.{name}")
    for value in vars(module).values():
        if inspect.isclass(value) and value.__module__ == module.__name__ and _fits(value, name):
            return value
    raise UnknownPart(f"expected {module.__name__} to define a class called {_camel(name)}, found none")


def dotted(path: str) -> type:
    """The class at a dotted path, such as ``my.package.Thing``.

    Raises:
        UnknownPart: when it cannot be imported, or may not (see :mod:`dreamer.config.allowed`).
    """
    where, _, attribute = path.rpartition(".")
    module = _import(where, path)
    found = getattr(module, attribute, None)
    if not inspect.isclass(found):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value) and not key.startswith("_")]
        raise UnknownPart(f"module {where} has no class {attribute!r}; {one_of(attribute, classes)}")
    return found


def describe(family: str) -> dict[str, str]:
    """The first docstring line of every part of a family, by name; read, not imported."""
    return {name: _summary(_file(family, name)) for name in names(family)}


def summary(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def family_of(part: type) -> str | None:
    """The family in whose package a class is defined, or None."""
    for family, package in FAMILIES.items():
        if part.__module__ == package or part.__module__.startswith(f"{package}."):
            return family
    return None


def name_of(part: type) -> str:
    """The name under which a class is found: its file, or its dotted path when it lies outside the families."""
    family = family_of(part)
    return f"{part.__module__}.{part.__qualname__}" if family is None else part.__module__.rpartition(".")[2]


def _package(family: str) -> str:
    if family not in FAMILIES:
        raise UnknownPart(f"no family of parts {family!r}; {one_of(family, FAMILIES)}")
    return FAMILIES[family]


def _import(where: str, path: str) -> ModuleType:
    refused = refusal(path)
    if refused is not None:
        raise UnknownPart(refused)
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        # only the path that was typed is the user's mistake; an import that fails inside the module is shown as it is
        if error.name is None or not f"{where}.".startswith(f"{error.name}."):
            raise
        raise UnknownPart(f"cannot import {where!r} for the part {path!r}: no module named {error.name!r}") from None
    except ValueError as error:
        raise UnknownPart(f"expected the dotted path of a class, got {path!r}: {error}") from None


def _file(family: str, name: str) -> Path:
    """Where a part of that name would lie."""
    return _folder(family) / f"{name}.py"


def _folder(family: str) -> Path:
    """Where the parts of a family lie; found without importing them, which would import torch."""
    spec = importlib.util.find_spec(_package(family))
    assert spec is not None and spec.submodule_search_locations, "a family is a package"
    return Path(spec.submodule_search_locations[0])


def _summary(file: Path) -> str:
    """The first docstring line of the class that a file is named after."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name.lower() == file.stem.replace("_", ""):
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


@functools.cache
def _defines(file: Path) -> bool:
    """Whether a file defines the class of its name; read, not imported, so that listing parts stays cheap."""
    classes = re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), flags=re.M)
    return any(name.lower() == file.stem.replace("_", "") for name in classes)


def _fits(part: type, stem: str) -> bool:
    return part.__name__.lower() == stem.replace("_", "")


def _camel(stem: str) -> str:
    return "".join(word.capitalize() for word in stem.split("_"))
