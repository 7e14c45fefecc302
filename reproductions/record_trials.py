"""What was tried for docs/records.md: whole runs with other settings, scored on training images that were held out.

    python -m reproductions.record_trials DATA_ROOT [--runs DIR] [--streams NAME ...] [--only NAME ...]

One run each with seed 11: this is for choosing, and no result. Started again, the script continues with the trials that
are missing. Without DATA_ROOT it only writes the tables.
"""

from __future__ import annotations

from collections.abc import Mapping

from reproductions import patch_runs, record_runs, records
from reproductions.trials import Trials, make_as_typed


def tried(
    stream: str, settings: Mapping[str, tuple[str, ...]], record: str, within: str = "", title: str = ""
) -> Trials:
    """The trials of a stream, on record in a file of docs/measurements."""
    page = records.DOCS / "records.md"
    return Trials("record_trials", records.MEASUREMENTS / record, page, stream, (11,), settings, within, title)


_FALLING = ("wake.lr_scale=2", "wake.anneal=0.02", "night.1.batch_size=256", "night.1.anneal=0.01")
_LARGER = ("generator.hidden=[800]", *_FALLING)
LONGER = "a larger generator, falling rates, longer nights"
CONSTANT = "one decoder for all classes, longer days, shorter nights"
_ONE_DECODER = (*_LARGER, "generator.continual=distil", "wake.steps=1500")
BY_DAY_TOO = "as that, and dreams replayed by day too, for as many samples in all"
# nights as in `interleaved`: the day has not moved the weights away, so they start from them, at the day's rate
_PLAIN_NIGHTS = ("night.0.from_dawn=0", "night.0.lr_scale=1", "night.1.lr_scale=1")
BY_DAY_PLAIN = "as that, and nights start from dusk's weights at the day's rate"
MNIST = tried(
    "split_mnist",
    {
        "`dreams`": (),
        LONGER: (*_LARGER, "night.1.steps=[100,900,1900,2900,4000]"),
        BY_DAY_TOO: (*_LARGER, *record_runs.DIGITS_BY_DAY),
        BY_DAY_PLAIN: (*_LARGER, *record_runs.DIGITS_BY_DAY, *_PLAIN_NIGHTS),
        CONSTANT: (*_ONE_DECODER, "night.1.steps=[100,700,1300,1900,2500]"),
        "one decoder, and 128 dreams replayed by day too, for as many samples in all": (
            *_ONE_DECODER,
            *record_runs.CONSTANT_BY_DAY,
        ),
        "one decoder, and 256 dreams replayed by day too, for as many samples in all": (
            *_ONE_DECODER,
            "wake.replay=256",
            "night.1.steps=100",
        ),
    },
    "record_trials.json",
)

_CLOTHES = (*_LARGER, "night.1.steps=[100,500,900,1300,1700]")
SMALL_MAPS = "a larger generator, falling rates, small affine maps"
SMALL_MAPS_BY_DAY = "small affine maps, and dreams replayed by day too, for as many samples in all"
SHIFTS_AND_FLIPS = "as that, with shifts by a pixel and flips in place of the maps"
FASHION = tried(
    "split_fmnist",
    {
        "`dreams`": (),
        SMALL_MAPS: (
            *_CLOTHES,
            f"night.1.perturbations={record_runs.SMALL_MAPS}",
        ),
        SHIFTS_AND_FLIPS: (*_CLOTHES, "night.1.perturbations=[{name: crop_flip, padding: 1}]"),
        SMALL_MAPS_BY_DAY: (
            *_CLOTHES,
            f"night.1.perturbations={record_runs.SMALL_MAPS}",
            *record_runs.CLOTHES_BY_DAY,
        ),
        "`patch_dreams`": ("patch_dreams",),
        "`patch_dreams`, statistics alone": patch_runs.CLOSED_FORM,
    },
    "record_trials_split_fmnist.json",
)

_TAUGHT = "[{name: soft_targets}]"
LONG_DAYS = "2 x 1 000 units, days of 3 000 steps, 256 dreams a step with soft targets alone, short nights"
LONG_NIGHTS = "as that without replay by day, nights longer by as many samples"
FASTER_NIGHTS = "as that, nights start between dawn and dusk, at twice the day's rate in place of 0.3 of it"
_LARGE_NETWORK = (
    "network.hidden=[1000,1000]",
    "generator.hidden=[800]",
    "trainer.precision=bf16-mixed",
    "wake.steps=3000",
    "wake.anneal=0.02",
)
_SOFT_BY_DAY = (
    *_LARGE_NETWORK,
    *("wake.replay=256", "wake.replay_weight=experience"),
    f"wake.replay_objectives={_TAUGHT}",
    *("night.0.steps=100", "night.0.batch_size=256", "night.0.lr_scale=0.3"),
    f"night.0.objectives={_TAUGHT}",
    *("night.1.steps=300", "night.1.batch_size=256", "night.1.lr_scale=0.3", "night.1.anneal=0.02"),
    f"night.1.objectives={_TAUGHT}",
)
_AT_TWICE = (
    "dreams",
    *_LARGE_NETWORK,
    *("night.0.steps=100", "night.0.batch_size=256", f"night.0.objectives={_TAUGHT}"),
    record_runs.LONG_REM,
    *("night.1.batch_size=256", "night.1.anneal=0.01", f"night.1.objectives={_TAUGHT}"),
    "night.1.perturbations=[{name: latent_mixing}]",
)
PERMUTED = tried(
    "permuted_mnist",
    {
        "nights alone, falling rates": (
            "dreams",
            *_FALLING,
            "night.0.steps=100",
            "night.1.steps=[100,400,600,700,800,900,1000,1100,1200,1300]",
            "night.1.perturbations=[{name: latent_mixing}]",
        ),
        "dreams replayed by day too, falling rates": (*_FALLING, "night.0.steps=100", "night.1.steps=300"),
        LONG_DAYS: _SOFT_BY_DAY,
        LONG_NIGHTS: (*_SOFT_BY_DAY, "wake.replay=0", record_runs.LONG_REM),
        FASTER_NIGHTS: _AT_TWICE,
    },
    "record_trials_permuted_mnist.json",
)

_OF_THREE = (*_AT_TWICE, "stream.experiences=3", "night.1.steps=[300,660,1320]", "dream_quality=null")


def _at(scale: float) -> tuple[str, str]:
    """Nights at so much of the day's rate."""
    return f"night.0.lr_scale={scale}", f"night.1.lr_scale={scale}"


FIRST_THREE = tried(
    "permuted_mnist",
    {
        "from the weights of dusk, 0.3 of the day's rate": (*_OF_THREE, *_at(0.3), "night.0.from_dawn=0"),
        "between dawn and dusk, 0.2 of it": (*_OF_THREE, *_at(0.2)),
        "between dawn and dusk, 0.5 of it": (*_OF_THREE, *_at(0.5)),
    },
    "record_trials_permuted_mnist_nights.json",
    title="permuted_mnist, first three",
)

PICTURES = tried(
    "folder",
    {
        "`patch_dreams`": ("patch_dreams", *patch_runs.PICTURES),
        "shorter nights, 128 components": (
            "patch_dreams",
            *patch_runs.PICTURES,
            "generator.latent_dim=128",
            "night.1.steps=250",
            "night.1.batch_size=128",
            "night.1.lr_scale=1",
        ),
        "all 1 800 components": ("patch_dreams", *patch_runs.PICTURES, "generator.latent_dim=1800"),
        "statistics alone": (*patch_runs.CLOSED_FORM, *patch_runs.PICTURES),
    },
    "record_trials_folder.json",
    within="cifar10",
)

STREAMS = (MNIST, FASHION, PERMUTED, FIRST_THREE, PICTURES)
CHOSEN = {
    "records/split_mnist": (MNIST, LONGER),
    "records/split_mnist_constant": (MNIST, CONSTANT),
    "records/split_fmnist": (FASHION, SMALL_MAPS),
    "records/permuted_mnist": (PERMUTED, LONG_DAYS),
}
"""The configurations that are trials taken as they were; ``records/split_mnist_quick`` is none of these."""


if __name__ == "__main__":
    make_as_typed(__doc__, *STREAMS)
