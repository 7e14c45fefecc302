"""Pictures on their way to whichever logger takes pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def log_pictures(loggers: Sequence[Any], pictures: Mapping[str, Path], step: int, axes: Mapping[str, float]) -> None:
    """Log PNG files to the W&B and TensorBoard loggers among some Lightning loggers; others are passed over.

    Args:
        loggers: those of a Trainer, of either Lightning package.
        pictures: files by the name under which they are logged.
        axes: values of the axes on which W&B shows the pictures, logged with them.
    """
    for logger in loggers:
        if type(logger).__name__ == "WandbLogger":
            from dreamer.loggers.wandb import log_images

            log_images(logger, pictures, step, axes)
        elif hasattr(logger.experiment, "add_image"):
            from matplotlib.image import imread

            for name, path in pictures.items():
                logger.experiment.add_image(name, imread(path), step, dataformats="HWC")
