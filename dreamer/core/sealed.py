"""Files of tensors and plain containers that are whole or refused: a checksum over all bytes ends them.

What comes before the checksum is a file as ``torch.save`` writes it, and ``torch.load`` reads the whole as it is.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from dreamer.core.errors import ConfigError

_MARK = b"\ndreamer sha256 "
_SEAL_BYTES = len(_MARK) + 64
_CHUNK = 1 << 20


class Damaged(ConfigError):
    """A file is not what was written."""


def write_sealed(content: Any, path: Path) -> None:
    """Write tensors and plain containers; when this returns, they have reached the disk.

    Args:
        path: is written to as it stands: who wants an old file to stay whole writes beside it, and calls
            :func:`put_in_place`.

    Raises:
        OSError: when it cannot be written, as on a disk that is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        summed = _Summed(file)
        try:
            torch.save(content, summed)  # type: ignore[arg-type]  # it writes, and asks for no more
        except RuntimeError as error:
            # torch says that a write failed, and not why
            raise summed.failed or error from None
        file.write(_MARK + summed.digest())
        file.flush()
        os.fsync(file.fileno())


def put_in_place(written: Path, path: Path) -> None:
    """Let a file take another one's place, in one move that a power cut does not undo."""
    os.replace(written, path)
    with suppress(OSError):  # some systems open no folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_sealed(path: Path) -> None:
    """Raise :class:`Damaged` when a file is empty, cut, or not what :func:`write_sealed` wrote."""
    size = path.stat().st_size
    if not size:
        raise Damaged(f"{path} is damaged: it is empty")
    found = hashlib.sha256()
    with open(path, "rb") as file:
        left = size - _SEAL_BYTES
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            found.update(chunk)
            left -= len(chunk)
        seal = file.read()
    if size <= _SEAL_BYTES or not seal.startswith(_MARK):
        raise Damaged(f"{path} is damaged: it was cut, or is no checkpoint of a run")
    if seal != _MARK + found.hexdigest().encode():
        raise Damaged(f"{path} is damaged: its bytes are not those that were written")


def read_sealed(path: Path, map_location: Any = "cpu", mmap: bool = False) -> Any:
    """What :func:`write_sealed` wrote, after a look at the checksum; no code of the file is run.

    Args:
        mmap: leave tensors in the file until they are read.

    Raises:
        Damaged: when it is not whole.
    """
    check_sealed(path)
    try:
        return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise Damaged(f"{path} is refused: it holds more than tensors and plain values") from error


class _Summed:
    """A file to write to that sums up what is written."""

    def __init__(self, file: BinaryIO):
        self._sum = hashlib.sha256()
        self._file = file
        self.failed: OSError | None = None
        self.flush: Callable[[], None] = file.flush

    def write(self, data: Any) -> int:
        self._sum.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.failed = self.failed or error
            raise

    def digest(self) -> bytes:
        return self._sum.hexdigest().encode()
