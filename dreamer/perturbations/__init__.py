"""Perturbations of samples, latent codes and noise. One file each; parameters are drawn per sample."""

from dreamer.perturbations.adversarial import Adversarial
from dreamer.perturbations.affine import Affine
from dreamer.perturbations.base import Perturbation, bound, perturb, scaled
from dreamer.perturbations.colour import Colour
from dreamer.perturbations.crop_flip import CropFlip
from dreamer.perturbations.cut_mix import CutMix
from dreamer.perturbations.latent_jitter import LatentJitter
from dreamer.perturbations.latent_mixing import LatentMixing
from dreamer.perturbations.mixup import Mixup
from dreamer.perturbations.noise import Noise
from dreamer.perturbations.occlusion import Occlusion
from dreamer.perturbations.temperature import Temperature

__all__ = [
    "Adversarial",
    "Affine",
    "Colour",
    "CropFlip",
    "CutMix",
    "LatentJitter",
    "LatentMixing",
    "Mixup",
    "Noise",
    "Occlusion",
    "Perturbation",
    "Temperature",
    "perturb",
    "bound",
    "scaled",
]
