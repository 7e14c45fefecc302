"""What public scripts find outside themselves when they are run here: small data, and a stand-in for ``lightly``.

    python -m tests.helpers.public_script script.py '["--trainer.max_epochs=1"]' '["--trainer.max_epochs=2"]'

runs a script twice in the current folder, with one list of arguments after the other. In between, its newest checkpoint
is loaded into its module, and the second time ``Trainer.fit`` resumes from it. Arguments without dashes are the
environment's, as ``PL_TRAINER_MAX_STEPS=4``, which Lightning reads. What the checkpoints say is the last line printed.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import runpy
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision import transforms

from dreamer.streams import digits


class SmallImages(torch.utils.data.Dataset[Any]):
    """The embedded digits, enlarged, over and over, with the signature of a torchvision data set."""

    count, test_count, side, mode = 0, 0, 0, ""

    def __init__(self, root: str, train: bool = True, download: bool = False, transform: Any = None):
        stream = digits(1, shuffle=False)
        split = stream.experiences[0].train if train else stream.experiences[0].test
        self.x, self.y = split.x, split.y
        self.length = self.count if train else self.test_count
        self.transform = transform

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Any, int]:
        if index >= self.length:
            raise IndexError(index)
        large = functional.interpolate(self.x[index % len(self.x)][None], size=(self.side, self.side))[0, 0]
        image = Image.fromarray((255 * large).byte().numpy()).convert(self.mode)
        return image if self.transform is None else self.transform(image), int(self.y[index % len(self.y)])


class MNIST(SmallImages):
    """As many samples as the script expects."""

    count, test_count, side, mode = 60_000, 10_000, 28, "L"


class CIFAR10(SmallImages):
    """Two batches of the script's."""

    count, test_count, side, mode = 512, 256, 32, "RGB"


def lightly() -> dict[str, ModuleType]:
    """As much of the package as SimSiam needs (Chen and He 2021, arXiv 2011.10566), where it is not installed."""

    class NegativeCosineSimilarity(nn.Module):
        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return -functional.cosine_similarity(one, other).mean()

    def head(sizes: list[int], last: list[nn.Module]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for before, after in zip(sizes[:-2], sizes[1:-1], strict=True):
            layers += [nn.Linear(before, after, bias=False), nn.BatchNorm1d(after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(*sizes[-2:]), *last)

    def projection(before: int, hidden: int, after: int) -> nn.Sequential:
        return head([before, hidden, hidden, after], [nn.BatchNorm1d(after)])

    def prediction(before: int, hidden: int, after: int) -> nn.Sequential:
        return head([before, hidden, after], [])

    class Views:
        def __init__(self, input_size: int):
            window = transforms.RandomResizedCrop(input_size, scale=(0.5, 1.0))
            self.view = transforms.Compose([window, transforms.RandomHorizontalFlip(), transforms.ToTensor()])

        def __call__(self, image: Any) -> list[Tensor]:
            return [self.view(image), self.view(image)]

    contents: dict[str, dict[str, Any]] = {
        "lightly": {},
        "lightly.loss": {"NegativeCosineSimilarity": NegativeCosineSimilarity},
        "lightly.models": {},
        "lightly.models.modules": {"SimSiamProjectionHead": projection, "SimSiamPredictionHead": prediction},
        "lightly.transforms": {"SimSiamTransform": Views},
    }
    modules = {name: ModuleType(name) for name in contents}
    for name, members in contents.items():
        vars(modules[name]).update(members)
    return modules


def tree(script: Path) -> Any:
    """The one of Lightning's import trees that a script is written for."""
    name = "lightning.pytorch" if "lightning.pytorch" in script.read_text() else "pytorch_lightning"
    return importlib.import_module(name)


def run(script: Path, arguments: list[str], ckpt_path: Path | None) -> dict[str, Any]:
    """Run a script as the main program, and give back its names."""
    words = [word for word in arguments if word.startswith("--")]
    environment = dict(word.split("=", 1) for word in arguments if not word.startswith("--"))
    trainer = tree(script).Trainer
    fit = trainer.fit if ckpt_path is None else functools.partialmethod(trainer.fit, ckpt_path=ckpt_path)
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.dict(sys.modules, lightly()),
        mock.patch.object(sys, "argv", [str(script), *words]),
        mock.patch.object(torchvision.datasets, "MNIST", MNIST),
        mock.patch.object(torchvision.datasets, "CIFAR10", CIFAR10),
        mock.patch.object(trainer, "fit", fit),
    ):
        return runpy.run_path(str(script), run_name="__main__")


def newest() -> Path:
    """The checkpoint that was written last."""
    return max(Path("lightning_logs").rglob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)


def counts(checkpoint: dict[str, Any]) -> dict[str, int]:
    """Steps in all, epochs, nights, and steps asleep."""
    ledger = checkpoint["callbacks"]["SleepCallback"]["ranks"][0]["ledger"]
    return {"steps": checkpoint["global_step"], **{name: ledger[name] for name in ("epochs", "nights", "slept")}}


def main(script: str, first: str, second: str) -> None:
    """Run, load, and resume; see the top of the file."""
    names = run(Path(script), json.loads(first), None)
    base = tree(Path(script)).LightningModule
    module = next(part for part in names.values() if isinstance(part, type) and issubclass(part, base) and part != base)
    path = newest()
    saved = torch.load(path, weights_only=True)
    loaded = module.load_from_checkpoint(path).state_dict()
    assert all(torch.equal(loaded[name], saved["state_dict"][name]) for name in saved["state_dict"])
    run(Path(script), json.loads(second), path)
    print(json.dumps([counts(saved), counts(torch.load(newest(), weights_only=True))]))


if __name__ == "__main__":
    main(*sys.argv[1:])
