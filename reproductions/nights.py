"""The runs behind the README's tables and picture of nights: make those that are missing, then write all anew.

    python -m reproductions.nights DATA_ROOT [--runs DIR] [--jobs N]

All arms of a stream but the one without sleep replay equally many samples. Beside them stand shorter nights, for as
much CPU time as dreams awake and asleep take, each pair in turn (docs/strategies.md). Started again, the script
continues with the runs that are missing. Without DATA_ROOT it only prints tables and draws what
``docs/measurements/nights.json`` and ``nights_in_equal_time.json`` hold.
"""

from __future__ import annotations

import statistics
from pathlib import Path

from reproductions import records
from reproductions.comparison import Comparison, Protocol, means

PICTURE = records.MEASUREMENTS / "nights.svg"
REFERENCE = "dreams awake and asleep"
OURS = "nights, perturbed"
COLOURS = {
    "no sleep": "#7f7f7f",
    "nights, verbatim": "#0072b2",
    OURS: "#cc79a7",
    REFERENCE: "#009e73",
}
# in every arm the samples that are replayed, awake and asleep, are as many as in the nights of `dreams`
STREAMS = {
    "split_mnist": Protocol(
        (21, 22, 23, 24, 25),
        {
            "no sleep": ("fine_tune",),
            "nights, verbatim": ("verbatim",),
            OURS: (),
            REFERENCE: ("interleaved",),
        },
    ),
    "digits": Protocol(
        (21, 22, 23, 24, 25),
        {
            "no sleep": ("fine_tune",),
            "nights, verbatim": ("verbatim", "night.0.steps=[60,260,460,660,860]"),
            OURS: (),
            # not `interleaved`, whose maps are too large for 8 x 8 pixels
            REFERENCE: ("wake.replay=64", "night.1.steps=250", "night.0.lr_scale=1", "night.1.lr_scale=1"),
        },
    ),
}
NIGHTS = Comparison(records.MEASUREMENTS / "nights.json", STREAMS, OURS, apart=("no sleep",))
SHORTER = "shorter nights, perturbed"
# a night costs a step for each batch, where replay by day rides along with the day's: so long that both take equal time
IN_EQUAL_TIME = Comparison(
    records.MEASUREMENTS / "nights_in_equal_time.json",
    {
        stream: Protocol(STREAMS[stream].seeds, {SHORTER: (lengths,), REFERENCE: STREAMS[stream].arms[REFERENCE]})
        for stream, lengths in {
            "split_mnist": "night.1.steps=[100,500,900,1300,1700]",
            "digits": "night.1.steps=[10,150,320,480,640]",
        }.items()
    },
    SHORTER,
)


def main() -> None:
    """Parse the command line, run, write numbers, tables and picture."""
    for made in (NIGHTS, IN_EQUAL_TIME):
        made.make_as_typed(__doc__, Path("runs/nights"))
    for stream in STREAMS:
        print(f"{stream}\n\n{NIGHTS.table(stream)}\n")
        records.write_between(records.DOCS / "strategies.md", "nights", in_equal_time(stream), stream)
    draw(NIGHTS, PICTURE)


def in_equal_time(stream: str) -> str:
    """The table of shorter nights, and what CPU time they take of that of replay by day, in pairs."""
    ours, theirs = (
        {one["seed"]: one["cpu_seconds"] for one in IN_EQUAL_TIME.of(stream, arm)} for arm in (SHORTER, REFERENCE)
    )
    ratios = [ours[seed] / theirs[seed] for seed in ours.keys() & theirs.keys()]
    if not ratios:
        return "No run is on record yet."
    shown = f"{statistics.median(ratios):.2f} (median of pairs, {min(ratios):.2f} to {max(ratios):.2f})"
    legend = f"CPU time of {SHORTER}, over that of {REFERENCE}: {shown}. {IN_EQUAL_TIME.machines.legend}"
    return f"{IN_EQUAL_TIME.table(stream)}\n\n{legend}"


def draw(nights: Comparison, path: Path) -> None:
    """The README's picture: accuracy on the classes seen so far, after every day and after every night."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasSVG(figure)
    whole, close = figure.subplots(1, 2)
    for arm, colour in COLOURS.items():
        places, mean, low, high = means([one["curve"] for one in nights.of("split_mnist", arm)])
        for axes in (whole, close):
            axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(places, mean, marker="o", markersize=4, color=colour, label=f"{arm}: {mean[-1]:.1f} %")
    for axes in (whole, close):
        for night in range(5):
            axes.axvspan(night + 0.5, night + 1, color="#2b3a67", alpha=0.08, linewidth=0)
        axes.set_xticks([night + 0.25 for night in range(5)], [f"day {night + 1}" for night in range(5)])
        axes.set_xlim(0, 5.1)
        axes.spines[["top", "right"]].set_visible(False)
    whole.set_ylabel("test accuracy on all classes seen so far (%)")
    whole.set_ylim(0, 102)
    whole.legend(frameon=False, loc="lower left", fontsize="small")
    close.set_ylim(93, 100.2)
    close.set_title("the same, from 93 % upwards; shaded: night", fontsize="medium")
    records.save_svg(figure, path)


if __name__ == "__main__":
    main()
