"""Next tokens: token-weighted losses, masks, scores, and a stream of text in the whole cycle."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dreamer.core.tokens import IGNORED, NAMED, Tokens
from dreamer.core.types import Dream, Output
from dreamer.metrics import forgetting, summarise
from dreamer.problems import Language, Tally
from dreamer.streams import TensorSamples, make_stream

TOKENS = Tokens.of(["", "ab", "c", "é", "="], openings=[[0], [0]], marks=[0], end=2, answer=4)


def batch(seed: int = 0) -> tuple[Tensor, Dream]:
    """Outputs for three texts of six tokens, one of which counts fully, one in part, one not at all."""
    rng = torch.Generator().manual_seed(seed)
    outputs, teacher = torch.randn(2, 3, 6, 5, generator=rng)
    y = torch.randint(5, (3, 6), generator=rng)
    y[1, :4], y[2] = IGNORED, IGNORED
    return outputs, Dream(torch.randint(5, (3, 6), generator=rng), y, teacher=teacher)


def test_a_teacher_may_name_its_most_likely_tokens_alone() -> None:
    outputs, dream = batch()
    said, named = dream.teacher.log_softmax(dim=2).topk(2, dim=2)
    likely = dream._replace(teacher=said, fields={NAMED: named})
    counted = dream.y != IGNORED

    def events(logits: Tensor) -> Tensor:
        """Probabilities of the two tokens, and of all others together."""
        p = logits.softmax(dim=2).gather(2, named)[counted]
        return torch.cat([p, 1 - p.sum(dim=1, keepdim=True)], dim=1)

    p, q = events(dream.teacher), events(outputs)
    expected = (p * (p / q).log()).sum(dim=1).mean()
    torch.testing.assert_close(Language().soft_loss(Output(outputs), likely, None), expected)
    every = dream._replace(teacher=dream.teacher.log_softmax(dim=2), fields={NAMED: torch.arange(5).expand(3, 6, 5)})
    full = Language().soft_loss(Output(outputs), dream, None)
    torch.testing.assert_close(Language().soft_loss(Output(outputs), every, None), full, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"expected temperature=1.*got 2\.0"):
        Language(temperature=2.0).soft_loss(Output(outputs), likely, None)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_divergence_can_be_reversed(temperature: float) -> None:
    outputs, dream = batch()
    counted = dream.y != IGNORED
    p, q = (functional.softmax(z[counted] / temperature, dim=1) for z in (dream.teacher, outputs))
    expected = temperature**2 * (q * (q / p).log()).sum(dim=1).mean()
    problem = Language(divergence="reverse", temperature=temperature)
    torch.testing.assert_close(problem.soft_loss(Output(outputs), dream, None), expected)
    assert not torch.isclose(Language(temperature=temperature).soft_loss(Output(outputs), dream, None), expected)
    assert problem.soft_loss(Output(dream.teacher), dream, None) == pytest.approx(0, abs=1e-6)


def test_the_divergence_from_likely_tokens_can_be_reversed() -> None:
    outputs, dream = batch()
    said, named = dream.teacher.log_softmax(dim=2).topk(2, dim=2)
    counted = dream.y != IGNORED
    p, q = (z.softmax(dim=2).gather(2, named)[counted] for z in (dream.teacher, outputs))
    p, q = (torch.cat([each, 1 - each.sum(dim=1, keepdim=True)], dim=1) for each in (p, q))
    loss = Language(divergence="reverse").soft_loss(
        Output(outputs), dream._replace(teacher=said, fields={NAMED: named}), None
    )
    torch.testing.assert_close(loss, (q * (q / p).log()).sum(dim=1).mean())


def test_every_token_that_counts_weighs_the_same() -> None:
    outputs, dream = batch()
    counted = dream.y != IGNORED
    by_hand = torch.stack(
        [functional.cross_entropy(z, t) for z, t in zip(outputs[counted], dream.y[counted], strict=True)]
    ).mean()
    torch.testing.assert_close(Language().hard_loss(Output(outputs), dream, None), by_hand)
    p, q = dream.teacher[counted].log_softmax(1), outputs[counted].log_softmax(1)
    divergence = (p.exp() * (p - q)).sum(1).mean()
    torch.testing.assert_close(Language().soft_loss(Output(outputs), dream, None), divergence)


def test_what_does_not_count_gets_no_gradient() -> None:
    outputs, dream = batch()
    outputs.requires_grad_()
    for loss in (Language().hard_loss, Language().soft_loss):
        (gradient,) = torch.autograd.grad(loss(Output(outputs), dream, None), outputs)
        assert torch.equal((gradient != 0).any(dim=2), dream.y != IGNORED)


def test_a_batch_in_which_nothing_counts_has_a_loss_of_zero() -> None:
    outputs, dream = batch()
    outputs.requires_grad_()
    dream = dream._replace(y=torch.full_like(dream.y, IGNORED))
    for loss in (Language().hard_loss, Language().soft_loss):
        value = loss(Output(outputs), dream, None)
        assert float(value.detach()) == 0 and not torch.autograd.grad(value, outputs)[0].any()
    assert Language().tally(outputs.detach(), dream.y, None).value is None


def test_bits_per_byte_count_the_bytes_of_the_tokens() -> None:
    y = torch.tensor([[1, 3, 0, IGNORED]])
    # four tokens are equally likely everywhere: two bits for each of three that count, over 2 + 2 + 0 bytes
    outputs = torch.zeros(1, 4, 5)
    outputs[..., 4] = -torch.inf
    assert Language(tokens=TOKENS).tally(outputs, y, None).value == pytest.approx(6 / 4)
    assert Language().tally(outputs, y, None).value == pytest.approx(2.0)
    assert Language("perplexity", tokens=TOKENS).tally(outputs, y, None).value == pytest.approx(4.0)


def test_a_perplexity_is_that_of_all_tokens_however_they_are_batched() -> None:
    outputs, dream = batch()
    problem = Language("perplexity")
    total = sum((problem.tally(outputs[i : i + 1], dream.y[i : i + 1], None) for i in range(3)), Tally())
    assert total.value == pytest.approx(math.exp(float(problem.hard_loss(Output(outputs), dream, None))))


def test_an_answer_is_right_when_all_of_it_is() -> None:
    y = torch.tensor([[1, 4, 1, 2], [1, 4, 1, 2], [3, 4, 1, 2], [1, 1, 1, 1]])
    said = torch.tensor([[1, 4, 1, 2], [1, 4, 1, 1], [0, 0, 1, 2], [1, 1, 1, 1]])
    outputs = functional.one_hot(said, 5).float()
    # right; wrong at its end; right behind a prompt that it would not have guessed; a text without an answer
    assert Language("answers", tokens=TOKENS).tally(outputs, y, None) == Tally(2, 3)
    # without a mark all that counts is the answer
    assert Language("answers").tally(outputs, y, None) == Tally(2, 4)


def test_greedy_decoding_writes_exactly_the_answers_that_are_scored_as_right() -> None:
    table = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    y = torch.tensor([[1, 4, first, second] for first in range(5) for second in range(5)])
    x = torch.cat([torch.zeros(len(y), 1, dtype=torch.int64), y[:, :-1]], dim=1)
    scored = [
        Language("answers", tokens=TOKENS).tally(table[x][i : i + 1], y[i : i + 1], None).total for i in range(25)
    ]
    first = int(table[4].argmax())
    written = [first, int(table[first].argmax())]
    assert scored == [float(row == written) for row in y[:, 2:].tolist()]


def test_less_is_better_where_bits_are_counted() -> None:
    assert [Language(by).higher_is_better for by in ("bits_per_byte", "perplexity", "answers")] == [False, False, True]
    rows = [
        {"after": "wake", "experience": i, "night": -1, "stage": i, "global_step": i, "accuracy": scores,
         "validation": None, "recency_bias": None}
        for i, scores in enumerate([[2.0, 5.0], [3.5, 1.0]])
    ]  # fmt: skip
    assert summarise(rows, (0, 1), higher_is_better=False)["forgetting"] == pytest.approx(1.5)
    assert forgetting(torch.tensor([[2.0, 5.0], [3.5, 1.0]], dtype=torch.float64)) == pytest.approx(-1.5)


@pytest.mark.parametrize(
    ("x", "y", "tokens", "message"),
    [
        (torch.zeros(4, 3), torch.zeros(4), TOKENS, r"expected \(T,\) tokens and as many next tokens"),
        (torch.zeros(4, 3).long(), torch.zeros(4, 2).long(), TOKENS, "as many next tokens"),
        (torch.zeros(4, 3).long(), torch.full((4, 3), 5), TOKENS, r"next tokens in \[0, 5\)"),
        (torch.zeros(4, 3).long(), torch.zeros(4, 3).long(), Tokens.of("a", [[0]]), "an opening for each of 2 domains"),
        (torch.zeros(4, 3).long(), torch.zeros(4, 3).long(), None, "one integer label for each sample"),
    ],
)
def test_a_stream_of_text_is_checked(x: Tensor, y: Tensor, tokens: Tokens | None, message: str) -> None:
    pair = (TensorSamples(x, y), TensorSamples(x, y))
    with pytest.raises(ValueError, match=message):
        make_stream("s", [pair, pair], tokens=tokens)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"openings": []}, "at least one token"),
        ({"openings": [[]]}, "at least one token"),
        ({"openings": [[7]]}, r"tokens in \[0, 2\), got 7"),
        ({"openings": [[0]], "end": 2}, r"tokens in \[0, 2\), got 2"),
    ],
)
def test_tokens_lie_in_their_vocabulary(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokens.of("ab", **options)


def test_tokens_of_another_stream_are_refused() -> None:
    x = torch.zeros(4, 3).long()
    pair = (TensorSamples(x, x), TensorSamples(x, x))
    stream = make_stream("s", [pair, pair], tokens=TOKENS)
    Language(tokens=TOKENS).check(stream)
    with pytest.raises(ValueError, match="other tokens than those of s"):
        Language(tokens=Tokens.of("ab", [[0], [0]])).check(stream)
