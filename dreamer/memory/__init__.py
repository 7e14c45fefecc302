"""Memories: what is kept of the day. One file each."""

from dreamer.memory.base import Buffer, Memory
from dreamer.memory.class_balanced import ClassBalanced
from dreamer.memory.class_statistics import ClassStatistics
from dreamer.memory.greedy import Greedy
from dreamer.memory.herding import Herding
from dreamer.memory.latent_codes import LatentCodes
from dreamer.memory.reservoir import Reservoir
from dreamer.memory.ring import Ring

__all__ = [
    "Buffer",
    "ClassBalanced",
    "ClassStatistics",
    "Greedy",
    "Herding",
    "LatentCodes",
    "Memory",
    "Reservoir",
    "Ring",
]
