"""``results.json``: everything that a run found, in numbers, written in one piece or not at all."""

from __future__ import annotations

import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dreamer.core.files import write_text
from dreamer.metrics.continual import AccuracyRow, summarise, whole_rows
from dreamer.metrics.stability import stability

FILE_NAME = "results.json"
_WIDTH = 120


def versions() -> dict[str, Any]:
    """What the numbers may depend on besides the configuration.

    Returns:
        The versions of ``python``, ``torch``, ``lightning``, ``dreamer`` and ``numpy`` (None for a distribution that
        is not installed), the ``platform``, and the ``threads`` that torch uses within one operation.
    """
    lightning = _version("pytorch-lightning") or _version("lightning")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning,
        "dreamer": _version("dreamer"),
        "numpy": _version("numpy"),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
    }


def compose(record: Mapping[str, Any], *, name: str, config: Mapping[str, Any], complete: bool) -> dict[str, Any]:
    """Put the record of a run together with its name, configuration and versions."""
    head = {"name": name, "complete": complete, "seed": record.get("seed"), "config": config, "versions": versions()}
    return head | {key: value for key, value in record.items() if key not in head}


def write_results(results: Mapping[str, Any], directory: str | Path) -> Path:
    """Write ``results.json`` into a folder, which is made when it is not there.

    Whoever reads the file finds the old one or the new one, never a half-written one.

    Args:
        results: nested dictionaries and lists of numbers, texts, tensors, paths; numbers that JSON does not know (NaN,
            infinity) become null.
    """
    path = Path(directory) / FILE_NAME
    write_text(path, _lines(_plain(results)) + "\n")
    return path


def read_results(path: str | Path) -> dict[str, Any]:
    """Read ``results.json``."""
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"expected the results of a run in {path}, found no such file")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON in {path}, got something else: {error}") from error
    if not isinstance(results, dict):
        raise ValueError(f"expected a JSON object in {path}, got a {type(results).__name__}")
    return results


def results_in(folder: str | Path) -> dict[str, Any]:
    """What a run folder holds as :func:`read_results`; nothing where that is absent or damaged."""
    try:
        return read_results(folder)
    except (OSError, ValueError):
        return {}


def evaluations(results: Mapping[str, Any]) -> list[AccuracyRow]:
    """The rows of the accuracy matrix; where experiences came in pieces, as if they had come whole."""
    return whole_rows(results["accuracy_matrix"]["rows"], results.get("protocol", {}).get("origins"))


def metrics_of(results: Mapping[str, Any]) -> dict[str, float | None]:
    """All metrics of a run, computed anew from the evaluations that its results hold.

    Stability gap, recovery and worst scores come from the evaluations within stages where there are any, else from
    those after stages alone, which miss what happens in between (see :func:`evaluations_within`).

    Args:
        results: the content of ``results.json``.
    """
    protocol = results.get("protocol", {})
    rows, origins = results["accuracy_matrix"]["rows"], protocol.get("origins")
    better = protocol.get("higher_is_better", True)
    steps = (results.get("continual") or {}).get("rows", ())
    return {**summarise(rows, origins, better), **stability(rows, steps, origins, better)}  # type: ignore[dict-item]


def domain_names(results: Mapping[str, Any]) -> list[str]:
    """What the experiences of a run are called where each is one domain that has a name; else nothing.

    >>> domain_names({"protocol": {"groups": "domain", "class_order": [[1], [0]], "class_names": ["plays", "code"]}})
    ['code', 'plays']
    >>> domain_names({"protocol": {"groups": "class", "class_order": [[1], [0]], "class_names": ["cat", "dog"]}})
    []
    """
    protocol = results.get("protocol", {})
    order, names = protocol.get("class_order", ()), protocol.get("class_names", ())
    if protocol.get("groups") != "domain" or protocol.get("origins") or any(len(own) != 1 for own in order):
        return []
    found = [names[own[0]] for own in order if own[0] < len(names)]
    # unnamed domains have their numbers for names
    return found if len(found) == len(order) and not all(name.isdecimal() for name in found) else []


def evaluations_within(results: Mapping[str, Any]) -> int:
    """How many evaluations within stages the results hold."""
    return len((results.get("continual") or {}).get("rows", ()))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # tensors and arrays
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def _lines(value: Any, indent: str = "") -> str:
    """JSON in which whatever is short, and every list of plain values, stays on one line."""
    line = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or len(indent) + len(line) <= _WIDTH:
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        body = [
            f"{deeper}{json.dumps(key, ensure_ascii=False)}: {_lines(entry, deeper)}" for key, entry in value.items()
        ]
        return "{\n" + ",\n".join(body) + f"\n{indent}}}"
    if not any(isinstance(entry, (dict, list)) for entry in value):
        return line
    return "[\n" + ",\n".join(deeper + _lines(entry, deeper) for entry in value) + f"\n{indent}]"
