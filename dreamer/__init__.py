"""Wake-sleep continual learning: networks that learn from a stream of experiences, and dream between them.

Public names are imported when they are first used, so ``import dreamer`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamer.callbacks.sleep.callback import SleepCallback
    from dreamer.callbacks.sleep.own_text import OwnText
    from dreamer.core.errors import ConfigError
    from dreamer.core.hypnogram import Hypnogram
    from dreamer.interop.avalanche.plugin import DreamPlugin
    from dreamer.runs.run import run
    from dreamer.stages import NREM, REM, Wake
    from dreamer.streams.base import Stream, make_stream
    from dreamer.training.data import StreamDataModule
    from dreamer.training.module import WakeSleepModule

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "dreamer.core.errors",
    "DreamPlugin": "dreamer.interop.avalanche.plugin",
    "Hypnogram": "dreamer.core.hypnogram",
    "NREM": "dreamer.stages",
    "OwnText": "dreamer.callbacks.sleep.own_text",
    "REM": "dreamer.stages",
    "SleepCallback": "dreamer.callbacks.sleep.callback",
    "Stream": "dreamer.streams.base",
    "StreamDataModule": "dreamer.training.data",
    "Wake": "dreamer.stages",
    "WakeSleepModule": "dreamer.training.module",
    "make_stream": "dreamer.streams.base",
    "run": "dreamer.runs.run",
}

__all__ = [
    "ConfigError",
    "DreamPlugin",
    "Hypnogram",
    "NREM",
    "OwnText",
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
