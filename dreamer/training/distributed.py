"""What the processes of one run send each other. Each of them has to call the collective functions, or all wait."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, distributed
from torch.utils import _pytree

if TYPE_CHECKING:
    from dreamer.memory import Memory

T = TypeVar("T")


def all_gather(own: T) -> list[T]:
    """The same of every process, by rank, tensors on the CPU; what is given alone where there is one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    found: list[Any] = [None] * distributed.get_world_size()
    # tensors would be unpacked on the device of the process that sent them
    distributed.all_gather_object(found, _pytree.tree_map_only(Tensor, lambda value: value.cpu(), own))
    return found


def restore(memory: Memory, states: Sequence[dict[str, Any]]) -> None:
    """Fill this process's memory from a checkpoint; not collective.

    Args:
        states: of the processes that were there when it was written. As many as now: each takes its own, and continues
            as if nothing had happened. Else they are dealt out anew.

    Raises:
        ValueError: when they hold more than fits.
    """
    memory.load_state_dict(states[memory.rank] if len(states) == memory.ranks else memory.dealt(states))


def rebalance(memory: Memory, device: torch.device) -> None:
    """Before a night, deal all samples anew where one process has nothing to replay and others have.

    Raises:
        ValueError: (on all) when there is not enough for each.
    """
    sizes = all_gather(len(memory)) if memory.ranks > 1 else []
    if all(sizes) or not any(sizes):
        return
    memory.load_state_dict(memory.dealt(all_gather(memory.state_dict())))
    memory.to(device)
    if not all(all_gather(len(memory))):
        raise ValueError(
            f"expected a memory with something to replay on each of {memory.ranks} devices, got {sum(sizes)} in all"
        )


def held_elsewhere(memory: Memory) -> int:
    """Bytes that the memories of the other processes hold."""
    return sum(all_gather(memory.nbytes)) - memory.nbytes if memory.ranks > 1 else 0


def mean_over_ranks(trainer: Any, value: Tensor) -> Tensor:
    """The mean of the same tensor on all processes of a Trainer, so that each of them decides the same."""
    mean: Tensor = trainer.strategy.reduce(value.detach().clone(), reduce_op="mean")
    return mean


def allow_idle_parameters(strategy: Any) -> None:
    """Keep DDP from waiting for gradients of parameters that a stage does not use, such as the generator's at night."""
    if isinstance(strategy, DDPStrategy):
        # Lightning has no public way once the Trainer is built; what the user has set counts
        strategy._ddp_kwargs.setdefault("find_unused_parameters", True)
