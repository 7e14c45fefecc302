"""What a checkpoint says of the run that it belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from dreamer.core.differences import differences, in_words
from dreamer.report.results import versions
from dreamer.streams.base import Stream
from dreamer.streams.fingerprint import changes, fingerprint

KEY = "dreamer_origin"
"""Where it stands in a checkpoint."""
# they say where a run is executed and what it leaves, and not what it finds
_ASIDE = (
    *("out", "name", "logger", "data"),
    *(f"trainer.{key}" for key in ("accelerator", "devices", "strategy", "num_nodes", "log_every_n_steps")),
)


class RunOrigin(Callback):
    """Writes into every checkpoint which configuration, stream, code and machine it comes from.

    Args:
        config: the resolved configuration.
        stream: what is trained on.
        code: version and hash of the code.

    Attributes:
        forced: where somebody continued the run although it had changed: the ``step``, and the ``differences``.
    """

    def __init__(self, config: Mapping[str, Any], stream: Stream, code: str):
        self._config = config
        self._stream = stream
        self._code = code
        self._known: dict[str, Any] | None = None
        self.forced: list[dict[str, Any]] = []

    @property
    def record(self) -> dict[str, Any]:
        """Configuration, stream, code and machine, in plain values."""
        if self._known is None:
            known = {
                "config": self._config,
                "stream": fingerprint(self._stream),
                "code": self._code,
                "machine": machine(),
            }
            # nothing but plain values can be loaded safely
            self._known = json.loads(json.dumps(known, default=str))
        return self._known

    def changed(self, saved: Mapping[str, Any]) -> list[str]:
        """How this run differs from that of a checkpoint, one part of a sentence each; machines aside."""
        if KEY not in saved:
            return ["the checkpoint does not say which run it belongs to"]
        there, here = saved[KEY], self.record
        found = [each for each in differences(there["config"], here["config"]) if not _aside(each[0])]
        code = [("code", there["code"], here["code"])] if there["code"] != here["code"] else []
        return [*map(in_words, found), *changes(there["stream"], here["stream"]), *map(in_words, code)]

    def elsewhere(self, saved: Mapping[str, Any]) -> list[str]:
        """What differs in the machine and its software, and may change last bits."""
        there = saved[KEY]["machine"] if KEY in saved else self.record["machine"]
        return [in_words(each) for each in differences(there, self.record["machine"])]

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the record."""
        checkpoint[KEY] = {**self.record, "forced": self.forced}


def machine() -> dict[str, Any]:
    """What sums may be rounded by: versions, threads, and what the CPU can do."""
    return {**versions(), "cpu": torch.backends.cpu.get_cpu_capability()}


def _aside(path: str) -> bool:
    return any(path == key or path.startswith(f"{key}.") for key in _ASIDE)
