"""Measure how many pictures a frozen network should see at a time on a CPU::

    python -m reproductions.feature_batches            # some minutes; begun again it makes what is missing
    python -m reproductions.feature_batches --table    # only writes the table of docs/pictures.md

Features are those of EfficientNet-Lite0 and of a ResNet-18, untrained, on one thread. Numbers of pictures take turns,
five rounds; CPU seconds hold those that the system spends on memory.
"""

from __future__ import annotations

import argparse
import functools
import resource
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dreamer.networks import Backbone
from reproductions import records

RUNS = records.Runs(records.MEASUREMENTS / "feature_batches.json", ("model", "pixels", "batch", "round"))
PAGE = records.DOCS / "pictures.md"
MODELS = ("efficientnet_lite0", "resnet18")
PIXELS, BATCHES, ROUNDS, PICTURES = (64, 128, 160, 224), (64, 16, 8, 4), 5, 64


def main() -> None:
    """Parse the command line, measure what is missing, write the table."""
    parser = argparse.ArgumentParser(prog="python -m reproductions.feature_batches", description="Pictures at a time.")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    if not parser.parse_args().table:
        torch.set_num_threads(1)
        wanted = [(m, p, b, r) for m in MODELS for p in PIXELS for r in range(ROUNDS) for b in BATCHES]
        RUNS.make(wanted, lambda model, pixels, batch, number: measured(model, pixels, batch))
    records.write_between(PAGE, "feature_batches", table())
    print(table())


@functools.cache
def network(model: str, pixels: int) -> Backbone:
    """The network for such pictures, which has seen one already."""
    made = Backbone((3, pixels, pixels), 10, model, frozen=True).eval()
    with torch.inference_mode():
        made.frozen_features(torch.rand(1, 3, pixels, pixels))
    return made


def measured(model: str, pixels: int, batch: int) -> dict[str, Any]:
    """CPU milliseconds that a picture takes, and those of them that the system takes."""
    seen, pictures = network(model, pixels), torch.rand(PICTURES, 3, pixels, pixels)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with torch.inference_mode():
        for some in pictures.split(batch):
            seen.frozen_features(some)
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system = (
        1000 * (getattr(after, name) - getattr(before, name)) / PICTURES for name in ("ru_utime", "ru_stime")
    )
    return {"ms": round(user + system, 2), "of_the_system": round(system, 2)}


def table() -> str:
    """A line for each network and size: what a picture takes, by how many it sees at a time."""
    lines = [
        f"| network | pixels | {' | '.join(f'{batch} at a time' for batch in BATCHES)} |",
        f"|---|---|{'---|' * len(BATCHES)}",
    ]
    for model in MODELS:
        for pixels in PIXELS:
            found = [RUNS.of(model=model, pixels=pixels, batch=batch) for batch in BATCHES]
            if all(found):
                cells = [f"{median(each, 'ms')} ({median(each, 'of_the_system')})" for each in found]
                lines.append(f"| `{model}` | {pixels} | {' | '.join(cells)} |")
    machines = records.Machines([one["machine"] for one in RUNS.all()])
    return "\n".join([*lines, "", machines.legend])


def median(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    """The median of a number of some runs, in three digits."""
    return f"{statistics.median(one[name] for one in runs):.3g}"


if __name__ == "__main__":
    main()
