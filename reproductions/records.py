"""What the scripts beside the package have in common: where numbers are recorded, how they are written, the machine."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
MEASUREMENTS = DOCS / "measurements"


def read(path: Path, empty: Any) -> Any:
    """What is on record in a file; ``empty`` where there is no such file yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty


def write(path: Path, record: Any) -> None:
    """Record in a file."""
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and, of several values, standard deviation (n - 1)."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def machine() -> str:
    """What seconds were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, one thread"
