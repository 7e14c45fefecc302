"""A perturbation of your own: one class, used from Python, and named by its dotted path in a configuration.

    python examples/new_perturbation.py

Expect the last stage of a short run to use it (the folder of the run is below `runs/`):

    perturbed 8 samples, labels unchanged: True
    the last stage perturbs with: Stripes
    average accuracy > 0.7
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

import dreamer
from dreamer.perturbations.base import uniform


class Stripes:
    """Darken the image in vertical stripes; every sample draws its own phase.

    Args:
        depth: largest fraction of brightness that a stripe removes, in [0, 1].
        width: width of a stripe in pixels.

    Raises:
        ValueError: when ``depth`` is not in [0, 1].
    """

    space: Literal["pixel"] = "pixel"

    def __init__(self, depth: float = 0.5, width: float = 2.0):
        if not 0 <= depth <= 1:
            raise ValueError(f"expected a depth in [0, 1], got {depth}")
        self.depth = depth
        self.width = width

    def __call__(self, x: Tensor, p: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Perturb (B, C, H, W) images; labels stay."""
        phase = uniform(len(x), 0.0, 2 * torch.pi, x, rng)[:, None, None, None]
        column = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype) * torch.pi / self.width
        shade = 0.5 * self.depth * (1 + torch.sin(column + phase))
        return x * (1 - shade), p


if __name__ == "__main__":
    x, p = torch.rand(8, 1, 8, 8), torch.eye(10)[:8]
    striped, labels = Stripes()(x, p, torch.Generator().manual_seed(0))
    print(f"perturbed {len(striped)} samples, labels unchanged: {labels is p and not torch.equal(striped, x)}")

    # a configuration finds it by its dotted path; a wrong option of it would be refused before anything runs
    stripes = {"name": "new_perturbation.Stripes", "depth": 0.4}
    nights = [{"name": "nrem", "steps": 40}, {"name": "rem", "steps": 60, "perturbations": ["latent_mixing", stripes]}]
    results = dreamer.run("digits", {"wake": {"steps": 100}, "night": nights}, seed=2)
    perturbations = results["config"]["night"][-1]["perturbations"]
    print(f"the last stage perturbs with: {perturbations[-1]['name'].rpartition('.')[2]}")
    print(f"average accuracy {results['metrics']['average_accuracy']:.3f}")
