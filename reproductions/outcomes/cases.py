"""The cases: what is typed, and what is scripted; each leaves its outcome from a folder of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from reproductions.outcomes import scripts
from reproductions.outcomes.fingerprints import Outcome, of_csv, of_folder, of_results


def command(*words: str) -> None:
    """`dreamer WORDS`, in this process; anything but success raises."""
    from dreamer.cli.main import main as dreamer

    sys.argv = ["dreamer", *words]
    code: str | int = 0
    try:
        dreamer()
    except SystemExit as left:
        code = left.code or 0
    if code:
        raise RuntimeError(f"dreamer {' '.join(words)}: exit code {code}")


def run(*items: str, folder: str = "run") -> Path:
    """`dreamer run` into a folder."""
    command("run", *items, "--quiet", "--out", folder)
    return Path(folder)


LOG = "trainer.log_every_n_steps=10"
UNMEASURED = "dream_quality=null"
SHORT = ("wake.steps=30", "night.0.steps=10", "night.1.steps=10")
SMALL_NIGHTS = (
    *("digits", "memories", "wake.steps=40", "night.0.steps=8", "night.1.steps=8", "memory.capacity=200"),
    UNMEASURED,
)

WORDS = {
    # the digits as they come; dreams are measured here alone, because it takes long
    "dreams": ("digits", *SHORT),
    "er": ("digits", "er", "wake.steps=40", "memory.capacity=200", "wake.replay_weight=experience"),
    "derpp": ("digits", "derpp", "wake.steps=90", "memory.capacity=100"),
    "der": ("digits", "der", "wake.steps=90", "memory.capacity=100"),
    "bir": ("digits", "bir", "wake.steps=30", UNMEASURED),
    "cls_er": ("digits", "cls_er", "wake.steps=60", "memory.capacity=100", "evaluated=average"),
    "gdumb": ("digits", "gdumb", "memory.capacity=100", "night.0.steps=200", UNMEASURED),
    "lwf": ("digits", "lwf", "wake.steps=40"),
    "src": (
        *("digits", "src", "network.hidden=[100,100]", "memory.capacity=200"),
        "night.0.ticks=[200,250,300]",
        UNMEASURED,
    ),
    "gan": (
        "digits",
        *SHORT,
        "generator.name=gan",
        "generator.latent_dim=16",
        "generator.hidden=[64,64]",
        UNMEASURED,
    ),
    "flow": (
        *("digits", *SHORT, "generator.name=flow_matching", "generator.hidden=[64,64]", "generator.steps=3"),
        "night.1.perturbations=[{name: noise}, {name: affine}]",
    ),
    "drift": (
        *SMALL_NIGHTS,
        *("schedule.name=drift", "schedule.threshold=2", "schedule.slack=0.1", "schedule.warmup=3"),
        *("schedule.check_every=5", "schedule.least=10", "schedule.at_end=false"),
    ),
    "plateau": (
        *(*SMALL_NIGHTS, "schedule.name=plateau", "schedule.patience=1", "schedule.gain=0.3"),
        *("schedule.check_every=5", "schedule.least=10", "schedule.at_end=false"),
    ),
    "sleep_pressure": (
        *(*SMALL_NIGHTS, "schedule.name=sleep_pressure", "schedule.capacity=45"),
        *("schedule.check_every=5", "schedule.least=10", "schedule.at_end=false"),
    ),
    "drift_features": (
        *(*SMALL_NIGHTS, "schedule.name=drift", "schedule.watch=features", "schedule.threshold=2"),
        *("schedule.warmup=5", "schedule.check_every=5", "schedule.least=25"),
        *("schedule.at_end=false", "plasticity=[{name: downscaling}]"),
    ),
    "every_n_steps": (*SMALL_NIGHTS, "schedule.name=every_n_steps", "schedule.n=25", "cycles=2"),
    "cumulative": ("digits", "cumulative", "wake.steps=40"),
    "joint": ("digits", "joint", "wake.steps=20"),
    "memories": SMALL_NIGHTS,
    "latent_codes": (
        *(
            "digits",
            "memories",
            "wake.steps=40",
            "memory.name=latent_codes",
            "memory.capacity=100",
            "memory.store=float16",
        ),
        *(
            "wake.replay_perturbations=[]",
            "night=[{name: rem, steps: 15, perturbations: [{name: latent_jitter, std: 0.2}]}]",
        ),
    ),
    "active_seen": ("digits", *SHORT, "active_outputs=seen", UNMEASURED),
    "active_task": (
        "digits",
        "er",
        "wake.steps=40",
        "memory.capacity=200",
        "stream.scenario=task",
        "active_outputs=task",
    ),
    # evaluated on held-out data alone, as tuning may do it
    "held_out": (
        *("digits", "er", "wake.steps=40", "memory.capacity=200", "stream.validation=0.3"),
        "trainer.limit_test_batches=0",
    ),
    "rehearse": ("digits", "dgr", "wake.steps=30", "generator.continual=rehearse", UNMEASURED),
    "bir_si": ("digits", "bir_si", "wake.steps=30", UNMEASURED),
    "abd": (
        *("digits", "abd", "wake.steps=20", "wake.replay=32", UNMEASURED),
        *("generator.network=mlp", "generator.width=32", "generator.iterations=20"),
    ),
    "randumb": ("digits", "randumb", "network.features=200"),
    "generative_classifier": ("digits", "generative_classifier", "wake.steps=30", UNMEASURED),
    "blurred": (*SMALL_NIGHTS, "stream.then=[{name: blurred, fraction: 0.2}]"),
    "accumulated": (
        *(*SMALL_NIGHTS, "trainer.accumulate_grad_batches=2", "trainer.gradient_clip_val=1.0"),
        *("generator_lr=0.002", "generator.name=vae", "night.1.source=both", "wake.source=memory", UNMEASURED),
    ),
    "pad_like": ("digits", "pad_like", *SHORT, UNMEASURED),
}


def from_words(name: str) -> Outcome:
    """The outcome of `dreamer run` with the words of a case."""
    return of_folder(run(*WORDS[name], LOG))


def resumed() -> Outcome:
    """Stopped by max_steps in the middle of the first night, after a checkpoint of that night; resumed with --resume.

    The run saves itself after 500 steps of a stage, so the nights are long; there are two, and the first cuts a day.
    """
    words = ("digits", "memories", "wake.steps=20", "night.0.steps=8", "night.1.steps=510", "night.1.batch_size=8")
    rarely = ("schedule.name=every_n_steps", "schedule.n=50", UNMEASURED)
    # two days and a half, NREM, and 505 steps of REM, of which 500 are in the checkpoint
    stop = 50 + 8 + 505
    smaller = ("wake.batch_size=32", "wake.replay=16", "memory.capacity=100", LOG)
    folder = run(*words, *rarely, *smaller, f"trainer.max_steps={stop}", folder="stopped")
    first = of_folder(folder)
    assert not first["complete"] and first["global_step"] == stop - 5, (first["complete"], first["global_step"])
    written = folder / "config.yaml"
    plain = yaml.safe_load(written.read_text())
    del plain["trainer"]["max_steps"]
    written.write_text(yaml.safe_dump(plain, sort_keys=False))
    # a run without that limit is another one, so it has to be said
    command("run", "--resume", str(folder), "--force", "--quiet")
    last = of_folder(folder)
    assert last["complete"]
    whole = of_folder(run(*words, *rarely, *smaller, folder="whole"))
    return last | {"stopped": first, "as_undisturbed": [key for key in whole if whole[key] != last[key]] or "in all"}


def compare_command() -> Outcome:
    """`dreamer compare` with two seeds: the results of its cells, and its tables; nothing of the page."""
    words = ["er memory.capacity=100", "avalanche:Replay", "wake.steps=20", "--seeds", "11,12"]
    command("compare", *words, "--out", "compared")
    found = sorted(Path("compared").rglob("results.json"))
    cells = [of_results(cell) for cell in map(json.loads, map(Path.read_text, found)) if "accuracy_matrix" in cell]
    return {"cells": sorted(cells, key=json.dumps), "logged": tables(Path("compared"))}


def study_command() -> Outcome:
    """`dreamer study gaussian --quick`: its tables."""
    command("study", "gaussian", "--quick", "--out", "studied")
    return {"logged": tables(Path("studied"))}


def tables(folder: Path) -> Outcome:
    """The columns of all tables that lie in a folder."""
    found = {path.name: of_csv(path) for path in sorted(folder.glob("*.csv"))}
    columns = {f"{name}:{key}": value for name, each in found.items() for key, value in each["columns"].items()}
    return {"lines": sorted(each["lines"] for each in found.values()), "columns": columns}


CASES: dict[str, Callable[[], Outcome]] = {name: (lambda name=name: from_words(name)) for name in WORDS} | {
    "resumed": resumed,
    "resumed_script": scripts.resumed_script,
    "sleep_callback": scripts.sleep_callback,
    # the second day has 18 steps: in the middle of the night after it
    "sleep_callback_resumed": lambda: scripts.sleep_callback(stop=18 + 18 + 14),
    "dream_plugin": scripts.dream_plugin,
    "avalanche_replay": scripts.avalanche_replay,
}
"""Cases by name."""
PROCESSES: dict[str, Callable[[], Outcome]] = {"compare_command": compare_command, "study_command": study_command}
"""Cases of many runs, each of which is a process."""
