"""Plain modules to start from; any ``nn.Module`` that maps (B, *S) samples to logits serves as a learner."""

from dreamer.core.sampling import Writer
from dreamer.networks.backbone import Backbone
from dreamer.networks.base import Embeds, Featured
from dreamer.networks.causal_lm import CausalLM
from dreamer.networks.decoder import Decoder
from dreamer.networks.heads import GrowingHead
from dreamer.networks.likelihood_classifier import LikelihoodClassifier
from dreamer.networks.mlp import MLP
from dreamer.networks.nearest_class_mean import NearestClassMean
from dreamer.networks.random_fourier_lda import RandomFourierLDA
from dreamer.networks.random_projection_ridge import RandomProjectionRidge
from dreamer.networks.resnet18 import ResNet18
from dreamer.networks.small_conv import SmallConv
from dreamer.networks.streaming_lda import StreamingLDA
from dreamer.networks.whitened_linear import WhitenedLinear

__all__ = [
    "MLP",
    "Backbone",
    "CausalLM",
    "Decoder",
    "Embeds",
    "Featured",
    "GrowingHead",
    "LikelihoodClassifier",
    "NearestClassMean",
    "RandomFourierLDA",
    "RandomProjectionRidge",
    "ResNet18",
    "SmallConv",
    "StreamingLDA",
    "WhitenedLinear",
    "Writer",
]
