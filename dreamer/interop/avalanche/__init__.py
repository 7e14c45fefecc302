"""Avalanche, both ways: its benchmarks as streams, our nights in its strategies, its strategies in our comparisons."""
