"""What the learner itself writes: who writes, from what, how far, and the same words from the same random numbers.

Its samples are tokens, and nothing of it is trained: the contract of the generators of numbers is tested elsewhere.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dreamer.core.sampling import next_tokens
from dreamer.core.tokens import IGNORED, NAMED, Tokens
from dreamer.core.types import Batch, Perturbations, SleepContext
from dreamer.generators import OwnWords, UntrainedError
from dreamer.generators.base import Teachers
from dreamer.networks import MLP, Decoder
from dreamer.networks.base import Frozen
from dreamer.perturbations import Temperature
from dreamer.problems import Language
from dreamer.stages import NREM, Wake
from dreamer.stages.replay import for_problem

T, V, END = 6, 9, 8
TOKENS = Tokens.of("xyzabcde.", openings=[[0], [1], [2, 3]], end=END)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def decoder(seed: int = 0, **options: Any) -> Decoder:
    torch.manual_seed(seed)
    return Decoder((T,), V, width=16, layers=1, heads=2, **options)


class Always(nn.Module):
    """Writes one token again and again."""

    def __init__(self, token: int):
        super().__init__()
        self.token = nn.Parameter(torch.tensor(float(token)), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return 50 * nn.functional.one_hot(torch.full_like(x, int(self.token)), V).float()

    def new_cache(self, count: int, length: int) -> SimpleNamespace:
        return SimpleNamespace(length=length)

    def extend(self, tokens: Tensor, cache: Any) -> Tensor:
        return self(tokens)[:, -1]


def writing(learner: nn.Module, *domains: int, **options: Any) -> OwnWords:
    """A generator attached to a learner that has seen some domains, an experience each."""
    generator = OwnWords((T,), 3, **({"tokens": TOKENS} | options))
    generator.attach(learner)
    for number, domain in enumerate(domains):
        day = Batch(torch.zeros(2, T).long(), torch.zeros(2, T).long(), torch.full((2,), domain))
        generator.end_experience([day], number, rng())
    return generator


def test_it_refuses_to_write_of_what_was_not_learnt() -> None:
    generator = writing(decoder())
    assert not generator.dreamable.any()
    with pytest.raises(UntrainedError, match="class 1 before"):
        generator.dream(torch.tensor([1]), rng())
    assert writing(decoder(), 0, 2).dreamable.tolist() == [True, False, True]


def test_texts_begin_with_their_openings_and_are_their_own_targets() -> None:
    domains = torch.tensor([0, 2, 1, 2])
    dream = writing(decoder(), 0, 1, 2).dream(domains, rng())
    assert dream.x.shape == dream.y.shape == (4, T) and dream.x.dtype == dream.y.dtype == torch.int64
    assert torch.equal(dream.group, domains)
    assert dream.x[:, 0].tolist() == [0, 2, 1, 2] and (dream.x[domains == 2, 1] == 3).all()
    counted = dream.y[:, :-1] != IGNORED
    assert counted.any() and torch.equal(dream.y[:, :-1][counted], dream.x[:, 1:][counted])


PROMPTED = replace(TOKENS, prompts=(((0, 4), (0, 5, 6)), (), ((2, 3, 7),)))


def test_where_there_are_prompts_one_of_the_domain_is_drawn_for_each_text_and_given() -> None:
    domains = torch.tensor([0, 1, 2] * 200)
    dream = writing(Always(7), 0, 1, 2, tokens=PROMPTED).dream(domains, rng())
    begun = [tuple(row) for row in dream.x[:, :3].tolist()]
    found = {
        domain: {row for row, d in zip(begun, domains.tolist(), strict=True) if d == domain} for domain in range(3)
    }
    assert found == {0: {(0, 4, 7), (0, 5, 6)}, 1: {(1, 7, 7)}, 2: {(2, 3, 7)}}
    assert 70 < begun.count((0, 4, 7)) < 130, "each as often"
    for row, y in zip(begun, dream.y, strict=True):
        given = {(0, 4, 7): 2, (0, 5, 6): 3, (1, 7, 7): 1, (2, 3, 7): 3}[row]
        assert (y[: given - 1] == IGNORED).all() and (y[given - 1 :] == 7).all()


def test_the_bytes_of_prompts_are_the_generators() -> None:
    plain, prompted = writing(Always(7), 0, 2), writing(Always(7), 0, 2, tokens=PROMPTED)
    stored = len("xa") + len("xbc") + len("zad")
    assert prompted.nbytes - plain.nbytes == PROMPTED.prompt_bytes == stored
    assert prompted.planned_bytes([(0,), (2,)]) - plain.planned_bytes([(0,), (2,)]) == stored


def test_behind_the_end_nothing_counts() -> None:
    dream = writing(decoder(), 0, temperature=2.0).dream(torch.zeros(200).long(), rng())
    ended = (dream.y == END).any(dim=1)
    assert 0 < ended.sum() < 200
    for y in dream.y[ended]:
        place = int((y == END).nonzero()[0])
        assert (y[place + 1 :] == IGNORED).all() and (y[:place] != IGNORED).all()
    assert (dream.y[~ended] != IGNORED).all()


def test_a_length_counts_from_behind_the_opening() -> None:
    dream = writing(Always(4), 0, 2, length=2).dream(torch.tensor([0, 2]), rng())
    assert dream.y.tolist() == [[4, 4, -100, -100, -100, -100], [-100, 4, 4, -100, -100, -100]]


def test_the_same_random_numbers_give_the_same_words() -> None:
    generator, domains = writing(decoder(), 0, 1), torch.tensor([0, 1] * 20)
    first = generator.dream(domains, rng())
    torch.rand(5)
    again = writing(decoder(), 0, 1).dream(domains, rng())
    assert torch.equal(first.x, again.x) and torch.equal(first.y, again.y)
    assert not torch.equal(first.x, generator.dream(domains, rng(1)).x)


def test_it_writes_in_evaluation_mode_and_leaves_the_learner_as_it_was() -> None:
    learner = decoder(dropout=0.5).train()
    before = torch.get_rng_state()
    generator, domains = writing(learner, 0), torch.zeros(30).long()
    assert torch.equal(generator.dream(domains, rng()).x, generator.dream(domains, rng()).x)
    assert learner.training and torch.equal(torch.get_rng_state(), before)


def test_words_follow_the_distribution_of_the_writer() -> None:
    network, count = decoder(), 20_000
    dream = writing(network, 0).dream(torch.zeros(count).long(), rng())
    wanted = network.eval()(torch.zeros(1, T).long())[0, 0].softmax(0)
    found = dream.x[:, 1].bincount(minlength=V) / count
    assert (found - wanted).abs().max() < 4 * (0.25 / count) ** 0.5


def test_temperature_zero_takes_the_most_likely_token() -> None:
    network = decoder()
    x = writing(network, 0, temperature=0.0).dream(torch.zeros(3).long(), rng()).x
    assert torch.equal(x[0], x[1])
    assert torch.equal(network.eval()(x)[:, :-1].argmax(dim=2), x[:, 1:])


def test_unlikely_tokens_can_be_left_out() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0, -1.0]]).expand(500, 5)
    hot = torch.full((500, 1), 2.0)

    def drawn(top_k: int | None = None, top_p: float | None = None, temperature: Tensor = hot) -> list[int]:
        return next_tokens(logits, temperature, top_k, top_p, rng()).unique().tolist()

    assert drawn() == [0, 1, 2, 3, 4] and drawn(top_k=2) == [0, 1] and drawn(top_k=9) == [0, 1, 2, 3, 4]
    p = (logits[0] / 2).softmax(0).cumsum(0)
    assert drawn(top_p=float(p[1]) - 1e-4) == [0, 1] and drawn(top_p=float(p[1]) + 1e-4) == [0, 1, 2]
    assert drawn(top_p=1e-6) == [0] and drawn(temperature=torch.zeros(500, 1)) == [0]


def test_a_perturbation_of_noise_changes_the_temperature_of_each_text() -> None:
    generator, domains = writing(decoder(), 0), torch.zeros(200).long()
    plain, hot, cold = (
        generator.dream(domains, rng(), Perturbations(noise=noise)).x
        for noise in (None, Temperature(3.0, 3.0), Temperature(0.0, 0.0))
    )
    kinds = [len(x.unique(dim=0)) for x in (cold, plain, hot)]
    assert kinds[0] == 1 and kinds[0] < kinds[1] < kinds[2]


def test_many_texts_are_written_a_part_at_a_time() -> None:
    generator = writing(decoder(), 0, 1, at_once=7)
    domains = torch.tensor([0, 1] * 10)
    dream = generator.dream(domains, rng())
    assert torch.equal(dream.x[:, 0], domains) and torch.equal(dream.group, domains)


# ---------------------------------------------------------------------------------------------------- who writes


def context(generator: OwnWords, awake: bool = False, dawn: bool = True) -> SleepContext:
    old, new = torch.tensor([True, True, False]), torch.tensor([False, False, True])
    return SleepContext(
        network=Always(7),
        dawn=Frozen(Always(4)) if dawn else None,
        dusk=None if awake else Frozen(Always(5)),
        averages=(),
        memory=None,
        generator=generator,
        old_classes=old,
        new_classes=new,
        active=None,
        experiences_seen=3,
        night=-1 if awake else 2,
    )


@pytest.mark.parametrize(("teacher", "writers"), [("both", [4, 4, 5]), ("dusk", [5, 5, 5]), ("dawn", [4, 4, 4])])
def test_at_night_each_teacher_writes_of_its_own_domains(teacher: Any, writers: list[int]) -> None:
    stage = for_problem(NREM(batch_size=60, teacher=teacher), Language())
    sleep = context(writing(Always(7), 0, 1, 2))
    dream = stage.teach(sleep, stage.dream(sleep, 1, rng()))
    assert dream.group.bincount().tolist() == [20, 20, 20]
    for domain, token in enumerate(writers):
        own = dream.group == domain
        assert (dream.x[own, 2:] == token).all()
        assert (dream.teacher[own].argmax(dim=2) == token).all()


@pytest.mark.parametrize("kept", [True, False])
def test_the_writers_distributions_are_those_of_the_teacher(kept: bool) -> None:
    generator = writing(decoder(), 0, 1, 2, logits=kept)
    sleep = replace(context(generator), dawn=Frozen(decoder(1)), dusk=Frozen(decoder(2)))
    stage = for_problem(NREM(batch_size=30), Language())
    dream = stage.dream(sleep, 1, rng())
    assert (dream.teacher is not None) == kept
    taught, new = stage.teach(sleep, dream), dream.group == 2
    for teacher, rows in ((sleep.dawn, ~new), (sleep.dusk, new)):
        torch.testing.assert_close(taught.teacher[rows], teacher(dream.x[rows]))


def test_an_average_teaches_what_others_have_written() -> None:
    sleep = replace(context(writing(decoder(), 0, 1, 2)), averages=(Frozen(Always(6)),))
    stage = for_problem(NREM(batch_size=30, teacher="average"), Language())
    assert (stage.teach(sleep, stage.dream(sleep, 1, rng())).teacher.argmax(dim=2) == 6).all()


def test_by_day_dawn_writes_of_the_old_domains() -> None:
    stage = for_problem(Wake(replay=30), Language())
    dream = stage.dream(context(writing(Always(7), 0, 1), awake=True), 1, rng())
    assert dream.group.bincount().tolist() == [15, 15] and (dream.x[:, 2:] == 4).all()


def test_in_the_first_night_dusk_writes_alone() -> None:
    sleep = context(writing(Always(7), 0, 1, 2), dawn=False)
    assert (NREM(batch_size=6).dream(sleep, 1, rng()).x[:, 2:] == 5).all()


def test_outside_a_stage_the_learner_writes() -> None:
    assert (writing(Always(7), 0).dream(torch.zeros(3).long(), rng()).x[:, 1:] == 7).all()


def test_teachers_are_given_to_a_copy() -> None:
    generator = writing(Always(7), 0)
    bound = generator.written_by(Teachers(Frozen(Always(4)), None, torch.ones(3).bool()))
    assert (bound.dream(torch.zeros(2).long(), rng()).x[:, 1:] == 4).all()
    assert (generator.dream(torch.zeros(2).long(), rng()).x[:, 1:] == 7).all()


# ---------------------------------------------------------------------------------------------------- what it keeps


def test_it_keeps_names_alone_and_they_are_saved() -> None:
    generator = writing(decoder(), 0, 2)
    assert not list(generator.parameters()) and generator.nbytes < 100
    assert generator.nbytes == OwnWords((T,), 3, tokens=TOKENS).planned_bytes([(0,), (2,)])
    fresh = OwnWords((T,), 3, tokens=TOKENS)
    fresh.load_state_dict(generator.state_dict())
    assert fresh.dreamable.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_shape": (1, 8, 8)}, "OwnWords writes tokens"),
        ({"tokens": None}, "OwnWords writes tokens"),
        ({"temperature": -1.0}, "temperature of at least 0"),
        ({"top_k": 0}, "top_k of at least 1"),
        ({"top_p": 0.0}, r"top_p in \(0, 1\]"),
        (
            {"sample_shape": (2,), "tokens": PROMPTED},
            "openings and prompts of at most 2 tokens, got one of 3",
        ),
        ({"sample_shape": (1,)}, "openings and prompts of at most 1 tokens, got one of 2"),
    ],
)
def test_what_it_cannot_be_is_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OwnWords(**{"sample_shape": (T,), "num_classes": 3, "tokens": TOKENS} | options)


def test_a_learner_that_cannot_write_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a network that writes token by token.*got MLP"):
        OwnWords((T,), 3, tokens=TOKENS).attach(MLP((T,), V))
    with pytest.raises(ValueError, match=r"expected attach\(learner\)"):
        OwnWords((T,), 3, tokens=TOKENS).write(torch.zeros(1).long(), rng())


def test_it_keeps_the_most_likely_tokens_of_its_distributions_alone() -> None:
    y = torch.tensor([0, 1, 2, 0])
    whole = writing(decoder(), 0, 1, 2).dream(y, rng())
    likely = writing(decoder(), 0, 1, 2, logits=3).dream(y, rng())
    assert torch.equal(whole.x, likely.x) and likely.teacher is not None
    said, named = whole.teacher.log_softmax(dim=2).topk(3, dim=2)
    assert torch.equal(likely.fields[NAMED], named)
    torch.testing.assert_close(likely.teacher, said)
    assert likely.rows(slice(1, 3)).fields[NAMED].shape == (2, T, 3)
    assert writing(decoder(), 0, 1, 2, logits=V).dream(y, rng()).fields is None, "all of them have no names"
