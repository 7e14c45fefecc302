"""The key ``backbone`` of a configuration: a pretrained network under everything that the recipe says."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from dreamer.config.binding import ConfigError, bind
from dreamer.streams.embedded import embedded


def on_backbone(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with its ``backbone`` written out, as a change of the stream and, where needed, the learner.

    Features that the frozen part of a backbone gives take the place of the stream's samples. Where last blocks are
    trained, these are the learner, in place of the configured one.

    Args:
        plain: a configuration whose ``backbone`` is a model's name, or the options of
            :func:`dreamer.streams.embedded.embedded`; one without such a key is returned as it is.

    Raises:
        ConfigError: for an unknown option or a wrong type.
    """
    node = plain.get("backbone")
    rest = {key: value for key, value in plain.items() if key != "backbone"}
    if node is None:
        return rest
    options = {"model": node} if isinstance(node, str) else node
    if isinstance(options, Mapping) and "name" in options and "model" not in options:
        # what a name alone becomes where further keys are laid over it
        options = {("model" if key == "name" else key): value for key, value in options.items()}
    checked = bind(embedded, options, "backbone", given=("stream",), refused=("stream",)).options
    stream = rest.get("stream")
    stream = {"name": stream} if isinstance(stream, str) else dict(stream or {})
    stream["then"] = [*(stream.get("then") or ()), {"name": "embedded", **options}]
    changed = {**rest, "stream": stream}
    if checked.get("trainable_blocks") is None:
        return changed
    network = rest.get("network")
    name = network.get("name") if isinstance(network, Mapping) else network
    if name not in ("mlp", None):
        raise ConfigError(
            f"backbone.trainable_blocks: the last blocks with a linear layer are the learner then, but network is "
            f"{name!r}: leave trainable_blocks out, or take a recipe whose network is mlp"
        )
    own = {key: checked[key] for key in ("model", "weights", "trainable_blocks") if key in checked}
    return {**changed, "network": {"name": "backbone", **own, "inner": True}}


def warn_untrained(node: Any) -> None:
    """Warn of a configuration's ``backbone`` that is given without weights."""
    if node is not None and (isinstance(node, str) or node.get("weights") is None):
        model = node if isinstance(node, str) else node.get("model", node.get("name"))
        warnings.warn(
            f"backbone: {model} is untrained, because nothing is downloaded: expected its weights, "
            "backbone.weights=FILE",
            stacklevel=3,
        )
