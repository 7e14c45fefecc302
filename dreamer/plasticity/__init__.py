"""Plasticity: what acts on the learner's weights rather than on its outputs. One file each."""

from dreamer.plasticity.base import Plasticity
from dreamer.plasticity.downscaling import Downscaling
from dreamer.plasticity.moving_average import MovingAverage
from dreamer.plasticity.synaptic_intelligence import SynapticIntelligence

__all__ = ["Downscaling", "MovingAverage", "Plasticity", "SynapticIntelligence"]
