"""LightningCLI for wake-sleep runs: ``python -m dreamer.cli.lightning fit --config run.yaml``.

Model, data and Trainer are configured by the arguments of their own constructors, so a YAML is what LightningCLI makes
of them; ``dreamer run`` has a shorter one. Needs jsonargparse: ``pip install 'dreamer[cli]'``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from lightning_utilities.core.imports import RequirementCache
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dreamer.config.binding import ConfigError
from dreamer.report.table import print_table
from dreamer.runs.run import quiet_lightning
from dreamer.runs.summary import summary
from dreamer.stages.base import Sleep
from dreamer.streams.base import DataNotFound, Stream
from dreamer.training.data import StreamDataModule
from dreamer.training.module import WakeSleepModule

JSONARGPARSE = RequirementCache("jsonargparse[signatures]>=4.46")
OF_THE_STREAM = {"sample_shape": "sample_shape", "num_classes": "num_groups", "outputs": "num_classes"}
"""Arguments of network and generator, and the stream's attributes that they get."""


class WakeSleepCLI(LightningCLI):
    """A LightningCLI for :class:`dreamer.WakeSleepModule` and :class:`dreamer.StreamDataModule`.

    ``data.stream`` is named by the path of a function that gives a :class:`dreamer.Stream`, such as
    ``dreamer.streams.digits``. Network and generator, where they take a ``sample_shape``, ``num_classes`` or
    ``outputs``, get them from it. ``seed_everything`` is the seed of the whole run; the schedule is printed before,
    the results after it.

    Args:
        args: the arguments, or a configuration; None reads ``sys.argv``.
        run: train at once; False only builds, as :class:`LightningCLI` does.
    """

    def __init__(self, args: list[str] | dict[str, Any] | None = None, run: bool = True):
        from jsonargparse import set_parsing_settings

        # a stream is a dataclass, which would be configured field by field; so it is made by a function
        set_parsing_settings(subclasses_enabled=[Stream, Sleep])
        super().__init__(
            WakeSleepModule,
            StreamDataModule,
            trainer_defaults={"max_epochs": -1},
            seed_everything_default=0,
            # its --optimizer would take the place of the one optimiser, whose groups are learner and generator
            auto_configure_optimizers=False,
            args=args,
            run=run,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Let the stream say what samples look like, and one seed be that of all."""
        for part in ("network", "generator"):
            for name, source in OF_THE_STREAM.items():
                parser.link_arguments(
                    "data",
                    f"model.{part}.init_args.{name}",
                    lambda data, source=source: getattr(data.stream, source),
                    apply_on="instantiate",
                )
        parser.link_arguments("seed_everything", "model.seed", int)

    def _add_instantiators(self) -> None:
        """Leave out Lightning's record of hyper-parameters, which assumes that every link was followed."""

    def instantiate_classes(self) -> None:
        """Build stream, module and Trainer."""
        with refusals():
            super().instantiate_classes()

    def before_fit(self) -> None:
        """Print the schedule."""
        stream, model = self.datamodule.stream, self.model
        with refusals():
            plan = model.plan(stream, self.trainer.world_size)
        if self.trainer.is_global_zero:
            typer.echo(summary(stream, model, plan))

    def after_fit(self) -> None:
        """Print the results."""
        if self.trainer.is_global_zero:
            print_table(self.model.results())


@contextmanager
def refusals() -> Iterator[None]:
    """What a constructor refuses, as the error that a command line ends with."""
    try:
        yield
    except (ValueError, MisconfigurationException, DataNotFound) as error:
        raise ConfigError(str(error)) from error


def main() -> None:
    """Run the command line; bad input ends with exit code 2 and one message."""
    quiet_lightning()
    try:
        if not JSONARGPARSE:
            raise ConfigError(f"expected {JSONARGPARSE.requirement} to be installed: pip install 'dreamer[cli]'")
        WakeSleepCLI()
    except ConfigError as error:
        typer.echo(f"dreamer: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
