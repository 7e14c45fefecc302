"""Every generator keeps the same promises."""

from __future__ import annotations

import pytest
import torch

from dreamer import parts
from dreamer.generators import ClassConditionalVAE, Generator, UntrainedError
from dreamer.generators._gaussian_mixture import Mixture, fit_mixture, sample_mixtures
from dreamer.perturbations import LatentMixing
from dreamer.types import Batch

NAMES = parts.names("generators")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(name: str, **options: object) -> Generator:
    torch.manual_seed(0)
    return parts.resolve("generators", name)((1, 4, 4), 6, **options)


def day(classes: tuple[int, ...], count: int = 40) -> Batch:
    y = torch.tensor(classes).repeat_interleave(count)
    x = 0.2 * torch.rand(len(y), 1, 4, 4, generator=rng(3))
    x.flatten(1)[torch.arange(len(y)), 2 * y] += 0.7
    return Batch(x, y)


def learn(generator: Generator, classes: tuple[int, ...], experience: int, steps: int = 150) -> list[float]:
    batch = day(classes)
    optimizer = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    for step in range(steps):
        loss = generator.loss(*batch, rng(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    generator.settle([Batch(batch.x[:30], batch.y[:30]), Batch(batch.x[30:], batch.y[30:])], experience, rng(9))
    return losses


@pytest.mark.parametrize("name", NAMES)
def test_refuses_to_dream_untrained(name: str) -> None:
    generator = make(name)
    assert not generator.dreamable.any()
    with pytest.raises(UntrainedError, match="class 0, 3 before it was trained"):
        generator.dream(torch.tensor([3, 0, 3]), rng())
    learn(generator, (0, 1), 0, steps=3)
    with pytest.raises(UntrainedError, match="class 3 before"):
        generator.dream(torch.tensor([0, 1, 3]), rng())


@pytest.mark.parametrize("name", NAMES)
def test_learns_and_dreams_of_what_it_was_asked(name: str) -> None:
    generator = make(name)
    losses = learn(generator, (0, 1), 0)
    assert losses[-1] < losses[0]
    learn(generator, (4, 5), 1)
    assert generator.dreamable.tolist() == [True, True, False, False, True, True]
    y = torch.tensor([0, 5, 1, 4] * 10)
    dream = generator.dream(y, rng())
    assert dream.x.shape == (40, 1, 4, 4) and dream.x.dtype == torch.float32 and torch.equal(dream.y, y)
    assert torch.isfinite(dream.x).all() and not dream.x.requires_grad and dream.p is None
    brightest = dream.x.flatten(1).argmax(dim=1)
    assert (brightest == 2 * y).float().mean() > 0.9
    assert torch.equal(dream.x, generator.dream(y, rng()).x)
    assert not torch.equal(dream.x, generator.dream(y, rng(1)).x)


@pytest.mark.parametrize("name", NAMES)
def test_state_round_trip_into_a_fresh_generator(name: str) -> None:
    generator = make(name)
    learn(generator, (0, 1), 0, steps=5)
    learn(generator, (2, 3, 4), 1, steps=5)
    fresh = make(name)
    fresh.load_state_dict(generator.state_dict())
    y = torch.tensor([0, 1, 2, 3, 4])
    assert torch.equal(generator.dream(y, rng()).x, fresh.dream(y, rng()).x)
    assert fresh.nbytes == generator.nbytes


@pytest.mark.parametrize("name", NAMES)
def test_settling_again_replaces_what_the_experience_left(name: str) -> None:
    generator = make(name)
    learn(generator, (0, 1), 0, steps=5)
    size = generator.nbytes
    learn(generator, (0, 1), 0, steps=5)
    assert generator.nbytes == size


@pytest.mark.parametrize("name", NAMES)
def test_latent_codes_can_be_bent(name: str) -> None:
    generator = make(name)
    if not generator.has_latents:
        pytest.skip(f"{name} has no latent codes")
    learn(generator, (0, 1), 0, steps=5)
    y = torch.tensor([0, 1] * 8)
    bent = generator.dream(y, rng(), LatentMixing(1.0))
    assert bent.p is not None and bent.p.shape == (16, 6)
    assert not torch.allclose(bent.x, generator.dream(y, rng()).x)


def test_the_vae_grows_by_what_it_promised() -> None:
    generator = make("class_conditional_vae", latent_dim=4, hidden=(10,), components=3)
    assert isinstance(generator, ClassConditionalVAE)
    learn(generator, (0, 1), 0, steps=3)
    learn(generator, (2, 3), 1, steps=3)
    bookkeeping = 2 * (2 * 8 + 8)
    assert generator.nbytes == generator.planned_bytes(experiences=2, classes=4) + bookkeeping


def test_the_vae_loss_is_the_negative_evidence_bound_per_pixel() -> None:
    generator = make("class_conditional_vae", latent_dim=2, hidden=(6,))
    assert isinstance(generator, ClassConditionalVAE)
    x, y = day((0, 1), count=3)
    label = torch.nn.functional.one_hot(y, 6).float()
    mean, log_variance = generator.encoder(torch.cat([x.flatten(1), label], 1)).chunk(2, 1)
    z = mean + (0.5 * log_variance).exp() * torch.randn(mean.shape, generator=rng(4))
    answer = torch.distributions.Bernoulli(logits=generator.decoder(torch.cat([z, label], 1)), validate_args=False)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    bound = (
        answer.log_prob(x.flatten(1)).sum()
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
    stacked = Mixture(*(part[None] for part in mixture))
    drawn = sample_mixtures(stacked, torch.zeros(6000, dtype=torch.int64), rng(3))
    assert torch.allclose(drawn.mean(0), z.mean(0), atol=0.25) and torch.allclose(drawn.var(0), z.var(0), rtol=0.1)
    still = sample_mixtures(stacked, torch.zeros(100, dtype=torch.int64), rng(3), temperature=0.0)
    assert torch.cdist(still, mixture.mean).min(dim=1).values.max() < 1e-5


def test_every_code_comes_from_the_mixture_that_was_asked_for() -> None:
    mean = torch.tensor([[[0.0, 0.0], [9.0, 9.0]], [[5.0, 5.0], [9.0, 9.0]]])
    spread = torch.diag(torch.tensor([0.1, 0.3])).expand(2, 2, 2, 2)
    mixtures = Mixture(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), mean, spread)
    row = torch.tensor([0, 1] * 2000)
    drawn = sample_mixtures(mixtures, row, rng())
    for number, centre in enumerate((0.0, 5.0)):
        codes = drawn[row == number]
        assert torch.allclose(codes.mean(dim=0), torch.full((2,), centre), atol=0.03), (
            "never from a component of weight 0"
        )
        assert torch.allclose(codes.std(dim=0), torch.tensor([0.1, 0.3]), rtol=0.1)


def test_a_mixture_of_two_codes_is_possible() -> None:
    mixture = fit_mixture(torch.tensor([[0.0, 1.0], [0.0, 3.0]]), 20, rng())
    assert len(mixture.weight) == 1 and torch.isfinite(mixture.factor).all()
