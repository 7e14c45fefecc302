"""Reads what W&B wrote of an offline run: records of a log in blocks of 32 KiB, as LevelDB has them."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEAD = 1 << 15, 7
_WHOLE, _LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """Its records, in order; one that is cut off at the end is left out."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, pieces = path.read_bytes(), _HEAD, b""
    while place + _HEAD <= len(data):
        if _BLOCK - place % _BLOCK < _HEAD:
            place += _BLOCK - place % _BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + _HEAD])
        place += _HEAD
        pieces += data[place : place + length]
        place += length
        if kind in (_WHOLE, _LAST):
            record = Record()
            record.ParseFromString(pieces)
            pieces = b""
            yield record


def written(folder: Path) -> dict[str, Any]:
    """The run, its summary by name, and its artifacts by type, of one ``offline-run-...`` folder.

    W&B's service, a process of its own, may on a busy machine still be at it for a while after the run has ended.
    """
    (path,) = folder.glob("run-*.wandb")
    found = _read(path)
    for _ in range(600):
        if found["ended"]:
            break
        time.sleep(0.1)
        found = _read(path)
    return found


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": {}, "artifacts": {}, "ended": False}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = record.run
        elif kind == "summary":
            for item in record.summary.update:
                found["summary"]["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
        elif kind == "artifact":
            found["artifacts"].setdefault(record.artifact.type, []).append(record.artifact.name)
        elif kind == "exit":
            found["ended"] = True
    return found
