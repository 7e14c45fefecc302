"""Objectives: what the learner learns from a batch. One file each; pure functions of its output and of targets."""

from dreamer.objectives.asymmetric_cross_entropy import AsymmetricCrossEntropy
from dreamer.objectives.base import Objective, total_loss
from dreamer.objectives.cross_entropy import CrossEntropy
from dreamer.objectives.distillation import Distillation
from dreamer.objectives.feature_distillation import FeatureDistillation
from dreamer.objectives.hard_targets import HardTargets
from dreamer.objectives.logit_matching import LogitMatching
from dreamer.objectives.rectified_squares import RectifiedSquares
from dreamer.objectives.soft_targets import SoftTargets

__all__ = [
    "AsymmetricCrossEntropy",
    "CrossEntropy",
    "Distillation",
    "FeatureDistillation",
    "HardTargets",
    "LogitMatching",
    "Objective",
    "RectifiedSquares",
    "SoftTargets",
    "total_loss",
]
