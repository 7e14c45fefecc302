"""REM: what was seen is recombined and perturbed."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from dreamer.core.arguments import checked
from dreamer.stages.base import Sleep


@checked
@dataclass(eq=False)
class REM(Sleep):
    """Replay strange but recognisable variants, and learn the outputs that the clean sample deserves.

    After the REM phase of perturbed and adversarial dreaming (Deperrois et al. 2022), where codes of several memories
    are mixed; there a discriminator scores the dream, here the learner learns to keep its output (consistency, as in
    Sohn et al. 2020, arXiv 2001.07685). Arguments as for :class:`dreamer.stages.base.Sleep`.

    >>> REM(batch_size=32).strength
    1.0
    """

    kind: ClassVar[Literal["rem"]] = "rem"
