"""Two run folders, file by file.

What may differ is named here, and nothing else may: what a clock says, how often the run was begun, which steps a run
that was begun again happened to save before its end, and Lightning's own counters, which are not what a run is
continued by: they are set by the ledger when a checkpoint is loaded (dreamer/training/resume.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

MAY_DIFFER = {
    "results.json": re.compile(r"cost\.seconds\..*|continual\.cost\.seconds"),
    "checkpoints/last.ckpt": re.compile(
        r"dreamer\.ledger\.seconds\..*|callbacks\.ContinualEvaluation\.seconds|epoch|loops\.fit_loop\..*"
    ),
}
"""Values within a file, by their dotted keys: what a clock says, and Lightning's counters."""
_PARTS = re.compile(r"logs/part_\d{3}/metrics\.csv")
"""Every start of a run logs into a part of its own; metrics.csv is what they hold together."""
_BEFORE = "checkpoints/previous.ckpt"
"""The checkpoint before the last one: a run that was begun again counts its steps between two anew."""
_LOCK = ".lock"


def differences(ours: Path, theirs: Path) -> list[str]:
    """What is not the same in two folders, a part of a sentence each."""
    mine, other = _files(ours), _files(theirs)
    found = [f"{name} is missing" for name in sorted(other - mine)]
    found += [f"{name} is left behind" for name in sorted(mine - other)]
    for name in sorted(mine & other):
        found += [f"{name}: {what}" for what in _differ(name, ours / name, theirs / name)]
    return found


def _files(folder: Path) -> set[str]:
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if not _PARTS.fullmatch(name)} - {_LOCK}


def _differ(name: str, ours: Path, theirs: Path) -> list[str]:
    if name == _BEFORE:
        torch.load(ours, weights_only=True)
        return []
    if name.endswith(".ckpt"):
        pair = [torch.load(path, weights_only=True) for path in (ours, theirs)]
    elif name.endswith(".json"):
        pair = [json.loads(path.read_text(encoding="utf-8")) for path in (ours, theirs)]
    else:
        return [] if ours.read_bytes() == theirs.read_bytes() else ["other bytes"]
    may = MAY_DIFFER.get(name)
    return [key for key in _unequal(*pair) if may is None or not may.fullmatch(key)][:5]


def _unequal(one: Any, two: Any, path: str = "") -> Iterator[str]:
    """The dotted keys of what is not equal, bit for bit."""
    if type(one) is not type(two):
        yield path
    elif isinstance(one, dict):
        for key in {**one, **two}:
            if key in one and key in two:
                yield from _unequal(one[key], two[key], f"{path}.{key}" if path else str(key))
            else:
                yield f"{path}.{key}"
    elif isinstance(one, list | tuple):
        if len(one) != len(two):
            yield path
        for index, pair in enumerate(zip(one, two, strict=False)):
            yield from _unequal(*pair, f"{path}.{index}")
    elif isinstance(one, torch.Tensor):
        if one.dtype != two.dtype or one.shape != two.shape or not torch.equal(one, two):
            yield path
    elif one != two and not (one != one and two != two):
        yield path
