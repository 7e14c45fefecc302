"""What all networks have in common: a size in bytes, how they are called, frozen copies that teach, new weights."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dreamer.core.types import Output


@runtime_checkable
class Featured(Protocol):
    """A network that can be entered and left before its last layers: ``forward(x) == classify(features(x))``.

    Parts that match, replay or generate internal representations need one; all others take any ``nn.Module``.
    """

    def features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, H) features."""
        ...

    def classify(self, h: Tensor) -> Tensor:
        """Map (B, H) features to (B, K) logits."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """A network of texts that takes embeddings in place of tokens: ``forward(x) == forward(embed(x))``."""

    def embed(self, x: Tensor) -> Tensor:
        """Map (B, T) int64 tokens to their (B, T, D) embeddings, without anything of their positions."""
        ...


class TrunkAndHead(nn.Module):
    """A network whose trunk gives features, which its head classifies: :class:`Featured`."""

    trunk: nn.Module
    head: nn.Module

    def features(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, H) features."""
        return self.trunk(x)

    def classify(self, h: Tensor) -> Tensor:
        """Map (B, H) features to (B, K) logits."""
        return self.head(h)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, *S) samples to (B, K) logits."""
        return self.classify(self.features(x))


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(part, "shape", None) for name, part in state.items()}


def copied(network: nn.Module) -> nn.Module:
    """A copy of a network; what watches it by a hook is the same for both.

    A hook that is a method would otherwise take the object that it belongs to with it, a Trainer perhaps.
    """
    own = {id(part) for part in network.modules()}
    hooks = [
        hook
        for part in network.modules()
        for held in (part._forward_hooks, part._forward_pre_hooks)
        for hook in held.values()
    ]
    owners = [getattr(hook, "__self__", None) for hook in hooks]
    return copy.deepcopy(network, {id(owner): owner for owner in owners if owner is not None and id(owner) not in own})


class Frozen(nn.Module):
    """A frozen copy of a network, which always runs in evaluation mode.

    It sits inside the Lightning module, so it moves to the training device and is saved with it.

    Raises:
        ValueError: when it cannot be copied.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        try:
            self.network = copied(network).requires_grad_(False)
        except Exception as error:  # whatever a part of somebody else's raises when it is copied
            raise ValueError(
                f"a frozen copy of the learner is needed, but {type(network).__name__} cannot be copied ({error}): "
                "keep what cannot be copied out of the network, or give it a __deepcopy__"
            ) from error

    @torch.no_grad()
    def copy_from(self, network: nn.Module) -> None:
        """Take over the state of a network of the same architecture; one that has grown since is copied anew."""
        state = network.state_dict()
        if _shapes(state) == _shapes(self.network.state_dict()):
            self.network.load_state_dict(state)
        else:
            self.network = Frozen(network).network

    @property
    def nbytes(self) -> int:
        """Bytes of the parameters and buffers, without those that it has in common with the learner."""
        return module_bytes(self.network) - int(getattr(self.network, "common_bytes", 0))

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """The copied network's output, without gradients."""
        return self._at_rest(self.network, *args, **kwargs)

    def features(self, x: Tensor) -> Tensor:
        """The copied network's (B, H) features, without gradients."""
        return self._at_rest(featured(self.network).features, x)

    def classify(self, h: Tensor) -> Tensor:
        """The copied network's (B, K) logits for (B, H) features, without gradients."""
        return self._at_rest(featured(self.network).classify, h)

    @torch.no_grad()
    def _at_rest(self, call: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        # evaluation mode only while it runs: Lightning warns of modules that are found in it when a fit starts
        self.network.eval()
        output = call(*args, **kwargs)
        self.network.train()
        return output


def featured(network: nn.Module) -> Any:
    """The network itself, when it can be entered and left before its last layers; else a ``ValueError``."""
    if not isinstance(network, Featured):
        raise ValueError(
            "expected a network with the methods features(x) and classify(h), as dreamer.networks.MLP has them, "
            f"got {type(network).__name__}"
        )
    return network


def embeds(network: nn.Module) -> Embeds:
    """The network itself, when it takes embeddings in place of tokens; else a ``ValueError``."""
    if not isinstance(network, Embeds):
        raise ValueError(
            "expected a network that takes embeddings in place of tokens, with the method embed(x), as "
            f"dreamer.networks.Decoder has it, got {type(network).__name__}"
        )
    return network


def forward(network: nn.Module, x: Tensor, is_features: bool = False, features: bool = False) -> Output:
    """Call a network.

    Args:
        network: maps (B, *S) to (B, K).
        x: (B, *S) samples, or (B, H) features when ``is_features``.

    Raises:
        ValueError: when features are involved and the network has none (see :class:`Featured`).
    """
    if not is_features and not features:
        return Output(at_least_float32(network(x)))
    h = x if is_features else featured(network).features(x)
    return Output(at_least_float32(featured(network).classify(h)), at_least_float32(h))


def dummy_input(network: nn.Module, sample_shape: Sequence[int], count: int = 1) -> Tensor:
    """(count, *S) zeros that a network takes: of its own floating type, int64 where it begins with an embedding."""
    device, dtype = torch.device("cpu"), torch.float32
    layers = _layers(network)
    if layers:
        weight = next(layers[0].parameters(recurse=False))
        whole = isinstance(layers[0], nn.Embedding | nn.EmbeddingBag)
        device, dtype = weight.device, torch.int64 if whole else weight.dtype
    return torch.zeros(count, *sample_shape, device=device, dtype=dtype)


def feature_shape(network: nn.Module, sample_shape: Sequence[int]) -> tuple[int, ...]:
    """(H,), the shape of a network's features for samples of shape *S."""
    features = forward(Frozen(network), dummy_input(network, sample_shape), features=True).features
    assert features is not None
    return tuple(features.shape[1:])


def at_least_float32(x: Tensor) -> Tensor:
    """A tensor in float32 at least.

    The loss of an output in half precision has to be computed in float32: on a CPU autocast leaves softmax and sums in
    half, which is too coarse to learn from.
    """
    return x if x.dtype == torch.float32 else x.to(torch.promote_types(x.dtype, torch.float32))


def doubled(x: Tensor) -> Tensor:
    """A tensor in float64, on the CPU where its own device has no such numbers (MPS)."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def plain_name(name: str) -> str:
    """The name of a parameter or buffer, whether the network is compiled or not."""
    return name.replace("_orig_mod.", "")


def check_resettable(network: nn.Module) -> None:
    """Raise a ValueError when a submodule holds parameters of its own but has no ``reset_parameters``."""
    for module in _layers(network, learning=True):
        if not hasattr(module, "reset_parameters"):
            raise ValueError(
                "a learner that is trained from scratch needs reset_parameters() in every layer, "
                f"{type(module).__name__} has none"
            )


def reset_parameters(network: nn.Module) -> None:
    """Draw new initial weights from torch's global generator, layer by layer with their ``reset_parameters``.

    Layers that are frozen, as those of a pretrained backbone, stay as they are.
    """
    for module in _layers(network, learning=True):
        module.reset_parameters()


@torch.no_grad()
def move_towards(network: nn.Module, other: nn.Module, fraction: float) -> None:
    """Move weights and running statistics that fraction of the way to those of a network of the same architecture.

    Outputs that have come since the other was copied stay as they are.

    >>> network, other = nn.Linear(1, 1), nn.Linear(1, 1)
    >>> _ = nn.init.constant_(network.weight, 1.0), nn.init.constant_(other.weight, 3.0)
    >>> move_towards(network, other, 0.25)
    >>> network.weight.item()
    1.5
    """
    there = dict(itertools.chain(other.named_parameters(), other.named_buffers()))
    for name, tensor in itertools.chain(network.named_parameters(), network.named_buffers()):
        if tensor.is_floating_point() and name in there:
            common = tuple(slice(0, size) for size in there[name].shape)
            tensor[common].lerp_(there[name].to(tensor), fraction)


def _layers(network: nn.Module, learning: bool = False) -> list[Any]:
    """The submodules that hold parameters of their own, or, with ``learning``, some that are to be trained."""
    own = [(module, list(module.parameters(recurse=False))) for module in network.modules()]
    return [module for module, some in own if (any(p.requires_grad for p in some) if learning else some)]


def module_bytes(module: nn.Module) -> int:
    """Bytes of the parameters and buffers of a module."""
    return sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
