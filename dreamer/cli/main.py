"""The command line. torch is imported inside the commands only, so help and version answer at once."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dreamer import __version__, config
from dreamer.config.binding import ConfigError
from dreamer.core.suggest import one_of

if TYPE_CHECKING:
    from dreamer.jobs.runner import Resources
    from dreamer.compare.tuning.results import Trial
    from dreamer.runs.run import Run

app = typer.Typer(
    name="dreamer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Networks that live through a stream of experiences, and dream between them.",
)

Items = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME_OR_YAML ...] [KEY=VALUE ...]",
        help="Configurations by name or file, merged left to right, then single keys; none: the embedded digits.",
        show_default=False,
    ),
]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"dreamer {__version__}")
        raise typer.Exit


@app.callback()
def _dreamer(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    items: Items = None,
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/NAME/seedN")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything that is drawn.", show_default=False)] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the life of a run folder.", show_default=False)] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show neither plan nor progress.")] = False,
) -> None:
    """Live a job: print its plan, live through it, print its results."""
    lives = _lives()
    if resume is not None:
        job = _resumed(resume, items or [], out, seed, quiet)
        if job is None:
            return
    else:
        job = lives.prepare(_read(items, out=None if out is None else str(out), seed=seed), progress=not quiet)
    first = job.trainer.is_global_zero
    if first and not quiet:
        _show_plan(job)
    try:
        results = lives.live(job, resume=resume is not None)
    except lives.Interrupted:
        typer.echo(f"stopped; continue with: dreamer run --resume {job.directory}", err=True)
        raise typer.Exit(130) from None
    if first:
        _show_results(results, job.directory)


@app.command()
def plan(items: Items = None) -> None:
    """Show the plan of a life, with its steps and bytes, without living it."""
    lives = _lives()
    # nothing will be written, so no run is in the way
    _show_plan(lives.prepare({**_read(items), "out": None}))


@app.command("list")
def list_(
    family: Annotated[
        str | None,
        typer.Argument(help="configs, studies, streams, or a family of parts; by default all.", show_default=False),
    ] = None,
) -> None:
    """List every configuration, study, stream and part with its one-line description."""
    from dreamer.config import registry
    from dreamer.streams import registry as streams
    from dreamer.studies import study as studies

    shelves: dict[str, Any] = {"configs": config.describe, "studies": studies.describe, "streams": streams.available}
    shelves |= {name: lambda name=name: registry.describe(name) for name in registry.FAMILIES}
    if family is not None and family not in shelves:
        raise ConfigError(f"there is no family {family!r}; {one_of(family, shelves)}")
    for name in shelves if family is None else [family]:
        described: Mapping[str, str] = shelves[name]()
        width = max(map(len, described), default=0)
        typer.echo(typer.style(name, bold=True))
        for part, line in described.items():
            typer.echo(f"  {part:<{width}}  {line}")


@app.command()
def compare(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARM ...] [KEY=VALUE ...] | GRID.yaml",
            help="Recipes (er, dreams+augment, 'er memory.capacity=500'), ours (the stream's own), strategies of "
            "Avalanche (avalanche:Replay), and settings of all of them; or one YAML that says it all.",
            show_default=False,
        ),
    ] = None,
    stream: Annotated[
        list[str] | None,
        typer.Option(help="A configuration that names a stream; may be given again.", show_default="digits"),
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="How many, or a list: 11,12,13.", show_default="3")] = None,
    reference: Annotated[
        str | None, typer.Option(help="The arm that the others are held against.", show_default="the first")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="What every life may spend: steps=20000,bytes=3000000.", show_default=False)
    ] = None,
    match: Annotated[
        str | None, typer.Option(help="Give all the steps, bytes or flops of the reference.", show_default=False)
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Perturbations of real samples, the same for all; own: each recipe's own.", show_default="none"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder.", show_default="runs/compare/STREAMS")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Lives at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each.")] = 1,
    gpus: Annotated[
        str | None, typer.Option(help="GPUs that are dealt out to the workers: 0,1.", show_default=False)
    ] = None,
    retries: Annotated[int, typer.Option(min=0, help="More tries for a life that dies.")] = 1,
    engine: Annotated[str, typer.Option(help="local, or ray: a Ray cluster.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="Of the Ray cluster: auto, or HOST:PORT.", show_default="one is started here")
    ] = None,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log each life, and the table, to W&B.")] = False,
    mix: Annotated[
        bool, typer.Option("--mix", help="Go on with cells that another version of the code lived.")
    ] = False,
    from_: Annotated[
        list[Path] | None,
        typer.Option("--from", help="Live nothing: report on the run folders in this folder.", show_default=False),
    ] = None,
) -> None:
    """Live a grid of strategies, streams and seeds and report on it; started again, go on with what is missing."""
    _lives()
    from dreamer.compare import collect
    from dreamer.compare import run as session

    if from_:
        if items or stream or seeds or budget or match:
            raise ConfigError(
                "--from reports on lives that have been lived: it takes no arms, streams, seeds or budgets"
            )
        folder = out or from_[0]
        session.report(collect.of_folders(from_, reference, _typed()), folder)
        typer.echo(f"report: {folder / 'report.html'}")
        return
    asked = _asked(items or [], stream, seeds, reference, budget, match, augment, wandb)
    if engine not in ("local", "ray"):
        raise ConfigError(f"--engine: expected local or ray, got {engine!r}")
    folder = out or Path("runs") / "compare" / "-".join(_names(asked.get("streams")))
    devices = None if gpus is None else tuple(gpus.split(","))
    means = session.Resources("ray" if engine == "ray" else "local", workers, threads, devices, address, retries)
    _compare(asked, folder, means, mix)


def _compare(asked: Mapping[str, Any], folder: Path, means: Resources, mix: bool) -> None:
    """Live a grid and say where its report is."""
    from dreamer.compare import run as session
    from dreamer.jobs.job import Interrupted

    try:
        comparison = session.compare(asked, folder, means, mix, _typed())
    except Interrupted:
        typer.echo(f"stopped; the same command goes on with what is missing in {folder}", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"report: {folder / 'report.html'}")
    if comparison.missing:
        raise typer.Exit(1)


def _typed() -> str:
    return " ".join(["dreamer", *map(shlex.quote, sys.argv[1:])])


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="A study by name (dreamer list studies), the path of a YAML, or: ablation STRATEGY, which takes the "
            "nights of a recipe apart."
        ),
    ],
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="Laid over the study last.", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and shorter: the study's quick section.")] = False,
    stream: Annotated[
        str | None, typer.Option(help="Of an ablation: a configuration that names a stream.", show_default="digits")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Of an ablation: how many, or a list: 11,12,13.", show_default="10")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder.", show_default="runs/study/NAME, NAME-quick")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Cells at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each.")] = 1,
    mix: Annotated[
        bool, typer.Option("--mix", help="Go on with cells that another version of the code lived.")
    ] = False,
) -> None:
    """Ask a question: live its arms, judge them, write a page; started again, go on with what is missing."""
    _lives()
    if name == "ablation":
        _ablate(items or [], quick, stream, seeds, out, workers, threads, mix)
        return
    if stream or seeds:
        raise ConfigError(
            "--stream and --seeds are an ablation's; a study's own stand in its YAML: data.NAME.seeds=[11,12]"
        )
    from dreamer.jobs.job import Interrupted
    from dreamer.studies import run as session
    from dreamer.studies import study as studies
    from dreamer.studies.tables import plain_findings

    asked = studies.load(name, items or [], quick)
    folder = out or Path("runs") / "study" / (f"{asked.name}-quick" if quick else asked.name)
    try:
        findings = session.conduct(asked, folder, session.Resources(workers=workers, threads=threads), mix, _typed())
    except Interrupted:
        typer.echo(f"stopped; the same command goes on with what is missing in {folder}", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"{plain_findings(findings)}\n\nreport: {folder / 'report.html'}")
    if findings.missing:
        raise typer.Exit(1)


def _ablate(
    items: list[str],
    quick: bool,
    stream: str | None,
    seeds: str | None,
    out: Path | None,
    workers: int,
    threads: int,
    mix: bool,
) -> None:
    """Live a recipe without each part of its nights, and report on it as a comparison."""
    from dreamer.compare import ablation
    from dreamer.compare import run as session
    from dreamer.jobs.manifest import slug

    strategies, words = [item for item in items if "=" not in item], [item for item in items if "=" in item]
    if len(strategies) != 1:
        raise ConfigError(f"ablation: expected one strategy, got {' and '.join(strategies) or 'none'}")
    (strategy,), place = strategies, stream or "digits"
    number = ablation.QUICK_SEEDS if quick else ablation.SEEDS
    settings = [*(ablation.QUICK if quick else ()), *words]
    asked = ablation.asked(strategy, place, number if seeds is None else _numbers(seeds), settings)
    folder = out or Path("runs") / "study" / f"ablation-{slug(f'{strategy}-{place}')}{'-quick' if quick else ''}"
    _compare(asked, folder, session.Resources("local", workers, threads), mix)


@app.command()
def tune(
    strategy: Annotated[
        str, typer.Argument(help="A recipe: er, dreams+augment, 'er memory.capacity=500', or ours (the stream's own).")
    ],
    items: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE ...]", help="Settings of every life.", show_default=False),
    ] = None,
    stream: Annotated[str, typer.Option(help="A configuration that names a stream.")] = "digits",
    space: Annotated[
        Path | None,
        typer.Option(
            help="A YAML of what is searched: keys such as optimizer.lr, each with low and high (and log or step), or "
            "a list of choices.",
            show_default="learning rate, weights and temperature around the recipe's own",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="How many in all.")] = 20,
    seeds: Annotated[str, typer.Option(help="A list, outside the seeds of comparisons.")] = "1001,1002",
    augment: Annotated[
        str | None,
        typer.Option(help="Perturbations of real samples, as for compare; own: the recipe's.", show_default="none"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder.", show_default="runs/tune/STRATEGY-STREAM")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Lives at once.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each.")] = 1,
    gpus: Annotated[
        str | None, typer.Option(help="GPUs that are dealt out to the workers: 0,1.", show_default=False)
    ] = None,
    mix: Annotated[
        bool, typer.Option("--mix", help="Go on with trials that another version of the code lived.")
    ] = False,
) -> None:
    """Choose hyper-parameters on held-out training data, never on test data; started again, go on."""
    _lives()
    from dreamer.compare.tuning import space as spaces
    from dreamer.compare.tuning import tune as tuning
    from dreamer.jobs.job import Interrupted

    for item in items or []:
        if "=" not in item:
            raise ConfigError(f"tune: expected one strategy and then key=value, got {item!r}")
    bent = augment if augment in (None, "own") else tuple(augment.split(","))
    task = tuning.Task(strategy, stream, tuple(items or ()), _list(seeds), bent)
    folder = out or Path("runs") / "tune" / "-".join(_names([strategy, stream]))
    devices = None if gpus is None else gpus.split(",")
    searched = None if space is None else spaces.read(space)
    try:
        resources = tuning.Resources(workers=workers, threads=threads, devices=devices)
        tuned = tuning.tune(task, folder, searched, trials, resources, mix, _show_trial)
    except Interrupted:
        typer.echo(f"stopped; the same command goes on with what is missing in {folder}", err=True)
        raise typer.Exit(130) from None
    if tuned.best is None or tuned.best.value is None:
        typer.echo(f"all of {len(tuned.trials)} trials failed; why, says {folder / tuning.TRIALS}", err=True)
        raise typer.Exit(1)
    accuracy = f"validation accuracy {100 * tuned.best.value:.2f} %"
    typer.echo(f"the best of {len(tuned.trials)} trials is trial {tuned.best.number}, {accuracy}:")
    for key, value in tuned.best.parameters.items():
        typer.echo(f"  {key}={value:.6g}" if isinstance(value, float) else f"  {key}={value}")
    typer.echo(f"live it: {task.command(folder / tuning.BEST)}\nfiles: {folder}")


def _show_trial(trial: Trial) -> None:
    said = f"failed: {trial.reason}" if trial.value is None else f"validation accuracy {100 * trial.value:.2f} %"
    typer.echo(f"trial {trial.number}: {said}")


def _list(seeds: str) -> tuple[int, ...]:
    try:
        return tuple(int(seed) for seed in seeds.split(",")) if seeds.strip() else ()
    except ValueError:
        raise ConfigError(f"--seeds: expected a list such as 1001,1002, got {seeds!r}") from None


def _asked(
    items: list[str],
    streams: list[str] | None,
    seeds: str | None,
    reference: str | None,
    budget: str | None,
    match: str | None,
    augment: str | None,
    wandb: bool,
) -> dict[str, Any]:
    """What the words ask for, laid over the YAML where there is one."""
    files = [item for item in items if item.endswith((".yaml", ".yml")) and not {" ", "=", "+"} & set(item)]
    words = [item for item in items if "=" in item.split(" ")[0]]
    arms = [item for item in items if item not in files and item not in words]
    asked: dict[str, Any] = {}
    if len(files) == 1 and not arms:
        asked = config.load(_there(Path(files[0])))
    elif files:
        arms = [item for item in items if item not in words]
    if not files and not arms:
        raise ConfigError("compare: expected strategies to compare, or the YAML of a grid, got none")
    given = {
        "arms": arms,
        "streams": streams or ([] if asked.get("streams") else ["digits"]),
        "seeds": None if seeds is None else _numbers(seeds),
        "reference": reference,
        "budget": _pairs(budget),
        "match": match,
        "augment": augment if augment in (None, "own") else augment.split(","),
        "wandb": wandb,
    }
    asked |= {key: value for key, value in given.items() if value}
    if words:
        if isinstance(asked.get("set"), Mapping):
            raise ConfigError("set: the grid has a mapping there, to which words cannot be added; make it a list")
        asked["set"] = [*(asked.get("set") or []), *words]
    return asked


def _there(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"expected the YAML of a grid at {str(path)!r}, found none")
    return path


def _numbers(text: str) -> int | list[int]:
    try:
        return int(text) if "," not in text else [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds: expected a number of seeds, or a list such as 11,12,13, got {text!r}") from None


def _pairs(text: str | None) -> dict[str, int] | None:
    if text is None:
        return None
    try:
        return {key: int(value) for key, value in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise ConfigError(f"--budget: expected steps=NUMBER,bytes=NUMBER, got {text!r}") from None


def _names(streams: Any) -> list[str]:
    from dreamer.jobs.manifest import slug

    entries = streams if isinstance(streams, list) else [streams]
    names = [str(entry.get("name", entry.get("config")) if isinstance(entry, Mapping) else entry) for entry in entries]
    return [slug(name) for name in names]


bench = typer.Typer(no_args_is_help=True, help="Measure what a life costs beyond its arithmetic.")
app.add_typer(bench, name="bench")


@bench.command("wake")
def bench_wake(
    rounds: Annotated[int, typer.Option(min=1, help="Paired rounds.")] = 5,
    steps: Annotated[int, typer.Option(min=10, help="Optimiser steps of each measurement.")] = 500,
) -> None:
    """Steps per second of the wake loop, with display and csv logger, against a bare PyTorch loop."""
    import statistics

    from dreamer import bench

    measured = bench.wake(rounds, steps)
    typer.echo("round  bare steps/s  ours steps/s  ratio")
    for number, pair in enumerate(measured):
        typer.echo(f"{number:>5}  {pair.bare:>12.1f}  {pair.ours:>12.1f}  {pair.ratio:>5.3f}")
    typer.echo(f"median ratio {statistics.median(pair.ratio for pair in measured):.3f}")


@bench.command("stream")
def bench_stream(
    items: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE ...] [KEY=VALUE ...]",
            help="Recipes by name, and single keys for all of them; none: a few of every kind.",
            show_default=False,
        ),
    ] = None,
    experiences: Annotated[int, typer.Option(min=8, help="Length of the stream, one new class each.")] = 100,
    steps: Annotated[int, typer.Option(min=2, help="Optimiser steps of every stage.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Lives of each recipe.")] = 3,
) -> None:
    """Time per step and bytes as a stream goes on: the last experiences against the fifth."""
    from dreamer import bench

    words = [item for item in items or [] if "=" in item]
    names = [item for item in items or [] if "=" not in item] or bench.RECIPES
    courses = bench.stream(names, words, experiences, steps, rounds)
    header = f"{'recipe':<22}  {'stage':<5}  {'ms/step at 5':>12}  {f'at {experiences}':>8}  {'ratio':>5}"
    typer.echo(f"{header}  {'MB at 5':>8}  {f'at {experiences}':>8}  grows by definition")
    for course in courses:
        size = f"{course.nbytes[4] / 1e6:>8.2f}  {course.nbytes[-1] / 1e6:>8.2f}  {course.grows}".rstrip()
        for kind in course.seconds:
            early, late = course.early(kind), course.late(kind)
            cost = f"{1000 * early:>12.2f}  {1000 * late:>8.2f}  {late / early:>5.2f}"
            typer.echo(f"{course.recipe:<22}  {kind:<5}  {cost}  {size}")


def main() -> None:
    """Run the command line; bad input ends with exit code 2 and one message."""
    # a part of the user's own lies where the command is typed
    sys.path.append(os.getcwd())
    try:
        app()
    except ConfigError as error:
        typer.echo(f"dreamer: {error}", err=True)
        raise SystemExit(2) from None


def _lives() -> ModuleType:
    """Import what lives lives, and keep Lightning's remarks out of the display."""
    from dreamer.runs import run

    run.quiet_lightning()
    return run


def _read(items: list[str] | None, **options: Any) -> dict[str, Any]:
    given = {key: value for key, value in options.items() if value is not None}
    return config.read(*(items or []), **given)


def _resumed(directory: Path, items: list[str], out: Path | None, seed: int | None, quiet: bool) -> Run | None:
    if out is not None or seed is not None:
        raise ConfigError("--resume continues a life as it was: it takes neither --out nor --seed")
    lives = _lives()
    results = lives.finished(directory)
    if results is None:
        return lives.resume(directory, *items, progress=not quiet)
    typer.echo(f"the life in {directory} is complete already")
    _show_results(results, directory)
    return None


def _show_plan(job: Run) -> None:
    from dreamer.runs.summary import summary

    source = job.draft.stream
    while "stream" in source.options:  # a changed stream: the order of its classes is that of the one below
        source = source.options["stream"]
    typer.echo(summary(job.stream, job.module, job.hypnogram, source.options.get("seed")))


def _show_results(results: Mapping[str, Any], directory: Path) -> None:
    from dreamer.report.table import print_table

    print_table(results)
    typer.echo(f"files: {directory}")


if __name__ == "__main__":
    main()
