"""Baselines that dream nothing: random features in closed form, and a generator per class that classifies."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from sklearn.covariance import OAS
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid
from torch import Tensor, nn
from torch.distributions import Bernoulli, MultivariateNormal, Normal
from torch.nn import functional

from dreamer.core.types import Batch, Dream, Perturbations, SleepContext, Step
from dreamer.generators.class_conditional_vae import ClassConditionalVAE
from dreamer.generators.vae_per_class import VAEPerClass
from dreamer.networks import MLP, Featured
from dreamer.networks.base import module_bytes
from dreamer.networks.likelihood_classifier import LikelihoodClassifier
from dreamer.networks.nearest_class_mean import NearestClassMean
from dreamer.networks.random_fourier_lda import RandomFourierLDA
from dreamer.networks.random_projection_ridge import RandomProjectionRidge
from dreamer.networks.streaming_lda import StreamingLDA
from dreamer.networks.whitened_linear import WhitenedLinear
from dreamer.stages.absorb import Absorb
from dreamer.streams.digits import digits

LOWEST = torch.finfo(torch.float32).min


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def everything(split: str) -> list[Batch]:
    """All digits, one batch per experience of two classes."""
    sets = [getattr(experience, split) for experience in digits(validation=0.0).experiences]
    return [next(samples.batches([torch.arange(len(samples))])) for samples in sets]


def joined(split: str) -> tuple[Tensor, Tensor]:
    batches = everything(split)
    return torch.cat([batch.x for batch in batches]), torch.cat([batch.y for batch in batches])


def absorbed(network: Any, x: Tensor, y: Tensor, size: int = 64) -> Any:
    for part in zip(x.split(size), y.split(size), strict=True):
        network.absorb(*part)
    return network


def lda(**options: object) -> RandomFourierLDA:
    return RandomFourierLDA((1, 8, 8), 10, **{"features": 200, "gamma": 7.0, **options})


# ---------------------------------------------------------------- on samples as they are


@pytest.mark.parametrize("shrinkage", [0.02, 0.3])
def test_streaming_lda_is_that_of_scikit_learn_class_after_class(shrinkage: float) -> None:
    network = StreamingLDA((1, 8, 8), 10, shrinkage=shrinkage)
    for batch in everything("train"):
        absorbed(network, batch.x, batch.y, size=1 if shrinkage == 0.3 else 50)
    x, y = joined("train")
    tested = joined("test")[0].flatten(1).double().numpy()
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(x.flatten(1).double().numpy(), y)
    # ours takes every class to be equally likely
    expected = torch.from_numpy(reference.decision_function(tested)) - torch.from_numpy(reference.priors_).log()
    assert torch.allclose(network(joined("test")[0]).double(), expected, rtol=1e-3, atol=1e-2)


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_ has at least 1 zero:UserWarning")
def test_the_nearest_mean_is_that_of_scikit_learn() -> None:
    network = NearestClassMean((1, 8, 8), 10)
    for batch in everything("train"):
        absorbed(network, batch.x, batch.y, size=7)
    (x, y), (tested, _) = joined("train"), joined("test")
    reference = NearestCentroid().fit(x.flatten(1).double().numpy(), y)
    assert (network(tested).argmax(dim=1).numpy() == reference.predict(tested.flatten(1).double().numpy())).all()
    assert np.allclose(network.mean.numpy(), reference.centroids_, atol=1e-5)


def test_the_ridge_is_its_closed_form() -> None:
    network = RandomProjectionRidge((1, 8, 8), 10, features=120, ridge=0.01)
    for batch in everything("train"):
        absorbed(network, batch.x, batch.y, size=33)
    (x, y), (tested, labels) = joined("train"), joined("test")
    w = network.projection.double().numpy()
    h = np.maximum(x.flatten(1).double().numpy() @ w.T, 0)
    gram = h.T @ h
    weight = np.linalg.solve(gram + 0.01 * np.trace(gram) / 120 * np.eye(120), h.T @ np.eye(10)[y.numpy()])
    expected = torch.from_numpy(np.maximum(tested.flatten(1).double().numpy() @ w.T, 0) @ weight)
    assert torch.allclose(network(tested).double(), expected, atol=1e-3)
    assert (network(tested).argmax(dim=1) == labels).float().mean() > 0.9


@pytest.mark.parametrize("network", [StreamingLDA, WhitenedLinear, NearestClassMean, RandomProjectionRidge])
def test_what_was_never_absorbed_never_wins_and_state_is_all_there_is(network: Any) -> None:
    one, other = network((1, 8, 8), 10), network((1, 8, 8), 10)
    x, y = joined("test")
    assert torch.equal(one(x[:3]), torch.full((3, 10), LOWEST))
    absorbed(one, x[y < 3], y[y < 3])
    assert (one(x)[:, 3:] == LOWEST).all() and (one(x).argmax(dim=1) < 3).all()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(x), other(x))
    absorbed(one, x[y == 3], y[y == 3])
    assert (one(x[y == 3]).argmax(dim=1) == 3).any(), "what is absorbed counts at once"


def test_the_whitened_layer_sees_what_scipy_whitens() -> None:
    torch.manual_seed(0)
    network = WhitenedLinear((1, 8, 8), 10, shrinkage=0.2)
    (x, y), tested = joined("train"), joined("test")[0]
    few = y < 5
    absorbed(network, x[few], y[few])
    h, labels = x[few].flatten(1).double().numpy(), y[few].numpy()
    means = np.stack([h[labels == label].mean(axis=0) for label in range(5)])
    covariance = np.cov((h - means[labels]).T, bias=True)
    covariance = 0.8 * covariance + 0.2 * np.trace(covariance) / 64 * np.eye(64)
    lower = scipy.linalg.cholesky(covariance, lower=True)
    z = scipy.linalg.solve_triangular(lower, (tested.flatten(1).double().numpy() - means.mean(axis=0)).T, lower=True)
    whitened = torch.from_numpy(math.sqrt(np.trace(covariance) / 64) * z.T).float()
    assert torch.allclose(network(tested)[:, :5], network.head(whitened)[:, :5], rtol=1e-4, atol=1e-4)
    assert (network(tested)[:, 5:] == LOWEST).all()


def test_training_moves_the_whitened_layer_and_leaves_the_statistics() -> None:
    torch.manual_seed(0)
    (x, y), (tested, labels) = joined("train"), joined("test")
    network = absorbed(WhitenedLinear((1, 8, 8), 10, shrinkage=0.1), x, y)
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    after = network.state_dict()
    assert [name for name in after if not torch.equal(after[name], before[name])] == ["head.weight", "head.bias"]
    assert (network(tested).argmax(dim=1) == labels).float().mean() > 0.93


def test_a_ridge_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a ridge above 0, got 0"):
        RandomProjectionRidge((4,), 2, ridge=0)


# ---------------------------------------------------------------- random Fourier features


def test_random_features_multiply_to_the_kernel() -> None:
    network = lda(features=20_000, gamma=5.0)
    x = joined("test")[0][:8]
    h = network.features(x)
    kernel = torch.exp(-5.0 * (x[:, None] - x[None]).square().flatten(2).mean(dim=2))
    assert kernel.min() < 0.7, "a kernel that is 1 everywhere would say nothing"
    assert torch.allclose(h @ h.T, kernel, atol=4 / math.sqrt(20_000))


def test_neither_order_nor_batches_change_what_was_absorbed() -> None:
    x, y = joined("train")
    by_class, shuffled = y.argsort(), torch.randperm(len(y), generator=rng())
    one = absorbed(lda(), x[by_class], y[by_class], size=7)
    other = absorbed(lda(), x[shuffled], y[shuffled], size=300)
    tested = joined("test")[0]
    assert torch.allclose(one(tested), other(tested), rtol=1e-3, atol=1e-3)
    assert torch.equal(one(tested).argmax(dim=1), other(tested).argmax(dim=1))


@pytest.mark.parametrize("shrinkage", [0.05, "oas"])
def test_the_discriminant_is_that_of_scikit_learn(shrinkage: float | str) -> None:
    x, y = joined("train")
    few = torch.cat([(y == label).nonzero().flatten()[: 40 + 5 * label] for label in range(10)])
    x, y = x[few], y[few]
    network = absorbed(lda(shrinkage=shrinkage), x, y)
    h = network.features(x).double()
    if shrinkage == "oas":
        means = torch.stack([h[y == label].mean(dim=0) for label in range(10)])
        shrinkage = float(OAS(assume_centered=True).fit((h - means[y]).numpy()).shrinkage_)
        assert 0.001 < shrinkage < 0.5
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(h.numpy(), y.numpy())
    tested = joined("test")[0]
    expected = torch.from_numpy(reference.decision_function(network.features(tested).double().numpy()))
    # ours takes every class to be equally likely
    expected -= torch.from_numpy(reference.priors_).log()
    assert torch.allclose(network(tested).double(), expected, rtol=1e-3, atol=2e-2)


def test_random_features_learn_the_digits_class_by_class_without_gradients() -> None:
    network = lda(features=1000)
    for batch in everything("train"):
        absorbed(network, batch.x, batch.y)
    x, y = joined("test")
    assert (network(x).argmax(dim=1) == y).float().mean() > 0.95
    assert not list(network.parameters()) and isinstance(network, Featured)


def test_classes_that_were_never_absorbed_never_win() -> None:
    network = lda()
    x, y = joined("test")
    assert torch.equal(network(x[:3]), torch.full((3, 10), LOWEST))
    few = y < 3
    absorbed(network, x[few], y[few])
    logits = network(x)
    assert (logits[:, 3:] == LOWEST).all() and torch.isfinite(logits).all() and (logits.argmax(dim=1) < 3).all()


def test_one_sample_of_each_class_leaves_the_nearest_mean() -> None:
    network = lda()
    x, y = joined("test")
    first = torch.stack([(y == label).nonzero()[0, 0] for label in range(10)])
    network.absorb(x[first], y[first])
    assert torch.equal(network(x[first]).argmax(dim=1), y[first])


def test_what_was_absorbed_is_its_state() -> None:
    x, y = joined("train")
    network = absorbed(lda(), x, y)
    other = absorbed(lda(seed=1), x[:50], y[:50])
    assert not torch.equal(network(x), other(x))
    other.load_state_dict(network.state_dict())
    assert torch.equal(network(x), other(x))
    network.absorb(x[:50], y[:50])
    assert not torch.equal(network(x), other(x)), "what is absorbed counts at once"


def test_every_kept_number_is_counted() -> None:
    projection, statistics, solved = 200 * 65, 200 * 200 + 10 * 200, 10 * 201
    assert module_bytes(lda()) == 4 * (projection + statistics + solved) + 8 * 10


def test_half_precision_of_the_trainer_does_not_reach_the_statistics() -> None:
    x, y = joined("train")
    network, other = absorbed(lda(), x, y), lda()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network(x), absorbed(other, x, y)(x))
    assert other.scatter.dtype == torch.float32 and torch.equal(network.scatter, other.scatter)


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"features": 0}, "at least 1 feature"), ({"gamma": 0.0}, "positive gamma"), ({"shrinkage": 0.0}, r"in \(0, 1\]")],
)
def test_refuses_numbers_out_of_range(options: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        lda(**options)


# ---------------------------------------------------------------- the stage that absorbs


def context(network: nn.Module) -> SleepContext:
    old, new = torch.zeros(10, dtype=torch.bool), torch.ones(10, dtype=torch.bool)
    return SleepContext(network, None, None, (), None, None, old, new, None, 1)


def test_a_day_is_absorbed_in_one_pass_and_leaves_nothing_to_differentiate() -> None:
    stage, (x, y) = Absorb(batch_size=100), joined("train")
    network, expected = lda(), absorbed(lda(), x, y, size=100)
    assert stage.length(len(y)) == math.ceil(len(y) / 100) and stage.kind == "wake"
    assert not stage.replays and not stage.needs_teacher
    for step, part in enumerate(zip(x.split(100), y.split(100), strict=True)):
        losses = stage.losses(context(network), Step(0, step, Batch(*part), None), rng())
        assert losses.total is None and losses.parts == {}
    assert torch.equal(network(x), expected(x))


def test_a_network_that_cannot_absorb_is_refused() -> None:
    stage, (x, y) = Absorb(), joined("test")
    stage.check(lda())
    with pytest.raises(ValueError, match=r"absorb\(x, y\).*got MLP"):
        stage.check(MLP((1, 8, 8), 10))
    with pytest.raises(ValueError, match="got MLP"):
        stage.losses(context(MLP((1, 8, 8), 10)), Step(0, 0, Batch(x, y), None), rng())


# ---------------------------------------------------------------- one autoencoder per class


def keeping(vae: VAEPerClass, classes: tuple[int, ...], experience: int = 0) -> VAEPerClass:
    """Keep the autoencoders of some classes as they are now."""
    y = torch.tensor(classes)
    vae.end_experience([Batch(torch.zeros(len(y), *vae.sample_shape), y)], experience, rng())
    return vae


def alone(vae: VAEPerClass, label: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder and decoder of one class, as plain layers."""
    built = []
    for stack in (vae.encoders, vae.decoders):
        layers: list[nn.Module] = []
        for weight, bias in zip(stack.weights, stack.biases, strict=True):
            layer = nn.Linear(weight.shape[1], weight.shape[2])
            layer.load_state_dict({"weight": weight[label].T.detach(), "bias": bias[label, 0].detach()})
            layers += [layer, nn.ReLU()]
        built.append(nn.Sequential(*layers[:-1]))
    return built[0], built[1]


def broad(vae: VAEPerClass) -> VAEPerClass:
    """Encoders that are wrong, but broad enough to reach all codes that are likely."""
    with torch.no_grad():
        vae.encoders.weights[-1].mul_(0.2)
        vae.encoders.biases[-1][..., vae.decoders.inputs :] = 0.5
    return vae


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_autoencoders_in_one_pass_are_those_of_every_class_alone(likelihood: str) -> None:
    torch.manual_seed(0)
    vae = VAEPerClass((2, 3), 4, latent_dim=2, hidden=(5, 4), likelihood=likelihood)
    x, y = torch.rand(7, 2, 3, generator=rng(1)), torch.tensor([3, 0, 3, 3, 1, 0, 3])
    noise = torch.randn(7, 2, generator=rng(2))
    bound = torch.tensor(0.0)
    for sample, label, epsilon in zip(x.flatten(1), y.tolist(), noise, strict=True):
        encoder, decoder = alone(vae, label)
        mean, log_variance = encoder(sample).chunk(2)
        output = decoder(mean + (0.5 * log_variance).exp() * epsilon)
        bound += torch.distributions.kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum()
        if likelihood == "bernoulli":
            bound -= Bernoulli(logits=output, validate_args=False).log_prob(sample).sum()
        else:
            bound -= (Normal(output, 1.0).log_prob(sample) + 0.5 * math.log(2 * math.pi)).sum()
    loss = vae.fit(Dream(x, y), rng(2))
    assert torch.isclose(loss, bound / x.numel(), rtol=1e-5)
    loss.backward()
    assert not any(parameter.grad[2].any() for parameter in vae.parameters()), "class 2 was not there"
    assert vae.decoders.biases[-1].grad.flatten(1).any(dim=1).tolist() == [True, True, False, True]


def test_importance_sampling_finds_the_likelihood_of_a_linear_autoencoder() -> None:
    torch.manual_seed(0)
    vae = broad(VAEPerClass((3,), 2, latent_dim=1, hidden=(), likelihood="gaussian"))
    x = torch.randn(6, 3, generator=rng(1))
    found = keeping(vae, (0, 1)).log_likelihood(x, 10_000, rng())
    for label in (0, 1):
        slope, offset = vae.decoders.weights[0][label, 0], vae.decoders.biases[0][label, 0]
        exact = MultivariateNormal(offset, torch.outer(slope, slope) + torch.eye(3)).log_prob(x)
        assert torch.allclose(found[:, label], exact + 1.5 * math.log(2 * math.pi), atol=0.03)


@pytest.mark.parametrize("observation", ["bernoulli", "gaussian"])
def test_importance_sampling_agrees_with_integration(observation: str) -> None:
    torch.manual_seed(0)
    vae = broad(VAEPerClass((4,), 3, latent_dim=1, hidden=(6,), observation=observation))
    with torch.no_grad():
        for weight in vae.decoders.weights:
            weight.mul_(3)
    x = torch.rand(5, 4, generator=rng(1))
    found = keeping(vae, (0, 2)).log_likelihood(x, 10_000, rng())
    z = torch.linspace(-9, 9, 4001)[:, None]
    for label in (0, 2):
        output = alone(vae, label)[1](z)[:, None].detach()
        if observation == "bernoulli":
            given = -functional.binary_cross_entropy_with_logits(
                output.expand(-1, 5, -1), x.expand(4001, -1, -1), reduction="none"
            )
        else:
            given = -0.5 * (output.sigmoid() - x).square()
        joint = given.sum(dim=2) + Normal(0.0, 1.0).log_prob(z)
        exact = torch.logsumexp(joint, dim=0) + math.log(18 / 4000)
        assert torch.allclose(found[:, label], exact, atol=0.02)
    assert (found[:, 1] == -torch.inf).all()


def test_what_a_dusk_kept_stays_whatever_is_learnt_later() -> None:
    torch.manual_seed(0)
    vae = keeping(VAEPerClass((1, 8, 8), 10, hidden=(12,)), (0, 1))
    network = LikelihoodClassifier((1, 8, 8), 10)
    network.attach(vae)
    x, y = joined("test")
    before = network(x)
    optimizer = torch.optim.Adam([p for p in vae.parameters() if p.requires_grad], lr=0.1)
    for label in (0, 5):
        vae.loss(x[y == label], y[y == label], rng()).backward()
        optimizer.step()
    keeping(vae, (5,), experience=1)
    after = network(x)
    assert torch.equal(before[:, :2], after[:, :2]) and (before[:, 5] == LOWEST).all()
    assert (after.isfinite() & (after > LOWEST)).any(dim=0).nonzero().flatten().tolist() == [0, 1, 5]


def test_a_class_that_came_back_is_as_likely_as_the_mean_of_its_dusks() -> None:
    torch.manual_seed(0)
    vae = keeping(broad(VAEPerClass((4,), 2, latent_dim=1, hidden=(6,), observation="bernoulli")), (0, 1))
    x = torch.rand(5, 4, generator=rng(1))
    first = vae.log_likelihood(x, 2000, rng())
    with torch.no_grad():
        vae.decoders.biases[-1].add_(2)
    other = copy.deepcopy(vae)
    del other.snapshots[:]
    second = keeping(other, (0,)).log_likelihood(x, 2000, rng())
    both = keeping(vae, (0,), experience=1).log_likelihood(x, 2000, rng())
    assert (first - second)[:, 0].abs().max() > 1
    assert torch.allclose(both[:, 0].exp(), (first[:, 0].exp() + second[:, 0].exp()) / 2, rtol=0.03)
    assert torch.equal(both[:, 1], first[:, 1])


def test_mixed_codes_are_decoded_by_the_classes_that_they_mix() -> None:
    torch.manual_seed(0)
    vae = keeping(VAEPerClass((4,), 3, latent_dim=2, hidden=(6,)), (0, 2))
    y = torch.tensor([0, 2, 2])

    def halve(z: Tensor, p: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.ones_like(z), torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.25, 0.0, 0.75]])

    dream = vae.dream(y, rng(), Perturbations(latent=halve))
    pure = [alone(vae, label)[1](torch.ones(2)).sigmoid() for label in (0, 2)]
    expected = torch.stack([pure[0], pure[1], 0.25 * pure[0] + 0.75 * pure[1]])
    assert torch.allclose(dream.x, expected, atol=1e-6)


def test_its_bytes_are_those_that_were_planned() -> None:
    vae = VAEPerClass((4,), 5, hidden=(6,))
    planned = vae.planned_bytes([(0, 1), (2, 3, 4)])
    keeping(keeping(vae, (0, 1)), (2, 3, 4), experience=1)
    assert vae.nbytes == planned


def test_means_cannot_be_observed_as_logits() -> None:
    with pytest.raises(ValueError, match="observation='gaussian'"):
        VAEPerClass((4,), 2, likelihood="gaussian", observation="bernoulli")


# ---------------------------------------------------------------- the classifier that calls it


def test_the_same_samples_get_the_same_output_in_every_evaluation() -> None:
    torch.manual_seed(0)
    networks = [LikelihoodClassifier((1, 8, 8), 10, samples=5, seed=seed) for seed in (0, 1)]
    vae = keeping(VAEPerClass((1, 8, 8), 10), (0, 1, 2))
    for network in networks:
        network.attach(vae)
    x = joined("test")[0][:20]
    first = networks[0](x)
    torch.rand(3)
    assert torch.equal(first, networks[0](x)) and not torch.equal(first, networks[1](x))
    assert torch.allclose(first, networks[1](x), atol=1.0), "another seed is another estimate of the same likelihood"


def test_the_generator_is_called_but_not_owned() -> None:
    network = LikelihoodClassifier((4,), 2)
    with pytest.raises(RuntimeError, match="no generator"):
        network(torch.zeros(1, 4))
    network.attach(VAEPerClass((4,), 2))
    assert not list(network.parameters()) and not network.state_dict() and not list(network.children())
    assert torch.equal(network(torch.zeros(2, 4)), torch.full((2, 2), LOWEST)), "no class was seen yet"


def test_generators_without_likelihood_or_of_another_size_are_refused() -> None:
    network = LikelihoodClassifier((4,), 2)
    with pytest.raises(ValueError, match=r"log_likelihood.*got ClassConditionalVAE"):
        network.attach(ClassConditionalVAE((4,), 2))
    with pytest.raises(ValueError, match=r"\(4,\) and 2 classes, got one of samples \(4,\) and 3"):
        network.attach(VAEPerClass((4,), 3))
    with pytest.raises(ValueError, match="at least 1 importance sample"):
        LikelihoodClassifier((4,), 2, samples=0)


@pytest.mark.slow
def test_likelihoods_learn_the_digits_class_by_class() -> None:
    torch.manual_seed(0)
    vae = VAEPerClass((1, 8, 8), 10)
    network = LikelihoodClassifier((1, 8, 8), 10, samples=10)
    network.attach(vae)
    optimizer = torch.optim.Adam(vae.parameters(), lr=3e-3)
    generator = rng()
    for experience, (x, y, *_) in enumerate(everything("train")):
        for _ in range(150):
            chosen = torch.randint(len(y), (64,), generator=generator)
            optimizer.zero_grad()
            vae.loss(x[chosen], y[chosen], generator).backward()
            optimizer.step()
        vae.end_experience([Batch(x, y)], experience, generator)
    x, y = joined("test")
    assert (network(x).argmax(dim=1) == y).float().mean() > 0.85
