"""Objectives: what the learner learns from a batch. One file each; pure functions of logits and targets."""

from dreamer.objectives.base import Objective, judge
from dreamer.objectives.cross_entropy import CrossEntropy
from dreamer.objectives.distillation import Distillation

__all__ = ["CrossEntropy", "Distillation", "Objective", "judge"]
