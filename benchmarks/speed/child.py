"""What a process of its own does for a measurement::

python -m benchmarks.speed.child digits    # torch, Lightning, a bare loop over the digits
python -m benchmarks.speed.child bare      # torch alone, a bare loop over 40,000 pictures
python -m benchmarks.speed.child ours      # a run over the same
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 60


def main() -> None:
    """Do what the command line says."""
    {"digits": _digits, "bare": _bare, "ours": _ours}[sys.argv[1]]()


def _perceptron(*sizes: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _train(learner: tuple[nn.Module, torch.optim.Optimizer], x: Tensor, y: Tensor, batch: int, steps: int) -> None:
    network, optimizer = learner
    done = 0
    while done < steps:
        for index in torch.randperm(len(x)).split(batch)[: steps - done]:
            optimizer.zero_grad()
            batch_x = x[index].float() / 255 if x.dtype == torch.uint8 else x[index]
            functional.cross_entropy(network(batch_x), y[index]).backward()
            optimizer.step()
            done += 1


def _digits() -> None:
    """The steps and evaluations of ``dreamer run digits fine_tune``."""
    import pytorch_lightning  # noqa: F401  # its import is a part of what is timed

    from benchmarks.speed.loops import as_without_lightning
    from dreamer.streams import digits

    experiences: Any = digits().experiences
    network = _perceptron(64, 200, 200, 10)
    learner = network, torch.optim.Adam(network.parameters())
    with as_without_lightning():
        for experience in experiences:
            _train(learner, experience.train.x, experience.train.y, 64, 400)
            with torch.no_grad():
                for other in experiences:
                    (network(other.test.x).argmax(dim=1) == other.test.y).float().mean()


def _pictures() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    shape = (40_000, 1, 28, 28)
    return torch.randint(256, shape, generator=rng, dtype=torch.uint8), torch.randint(10, shape[:1], generator=rng)


def _bare() -> None:
    network = _perceptron(784, 400, 400, 10)
    _train((network, torch.optim.Adam(network.parameters())), *_pictures(), 128, _STEPS)


def _ours() -> None:
    from benchmarks.speed.loops import fit
    from dreamer.networks import MLP
    from dreamer.stages import Wake
    from dreamer.streams.base import TensorSamples, make_stream
    from dreamer.training.module import WakeSleepModule

    samples = TensorSamples(*_pictures(), scale=1 / 255)
    stream = make_stream("pictures", [(samples, samples.subset(torch.arange(100)))], validation=0)
    network = MLP(stream.sample_shape, stream.num_classes)
    fit(WakeSleepModule(network, Wake(steps=_STEPS)), stream)


if __name__ == "__main__":
    main()
