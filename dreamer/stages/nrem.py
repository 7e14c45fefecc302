"""NREM: everything seen so far is replayed cleanly."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from dreamer.core.arguments import checked
from dreamer.perturbations.base import Perturbation
from dreamer.stages.base import Sleep


@checked
@dataclass(eq=False)
class NREM(Sleep):
    """Replay everything seen so far, with light perturbations at most, and consolidate.

    After the NREM phase of perturbed and adversarial dreaming (Deperrois et al. 2022), where a network learns to
    recognise its replayed day under occlusion; here the learner itself learns, from labels and from its teachers' soft
    targets. Arguments as for :class:`dreamer.stages.base.Sleep`, but without perturbations unless some are given.

    >>> NREM(steps=50).perturbations
    ()
    """

    perturbations: Sequence[Perturbation] = ()

    kind: ClassVar[Literal["nrem"]] = "nrem"
