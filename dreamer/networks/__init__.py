"""Plain modules to start from; any ``nn.Module`` that maps (B, *S) to (B, K) logits serves as a learner."""

from dreamer.networks.mlp import MLP
from dreamer.networks.small_conv import SmallConv

__all__ = ["MLP", "SmallConv"]
