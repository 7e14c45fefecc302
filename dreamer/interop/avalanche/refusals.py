"""Strategies and plugins of Avalanche beside which our plugin cannot work, each with its reason.

Avalanche is imported inside functions only: its import takes seconds.
"""

from __future__ import annotations

from typing import Any

from dreamer.generators import Generator
from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.interop.avalanche.learners import has_heads
from dreamer.memory import Memory
from dreamer.memory.base import Buffer
from dreamer.stages import Wake
from dreamer.stages.replay import wants_features

_MIXING = frozenset({"DER", "ER_AML", "FeatureReplay", "LaMAML", "LaMAMLV2", "MER", "SCR"})
"""Strategies that put samples of a memory of their own into the batch, in an order of their own."""


def check_strategy(strategy: Any) -> None:
    """Raise a ValueError when a strategy, or another of its plugins, does what a DreamPlugin cannot follow."""
    name = type(strategy).__name__
    if strategy.optimizer is None:
        raise ValueError(
            f"{name} makes no optimizer steps, and a DreamPlugin replays and sleeps in them: expected a strategy with "
            "an optimizer"
        )
    with quiet():
        from avalanche.models import TrainEvalModel
    if isinstance(strategy.model, TrainEvalModel):
        raise ValueError(
            f"{name} trains one classifier and evaluates another, and a DreamPlugin needs one learner for both: "
            "expected a strategy whose model gives logits in training and evaluation"
        )
    mixing = [kind.__name__ for kind in type(strategy).__mro__ if kind.__name__ in _MIXING]
    mixing += [type(plugin).__name__ for plugin in strategy.plugins if _mixes(plugin)]
    if mixing:
        raise ValueError(
            f"{mixing[0]} mixes old samples into the strategy's batches, which DreamPlugin would take for new "
            "ones: expected one of the two"
        )


def check_heads(strategy: Any, memory: Memory | None, generator: Generator | None, wake: Wake) -> None:
    """Raise a ValueError when a learner with a head for each task cannot replay from these parts."""
    if not has_heads(strategy.model):
        return
    name = type(strategy.model).__name__
    if generator is not None or memory is None:
        raise ValueError(f"{name} has a head for each task, and a generator's dreams have no task: expected a memory")
    chooses = isinstance(memory, Buffer) and type(memory).end_experience is Buffer.end_experience
    if not chooses or memory.is_features or memory.logits or wants_features(wake.replay_objectives):
        raise ValueError(
            f"{name} has a head for each task: expected a memory of samples that chooses while awake (ClassBalanced, "
            "Reservoir, Ring or Greedy), without logits, and objectives that look at no features"
        )


def _mixes(plugin: Any) -> bool:
    with quiet():
        from avalanche.training.plugins import GenerativeReplayPlugin, ReplayPlugin
    if isinstance(plugin, GenerativeReplayPlugin):
        return True
    # of ReplayPlugin's batches one knows which samples are new, see wiring.new_samples
    return hasattr(plugin, "storage_policy") and type(plugin) is not ReplayPlugin
