"""Explicit randomness: every random number is drawn from a generator seeded by where it is needed.

Nothing depends on how many numbers were drawn before, so a run that is killed and resumed dreams the same dreams,
and two strategies with the same seed see the same data in the same order.
"""

from __future__ import annotations

from enum import IntEnum

import torch

_MASK = (1 << 64) - 1


class Purpose(IntEnum):
    """What random numbers are for; two purposes never use the same numbers."""

    ORDER = 1
    DREAM = 2
    PERTURB = 3
    MEMORY = 4
    END_EXPERIENCE = 6
    NETWORK = 7
    SPLIT = 8
    INIT = 9
    GALLERY = 10
    PLASTICITY = 11
    BLUR = 12
    REPEAT = 13
    CUT = 14
    EVALUATION = 15
    DREAM_QUALITY = 16
    TEXT = 17
    PATCHES = 18


def mix(*keys: int) -> int:
    """Fold integers into one 64-bit seed (the finaliser of SplitMix64, Steele et al. 2014, after every key)."""
    state = 0x9E3779B97F4A7C15
    for key in keys:
        state = (state ^ (key & _MASK)) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state & 0x7FFF_FFFF_FFFF_FFFF


def randoms(seed: int, purpose: Purpose, *keys: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator for one purpose at one place, e.g. ``randoms(seed, Purpose.DREAM, stage, step)``.

    Args:
        keys: where they are needed (experience, stage, step, rank ...), any integers.
    """
    generator = torch.Generator(device=device)
    # a CPU generator looks at 32 bits of its seed only; mix() has spread every key over them
    return generator.manual_seed(mix(seed, int(purpose), *keys))


def seed_global(seed: int, device: torch.device) -> None:
    """Seed torch's global generators, from which dropout and initial weights are drawn."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
