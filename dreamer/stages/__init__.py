"""Stages of wake and sleep. One readable file each; a stage returns losses and never calls backward."""

from dreamer.stages.absorb import Absorb
from dreamer.stages.hebbian import Hebbian
from dreamer.stages.nrem import NREM
from dreamer.stages.rem import REM
from dreamer.stages.wake import Wake

__all__ = ["NREM", "REM", "Absorb", "Hebbian", "Wake"]
