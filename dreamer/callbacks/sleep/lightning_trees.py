"""Lightning's two import trees, ``lightning.pytorch`` and ``pytorch_lightning``, whose classes are not each other's."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from typing import Any

from lightning_utilities.core import rank_zero

TREES = ("pytorch_lightning", "lightning.pytorch")


def callback_bases() -> tuple[type, ...]:
    """The ``Callback`` of every tree that this process has imported; without any, that of ``pytorch_lightning``.

    Importing the other tree only to be its child would take seconds. A Trainer calls the hooks of any object, so a
    callback of one tree works in the other too; only a strict ``isinstance``, as in LightningCLI, wants its own.
    """
    loaded = [tree for tree in TREES if tree in sys.modules] or [TREES[0]]
    return tuple(importlib.import_module(tree).Callback for tree in loaded)


def join_trees(callback: Any) -> None:
    """Let a callback be one of every tree that has been imported by now.

    A script may well import this package before Lightning, and a Trainer takes a callback that stands alone
    (``callbacks=SleepCallback()``) for one only where it is an instance of its own tree's.
    """
    missing = tuple(base for base in callback_bases() if not isinstance(callback, base))
    if missing:
        kind: Any = type(callback)
        callback.__class__ = _child(kind, missing)


def reduced(callback: Any) -> tuple[Any, ...]:
    """How a callback is pickled and copied: the class of several trees has no name under which it could be found."""
    return _blank, (getattr(type(callback), "_before_joining", type(callback)),), callback.__dict__


@functools.cache
def _child(kind: type, bases: tuple[type, ...]) -> type:
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, *bases), {**named, "_before_joining": kind})


def _blank(kind: type) -> Any:
    callback: Any = object.__new__(kind)
    join_trees(callback)
    return callback


def is_checkpoint(callback: Any) -> bool:
    """Whether a callback of any tree saves checkpoints."""
    return isinstance(callback, tuple(sys.modules[tree].callbacks.Checkpoint for tree in TREES if tree in sys.modules))


def tree_of(trainer: Any) -> str:
    """The tree from which a Trainer, or a class that it inherits from, comes."""
    for ancestor in type(trainer).__mro__:
        for tree in TREES:
            if f"{ancestor.__module__}.".startswith(f"{tree}."):
                return tree
    raise TypeError(
        f"expected a Trainer of {' or '.join(TREES)}, got {type(trainer).__module__}.{type(trainer).__name__}"
    )


def keep_logger(trainer: Any) -> None:
    """Let Lightning's lines come from the logger of the Trainer's own tree.

    Both trees have one variable for it in common, which the last one to be imported has set: levels that a script gave
    to the logger of the other would count no more.
    """
    rank_zero.log = logging.getLogger(f"{tree_of(trainer)}.utilities.rank_zero")


@functools.cache
def combined_loader(tree: str) -> type:
    """The ``CombinedLoader`` of a tree."""
    found: type = importlib.import_module(f"{tree}.utilities").CombinedLoader
    return found
