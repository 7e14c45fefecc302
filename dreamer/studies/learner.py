"""What a learner has learnt beyond its accuracy: predictions for perturbed samples, and a probe of its features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from dreamer.core.modes import evaluating
from dreamer.perturbations import Perturbation
from dreamer.streams.base import Samples

_BATCH = 1000


@torch.no_grad()
def predict(
    network: nn.Module, samples: Samples, perturbation: Perturbation | None = None, rng: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """The logits of a network for samples, in evaluation mode; its modes are restored.

    Args:
        network: maps (B, *S) to (B, K) logits.
        perturbation: of the samples; it must leave labels alone.

    Returns:
        (N, K) logits and (N,) labels.
    """
    logits = []
    with evaluating(network):
        for batch in samples.batches(torch.arange(len(samples)).split(_BATCH)):
            x = batch.x
            if perturbation is not None and rng is not None:
                x = perturbation(x, functional.one_hot(batch.y).float(), rng)[0]
            logits.append(network(x))
    return torch.cat(logits), samples.y


@torch.no_grad()
def probe(features: Callable[[Tensor], Tensor], trained: Samples, tested: Samples) -> float:
    """Accuracy of a linear classifier on features that stay as they are.

    Features are standardised by those it is trained on; the classifier is scikit-learn's logistic regression at its
    defaults (an L2 penalty with C = 1).

    Args:
        features: maps (B, *S) samples to (B, H) features.
    """
    sets = []
    for samples in (trained, tested):
        batches = samples.batches(torch.arange(len(samples)).split(_BATCH))
        sets.append((torch.cat([features(batch.x) for batch in batches]).numpy(), samples.y.numpy()))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(*sets[0])
    return float(classifier.score(*sets[1]))
