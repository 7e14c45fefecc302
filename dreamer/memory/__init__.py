"""Memories: what is kept of the day. One file each."""

from dreamer.memory.base import Memory
from dreamer.memory.class_balanced import ClassBalanced
from dreamer.memory.reservoir import Reservoir

__all__ = ["ClassBalanced", "Memory", "Reservoir"]
