"""LightningCLI: the commands of its page run, every argument explains itself, and what is printed reads back."""

from __future__ import annotations

import inspect
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning_utilities.core.imports import RequirementCache

import dreamer
from dreamer import streams
from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.progress import RunProgress
from dreamer.callbacks.run_folder import RunFolder
from dreamer.cli import lightning as cli_lightning
from dreamer.config import registry
from dreamer.streams import registry as named
from tests.helpers.pages import CHECKOUT, blocks

PAGE = CHECKOUT / "docs" / "lightning_cli.md"
SHORT = ["--trainer.limit_train_batches", "1", "--trainer.enable_progress_bar", "false", "--trainer.logger", "false"]
RUN = ["--data.stream", "dreamer.streams.digits", "--model.network", "dreamer.networks.MLP"]


def public_classes() -> list[type]:
    """Everything that somebody builds."""
    shown = [getattr(dreamer, name) for name in dreamer.__all__]
    found = [each for each in shown if inspect.isclass(each)] + [RunFolder, RunCheckpoint, RunProgress]
    found += [registry.resolve(family, name) for family in registry.FAMILIES for name in registry.names(family)]
    # an error, two things that a run makes itself, a plugin for Avalanche's strategies, and what takes a tokeniser
    aside = (dreamer.ConfigError, dreamer.Hypnogram, dreamer.Stream, dreamer.DreamPlugin, dreamer.OwnText)
    return [each for each in dict.fromkeys(found) if each not in aside]


def stream_functions() -> list[Callable[..., streams.Stream]]:
    found = [getattr(streams, name) for name in streams.__all__]
    found = [each for each in found if inspect.isfunction(each) and each.__annotations__.get("return") == "Stream"]
    return found + [named.resolve(name) for name in named.available() if named.resolve(name) not in found]


CLASSES, STREAMS = public_classes(), stream_functions()
NEEDED: dict[str, Any] = {
    "sample_shape": [1, 8, 8],
    "num_classes": 10,
    "outputs": 10,
    "capacity": 10,
    "n": 5,
    "night_steps": 10,
    "directory": "somewhere",
    "stream": "dreamer.streams.digits",
    "model": {"class_path": "torch.nn.Flatten"},
    "network": {"class_path": "dreamer.networks.MLP", "init_args": {"sample_shape": [1, 8, 8], "outputs": 10}},
}
OF_TEXT: dict[str, Any] = {
    "sample_shape": [8],
    "model": {"model_type": "gpt2", "n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 10},
    "tokens": {"texts": ["a", "b"], "sizes": [1, 1], "openings": [[0]] * 10},
}


def name_of(part: Callable[..., Any]) -> str:
    return getattr(part, "__name__", None) or type(part).__name__


def parser_of(part: Callable[..., Any]) -> ArgumentParser:
    """As LightningCLI would parse it; a parameter without a type is an error."""
    from jsonargparse import set_parsing_settings

    set_parsing_settings(subclasses_enabled=[streams.Stream])
    parser = ArgumentParser(exit_on_error=False)
    add = parser.add_class_arguments if inspect.isclass(part) else parser.add_function_arguments
    add(part, "part", fail_untyped=True)
    return parser


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the page shows."""
    for block in blocks(PAGE):
        head, _, text = block.text.partition("\n")
        if head.startswith("# ") and block.language in ("yaml", "python"):
            (tmp_path / head.removeprefix("# ")).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def typed(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Type a ``python`` command; gives its exit code."""
    with monkeypatch.context() as patch, warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        patch.setattr(sys, "argv", words[2:] if words[1] == "-m" else words[1:])
        try:
            if words[1] == "-m":
                assert words[2] == "dreamer.cli.lightning"
                cli_lightning.main()
            else:
                runpy.run_path(words[1], run_name="__main__")
        except SystemExit as left:
            return int(left.code or 0)
    return 0


def fit(*words: str) -> list[str]:
    return ["python", "-m", "dreamer.cli.lightning", "fit", *RUN, *SHORT, "--trainer.accelerator", "cpu", *words]


COMMANDS = [shlex.split(line) for block in blocks(PAGE) if block.language == "bash" for line in block.text.splitlines()]


@pytest.mark.process
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[-3:]))
def test_the_commands_of_the_page_run(words: list[str], there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trains = not words[-1] == "--print_config" and not any(".help" in word for word in words)
    assert typed([*words, *(SHORT if trains else [])], monkeypatch) == 0
    if trains:
        assert list(there.glob("checkpoints/*.ckpt"))


def test_the_run_of_the_page_is_that_of_its_yaml(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = cli_lightning.WakeSleepCLI(["--config", "run.yaml", "--model.wake.steps", "7"], run=False)
    module, stream = parsed.model, parsed.datamodule.stream
    assert (len(stream), module.wake.steps, module.wake.replay, module.seed) == (5, 7, 64, 1)
    assert [(type(stage), stage.steps) for stage in module.night] == [(dreamer.NREM, 20), (dreamer.REM, 40)]
    assert module.night[1].replayer.perturbations[1].degrees == 8
    # the stream said what samples look like
    assert module.network(torch.zeros(2, *stream.sample_shape)).shape == (2, stream.num_classes)
    assert module.generator.sample_shape == (1, 8, 8)


def test_a_printed_configuration_gives_the_same_run(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["python", "-m", "dreamer.cli.lightning", "fit", "--print_config", "--config"]
    assert typed([*command, "run.yaml"], monkeypatch) == 0
    printed = capsys.readouterr().out
    (there / "printed.yaml").write_text(printed, encoding="utf-8")
    assert typed([*command, "printed.yaml"], monkeypatch) == 0
    assert capsys.readouterr().out == printed
    assert "Unable to serialize" not in printed


def test_a_kept_configuration_of_a_script_with_nights_reads_back(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["python", "classify.py", "fit", *SHORT, "--config"]
    assert typed([*command, "nights.yaml"], monkeypatch) == 0
    first = (there / "config.yaml").rename(there / "first.yaml")
    assert typed([*command, "first.yaml"], monkeypatch) == 0
    assert (there / "config.yaml").read_text(encoding="utf-8") == first.read_text(encoding="utf-8")


def test_a_network_of_ones_own_needs_no_shape_and_gets_the_one_optimiser(
    there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (there / "mine.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, width: int = 30):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))\n"
    )
    words = ["--model.network", "mine.Net", "--model.network.width", "7", "--model.optimizer", "SGD"]
    assert typed(fit(*words, "--model.optimizer.lr", "0.5"), monkeypatch) == 0
    said = capsys.readouterr().out
    assert "steps: wake" in said and "average accuracy" in said
    saved = torch.load(next(there.glob("checkpoints/*.ckpt")), weights_only=True)
    assert saved["state_dict"]["network.1.weight"].shape == (7, 64)
    assert [group["lr"] for group in saved["optimizer_states"][0]["param_groups"]] == [0.5]


def test_streams_by_name_come_with_their_options(there: Path) -> None:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = {"class_path": "dreamer.streams.registry.build", "init_args": {"name": "digits", "seed": 3},
                 "dict_kwargs": {"experiences": 2}}  # fmt: skip
        network = {"class_path": "dreamer.networks.MLP"}
        parsed = cli_lightning.WakeSleepCLI({"data": {"stream": built}, "model": {"network": network}}, run=False)
    assert parsed.datamodule.stream.class_order == streams.digits(experiences=2, seed=3).class_order


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model.memory", "dreamer.memory.Ring", "--model.memory.capacity", "0"], "at least 1 sample"),
        (["--model.network.dropout", "2"], "expected dropout in [0, 1), got 2.0"),
        (["--data.stream.experiences", "99"], "expected between 1 and 10 experiences"),
        (["--data.stream", "dreamer.streams.folder", "--data.stream.root", "nowhere"], "sought pictures in 'nowhere'"),
        (["--data.stream", "dreamer.networks.MLP"], "data.stream"),
        (["--model.night+=dreamer.NREM"], "neither a memory nor a generator"),
        (["--model.wake.stepz", "3"], "'stepz' is not accepted"),
        (["--model.seed", "3"], "must be given via \"seed_everything\""),
    ],
)  # fmt: skip
def test_bad_input_ends_with_a_message_and_exit_code_2(
    words: list[str], said: str, there: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(fit(*words), monkeypatch) == 2
    assert said in capsys.readouterr().err


def test_without_jsonargparse_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_lightning, "JSONARGPARSE", RequirementCache("jsonargparse[signatures]>=99"))
    assert typed(fit(), monkeypatch) == 2
    said = "expected jsonargparse[signatures]>=99 to be installed: pip install 'dreamer[cli]'"
    assert capsys.readouterr().err == f"dreamer: {said}\n"


@pytest.mark.parametrize("part", [*CLASSES, *STREAMS], ids=name_of)
def test_every_argument_has_a_type_and_says_what_it_is(part: Callable[..., Any]) -> None:
    wanted = {name: each for name, each in inspect.signature(part).parameters.items() if name != "options"}
    shown = {each.dest.removeprefix("part."): each.help for each in parser_of(part)._actions}
    assert set(wanted) <= set(shown), f"not shown: {set(wanted) - set(shown)}"
    silent = [name for name in wanted if not re.sub(r"\(.*\)", "", shown[name] or "", flags=re.S).strip()]
    assert not silent, f"the docstring says nothing of {silent}"


@pytest.mark.parametrize("part", CLASSES, ids=name_of)
def test_what_is_printed_of_a_part_reads_back(part: type) -> None:
    if name_of(part) == "CausalLM":
        pytest.importorskip("transformers")
    parser = parser_of(part)
    needs = [name for name, each in inspect.signature(part).parameters.items() if each.default is each.empty]
    needed = NEEDED | (OF_TEXT if name_of(part) in ("CausalLM", "Decoder", "OwnWords") else {})
    given = parser.parse_object({"part": {name: needed[name] for name in needs}})
    printed = parser.dump(given)
    again = parser.parse_string(printed)
    assert parser.dump(again) == printed
    with torch.random.fork_rng():
        # a callback may be made one of the other import tree of Lightning, too
        assert isinstance(parser.instantiate(again).part, part)


def test_the_parts_are_found() -> None:
    assert {dreamer.WakeSleepModule, dreamer.StreamDataModule, dreamer.SleepCallback, dreamer.NREM} <= set(CLASSES)
    assert {"digits", "folder", "from_tensors", "from_datasets", "split_mnist"} <= set(map(name_of, STREAMS))
