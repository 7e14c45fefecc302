"""Generators: they make dreams. One file each; trained by the project."""

from dreamer.generators.base import Generator, UntrainedError
from dreamer.generators.class_conditional_vae import ClassConditionalVAE

__all__ = ["ClassConditionalVAE", "Generator", "UntrainedError"]
