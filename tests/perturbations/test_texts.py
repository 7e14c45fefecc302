"""What each perturbation of texts does to tokens."""

from __future__ import annotations

import itertools

import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from dreamer.core.tokens import IGNORED, Tokens
from dreamer.perturbations import (
    InfillSpans,
    MaskSpans,
    MixPrompts,
    Perturbation,
    RecombineSegments,
    ShuffleSegments,
    SwapOpening,
    bound,
)
from tests.helpers.perturbed import learner, rng, texts, writer


def block(x: Tensor, y: Tensor) -> Tensor:
    """(B, T) next tokens, those that do not count too."""
    return torch.cat([x[:, 1:], y[:, -1:]], dim=1)


@pytest.mark.parametrize(
    "part", [InfillSpans(1.0), MixPrompts(1.0), RecombineSegments(1.0), ShuffleSegments(1.0), SwapOpening(1.0)]
)
def test_a_text_that_was_rewritten_is_followed_by_its_own_tokens(part: Perturbation) -> None:
    (part,) = bound([part], writer())
    x, y = texts()
    perturbed, targets = part(x, y, rng())
    counts = y != IGNORED
    assert torch.equal(block(perturbed, targets)[counts], targets[counts])
    assert torch.equal(block(perturbed, targets)[~counts][1:], block(x, y)[~counts][1:]) or isinstance(
        part, SwapOpening
    )


def test_masked_spans_hide_the_wanted_fraction_and_leave_what_is_wanted() -> None:
    x = torch.arange(4000)[:, None] * 40 + torch.arange(40)
    y = x + 1
    perturbed, targets = MaskSpans(rate=0.4, span=3)(x, y, rng())
    changed = perturbed != x
    assert targets is y and not changed[:, 0].any(), "an opening stays"
    # rates are uniform in [0, 0.4]; what is drawn is hardly ever the token itself
    assert abs(changed[:, 3:].float().mean() - 0.2) < 0.01
    assert torch.isin(perturbed[:, 1:], y).all(), "tokens of the batch"
    follows = (changed[:, 5:] & changed[:, 4:-1]).float().mean() / changed[:, 4:-1].float().mean()
    assert follows > 0.4, "spans, not single tokens"


def test_an_infilled_span_is_what_the_model_writes_behind_the_text_before_it() -> None:
    x, y = texts()
    part = InfillSpans(1.0, temperature=0.0).bind_model(writer())
    perturbed, targets = part(x, y, rng())
    changed = targets != y
    assert 0.1 < changed.float().mean() < 0.7
    with torch.no_grad():
        likely = writer().eval()(perturbed).argmax(dim=-1)
    assert torch.equal(likely[changed], targets[changed]), "the most likely ones at temperature 0"
    with pytest.raises(ValueError, match="InfillSpans needs a network that writes token by token"):
        InfillSpans().bind_model(learner())


def test_shuffled_segments_are_the_same_tokens_cut_where_they_may_be() -> None:
    x, y = texts(200)
    _, targets = ShuffleSegments(1.0, segments=3)(x, y, rng())
    assert torch.equal(targets.sort(dim=1).values, y.sort(dim=1).values)
    assert (targets != y).any(dim=1).float().mean() > 0.6
    tokens = Tokens.of(["a", "b", ". ", "c"], openings=[[0]])
    y = torch.tensor([[1, 2, 1, 3, 2, 3, 3, 1]]).repeat(200, 1)
    _, targets = ShuffleSegments(1.0, segments=3, ends=[". "], tokens=tokens)(torch.zeros_like(y), y, rng())
    orders = {tokens.write(row) for row in targets.tolist()}
    assert orders <= {"".join(each) for each in itertools.permutations(["b. ", "bc. ", "ccb"])} and len(orders) == 6
    with pytest.raises(ValueError, match=r"expected ends that some token ends with, got \['!'\]"):
        ShuffleSegments(ends=["!"], tokens=tokens)


def test_recombined_segments_come_from_one_other_text_of_the_domain() -> None:
    domain = torch.arange(60) % 3
    y = (torch.arange(60)[:, None] * 20 + torch.arange(20)) * 3 + domain[:, None]
    _, targets = RecombineSegments(1.0, segments=4)(domain[:, None].expand(60, 20), y, rng())
    sources = torch.div(targets, 60, rounding_mode="floor")
    assert torch.equal(targets % 3, domain[:, None].expand(60, 20))
    assert torch.equal(torch.div(targets, 3, rounding_mode="floor") % 20, torch.arange(20).expand(60, 20)), "in place"
    assert all(len(row.unique()) == 2 for row in sources)


def test_openings_are_swapped_where_they_are_as_long() -> None:
    x, y = texts(60)
    y[::2, 1] = IGNORED
    perturbed, targets = SwapOpening(1.0)(x, y, rng())
    assert targets is y
    longer = torch.arange(60) % 2 == 0
    assert torch.equal(perturbed[~longer, 2:], x[~longer, 2:]) and torch.equal(perturbed[longer, 3:], x[longer, 3:])
    assert 0.2 < (perturbed[:, 0] != x[:, 0]).float().mean() < 0.8
    third = {int(token) for token in x[longer, 2]}
    assert {int(token) for token in perturbed[longer, 2]} <= third


class Parrot(nn.Module):
    """Writes 10 or 11, as likely as each other, behind the opening 0, and likewise 12 or 13 behind 1."""

    def new_cache(self, count: int, length: int) -> list[Tensor]:
        return []

    def extend(self, tokens: Tensor, cache: list[Tensor]) -> Tensor:
        cache.append(tokens)
        logits = torch.full((len(tokens), 14), -torch.inf)
        for opening in (0, 1):
            logits[cache[0][:, 0] == opening, 10 + 2 * opening : 12 + 2 * opening] = 0.0
        return logits


def test_mixed_prompts_draw_each_token_from_both_by_a_weight_of_the_texts_own() -> None:
    x = torch.full((600, 300), 10)
    x[:, 0] = torch.arange(600) % 2
    y = torch.cat([x[:, 1:], x[:, 1:2]], dim=1)
    perturbed, targets = MixPrompts(1.0).bind_model(Parrot())(x, y, rng())
    assert torch.equal(perturbed[:, 0], x[:, 0]) and torch.equal(perturbed[:, 1:], targets[:, :-1])
    changed = (targets != y).any(dim=1)
    assert 0.4 < changed.float().mean() < 0.6, "whose partner begins otherwise"
    texts = targets[changed]
    odd = (texts % 2 == 1).float().mean(dim=1)
    assert ((odd - 0.5).abs() < 5 * 0.5 / 300**0.5).all(), "each opening's own distribution"
    others = ((texts >= 12) != (x[changed, :1] == 1)).float().mean(dim=1)
    assert scipy.stats.kstest(others.numpy(), "uniform").pvalue > 1e-3
    half, _ = MixPrompts(0.5).bind_model(Parrot())(x, y, rng())
    assert 0.2 < (half != x).any(dim=1).float().mean() < 0.3


def test_mixed_prompts_are_what_one_model_says_behind_either() -> None:
    x, y = texts()
    model = writer().eval()
    perturbed, targets = MixPrompts(1.0, temperature=0.0).bind_model(model)(x, y, rng())
    weights = torch.linspace(0, 1, 500)[:, None, None]
    written = (targets != y).any(dim=1).nonzero().flatten().tolist()
    assert len(written) > 8
    for row in written:
        behind = perturbed[row].repeat(4, 1)
        behind[:, 0] = torch.arange(4)
        with torch.no_grad():
            said = model(behind).softmax(dim=-1)
        counts = y[row] != IGNORED
        explained = [
            (torch.lerp(said[x[row, 0]], said[other], weights).argmax(dim=-1) == targets[row])[:, counts].all(dim=1)
            for other in range(4)
            if other != x[row, 0]
        ]
        assert torch.stack(explained).any(), "one other opening and one weight for the whole text"


def test_prompts_of_another_length_are_not_mixed() -> None:
    x, y = texts(8)
    y[::2, 1] = IGNORED
    # among the even texts openings are equal, too
    x[::2, :3] = x[0, :3]
    perturbed, targets = MixPrompts(1.0).bind_model(writer())(x, y, rng())
    assert torch.equal(perturbed[::2], x[::2]) and torch.equal(targets[::2], y[::2])
    assert not torch.equal(targets[1::2], y[1::2])
    same, same_targets = MixPrompts(1.0).bind_model(writer())(x[::2], y[::2], rng())
    assert torch.equal(same, x[::2]) and torch.equal(same_targets, y[::2])
    with pytest.raises(ValueError, match="MixPrompts needs a network that writes token by token"):
        MixPrompts().bind_model(learner())
