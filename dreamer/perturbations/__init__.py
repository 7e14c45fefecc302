"""Perturbations of samples, texts, embeddings, latent codes and noise. One file each."""

from dreamer.perturbations.adversarial import Adversarial
from dreamer.perturbations.affine import Affine
from dreamer.perturbations.base import Perturbation, bound, perturb, scaled
from dreamer.perturbations.colour import Colour
from dreamer.perturbations.crop_flip import CropFlip
from dreamer.perturbations.cut_mix import CutMix
from dreamer.perturbations.embedded import Embedded
from dreamer.perturbations.infill_spans import InfillSpans
from dreamer.perturbations.latent_jitter import LatentJitter
from dreamer.perturbations.latent_mixing import LatentMixing
from dreamer.perturbations.mask_spans import MaskSpans
from dreamer.perturbations.mix_prompts import MixPrompts
from dreamer.perturbations.mixup import Mixup
from dreamer.perturbations.noise import Noise
from dreamer.perturbations.occlusion import Occlusion
from dreamer.perturbations.recombine_segments import RecombineSegments
from dreamer.perturbations.shuffle_segments import ShuffleSegments
from dreamer.perturbations.swap_opening import SwapOpening
from dreamer.perturbations.temperature import Temperature

__all__ = [
    "Adversarial",
    "Affine",
    "Colour",
    "CropFlip",
    "CutMix",
    "Embedded",
    "InfillSpans",
    "LatentJitter",
    "LatentMixing",
    "MaskSpans",
    "MixPrompts",
    "Mixup",
    "Noise",
    "Occlusion",
    "Perturbation",
    "RecombineSegments",
    "ShuffleSegments",
    "SwapOpening",
    "Temperature",
    "perturb",
    "bound",
    "scaled",
]
