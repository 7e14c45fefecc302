"""Every generator keeps the same promises."""

from __future__ import annotations

import copy
import functools
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from dreamer.config import binding, registry
from dreamer.core.types import UNLABELLED, Batch, Dream, Perturbations
from dreamer.generators import VAE, BrainInspired, ClassConditionalVAE, Generator, UntrainedError
from dreamer.generators._gaussian_mixture import MixtureBank, fit_mixture
from dreamer.networks import MLP
from dreamer.perturbations import LatentMixing, Temperature

NAMES = [name for name in registry.names("generators") if name != "own_words"]
"""All but the one that writes tokens and learns nothing, whose contract is in test_own_words.py."""
SMALL: dict[str, dict[str, Any]] = {
    "brain_inspired": {"latent_dim": 6, "hidden": (24,)},
    "class_conditional_vae": {"latent_dim": 6, "hidden": (24,), "components": 2},
    "feature_translation": {"capacity": 60},
    "flow_matching": {"hidden": (64, 64)},
    "gan": {"hidden": (24,)},
    "latent_gaussians": {"latent_dim": 8},
    "model_inversion": {"iterations": 30, "batch_size": 32},
    "vae": {"latent_dim": 6, "hidden": (24,)},
    "vae_per_class": {"latent_dim": 3, "hidden": (16,)},
}
"""Sizes for tests; a part of one's own is tried with its defaults."""
PATIENCE = {"brain_inspired": 800}
"""Steps until its dreams are recognisable, where that takes more than usual: it learns the prior too."""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@functools.cache
def learnt() -> nn.Module:
    """Has learnt all six classes, so that its features and gradients mean something."""
    torch.manual_seed(1)
    network = MLP((1, 4, 4), 6, (24,))
    x, y = day(tuple(range(6)))[:2]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network


def learner() -> nn.Module:
    return copy.deepcopy(learnt())


def modes(name: str) -> list[str | None]:
    """The values of ``continual`` that a generator takes."""
    parameters = binding.parameters(registry.resolve("generators", name))
    return list(get_args(parameters["continual"].annotation)) if "continual" in parameters else [None]


def make(name: str, continual: str | None = None, **options: object) -> Generator:
    torch.manual_seed(0)
    chosen = SMALL.get(name, {}) | options | ({} if continual is None else {"continual": continual})
    generator = registry.resolve("generators", name)((1, 4, 4), 6, **chosen)
    generator.attach(learner())
    return generator


def day(classes: tuple[int, ...], count: int = 40) -> Batch:
    y = torch.tensor(classes).repeat_interleave(count)
    x = 0.2 * torch.rand(len(y), 1, 4, 4, generator=rng(3))
    x.flatten(1)[torch.arange(len(y)), 2 * y] += 0.7
    return Batch(x, y)


def learn(generator: Generator, classes: tuple[int, ...], experience: int, steps: int = 150) -> list[float]:
    batch = day(classes)
    trained = [p for p in generator.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=5e-3) if trained else None
    losses = []
    for step in range(steps):
        loss = generator.loss(batch.x, batch.y, rng(step))
        if loss is None or optimizer is None:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    generator.end_experience([Batch(batch.x[:30], batch.y[:30]), Batch(batch.x[30:], batch.y[30:])], experience, rng(9))
    return losses


BOTH = [(name, mode) for name in NAMES for mode in modes(name)]


@pytest.mark.parametrize("name", NAMES)
def test_refuses_to_dream_untrained(name: str) -> None:
    generator = make(name)
    assert not generator.dreamable.any()
    with pytest.raises(UntrainedError, match="class 0, 3 before it was trained"):
        generator.dream(torch.tensor([3, 0, 3]), rng())
    learn(generator, (0, 1), 0, steps=3)
    with pytest.raises(UntrainedError, match="class 3 before"):
        generator.dream(torch.tensor([0, 1, 3]), rng())


@pytest.mark.parametrize(("name", "continual"), BOTH)
def test_dreams_what_it_promises(name: str, continual: str | None) -> None:
    generator = make(name, continual)
    learn(generator, (0, 1), 0, steps=5)
    learn(generator, (4, 5), 1, steps=5)
    assert generator.dreamable.tolist() == [True, True, False, False, True, True]
    y = torch.tensor([0, 5, 1, 4] * 10)
    kept = y.clone()
    dream = generator.dream(y, rng())
    assert isinstance(dream, Dream) and dream.is_features == generator.is_features
    assert dream.x.shape[1:] == ((24,) if generator.is_features else (1, 4, 4)) and len(dream.x) == 40
    assert dream.x.dtype == torch.float32 and torch.isfinite(dream.x).all() and not dream.x.requires_grad
    assert torch.equal(y, kept) and dream.p is None
    assert torch.equal(dream.y, y if generator.conditional else torch.full_like(y, UNLABELLED))
    assert torch.equal(dream.x, generator.dream(y, rng()).x)
    assert not torch.equal(dream.x, generator.dream(y, rng(1)).x)


@pytest.mark.parametrize(("name", "continual"), BOTH)
def test_learns_and_goes_on_dreaming_of_old_days(name: str, continual: str | None) -> None:
    generator = make(name, continual, **({"iterations": 300} if name == "model_inversion" else {}))
    losses = learn(generator, (0, 1), 0, PATIENCE.get(name, 150))
    assert not losses or losses[-1] < losses[0] or name == "gan", "players of a game do not both win"
    learn(generator, (4, 5), 1, PATIENCE.get(name, 150))
    if generator.is_features or name == "gan":
        return  # tested in their own files: features have no brightest pixel, and a game needs more than this
    y = torch.tensor([0, 5, 1, 4] * 10)
    dream = generator.dream(y, rng())
    brightest = dream.x.flatten(1).argmax(dim=1)
    if generator.conditional:
        # inverted dreams are those that the learner names, which need not look bright to us
        named = learner()(dream.x).argmax(dim=1) if name == "model_inversion" else brightest / 2
        assert (named == y).float().mean() > 0.85
    else:
        assert torch.isin(brightest, torch.tensor([0, 2, 8, 10])).float().mean() > 0.9


@pytest.mark.parametrize(("name", "continual"), BOTH)
def test_state_round_trip_into_a_fresh_generator(name: str, continual: str | None) -> None:
    generator = make(name, continual)
    learn(generator, (0, 1), 0, steps=5)
    learn(generator, (2, 3, 4), 1, steps=5)
    fresh = make(name, continual)
    fresh.load_state_dict(generator.state_dict())
    y = torch.tensor([0, 1, 2, 3, 4])
    assert torch.equal(generator.dream(y, rng()).x, fresh.dream(y, rng()).x)
    assert fresh.nbytes == generator.nbytes
    if generator.loss(*day((0, 1))[:2], rng(2)) is not None:
        assert torch.equal(generator.loss(*day((0, 1))[:2], rng(2)), fresh.loss(*day((0, 1))[:2], rng(2)))


@pytest.mark.parametrize(("name", "continual"), BOTH)
def test_settling_again_replaces_what_the_experience_left(name: str, continual: str | None) -> None:
    generator = make(name, continual)
    learn(generator, (0, 1), 0, steps=5)
    size = generator.nbytes
    learn(generator, (0, 1), 0, steps=5)
    assert generator.nbytes == size


@pytest.mark.parametrize(("name", "continual"), BOTH)
def test_bytes_are_as_planned(name: str, continual: str | None) -> None:
    generator = make(name, continual)
    planned = generator.planned_bytes([(0, 1), (2, 3)])
    learn(generator, (0, 1), 0, steps=3)
    learn(generator, (2, 3), 1, steps=3)
    assert generator.nbytes == planned
    if continual in ("rehearse", "distil"):
        size = generator.nbytes
        learn(generator, (2, 3), 2, steps=3)
        assert generator.nbytes == size, "constant for constant classes"


@pytest.mark.parametrize(("name", "continual"), BOTH)
def test_codes_and_noise_can_be_perturbed(name: str, continual: str | None) -> None:
    generator = make(name, continual)
    learn(generator, (0, 1), 0, steps=5)
    y = torch.tensor([0, 1] * 8)
    plain = generator.dream(y, rng())
    if "latent" in generator.spaces:
        perturbed = generator.dream(y, rng(), Perturbations(latent=LatentMixing(1.0)))
        assert (perturbed.p is not None) == generator.conditional
        assert not torch.allclose(perturbed.x, plain.x)
    if "noise" in generator.spaces:
        still = generator.dream(y, rng(), Perturbations(noise=Temperature(0.0, 0.0)))
        wild = generator.dream(y, rng(), Perturbations(noise=Temperature(3.0, 3.0)))
        assert not torch.allclose(still.x, plain.x) and not torch.allclose(wild.x, plain.x)


@pytest.mark.parametrize("name", NAMES)
def test_a_rehearsing_generator_learns_its_dreams_beside_the_day(name: str) -> None:
    if "rehearse" not in modes(name):
        pytest.skip(f"{name} has nothing to rehearse")
    generator = make(name, "rehearse")
    learn(generator, (0, 1), 0, steps=3)
    if generator.loss(*day((2, 3))[:2], rng(5)) is None or generator.is_features:
        return
    x, y = day((2, 3))[:2]
    old = day((0, 1)).x
    past = Dream(old, torch.zeros(len(old), dtype=torch.int64))
    generator_state = rng(5)
    both = generator.loss(x, y, generator_state, past)
    first = rng(5)
    own = generator.fit(Dream(x, y), first)
    again = generator.fit(past, first)
    assert torch.isclose(both, own / 2 + again / 2), "in its second experience the real batch weighs one half"


def test_a_distilling_generator_agrees_with_its_frozen_copy_and_keeps_the_old_mixtures() -> None:
    generator = make("class_conditional_vae", "distil")
    learn(generator, (0, 1), 0)
    (before,) = generator.snapshots
    y = torch.tensor([0, 1] * 20)
    dreams = generator.dream(y, rng()).x
    seen = before.sample(y, nn.functional.one_hot(y, 6).float(), rng(), Perturbations())[0]
    entropy = nn.functional.binary_cross_entropy(seen, seen).item()
    assert generator.agreement(before, y, rng()).item() == pytest.approx(entropy, abs=1e-4), "it is its own copy"
    learn(generator, (4, 5), 1)
    (after,) = generator.snapshots
    assert torch.equal(after.bank.mean[:2], before.bank.mean)
    # the same codes: drawn of the same mixtures with the same numbers
    again = generator.dream(y, rng()).x
    without = make("class_conditional_vae", "grow")
    learn(without, (0, 1), 0)
    old = without.snapshots[0]
    learn(without, (4, 5), 1)
    old.decoder = copy.deepcopy(without.decoder)
    forgotten = without.dream(y, rng()).x
    assert (again - dreams).abs().mean() < 0.5 * (forgotten - dreams).abs().mean()


def test_a_distilling_flow_learns_the_velocities_of_its_frozen_copy() -> None:
    generator = make("flow_matching", "distil", store="float32")
    learn(generator, (0, 1), 0, steps=300)
    (before,) = generator.snapshots
    y = torch.tensor([0, 1] * 20)
    assert generator.agreement(before, y, rng()).item() == pytest.approx(0, abs=1e-9), "it is its own copy"
    dreams = generator.dream(y, rng()).x
    # an output that is off by 0.5 everywhere is a velocity that is off by 0.5 over the time that is left
    hook = generator.denoiser.register_forward_hook(lambda module, args, output: output + 0.5)
    drawn = rng(5)
    torch.randn(40, 16, generator=drawn)
    left = 1 - torch.sigmoid(-0.8 + 0.8 * torch.randn(40, generator=drawn))
    expected = (0.5 / left.clamp_min(0.05)).square().mean().item()
    assert generator.agreement(before, y, rng(5)).item() == pytest.approx(expected, rel=1e-4)
    hook.remove()
    learn(generator, (4, 5), 1, steps=300)
    again = generator.dream(y, rng()).x
    without = make("flow_matching", "grow", store="float32")
    learn(without, (0, 1), 0, steps=300)
    learn(without, (4, 5), 1, steps=300)
    without.snapshots[0].denoiser = copy.deepcopy(without.denoiser)
    forgotten = without.dream(y, rng()).x
    assert (again - dreams).abs().mean() < 0.5 * (forgotten - dreams).abs().mean()


def test_distilling_is_refused_where_it_is_not_known() -> None:
    with pytest.raises(ValueError, match="expected continual to be one of 'grow', 'rehearse', got 'distil'"):
        VAE((1, 4, 4), 6, continual="distil")


@pytest.mark.parametrize("name", ["vae", "brain_inspired", "class_conditional_vae"])
def test_the_weight_of_the_past_counts_experiences_and_not_nights(name: str) -> None:
    generator = make(name, "rehearse")
    x, y = day((2, 3))[:2]
    past = Dream(day((0, 1)).x, day((0, 1)).y)

    @torch.no_grad()
    def weight(**counted: int) -> float:
        """Of the real batch."""
        first = rng(5)
        own, again = generator.fit(Dream(x, y), first), generator.fit(past, first)
        return float((generator.loss(x, y, rng(5), past, **counted) - again) / (own - again))

    for experience, classes in enumerate([(0, 1), (2, 3), (4, 5)]):
        count = experience + 1
        assert weight(experiences_seen=count) == pytest.approx(1 / count, abs=1e-3)
        assert weight() == pytest.approx(1 / count, abs=1e-3), "the same, where nobody counts"
        learn(generator, classes, experience, steps=3)
        # a night within the experience
        assert weight(experiences_seen=count) == pytest.approx(1 / count, abs=1e-3)
        learn(generator, classes, experience, steps=3)


def test_a_mixture_prior_of_one_class_equals_its_closed_form() -> None:
    """Brain-inspired replay's estimated divergence has the analytic one as its mean."""
    torch.manual_seed(0)
    generator = make("brain_inspired")
    assert isinstance(generator, BrainInspired)
    mean, log_variance = torch.randn(1, 6), 0.3 * torch.randn(1, 6)
    prior = torch.distributions.Normal(generator.feedback.mean[2], (0.5 * generator.feedback.log_variance[2]).exp())
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    exact = torch.distributions.kl_divergence(posterior, prior).sum().detach()
    z = posterior.sample((40000,))[:, 0]
    fractions = nn.functional.one_hot(torch.tensor(2), 6).float().expand(40000, -1)
    # of the fractions, and of the label
    for y in (None, torch.full((40000,), 2)):
        drawn = generator._divergence(z, mean.expand(40000, -1), log_variance.expand(40000, -1), fractions, y).detach()
        assert torch.isclose(drawn.mean(), exact, atol=5 * float(drawn.std()) / 200)


def far_codes(generator: BrainInspired) -> tuple[Tensor, Tensor, Tensor]:
    """A code beside the prior of class 1, and far from that of class 0; its posterior's mean and log-variance."""
    feedback = generator.feedback
    with torch.no_grad():
        feedback.log_variance.zero_()
        feedback.mean.zero_()
        feedback.mean[0] += 30 / 6**0.5
    z = torch.full((1, 6), 0.1)
    return z, z.clone(), torch.zeros(1, 6)


def test_under_a_label_the_prior_is_that_of_the_label_alone_however_far() -> None:
    generator = make("brain_inspired")
    assert isinstance(generator, BrainInspired)
    z, mean, log_variance = far_codes(generator)
    fractions = nn.functional.one_hot(torch.tensor([0]), 6).float()
    found = generator._divergence(z, mean, log_variance, fractions, torch.tensor([0]))
    posterior = torch.distributions.Normal(mean, 1.0)
    prior = torch.distributions.Normal(generator.feedback.mean[:1], (0.5 * generator.feedback.log_variance[:1]).exp())
    torch.testing.assert_close(found, (posterior.log_prob(z) - prior.log_prob(z)).sum(dim=1))
    assert found > 400, "and not the 92 of a floor under its probability"
    found.sum().backward()
    slope = generator.feedback.mean.grad
    assert slope[0].abs().min() > 1 and not slope[1:].any(), "it is drawn to the code, and no other is"


def test_a_label_leads_the_loss_to_its_own_prior() -> None:
    generator = make("brain_inspired")
    assert isinstance(generator, BrainInspired)
    far_codes(generator)
    generator.fit(Dream(day((0,)).x, day((0,)).y), rng()).backward()
    slope = generator.feedback.mean.grad
    assert slope[0].any() and not slope[1:].any()


@pytest.mark.parametrize("sure", [0.0, 3.0, torch.inf])
def test_under_soft_labels_the_prior_is_the_mixture_of_the_official_code(sure: float) -> None:
    generator = make("brain_inspired")
    assert isinstance(generator, BrainInspired)
    z, mean, log_variance = far_codes(generator)
    scores = torch.zeros(1, 6)
    scores[0, 1:] -= sure
    fractions = scores.softmax(dim=1)
    each = torch.distributions.Normal(generator.feedback.mean, (0.5 * generator.feedback.log_variance).exp())
    a = each.log_prob(z).sum(dim=1)
    largest = a.max()
    # models/vae.py, calculate_log_p_z, with y_prob
    prior = (fractions[0] * (a - largest).exp()).sum().clamp(min=1e-40).log() + largest
    own = torch.distributions.Normal(mean, 1.0).log_prob(z).sum(dim=1)
    found = generator._divergence(z, mean, log_variance, fractions, None)
    torch.testing.assert_close(found, own - prior)
    assert torch.autograd.grad(found.sum(), generator.feedback.mean)[0].isfinite().all()


def test_gates_close_their_fraction_of_hidden_units() -> None:
    generator = make("brain_inspired", hidden=(40, 20), gating=0.25)
    assert isinstance(generator, BrainInspired)
    for number, width in enumerate((40, 20)):
        gate = generator.feedback.get_buffer(f"gate{number}")
        assert gate.shape == (6, width) and ((gate == 0).sum(dim=1) == width // 4).all()
        assert len(gate.unique(dim=0)) > 1, "classes have gates of their own"


def test_the_learner_is_no_part_of_the_generator_that_it_feeds() -> None:
    generator = make("brain_inspired")
    assert not any("trunk" in name for name in generator.state_dict())
    with pytest.raises(ValueError, match="features"):
        registry.resolve("generators", "brain_inspired")((1, 4, 4), 6).attach(nn.Linear(3, 2))


def test_unconditional_replay_is_the_standard_bound() -> None:
    generator = make("vae")
    assert isinstance(generator, VAE)
    x, y = day((0, 1), count=3)[:2]
    mean, log_variance = generator.encoder(x.flatten(1)).chunk(2, 1)
    z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=rng(4))
    output = torch.distributions.Bernoulli(logits=generator.decoder(z), validate_args=False)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    bound = (
        output.log_prob(x.flatten(1)).sum()
        - torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum()
    )
    assert torch.isclose(generator.loss(x, y, rng(4)), -bound / x.numel(), rtol=1e-5)


def test_the_vae_loss_is_the_negative_evidence_bound_per_pixel() -> None:
    generator = make("class_conditional_vae", latent_dim=2, hidden=(6,))
    assert isinstance(generator, ClassConditionalVAE)
    x, y = day((0, 1), count=3)[:2]
    label = torch.nn.functional.one_hot(y, 6).float()
    mean, log_variance = generator.encoder(torch.cat([x.flatten(1), label], 1)).chunk(2, 1)
    z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=rng(4))
    output = torch.distributions.Bernoulli(logits=generator.decoder(torch.cat([z, label], 1)), validate_args=False)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    bound = (
        output.log_prob(x.flatten(1)).sum()
        - torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum()
    )
    assert torch.isclose(generator.loss(x, y, rng(4)), -bound / x.numel(), rtol=1e-5)


@pytest.mark.parametrize("diagonal", [False, True])
def test_a_mixture_finds_the_groups_that_made_the_data(diagonal: bool) -> None:
    generator = rng(1)
    centres = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    spread = torch.tensor([[1.0, 0.0], [0.7, 0.5]])
    z = torch.cat([centre + torch.randn(400, 2, generator=generator) @ spread.T for centre in centres])
    mixture = fit_mixture(z, 3, rng(2), diagonal=diagonal)
    found = torch.cdist(centres, mixture.mean)
    assert found.min(dim=1).values.max() < 0.25 and torch.allclose(mixture.weight, torch.full((3,), 1 / 3), atol=0.02)
    covariance = mixture.factor[0] @ mixture.factor[0].T
    expected = spread @ spread.T
    assert torch.allclose(covariance, torch.diag(expected.diagonal()) if diagonal else expected, atol=0.2)
    bank = MixtureBank(1, 3, 2)
    bank.put(0, mixture)
    row, p = torch.zeros(6000, dtype=torch.int64), torch.ones(6000, 1)
    drawn, _ = bank.sample(row, p, rng(3), Perturbations())
    assert torch.allclose(drawn.mean(0), z.mean(0), atol=0.25) and torch.allclose(drawn.var(0), z.var(0), rtol=0.1)
    still, _ = bank.sample(row[:100], p[:100], rng(3), Perturbations(), temperature=0.0)
    # exact distances: by a matrix product, close points seem apart
    apart = torch.cdist(still, mixture.mean, compute_mode="donot_use_mm_for_euclid_dist")
    assert apart.min(dim=1).values.max() < 1e-5


def test_every_code_comes_from_the_requested_mixture() -> None:
    mean = torch.tensor([[[0.0, 0.0], [9.0, 9.0]], [[5.0, 5.0], [9.0, 9.0]]])
    spread = torch.diag(torch.tensor([0.1, 0.3])).expand(2, 2, 2, 2)
    bank = MixtureBank(2, 2, 2)
    bank.load_state_dict({"weight": torch.tensor([[1.0, 0.0], [1.0, 0.0]]), "mean": mean, "factor": spread})
    row = torch.tensor([0, 1] * 2000)
    drawn, _ = bank.sample(row, torch.ones(4000, 1), rng(), Perturbations())
    for number, centre in enumerate((0.0, 5.0)):
        codes = drawn[row == number]
        assert torch.allclose(codes.mean(dim=0), torch.full((2,), centre), atol=0.03), (
            "never from a component of weight 0"
        )
        assert torch.allclose(codes.std(dim=0), torch.tensor([0.1, 0.3]), rtol=0.1)


def test_a_mixture_of_two_codes_is_possible() -> None:
    mixture = fit_mixture(torch.tensor([[0.0, 1.0], [0.0, 3.0]]), 20, rng())
    assert len(mixture.weight) == 1 and torch.isfinite(mixture.factor).all()
