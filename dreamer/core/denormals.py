"""Numbers too small for their format, which a processor adds up many times slower than others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Count float32 numbers below 1.2e-38 as zero for a while, on the CPU.

    Moments of Adam shrink into that range wherever gradients stay zero, as those of weights from black pixels do; its
    step then takes most of the time of a small network's. A weight is not changed by such numbers. Does nothing on
    processors without that switch.

    >>> with flushed_denormals():
    ...     float(torch.tensor(1e-38) / 10)
    0.0
    """
    before = _flushing()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushing() -> bool:
    # PyTorch sets the switch and does not tell how it stands
    return float(torch.tensor(1e-38) / 10) == 0
