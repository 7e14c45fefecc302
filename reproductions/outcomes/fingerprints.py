"""Fingerprints of what a run leaves: hashes of its tensors, and its numbers."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Outcome = dict[str, Any]

# prefixes of a module's state: longest first
PREFIXES = {
    "weights": ("sleeper.network.", "network."),
    "generator": ("sleeper.generator.", "generator."),
}
STAGE = ("kind", "experience", "steps", "night", "cycle", "part", "first_step")
# columns of metrics.csv that hold time
TIMES = re.compile("second|time|clock", re.IGNORECASE)


def digest(tensor: Tensor) -> str:
    """A hash of type, shape and bytes."""
    plain = tensor.detach().cpu().contiguous()
    found = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)}".encode())
    found.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return found.hexdigest()


def together(digests: Iterable[str]) -> str:
    """One hash of several, in their order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for name in value:
            yield from tensors(value[name])
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)


def hashed(state: dict[str, Any]) -> Outcome | None:
    """A state dict, by values alone."""
    held = {name: digest(value) for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not held:
        return None
    return {
        "ordered": together(held[name] for name in sorted(held)),
        "any_order": together(sorted(held.values())),
        "tensors": len(held),
        "elements": sum(value.numel() for value in state.values() if isinstance(value, torch.Tensor)),
    }


def heap(value: Any) -> Outcome | None:
    """Nested containers of tensors, whose keys may be called anything."""
    found = sorted(map(digest, tensors(value)))
    return {"any_order": together(found), "tensors": len(found)} if found else None


def numbers(value: Any) -> list[float]:
    """All numbers in nested containers, whose keys may be called anything, in order of size."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return sorted(number for part in value for number in numbers(part))
    return [value] if isinstance(value, (int, float)) else []


def divided(state: dict[str, Any]) -> Outcome:
    """Network, generator and the rest (teachers, averages, importances) of a module's state."""
    parts: dict[str, Outcome] = {"weights": {}, "generator": {}, "teachers": {}}
    for name, value in state.items():
        kind = next((kind for kind, prefixes in PREFIXES.items() if name.startswith(prefixes)), "teachers")
        parts[kind][name] = value
    return {kind: hashed(part) for kind, part in parts.items()}


def of_results(results: Outcome) -> Outcome:
    """The numbers of a ``results.json`` that do not depend on time, machine or place."""
    recorded = ("after", "experience", "night", "stage", "global_step", "accuracy", "validation")
    rows = [{key: row[key] for key in recorded} for row in results["accuracy_matrix"]["rows"]]
    cost = results["cost"]
    return {
        "complete": results["complete"],
        "rows": rows,
        "metrics": results["metrics"],
        "samples": cost["samples"],
        "optimizer_steps": cost["optimizer_steps"],
        "bytes": cost["bytes"],
        "further_costs": {
            key: value for key, value in cost.items() if key not in ("seconds", "samples", "optimizer_steps", "bytes")
        },
        "protocol": results.get("protocol"),
        "hypnogram": [[stage[name] for name in STAGE] for stage in results.get("hypnogram", [])],
        "dreams": results.get("dreams"),
    }


def of_csv(path: Path) -> Outcome:
    """Every column by its content; the names are there to be read, and are not compared."""
    with path.open(newline="") as file:
        lines = list(csv.reader(file))
    columns = {name: together(cells) for name, *cells in zip(*lines, strict=True) if not TIMES.search(name)}
    return {"lines": len(lines), "columns": columns}


def of_checkpoint(path: Path) -> Outcome:
    """Weights, optimiser and memory of a checkpoint."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    return {
        **divided(checkpoint["state_dict"]),
        "optimizer": heap(checkpoint["optimizer_states"]),
        "memory": heap(checkpoint["dreamer"].get("memory")),
        "schedule": numbers(checkpoint["dreamer"].get("schedule")),
        "global_step": checkpoint["global_step"],
    }


def of_folder(folder: Path) -> Outcome:
    """All that a run folder holds."""
    outcome = of_results(json.loads((folder / "results.json").read_text()))
    outcome |= of_checkpoint(folder / "checkpoints" / "last.ckpt")
    table = folder / "metrics.csv"
    return outcome | {"logged": of_csv(table) if table.is_file() else None}
