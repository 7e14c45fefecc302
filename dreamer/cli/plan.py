"""``dreamer plan``: what a run would do."""

from __future__ import annotations

from dreamer.cli.common import Allow, Items, SkipBad, read
from dreamer.cli.run import show_schedule


def plan(items: Items = None, skip_bad: SkipBad = False, allow: Allow = None) -> None:
    """Print the schedule of a run, with its steps and bytes; train nothing."""
    from dreamer.runs import run as runs

    runs.quiet_lightning()
    # nothing will be written, so no run is in the way
    show_schedule(runs.prepare({**read(items, skip_bad), "out": None}))
