"""Features of frozen networks on disk, found by the content of what they were computed from."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dreamer.streams.base import Samples, TensorSamples

_LAYOUT = b"features 1"
_DIGEST = 16
_ABANDONED = 3600
"""Seconds without a change after which an unfinished file is nobody's."""


class FeatureCache:
    """Features of samples under one network, in files that are written completely or not at all.

    A sample is found by its content, so that it does not matter in which order, experience or split it comes. Files
    that are damaged, or of another layout, are passed over, and their features computed anew. Where nothing can be
    written, a warning says so, and features last as long as this object.

    Args:
        network: what computes the features: its weights, its buffers and its structure are the key.
        folder: above all networks; None means that of :func:`cache_folder`.
    """

    def __init__(self, network: nn.Module, folder: Path | None = None):
        self.folder = (cache_folder() if folder is None else folder) / "features" / _key(network)
        self._rows: dict[bytes, Tensor] = {}
        self._kept = True
        for path in sorted(self.folder.glob("*.pt")):
            self._rows.update(_read(path))

    def missing(self, digests: list[bytes]) -> list[int]:
        """Positions of the samples whose features are not here."""
        return [position for position, digest in enumerate(digests) if digest not in self._rows]

    def add(self, digests: list[bytes], features: Tensor) -> None:
        """Keep (N, ...) features, also for runs to come."""
        self._rows.update(zip(digests, features, strict=True))
        if not self._kept:
            return
        rows = torch.frombuffer(bytearray(b"".join(digests)), dtype=torch.uint8).view(-1, _DIGEST)
        state = {"samples": rows, "features": features, "check": _check(rows, features)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()
            _write(state, self.folder / f"{state['check']}.pt")
        # torch says of a disk that is full that its own writer failed
        except (OSError, RuntimeError) as error:
            self._kept = False
            why = " ".join(str(error).split())[:120]
            warnings.warn(
                f"features cannot be kept in {str(self.folder)!r} and are computed anew in every run, unless "
                f"DREAMER_CACHE names a folder that can be written ({why})",
                stacklevel=2,
            )

    def _remove_abandoned(self) -> None:
        """Remove what processes that were killed while they wrote have left."""
        for path in self.folder.glob(".*.pt.*"):
            with contextlib.suppress(OSError):  # another process may have removed it
                if time.time() - path.stat().st_mtime > _ABANDONED:
                    path.unlink()

    def get(self, digests: list[bytes]) -> Tensor:
        """(N, ...) features of samples that are here."""
        return torch.stack([self._rows[digest] for digest in digests])


def _write(state: dict[str, Any], path: Path) -> None:
    """Write a file completely or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(state, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Where computed things may lie: ``DREAMER_CACHE``, else ``dreamer`` in the user's cache directory."""
    chosen = os.environ.get("DREAMER_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dreamer"


def digests_of(samples: Samples) -> list[bytes]:
    """One digest a sample, of its values, their type and their shape."""
    if isinstance(samples, TensorSamples):
        return list(_digests(samples.x, str(samples.scale)))
    positions = torch.arange(len(samples)).split(256)
    return [digest for batch in samples.batches(positions) for digest in _digests(batch.x, "read")]


def _digests(x: Tensor, kind: str) -> Iterator[bytes]:
    prefix = f"{kind} {x.dtype} {tuple(x.shape[1:])}".encode()
    for row in x.cpu().contiguous().flatten(1):
        yield hashlib.blake2b(prefix + row.view(torch.uint8).numpy().tobytes(), digest_size=_DIGEST).digest()


def _key(network: nn.Module) -> str:
    """Of everything that decides what a network computes."""
    found = hashlib.sha256(_LAYOUT + repr(network).encode())
    for name, value in network.state_dict().items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:32]


def _check(samples: Tensor, features: Tensor) -> str:
    found = hashlib.sha256(f"{features.dtype} {tuple(features.shape)}".encode())
    for part in (samples, features.contiguous().flatten().view(torch.uint8)):
        found.update(part.numpy().tobytes())
    return found.hexdigest()[:32]


def _read(path: Path) -> dict[bytes, Tensor]:
    """The features of a file by digest; nothing where it is damaged."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        samples, features = state["samples"], state["features"]
        if _check(samples, features) != state["check"]:
            return {}
    except Exception:  # damaged files make torch raise errors of many types
        return {}
    return dict(zip((row.numpy().tobytes() for row in samples), features, strict=True))
