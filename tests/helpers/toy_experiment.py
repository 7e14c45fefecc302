"""An experiment that costs nothing: a number that the arm sets, plus one that the seed draws."""

from __future__ import annotations

import os
import random
import signal
import struct
import zlib
from pathlib import Path

from dreamer.studies.experiments.base import CellResult, Experiment, Measure


class Toy(Experiment):
    """Tosses.

    Args:
        gain: what the arm adds.
        noise: how far the seed moves it.
        fate: ``complete``; ``die`` at the first try; ``refuse``; ``always_die``.

    Raises:
        ValueError: for a gain above 1.
    """

    measures = {
        "score": Measure("score", "larger", fraction=True, hint="How much."),
        "loss": Measure("loss", "smaller"),
        "size": Measure("size"),
    }

    def __init__(self, gain: float = 0.0, noise: float = 0.001, fate: str = "complete"):
        if gain > 1:
            raise ValueError(f"expected a gain of at most 1, got {gain}")
        self.gain = gain
        self.noise = noise
        self.fate = fate

    def run(self, seed: int, folder: Path) -> CellResult:
        tries = len(list(folder.glob("try*"))) + 1
        (folder / f"try{tries}").touch()
        if self.fate == "always_die" or (self.fate == "die" and tries == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fate == "refuse":
            from dreamer.streams.base import DataNotFound

            raise DataNotFound("there are no coins")
        luck = random.Random(f"{seed} {self.gain}").uniform(-1, 1) * self.noise
        score = 0.5 + 0.01 * seed % 0.1 + self.gain + luck
        (folder / "toy.png").write_bytes(png())
        return {
            "outcomes": {"score": score, "loss": 1 - score, "size": None},
            "curves": {"generation": [1, 2], "score": [0.5, score], "loss": [0.5, None]},
            "expected": {"score": [0.5, 0.5]},
            "errors": {"score": [0.01, 0.01]},
            "yardsticks": {"score": 0.9},
            "picture": "toy.png",
        }


def png() -> bytes:
    """A white picture of 4 x 2 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0\xff\xff\xff\xff" * 2)
    head = struct.pack(">IIBBBBB", 4, 2, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
