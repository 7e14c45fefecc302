"""What a checkpoint says of the run that it belongs to, and how another run differs from it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dreamer.core.differences import differences, in_words
from dreamer.networks.base import plain_name
from dreamer.streams.base import Stream
from dreamer.streams.fingerprint import changes, fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dreamer.loop.plan import Parts

_NAMED = 3
_DEPTH = 5


class Origin:
    """Parts, optimiser and stream of a run, in plain values; looked at when they are wanted first.

    Args:
        parts: of the run, as they were given.
    """

    def __init__(self, parts: Parts):
        self._parts = {
            "network": _network(parts.network),
            **{name: _described(getattr(parts, name)) for name in ("memory", "generator", "schedule", "problem")},
            **{name: _described(getattr(parts, name)) for name in ("wake", "night", "plasticity", "active_outputs")},
        }
        self._stream: tuple[Stream, dict[str, Any]] | None = None

    def record(self, stream: Stream, optimizers: Iterable[torch.optim.Optimizer]) -> dict[str, Any]:
        """What a checkpoint is to say."""
        if self._stream is None or self._stream[0] is not stream:
            self._stream = stream, fingerprint(stream)
        found = [{"name": type(each).__name__, **_plain_values(each.defaults)} for each in optimizers]
        return {"parts": self._parts, "optimizer": found, "stream": self._stream[1]}

    def check(
        self, saved: Mapping[str, Any] | None, stream: Stream, optimizers: Iterable[torch.optim.Optimizer]
    ) -> None:
        """Raise a ValueError when a checkpoint says that it belongs to another run; names the differences.

        Args:
            saved: its :meth:`record`; None, of a checkpoint that has none, is let pass.
        """
        if saved is None:
            return
        here = self.record(stream, optimizers)
        found = [in_words(each) for key in ("parts", "optimizer") for each in differences(saved[key], here[key], key)]
        found += [f"stream.{change}" for change in changes(saved["stream"], here["stream"])]
        if found:
            more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
            raise ValueError(
                f"the checkpoint belongs to another run ({'; '.join([*found[:_NAMED], *more])}): build module and "
                "stream as before, or set accept_changes=True on the module"
            )


def _network(network: nn.Module) -> dict[str, Any]:
    named = [(plain_name(name), list(weight.shape)) for name, weight in network.named_parameters()]
    return {"name": type(getattr(network, "_orig_mod", network)).__name__, "layers": len(named), "last": named[-1:]}


def _described(thing: Any, depth: int = 0) -> Any:
    """A part by its name and the plain values that it was given."""
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if isinstance(thing, list | tuple):
        return [_described(entry, depth + 1) for entry in thing]
    found: dict[str, Any] = {"name": type(thing).__name__}
    if depth > _DEPTH or type(thing).__module__ in ("builtins", "torch"):
        return found
    for name in inspect.signature(type(thing)).parameters:
        # what is not kept under its own name is not known
        if hasattr(thing, name):
            found[name] = _described(getattr(thing, name), depth + 1)
    return found


def _plain_values(options: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    return {key: value for key, value in plain.items() if isinstance(value, bool | int | float | str | list)}
