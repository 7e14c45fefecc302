"""Avalanche, both ways: its benchmarks as streams, our nights in its strategies, its strategies in our comparisons."""

from dreamer.interop.avalanche.benchmarks import from_benchmark
from dreamer.interop.avalanche.plugin import DreamPlugin

__all__ = ["DreamPlugin", "from_benchmark"]
