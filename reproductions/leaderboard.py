"""One table of all recipes: make the runs that are missing, then write numbers and page anew.

    python -m reproductions.leaderboard [--runs DIR] [--only ARM] [--data DATA_ROOT]

Every run evaluates old experiences on held-out data every few steps, for the stability gap. Beside every recipe with a
generator stands experience replay with a memory of as many bytes as all that the recipe keeps. The script makes the
runs that ``docs/measurements/leaderboard.json`` does not hold, writes that file after every run, and
``docs/leaderboard.md`` at its end. ``--only`` makes the runs of one arm (may be given again); ``--only nothing``
writes the page alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dreamer import config
from dreamer.core.text import DASH, size
from dreamer.runs import run as runs
from dreamer.runs import summary
from reproductions import records

RUNS = records.Runs(records.MEASUREMENTS / "leaderboard.json", ("stream", "arm", "seed"))
PAGE = records.DOCS / "leaderboard.md"
SEEDS = (11, 12, 13, 14, 15)
_SHORT = ("wake.steps=200", "continual_evaluation.every_n_steps=5", "dream_quality=null")
STREAMS: Mapping[str, tuple[str, ...]] = {
    "digits": ("digits", *_SHORT),
    "digits, odd or even": ("digits", "stream.scenario=domain", *_SHORT),
}
"""By stream: its configuration, and arguments of ``dreamer run`` for all arms."""
# these recipes are for photographs: a digit that is flipped is another
_AS_THEY_ARE = ("wake.perturbations=[]", "wake.replay_perturbations=[]")
ARMS = {
    "joint": ("joint",),
    "fine_tune": ("fine_tune",),
    "lwf": ("lwf",),
    "er": ("er", "memory.capacity=200"),
    "er_ace": ("er_ace", "memory.capacity=200", *_AS_THEY_ARE),
    "derpp": ("derpp", "memory.capacity=200", *_AS_THEY_ARE),
    "dgr_distill": ("dgr_distill",),
    "bir": ("bir",),
    "interleaved": ("interleaved",),
    "dreams": (),
}
"""By arm: recipe and settings laid over the stream's own configuration."""
GENERATORS = ("dgr_distill", "bir", "interleaved", "dreams")
BESIDE = "er at the bytes of "
"""What an arm of experience replay is called that keeps as much as one with a generator."""
NUMBERS = {"average_accuracy": "accuracy (%)", "forgetting": "forgetting", "stability_gap": "stability gap"}


def main() -> None:
    """Parse the command line, run, write numbers and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/leaderboard"))
    parser.add_argument("--only", action="append")
    parser.add_argument("--data")
    given = parser.parse_args()
    torch.set_num_threads(1)
    runs.quiet_lightning()
    chosen = [which for which in wanted() if given.only is None or which[1] in given.only]
    RUNS.make(chosen, lambda *which: numbers(run(given.data, given.runs, *which)), order=wanted())
    PAGE.write_text(page(RUNS.all()), encoding="utf-8")
    print(page(RUNS.all()))


def wanted() -> list[tuple[str, str, int]]:
    """Every run, as (stream, arm, seed)."""
    arms = [*ARMS, *(f"{BESIDE}{arm}" for arm in GENERATORS)]
    return [(stream, arm, seed) for stream in STREAMS for arm in arms for seed in SEEDS]


def words_of(stream: str, arm: str, data: str | None = None) -> tuple[str, ...]:
    """What is laid over a stream's configuration; ER beside a generator gets the memory that fills its bytes."""
    own = (*STREAMS[stream][1:], *(() if data is None else (f"data.root={data}",)))
    if not arm.startswith(BESIDE):
        return (*ARMS[arm], *own)
    kept = planned_bytes(stream, words_of(stream, arm.removeprefix(BESIDE), data))
    one, two = (planned_bytes(stream, ("er", f"memory.capacity={n}", *own)) for n in (1, 2))
    capacity = (kept - one) // (two - one) + 1
    return ("er", f"memory.capacity={capacity}", *own)


def planned_bytes(stream: str, words: Sequence[str]) -> int:
    """What a run is going to keep beside its network."""
    prepared = runs.prepare({**config.read(STREAMS[stream][0], *words, seed=SEEDS[0]), "out": None})
    sizes = summary.budget(prepared.stream, prepared.module)
    return sum(nbytes for name, nbytes in sizes.items() if name != "network")


def run(data: str | None, folders: Path, stream: str, arm: str, seed: int) -> Mapping[str, Any]:
    """The results of one run, and the CPU seconds that it took; one that was stopped begins anew."""
    words = words_of(stream, arm, data)
    folder = folders / stream / f"{arm.replace(' ', '_')}_{seed}"
    began = time.process_time()
    results = runs.execute(runs.prepare(config.read(STREAMS[stream][0], *words, seed=seed), folder))
    return {**results, "cpu_seconds": time.process_time() - began}


def numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of one run that the page needs."""
    cost = results["cost"]
    memory = results["config"].get("memory") or {}
    return {
        **{name: results["metrics"][name] for name in NUMBERS},
        "bytes": sum(nbytes for name, nbytes in cost["bytes"].items() if name != "network"),
        "stores": cost["stores"],
        "capacity": memory.get("capacity"),
        "cpu_seconds": round(results["cpu_seconds"], 1),
        "versions": {name: results["versions"][name] for name in ("python", "torch", "lightning")},
    }


def page(measured: Sequence[Mapping[str, Any]]) -> str:
    """The whole page, a table for each stream, the most accurate first."""
    blocks, machines = [_HEAD], records.Machines.of(measured)
    for stream in STREAMS:
        mine = [one for one in measured if one["stream"] == stream]
        arms = {arm: [one for one in mine if one["arm"] == arm] for arm in dict.fromkeys(one["arm"] for one in mine)}
        order = sorted(arms, key=lambda arm: -statistics.mean(one["average_accuracy"] for one in arms[arm]))
        head = ("recipe", "seeds", *NUMBERS.values(), "bytes kept", "stores real samples", "CPU seconds")
        rows = [head, ("---",) + ("---:",) * (len(head) - 1), *(_row(arm, arms[arm], machines) for arm in order)]
        blocks.append(f"## {stream[0].upper()}{stream[1:]}\n\n`{' '.join(STREAMS[stream])}`\n")
        blocks.append("\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n")
    return "\n".join([*blocks, f"{machines.legend}\n"])


def _row(arm: str, made: Sequence[Mapping[str, Any]], machines: records.Machines) -> tuple[str, ...]:
    found = {name: [100 * one[name] for one in made if one[name] is not None] for name in NUMBERS}
    stores = {"samples": "yes", "nothing": "no"}.get(made[0]["stores"], f"no ({made[0]['stores']})")
    return (
        f"`{arm}`" if arm in ARMS else arm,
        str(len(made)),
        *(records.spread(values, 1) if values else DASH for values in found.values()),
        size(statistics.mean(one["bytes"] for one in made)),
        stores,
        machines.seconds(made),
    )


_HEAD = """# Leaderboard

All recipes on the same streams, as they come, with five seeds (11 to 15): mean and standard deviation over the seeds.
Forgetting is the first minus the last accuracy and, like the
[stability gap](metrics.md#between-two-evaluations-the-stability-gap), in percentage points. Bytes are all that is kept
beside the network at the end: memory, generator, teachers and plasticity. Beside every recipe with a generator stands
experience replay with a memory of as many bytes; on a small stream that may be all training data.

The page is written by `python -m reproductions.leaderboard` from `docs/measurements/leaderboard.json`; it makes the
runs that are missing. It ranks nothing: `dreamer compare` tests [differences](compare.md#what-is-concluded).
"""


if __name__ == "__main__":
    main()
