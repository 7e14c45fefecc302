"""What a Trainer of Lightning's other import tree is told."""

from __future__ import annotations

import sys
from typing import Any

_OTHER = "lightning.pytorch"


class OfOneTree:
    """A module for Trainers of ``pytorch_lightning`` alone.

    Those of ``lightning.pytorch`` are other classes, and would only say that this is no LightningModule. The first
    thing that they do with a module is to ask for its class.
    """

    def _class(self) -> type:
        asked_by = sys._getframe(1).f_globals.get("__name__", "")
        if asked_by.startswith(f"{_OTHER}."):
            raise TypeError(
                f"a {type(self).__name__} is trained by a Trainer of pytorch_lightning, got one of {_OTHER}: expected "
                "'from pytorch_lightning import Trainer', and callbacks and loggers from there too"
            )
        return type(self)

    def _set_class(self, kind: type) -> None:
        descriptor: Any = object.__dict__["__class__"]
        descriptor.__set__(self, kind)

    __class__ = property(_class, _set_class)
