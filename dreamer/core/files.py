"""Files that are written in one piece or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a file in one piece: into a neighbour first, which then takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(neighbour, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(neighbour, path)
    finally:
        neighbour.unlink(missing_ok=True)
