"""Networks by name, and weights from files. torchvision, timm and safetensors are imported here, inside functions.

Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import importlib.util
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dreamer.core.suggest import nearest
from dreamer.networks._efficientnet_lite import EfficientNetLite0

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_TIMM = "timm/"
_COUNTER = "num_batches_tracked"


class Headless(NamedTuple):
    """An untrained network without its last layer.

    Attributes:
        spare: the keys that its state has lost with that layer.
        mean: what the network wants to be taken off each channel of pixels in [0, 1].
        std: by what it wants them to be divided then.
    """

    network: nn.Module
    spare: frozenset[str]
    mean: tuple[float, ...] = _IMAGENET[0]
    std: tuple[float, ...] = _IMAGENET[1]


def headless(name: str) -> Headless:
    """A network by name, without its last layer.

    Args:
        name: ``efficientnet_lite0``, or of a classifier of torchvision (``resnet18``), or else of timm;
            ``timm/efficientnet_lite0`` is timm's, whoever else has one of that name.

    Raises:
        ValueError: when nobody has one of that name, or it does not end in a linear layer.
    """
    from torchvision import models

    if name == "efficientnet_lite0":
        lite = EfficientNetLite0()
        spare = frozenset(lite.state_dict()) - frozenset(EfficientNetLite0(outputs=None).state_dict())
        lite._fc = nn.Identity()
        return Headless(lite, spare, (127 / 255,) * 3, (128 / 255,) * 3)
    known = models.list_models(module=models)
    if name in known:
        # a second classifier in the middle would give outputs beside the last one's while training
        single = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        network = models.get_model(name, weights=None, **single)
        return Headless(*_cut(network, name))
    name = name.removeprefix(_TIMM)
    if importlib.util.find_spec("timm") is None:
        near = nearest(name, known)
        hint = "" if near is None else f", whose nearest is {near!r}"
        raise ValueError(f"torchvision has no network {name!r}{hint}; if it is one of timm's: pip install timm")
    import timm

    if not timm.is_model(name):
        near = nearest(name, [*known, *timm.list_models()])
        hint = "" if near is None else f"; did you mean {near!r}?"
        raise ValueError(f"neither torchvision nor timm has a network {name!r}{hint}")
    made: Any = timm.create_model(name, pretrained=False)
    whole = set(made.state_dict())
    made.reset_classifier(0)
    # what the authors normalised with stands beside each of timm's networks
    mean, std = made.pretrained_cfg["mean"], made.pretrained_cfg["std"]
    return Headless(made, frozenset(whole - set(made.state_dict())), tuple(mean), tuple(std))


def load_weights(network: nn.Module, path: str | Path, spare: frozenset[str] = frozenset()) -> None:
    """Load a state dictionary that ``torch.save`` or safetensors wrote, safely.

    It may lie in a checkpoint, under ``state_dict``, ``model`` or any other key, and its keys may have a prefix in
    common, such as ``module.`` of a data-parallel model or ``model.`` of a LightningModule; what has another prefix
    belongs to other parts and is left aside. Counters of batches that old files lack are not needed.

    Args:
        path: a file that ends in ``.safetensors`` is read as one, any other as one of torch.
        spare: keys that may be there and are left aside, and whatever else stands under the same layers.

    Raises:
        ValueError: when there is no such file, or it holds other weights, several networks that fit, or weights that
            are not finite.
    """
    try:
        loaded = _read(Path(path))
    except Exception as error:  # damaged files make torch raise errors of many types
        why = _reason(error)
        raise ValueError(f"cannot read weights in {str(path)!r}: expected a state dict of tensors ({why})") from error
    states = _states(loaded)
    if not states:
        raise ValueError(
            f"expected a state dict of tensors in {str(path)!r}, got a {type(loaded).__name__} without one"
        )
    wanted = network.state_dict()
    layers = tuple(key.rpartition(".")[0] + "." for key in spare)
    found = [own for state in states for own in _unprefixed(state, wanted)]
    # keys alone: a wrong shape is said of the state whose keys fit
    differing = [_differing(own, wanted, layers) for own in found]
    fits = [own for own, wrong in zip(found, differing, strict=True) if not wrong]
    if not fits:
        wrong = min(differing, key=len)
        raise ValueError(
            f"the weights in {str(path)!r} are not those of this {type(network).__name__}: {len(wrong)} keys differ, "
            f"{wrong[0]!r} is the first"
        )
    own = {key: value for key, value in fits[0].items() if key in wanted}
    if any(not _equal(own, other) for other in fits[1:]):
        raise ValueError(
            f"{str(path)!r} holds {len(fits)} networks that fit: expected a file with the state dict of one of them"
        )
    unfit = next((key for key, value in own.items() if not value.isfinite().all()), None)
    if unfit is not None:
        raise ValueError(f"the weights in {str(path)!r} hold NaN or infinity, {unfit!r} is the first")
    network.load_state_dict({**wanted, **own})


def _states(loaded: Any) -> list[dict[str, Tensor]]:
    """The state dicts of a file: what it holds itself, or what lies under the keys of a checkpoint."""
    if not isinstance(loaded, Mapping):
        return []
    named = [value for value in loaded.values() if isinstance(value, Mapping)]
    tensors = [
        {key: value for key, value in each.items() if isinstance(key, str) and isinstance(value, Tensor)}
        for each in [loaded, *named]
    ]
    return [each for each in tensors if each]


def _unprefixed(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The parts of a state that may be the network's: under each prefix that any of its keys has."""
    first = next((key for key in wanted if not key.endswith(_COUNTER)), "")
    prefixes = sorted(key.removesuffix(first) for key in state if key == first or key.endswith("." + first))
    return [
        {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        for prefix in prefixes or [""]
    ]


def _differing(own: Mapping[str, Tensor], wanted: Mapping[str, Tensor], layers: tuple[str, ...]) -> list[str]:
    """Keys that only one side has, or that have another shape there."""
    there = {key for key in own if key in wanted or not key.startswith(layers)}
    needed = {key for key in wanted if key in own or not key.endswith(_COUNTER)}
    wrong = sorted(there ^ needed)
    return wrong + sorted(key for key in there & needed if own[key].shape != wanted[key].shape)


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(key in other and torch.equal(value, other[key]) for key, value in one.items())


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        if "GLOBAL" not in str(error):
            return "torch.save did not write it"
        return (
            "it holds objects of other kinds, which are not loaded because they may run code; if you trust it, save "
            "the state_dict() of what torch.load(..., weights_only=False) gives"
        )
    return " ".join(str(error).split())[:120]


def _read(path: Path) -> Any:
    if path.suffix != ".safetensors":
        # the arguments that many training scripts save beside the weights are plain values
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            # of archives of TorchScript, which are refused in the next moment
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    if importlib.util.find_spec("safetensors") is None:
        raise ValueError("safetensors is not installed: pip install 'dreamer[backbones]'")
    from safetensors.torch import load_file

    return load_file(path)


def _cut(network: nn.Module, name: str) -> tuple[nn.Module, frozenset[str]]:
    last = list(network.named_modules())[-1][0]
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1] != last:
        raise ValueError(f"{name} does not end in a linear layer: build it yourself, without its head, and pass it")
    whole = set(network.state_dict())
    above, _, attribute = last.rpartition(".")
    setattr(network.get_submodule(above), attribute, nn.Identity())
    return network, frozenset(whole - set(network.state_dict()))
