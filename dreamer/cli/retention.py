"""``dreamer retention``: what a model kept and what it lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dreamer.config.binding import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from dreamer.problems import Problem
    from dreamer.streams.base import Samples


def retention(
    before: Annotated[
        str, typer.Argument(help="The model as it was: a folder, a .gguf file, a name, or a run folder.")
    ],
    after: Annotated[str, typer.Argument(help="The same model after a training; a folder of adapters is one too.")],
    texts: Annotated[
        Path | None,
        typer.Option(help="Folder of held-out texts: NAME.txt, NAME.jsonl or NAME/ is a set.", show_default=False),
    ] = None,
    tokeniser: Annotated[str | None, typer.Option(help="By default that of BEFORE.", show_default=False)] = None,
    block: Annotated[int, typer.Option(min=1, help="Tokens that a model reads at once.")] = 256,
    most: Annotated[int, typer.Option(min=2, help="Blocks of each set of texts, spread over it.")] = 200,
    margin: Annotated[float, typer.Option(min=0, help="Loss that is let pass, in the score's own unit.")] = 0.0,
    fail: Annotated[bool, typer.Option("--fail", help="Exit with code 1 when something was lost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a model before and after a training on held-out sets, and tell what was lost, with paired intervals.

    Without --texts both are run folders of one stream, whose test data are the sets.
    """
    from dreamer.training.retention import retention as compared
    from dreamer.training.retention import retention_table

    try:
        if texts is None:
            models, sets, problem = _of_runs(Path(before), Path(after))
        else:
            models, sets, problem = _of_texts(before, after, texts, tokeniser or before, block, most)
        found = compared(*models, sets, problem, margin)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if as_json:
        sets_found = [one.plain() for one in found]
        typer.echo(json.dumps({"score": problem.score, "margin": margin, "sets": sets_found}, indent=1))
    else:
        typer.echo(retention_table(found, problem, margin))
    if fail and any(one.verdict == "lost" for one in found):
        raise typer.Exit(1)


def _of_texts(
    before: str, after: str, texts: Path, tokeniser: str, block: int, most: int
) -> tuple[tuple[nn.Module, nn.Module], dict[str, Samples], Problem]:
    from dreamer.networks import CausalLM
    from dreamer.problems import Language
    from dreamer.streams.text import held_out

    sets, tokens = held_out(texts, tokeniser, block, most)
    models = CausalLM((block,), tokens.size, before), CausalLM((block,), tokens.size, after)
    return models, sets, Language(tokens=tokens)


def _of_runs(before: Path, after: Path) -> tuple[tuple[nn.Module, nn.Module], dict[str, Samples], Problem]:
    """Two runs of one stream, as their last checkpoints have them."""
    from dreamer.runs.trained import trained

    (first, stream), (second, other) = trained(before), trained(after)
    one, two = ((each.sample_shape, each.num_classes, each.targets) for each in (stream, other))
    if one != two:
        raise ValueError(
            f"expected two runs of one stream, got {stream.name} with samples of shape {one[0]} and {one[1]} outputs "
            f"in {before}, and {other.name} with {two[0]} and {two[1]} in {after}"
        )
    sets = {f"experience {one.index}": one.test for one in stream.experiences}
    return (first.network, second.network), sets, first.problem
