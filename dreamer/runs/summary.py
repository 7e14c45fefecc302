"""What a run is going to do, as text: its protocol, its stages, its steps and its bytes."""

from __future__ import annotations

import torch

from dreamer.core.hypnogram import Hypnogram
from dreamer.loop.plan import few_samples, kept_bytes
from dreamer.networks.base import feature_shape
from dreamer.networks.heads import grows
from dreamer.streams.base import Stream
from dreamer.training.module import WakeSleepModule


def protocol_line(stream: Stream, module: WakeSleepModule, stream_seed: int | None = None) -> str:
    """Everything that decides what a result of this run may be compared with, in one line.

    Args:
        stream_seed: the seed of their order, where it has one.
    """
    order = " ".join("[" + " ".join(map(str, classes)) + "]" for classes in _short(stream.class_order))
    whole = {origin: each.validation for origin, each in zip(stream.origins, stream.experiences, strict=True)}
    held = sum(len(samples) for samples in whole.values() if samples is not None)
    train = sum(len(experience.train) for experience in stream.experiences)
    seeds = f"seed {module.seed}" + ("" if stream_seed in (None, module.seed) else f" (stream {stream_seed})")
    return (
        f"protocol: {stream.name}, {stream.scenario}-incremental, {len(stream)} experiences, class order {order}, "
        f"active outputs {module.active_outputs}, {train:,} training and {held:,} validation samples, {seeds}"
    )


def data_line(stream: Stream, most: int = 6) -> str:
    """Shape of the samples, and the first classes with their numbers of training samples, in one line."""
    shape = " x ".join(map(str, stream.sample_shape)) or "one number"
    if stream.tokens is not None:
        names = [*stream.class_names[:most], *(["..."] if len(stream.class_names) > most else [])]
        return f"samples: texts of {shape} tokens, of {stream.tokens.size}; domains: {', '.join(names)}"
    if stream.tokens is not None:
        names = [*stream.class_names[:most], *(["..."] if len(stream.class_names) > most else [])]
        return f"samples: texts of {shape} tokens, of {stream.tokens.size}; domains: {', '.join(names)}"
    if stream.passing or stream.groups != "class":
        return f"samples: {shape}"
    labels = torch.cat([each.train.y.cpu() for each in stream.experiences])
    present, counts = labels.unique(return_counts=True)
    named = dict(enumerate(stream.class_names))
    pairs = list(zip(present.tolist(), counts.tolist(), strict=True))
    shown = [f"{named.get(label, str(label))} ({count:,})" for label, count in pairs[:most]]
    more = ["..."] if len(pairs) > most else []
    return f"samples: {shape}; {len(pairs)} classes: {', '.join([*shown, *more])}"


def budget(stream: Stream, module: WakeSleepModule) -> dict[str, int]:
    """Bytes that the run will hold at its end: network, memory, generator, teachers, plasticity."""
    sizes = module.bytes()
    if module.memory is not None:
        if module.memory.is_features:
            shape, itemsize = feature_shape(module.network, stream.sample_shape), 4
        else:
            shape, itemsize = stream.sample_shape, few_samples(stream, 1).element_size()
        outputs, target_bytes = stream.num_classes, 8
        if stream.targets == "tokens":
            # a next token for each token, and a domain
            outputs, target_bytes = outputs * shape[0], 8 * shape[0] + 8
        sizes["memory"] = module.memory.planned_bytes(shape, outputs, itemsize, target_bytes)
    sizes["memory"] += kept_bytes(stream, len(stream) - 1, module.wake)
    if module.generator is not None:
        sizes["generator"] = module.generator.planned_bytes(stream.class_order)
    return sizes


def summary(stream: Stream, module: WakeSleepModule, plan: Hypnogram, stream_seed: int | None = None) -> str:
    """The whole plan as text."""
    sizes = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in budget(stream, module).items())
    rule = module.schedule.rule()
    lines = [str(plan), *([rule] if rule else []), f"bytes: {sizes}"]
    if grows(module.network):
        seen = [set().union(*stream.class_order[: index + 1]) for index in range(len(stream))]
        lines.append(f"outputs: {' '.join(str(len(classes)) for classes in seen)}, as classes are seen")
    return "\n".join([*lines, data_line(stream), protocol_line(stream, module, stream_seed)])


def _short(order: tuple[tuple[int, ...], ...], most: int = 10) -> list[tuple[object, ...]]:
    """Class orders of many classes, cut so that a line stays a line."""
    shown = [classes if len(classes) <= most else (*classes[:3], "...", classes[-1]) for classes in order]
    return [*shown[:most], ("...",)] if len(shown) > most else list(shown)
