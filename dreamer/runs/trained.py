"""What a run folder has trained."""

from __future__ import annotations

from pathlib import Path

from dreamer import config
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.config.binding import ConfigError
from dreamer.core.sealed import read_sealed
from dreamer.networks.base import plain_name
from dreamer.runs._folders import CHECKPOINTS, CONFIG
from dreamer.runs.run_config import run_config
from dreamer.streams.base import Stream
from dreamer.training.module import WakeSleepModule


def trained(directory: Path, *words: str) -> tuple[WakeSleepModule, Stream]:
    """The module of a run as its last checkpoint has it, and the run's stream.

    Args:
        words: ``data.`` settings, for data that have moved.

    Raises:
        ConfigError: when the folder holds no run, or none that has been saved yet.
    """
    if not (directory / CONFIG).is_file():
        raise ConfigError(f"expected a run folder with its {CONFIG} at {str(directory)!r}")
    path = RunCheckpoint(directory / CHECKPOINTS).latest()
    if path is None:
        raise ConfigError(f"the run in {directory} has no checkpoint yet")
    checked = run_config(config.read(directory / CONFIG, *words))
    stream = checked.stream.build()
    module = checked.build_module(stream)
    saved = read_sealed(path)["state_dict"]
    names = {plain_name(name): name for name in module.network.state_dict()}
    weights = {name.removeprefix("network."): value for name, value in saved.items() if name.startswith("network.")}
    module.network.load_state_dict({names.get(name, name): value for name, value in weights.items()})
    return module, stream
