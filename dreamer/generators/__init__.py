"""Generators: they make dreams. One file each; trained beside the learner."""

from dreamer.generators.base import Generator, GeneratorSnapshot, UntrainedError
from dreamer.generators.brain_inspired import BrainInspired
from dreamer.generators.class_conditional_vae import ClassConditionalVAE
from dreamer.generators.feature_translation import FeatureTranslation
from dreamer.generators.flow_matching import FlowMatching
from dreamer.generators.gan import GAN
from dreamer.generators.latent_gaussians import LatentGaussians
from dreamer.generators.model_inversion import ModelInversion
from dreamer.generators.own_words import OwnWords
from dreamer.generators.vae import VAE
from dreamer.generators.vae_per_class import VAEPerClass

__all__ = [
    "GAN",
    "VAE",
    "BrainInspired",
    "ClassConditionalVAE",
    "GeneratorSnapshot",
    "FeatureTranslation",
    "FlowMatching",
    "Generator",
    "LatentGaussians",
    "ModelInversion",
    "OwnWords",
    "UntrainedError",
    "VAEPerClass",
]
