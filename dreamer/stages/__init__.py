"""Stages: wake, NREM, REM. One readable file each; a stage returns losses and never calls backward."""

from dreamer.stages.nrem import NREM
from dreamer.stages.rem import REM
from dreamer.stages.wake import Wake

__all__ = ["NREM", "REM", "Wake"]
