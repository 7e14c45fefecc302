"""A resumed run is the same run: a checkpoint of another one is refused."""

from __future__ import annotations

from pathlib import Path

from dreamer.callbacks.run_origin import KEY, RunOrigin
from dreamer.config.binding import ConfigError
from dreamer.core.sealed import read_sealed

_NAMED = 3


def continued(origin: RunOrigin, path: Path, force: bool) -> list[str]:
    """Let a run continue from a checkpoint, if that is one of its own.

    Args:
        origin: of the run; gets the record of what was forced, now and before.
        path: the checkpoint.
        force: continue although something has changed.

    Returns:
        What differs in machine and software, and may change last bits.

    Raises:
        ConfigError: when the checkpoint is of another configuration, stream or code, with the difference.
    """
    saved = read_sealed(path, mmap=True)
    found = origin.changed(saved)
    if any(change.startswith("optimizer") for change in found):
        # the optimiser comes back as it was saved: another setting would be on record, and never applied
        raise ConfigError(f"{path} was written with another optimizer ({_listed(found)}): set it back")
    if found and not force:
        raise ConfigError(f"{path} belongs to another run ({_listed(found)}): set it back, or continue with --force")
    origin.forced = list(saved.get(KEY, {}).get("forced", ()))
    if found:
        origin.forced.append({"step": int(saved["global_step"]), "differences": found})
    return origin.elsewhere(saved)


def _listed(found: list[str]) -> str:
    more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return "; ".join([*found[:_NAMED], *more])
