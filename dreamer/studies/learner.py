"""What a learner is worth beyond its accuracy: what it answers when samples are bent, how sure it is, what it sees."""

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
def answers(
    network: nn.Module, samples: Samples, perturbation: Perturbation | None = None, rng: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """What a network says of samples, in evaluation mode; its modes are restored.

    Args:
        network: maps (B, *S) to (B, K) logits.
        samples: N of them.
        perturbation: how they are perturbed before they are shown; it must leave labels alone.
        rng: what it draws from.

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


def calibration_error(logits: Tensor, y: Tensor, bins: int = 15) -> float:
    """How far confidence lies from accuracy, on average over bins of equal width, weighted by their samples.

    ``sum_b |B_b| / N |accuracy(B_b) - confidence(B_b)|``: the expected calibration error of Guo et al. 2017 (arXiv
    1706.04599), equation 3.

    Args:
        logits: (N, K).
        y: (N,) labels.
        bins: how many, between confidences of 0 and 1.

    Returns:
        A number in [0, 1].
    """
    confidence, said = logits.softmax(dim=1).max(dim=1)
    right = (said == y).to(confidence.dtype)
    # the upper edge belongs to a bin
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    gaps = torch.zeros(bins, dtype=confidence.dtype).index_add_(0, place, right - confidence)
    return float(gaps.abs().sum() / len(y))


@torch.no_grad()
def probe(features: Callable[[Tensor], Tensor], taught: Samples, tested: Samples) -> float:
    """Accuracy of a linear classifier on features that stay as they are.

    Features are standardised by those it is taught with; the classifier is scikit-learn's logistic regression at its
    defaults (an L2 penalty with C = 1).

    Args:
        features: maps (B, *S) samples to (B, H) features.
        taught: what the classifier learns from.
        tested: what it is examined on.
    """
    sets = []
    for samples in (taught, tested):
        batches = samples.batches(torch.arange(len(samples)).split(_BATCH))
        sets.append((torch.cat([features(x) for x, _ in batches]).numpy(), samples.y.numpy()))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(*sets[0])
    return float(classifier.score(*sets[1]))
