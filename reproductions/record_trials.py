"""What was tried for docs/records.md, on held-out MNIST: whole runs of `split_mnist` with other settings.

    python -m reproductions.record_trials DATA_ROOT [--runs DIR] [--only NAME ...]

One run each with seed 11: this is for choosing, and no result. Started again, the script continues with the trials that
are missing. Without DATA_ROOT it only writes the table.
"""

from __future__ import annotations

from reproductions import records
from reproductions.trials import Trials

_LARGER = (
    "generator.hidden=[800]",
    "wake.lr_scale=2",
    "wake.anneal=0.02",
    "night.1.batch_size=256",
    "night.1.anneal=0.01",
)
LONGER = "a larger generator, falling rates, longer nights"
CONSTANT = "one decoder for all classes, longer days, shorter nights"
TRIALS = Trials(
    records.MEASUREMENTS / "record_trials.json",
    records.DOCS / "records.md",
    "split_mnist",
    seeds=(11,),
    settings={
        "`dreams`": (),
        LONGER: (*_LARGER, "night.1.steps=[100,900,1900,2900,4000]"),
        CONSTANT: (
            *_LARGER,
            "generator.continual=distil",
            "wake.steps=1500",
            "night.1.steps=[100,700,1300,1900,2500]",
        ),
    },
)
CHOSEN = {"records/split_mnist": LONGER, "records/split_mnist_constant": CONSTANT}
"""The configurations that are trials taken as they were; ``records/split_mnist_quick`` is none of these."""


if __name__ == "__main__":
    TRIALS.make_as_typed(__doc__)
