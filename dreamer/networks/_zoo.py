"""Networks of torchvision and timm by name. Both are imported here, inside a function; nothing is downloaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dreamer.core.suggest import nearest


def headless(name: str) -> tuple[nn.Module, frozenset[str]]:
    """An untrained network without its last layer, and the keys that its state has lost with it.

    Args:
        name: of a classifier of torchvision (``resnet18``), or else of timm.

    Raises:
        ValueError: when neither has one of that name, or it does not end in a linear layer.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name in known:
        # a second classifier in the middle would give outputs beside the last one's while training
        single = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        network = models.get_model(name, weights=None, **single)
        return _cut(network, name)
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
    return made, frozenset(whole - set(made.state_dict()))


def load_weights(network: nn.Module, path: str | Path, spare: frozenset[str] = frozenset()) -> None:
    """Load a state dictionary that ``torch.save`` wrote, safely.

    Args:
        spare: keys that may be there and are left aside.

    Raises:
        ValueError: when there is no such file, or it holds other weights.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
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


def _cut(network: nn.Module, name: str) -> tuple[nn.Module, frozenset[str]]:
    last = list(network.named_modules())[-1][0]
    linear = [path for path, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1] != last:
        raise ValueError(f"{name} does not end in a linear layer: build it yourself, without its head, and pass it")
    whole = set(network.state_dict())
    above, _, attribute = last.rpartition(".")
    setattr(network.get_submodule(above), attribute, nn.Identity())
    return network, frozenset(whole - set(network.state_dict()))
