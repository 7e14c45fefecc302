"""Wake-sleep continual learning: networks that live through a stream of experiences, and dream between them.

Public names are imported when they are first used, so ``import dreamer`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamer.binding import ConfigError
    from dreamer.callbacks.sleep import SleepCallback
    from dreamer.data import StreamDataModule
    from dreamer.hypnogram import Hypnogram
    from dreamer.life import run
    from dreamer.module import WakeSleepModule
    from dreamer.stages import NREM, REM, Wake
    from dreamer.streams.base import Stream, make_stream

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "dreamer.binding",
    "Hypnogram": "dreamer.hypnogram",
    "NREM": "dreamer.stages",
    "REM": "dreamer.stages",
    "SleepCallback": "dreamer.callbacks.sleep",
    "Stream": "dreamer.streams.base",
    "StreamDataModule": "dreamer.data",
    "Wake": "dreamer.stages",
    "WakeSleepModule": "dreamer.module",
    "make_stream": "dreamer.streams.base",
    "run": "dreamer.life",
}

__all__ = [
    "ConfigError",
    "Hypnogram",
    "NREM",
    "REM",
    "SleepCallback",
    "Stream",
    "StreamDataModule",
    "Wake",
    "WakeSleepModule",
    "__version__",
    "make_stream",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
