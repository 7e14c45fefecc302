"""Perturbations: they bend a dream. One file each; parameters are drawn per sample from the passed generator."""

from dreamer.perturbations.affine import Affine
from dreamer.perturbations.base import Perturbation, bend
from dreamer.perturbations.latent_mixing import LatentMixing
from dreamer.perturbations.noise import Noise
from dreamer.perturbations.occlusion import Occlusion

__all__ = ["Affine", "LatentMixing", "Noise", "Occlusion", "Perturbation", "bend"]
