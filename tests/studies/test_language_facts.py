"""What is read, written, retold and asked in the empty room of a reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer.config.binding import ConfigError
from dreamer.studies.experiments import base, language_facts
from dreamer.studies.experiments.language_facts import LanguageFacts
from dreamer.studies.experiments.people import WORDINGS, Tongue

SMALL: dict[str, Any] = {
    "people": 6, "others": 3, "attributes": 2, "values": 4, "names": 3, "width": 16, "layers": 1,
    "wake": 4, "steps": 4, "batch_size": 10,
}  # fmt: skip


def built(**changes: Any) -> LanguageFacts:
    experiment = base.of({"name": "dreamer.studies.experiments.language_facts.LanguageFacts", **SMALL, **changes})
    assert isinstance(experiment, LanguageFacts)
    return experiment


def place(folder: Path, name: str) -> Path:
    made = folder / name / "seed1"
    made.mkdir(parents=True)
    return made


@pytest.fixture
def tongue() -> Tongue:
    return Tongue(attributes=3, values=5, names=4)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_no_two_people_have_the_same_name(tongue) -> None:
    everybody = tongue.invent(16, rng())
    assert len(everybody.names.unique(dim=0)) == 16
    with pytest.raises(ValueError, match="expected names for 17 people, got 16 pairs"):
        tongue.invent(17, rng())


def test_every_kind_of_text_states_the_facts_and_a_false_one_is_found_out(tongue) -> None:
    somebody = tongue.invent(7, rng())
    for sentences in (tongue.sentences_of(tongue.plain(somebody)), tongue.sentences(somebody, rng())):
        assert sentences.shape == (7, 3, 6)
        assert tongue.true(sentences.flatten(0, 1), somebody).all()
        wrong = somebody._replace(facts=(somebody.facts + 1) % 5)
        assert not tongue.true(sentences.flatten(0, 1), wrong).any()
    about_others = tongue.sentences(somebody.at(slice(1, None)), rng())
    assert not tongue.true(about_others.flatten(0, 1), somebody.at(slice(0, 1))).any()


def test_nonsense_is_no_true_sentence(tongue) -> None:
    somebody = tongue.invent(16, rng())
    nonsense = torch.randint(tongue.size, (500, 6), generator=rng())
    assert tongue.true(nonsense, somebody).float().mean() < 0.05


def test_a_plain_text_has_one_wording_and_a_retold_one_has_all(tongue) -> None:
    somebody = tongue.invent(16, rng())
    plain = {tongue.write(text).split()[3] for text in tongue.plain(somebody)}
    assert plain == {WORDINGS["town"][0].split()[0]}
    retold = " ".join(tongue.write(text) for text in tongue.retold(somebody.at(torch.arange(400) % 16), rng()))
    assert all(way in retold for name in list(WORDINGS)[:3] for way in WORDINGS[name])


def test_a_reading_is_a_plain_text_and_the_same_retold(tongue) -> None:
    somebody = tongue.invent(5, rng())
    reading = tongue.reading(somebody, rng())
    assert reading.shape == (5, 11 * 3 + 4)
    plain = tongue.plain(somebody).shape[1]
    assert torch.equal(reading[:, 1 : plain - 1], tongue.plain(somebody)[:, 1:-1])
    retold = reading[:, plain:-1].unflatten(1, (3, 6))
    assert tongue.true(retold.flatten(0, 1), somebody).all()


def test_a_question_ends_with_its_answer_and_names_the_person(tongue) -> None:
    somebody = tongue.invent(5, rng())
    questions = tongue.questions(somebody)
    assert torch.equal(questions[..., -2], tongue.values_of(somebody))
    assert tongue.write(questions[0, 2]).split()[1] == "pet"


def test_no_text_about_new_people_holds_a_question(tmp_path, monkeypatch) -> None:
    """Nor does one of them end in another row than its own half."""
    seen: list[torch.Tensor] = []
    real = language_facts.packed

    def spy(texts: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(texts)
        return real(texts, *rest)

    monkeypatch.setattr(language_facts, "packed", spy)
    experiment = built(rest="by_hand")
    experiment.run(1, place(tmp_path, "by_hand"))
    new = experiment._tongue.plain(experiment._tongue.invent(9, language_facts.randoms(1, 17)))[:6, 1:3]
    asked = torch.cat([each for each in seen if each.shape[1] == 7])
    others = {tuple(name) for name in asked[:, 2:4].tolist()}
    assert len(others) == 3 and not others & {tuple(name) for name in new.tolist()}


@pytest.mark.parametrize("rest", ["text", "by_hand"])
def test_texts_that_are_given_are_all_true_and_cover_all_facts(tmp_path, rest) -> None:
    outcomes = built(rest=rest).run(1, place(tmp_path, rest))["outcomes"]
    assert outcomes["true"] == 1.0 and outcomes["covered"] == 1.0


def test_arms_of_one_seed_begin_with_the_same_reading_which_is_done_once(tmp_path, monkeypatch) -> None:
    trained: list[int] = []
    real = language_facts.train_decoder

    def spy(network: Any, draw: Any, steps: int, *rest: Any, **options: Any) -> None:
        trained.append(steps)
        real(network, draw, steps, *rest, **options)

    monkeypatch.setattr(language_facts, "train_decoder", spy)
    arms = ["nothing", "text", "own_words", "own_reordered", "own_recombined", "text_recombined"]
    results = {arm: built(rest=arm, wake=5).run(1, place(tmp_path, arm)) for arm in arms}
    assert trained.count(5) == 1 and trained.count(4) == len(arms) - 1
    assert len({result["curves"]["accuracy"][0] for result in results.values()}) == 1
    assert (tmp_path / "own_recombined/seed1/words.txt").read_text().startswith("<bio>")
    trained.clear()
    built(rest="nothing", wake=5, lr=0.001).run(1, place(tmp_path, "other"))
    assert trained == [5]


def test_the_same_seed_gives_the_same_results_whatever_was_drawn_before(tmp_path) -> None:
    torch.manual_seed(1)
    first = built().run(2, place(tmp_path / "a", "own"))
    torch.manual_seed(2)
    assert built().run(2, place(tmp_path / "b", "own")) == first


@pytest.mark.slow
def test_a_reader_stores_what_it_reads_and_retells_what_it_is_given(tmp_path) -> None:
    size = {"people": 40, "others": 24, "names": 8, "width": 64, "layers": 2, "wake": 250, "steps": 60}
    outcomes = built(rest="text_recombined", **size, batch_size=32).run(1, place(tmp_path, "text"))["outcomes"]
    assert outcomes["stored"] > 0.5 and outcomes["others"] > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"people": 7}, r"expected names for 10 people, got 3 x 3 pairs"),
        ({"attributes": 6}, "expected 1 to 5 attributes, got 6"),
        ({"rest": "sleep"}, "rest: expected one of nothing, text, own_words"),
        ({"steps": 0}, "expected steps of at least 1, got 0"),
        ({"lr": 0}, "expected lr above 0, got 0"),
    ],
)
def test_impossible_settings_are_one_sentence(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(**changes)
