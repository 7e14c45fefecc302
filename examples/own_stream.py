"""A stream of one's own, named in configurations by its dotted path: wine, 178 bottles of three growers, as a table.

    python examples/own_stream.py
    cd examples && dreamer run own_stream.yaml er memory.store=float32
    cd examples && dreamer compare fine_tune 'er memory.store=float32' --stream own_stream.yaml --seeds 6

A configuration may name functions of modules that lie beside the script, or below the folder in which a command is
typed (docs/trust.md). Each argument of the function is a key of `stream`, checked against its signature. Expect:

    samples: 13; 3 classes: class_0 (42), class_1 (51), class_2 (34)
    without replay  average accuracy < 0.75
    with replay     average accuracy > 0.9
"""

from __future__ import annotations

from sklearn.datasets import load_wine

import dreamer
from dreamer.runs.summary import data_line
from dreamer.streams import Stream, from_tensors


def wine(experiences: int = 3, test: float = 0.2, seed: int = 0) -> Stream:
    """Thirteen measurements of each bottle, standardised; `seed` decides the order of the growers."""
    bunch = load_wine()
    x = (bunch.data - bunch.data.mean(axis=0)) / bunch.data.std(axis=0)
    names = list(bunch.target_names)
    return from_tensors(x, bunch.target, experiences=experiences, test=test, seed=seed, name="wine", class_names=names)


LEARNER = {
    "stream": {"name": "own_stream.wine", "test": 0.2},
    "network": {"name": "mlp", "hidden": [32]},
    "optimizer": {"lr": 0.01},
    "wake": {"steps": 100, "batch_size": 16},
}

if __name__ == "__main__":
    print(data_line(wine()))
    # the recipe's memory stores pixels in 8 bits; measurements keep their values
    replay = {"memory": {"store": "float32", "capacity": 60}}
    for name, recipe, more in (("without replay", "fine_tune", {}), ("with replay", "er", replay)):
        results = dreamer.run(LEARNER, recipe, more, seed=1, out=f"runs/own_stream/{recipe}")
        print(f"{name:<14}  average accuracy {results['metrics']['average_accuracy']:.3f}")
