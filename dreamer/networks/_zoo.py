"""Networks by name, and weights from files. torchvision, timm and safetensors are imported here, inside functions.

Nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from dreamer.core.suggest import nearest
from dreamer.networks._efficientnet_lite import EfficientNetLite0

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_TIMM = "timm/"


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

    Args:
        path: a file that ends in ``.safetensors`` is read as one, any other as one of torch.
        spare: keys that may be there and are left aside.

    Raises:
        ValueError: when there is no such file, or it holds other weights.
    """
    try:
        state = _read(Path(path))
    except Exception as error:  # damaged files make torch raise errors of many types
        why = " ".join(str(error).split())[:120]
        raise ValueError(f"cannot read weights in {str(path)!r}: expected a state dict of tensors ({why})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    wanted = network.state_dict()
    own = {key: value for key, value in state.items() if key not in spare} if isinstance(state, dict) else {}
    wrong = sorted(set(own) ^ set(wanted))
    wrong += sorted(key for key in set(own) & set(wanted) if own[key].shape != wanted[key].shape)
    if wrong:
        raise ValueError(
            f"the weights in {str(path)!r} are not those of this {type(network).__name__}: {len(wrong)} keys differ, "
            f"{wrong[0]!r} is the first"
        )
    network.load_state_dict(own)


def _read(path: Path) -> Any:
    if path.suffix != ".safetensors":
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
