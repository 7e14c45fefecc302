"""A language model in the whole cycle: it sleeps on its own words, resumes bit-equal, and what cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from dreamer.callbacks.dream_quality import DreamQuality
from dreamer.callbacks.run_folder import RunFolder
from dreamer.core.types import Batch, SleepContext
from dreamer.generators import ClassConditionalVAE, OwnWords
from dreamer.loggers.csv import ResumableCSVLogger
from dreamer.memory import ClassBalanced, ClassStatistics, Reservoir
from dreamer.networks import MLP, Decoder
from dreamer.networks.base import Frozen
from dreamer.objectives import CrossEntropy, Distillation, HardTargets, SoftTargets
from dreamer.perturbations import (
    Affine,
    Embedded,
    InfillSpans,
    MaskSpans,
    MixPrompts,
    Mixup,
    Noise,
    RecombineSegments,
    ShuffleSegments,
    SwapOpening,
    Temperature,
)
from dreamer.plasticity import MovingAverage
from dreamer.problems import Classification, Language, Regression
from dreamer.report.results import read_results
from dreamer.report.table import plain_table
from dreamer.stages import NREM, REM, Wake
from dreamer.streams import arithmetic, digits
from dreamer.streams.blurred import blurred
from dreamer.streams.online import online
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import train

STREAM = arithmetic(tasks=("reverse", "sort", "add"), samples=60, test=20, validation=0.1)


def own_words(**options: Any) -> OwnWords:
    return OwnWords(STREAM.sample_shape, STREAM.num_groups, tokens=STREAM.tokens, **options)


def learner(**options: Any) -> Decoder:
    torch.manual_seed(0)
    return Decoder(STREAM.sample_shape, STREAM.num_classes, width=16, layers=1, heads=2, dropout=0.1, **options)


def module(**changes: Any) -> WakeSleepModule:
    """Replay by day of its own words and of a memory, then a night of clean words and of hotter ones."""
    parts: dict[str, Any] = {
        "wake": Wake(steps=4, batch_size=9, replay=8, replay_objectives=(HardTargets(), SoftTargets())),
        "night": [
            NREM(3, 8, steps_per_dream=2),
            REM(3, 8, source="generator", perturbations=(Temperature(0.8, 1.5), Embedded()), steps_per_dream=2),
        ],
        "memory": ClassBalanced(12),
        "generator": own_words(),
        "problem": Language(tokens=STREAM.tokens),
    }
    return WakeSleepModule(learner(), **(parts | changes))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[WakeSleepModule, Path]:
    """An undisturbed run, and a checkpoint of each of its steps."""
    folder = tmp_path_factory.mktemp("checkpoints")
    saves = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    run = module()
    train(run, STREAM, callbacks=[saves])
    return run, folder


# wake, its last step, and the middle of nrem and rem, in the second experience and the last
@pytest.mark.parametrize("step", [2, 4, 6, 9, 12, 15, 16, 18, 20, 26, 29])
def test_stopped_anywhere_it_resumes_bit_equal(step: int, reference: tuple[WakeSleepModule, Path]) -> None:
    whole, folder = reference
    run = module()
    train(
        run,
        STREAM,
        str(folder / f"step={step}.ckpt"),
        callbacks=[ModelCheckpoint(folder, every_n_train_steps=1, save_top_k=0)],
    )
    assert run.results()["complete"] and whole.results()["complete"]
    assert run.results()["accuracy_matrix"] == whole.results()["accuracy_matrix"]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, run.state_dict()[name]), name


@pytest.mark.parametrize(
    ("plasticity", "options"),
    [
        ([MovingAverage()], {"teacher": "average"}),
        ([], {"teacher_sees_perturbed": True, "perturbations": (MaskSpans(),)}),
    ],
    ids=["average", "sees perturbed"],
)
def test_another_teacher_than_the_writer_speaks_of_all_tokens(plasticity: Any, options: dict[str, Any]) -> None:
    run = module(
        night=[REM(3, 8, source="generator", objectives=(SoftTargets(),), **{"perturbations": (), **options})],
        wake=Wake(steps=4, batch_size=9),
        generator=own_words(logits=4),
        plasticity=plasticity,
        memory=None,
    )
    train(run, STREAM)
    assert run.results()["complete"]


@pytest.mark.parametrize("step", [6, 7, 8])
def test_resumes_bit_equal_where_the_learner_itself_rewrites_texts(step: int, tmp_path: Path) -> None:
    def without_teachers() -> WakeSleepModule:
        rewritten: Any = {"perturbations": (InfillSpans(),), "steps_per_dream": 6}
        night = [REM(6, 8, source="memory", objectives=(HardTargets(),), **rewritten)]
        return module(night=night, wake=Wake(steps=4, batch_size=9), generator=None)

    whole, run = without_teachers(), without_teachers()
    train(whole, STREAM, callbacks=[ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)])
    saves = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=0)
    train(run, STREAM, str(tmp_path / f"step={step}.ckpt"), callbacks=[saves])
    for name, value in whole.state_dict().items():
        assert torch.equal(value, run.state_dict()[name]), name


PARTS_OF_TEXTS = [
    Temperature(),
    *(MaskSpans(), InfillSpans(), ShuffleSegments(), RecombineSegments(), SwapOpening(), MixPrompts()),
    *(Embedded(), Embedded(Mixup())),
]


@pytest.mark.parametrize("keeps", [False, True], ids=["words", "words and texts"])
@pytest.mark.parametrize("part", PARTS_OF_TEXTS, ids=lambda part: type(part).__name__)
def test_every_perturbation_of_texts_serves_dreams_and_memories_awake_and_asleep(part: Any, keeps: bool) -> None:
    memory = ClassBalanced(12) if keeps else None
    awake = {"replay": 8, "replay_objectives": (SoftTargets(),), "replay_perturbations": (part,)}
    night = [REM(2, 8, perturbations=(part,), objectives=(SoftTargets(),), strength=(1.0, 0.5))]
    train(module(wake=Wake(steps=3, batch_size=9, **awake), night=night, memory=memory), STREAM)


@pytest.mark.parametrize("part", PARTS_OF_TEXTS[1:-1], ids=lambda part: type(part).__name__)
def test_real_texts_are_perturbed_too(part: Any) -> None:
    train(
        module(wake=Wake(steps=3, batch_size=9, perturbations=(part,)), night=[], generator=None, memory=None), STREAM
    )


@pytest.mark.parametrize("real", [(), (Embedded(),)], ids=["clean", "perturbed"])
@pytest.mark.parametrize("replayed", [(), (Embedded(),)], ids=["clean", "perturbed"])
def test_real_and_replayed_texts_enter_the_learner_in_one_pass(real: Any, replayed: Any) -> None:
    awake = Wake(steps=2, batch_size=9, replay=8, perturbations=real, replay_perturbations=replayed)
    sizes = set()
    run = module(wake=awake, night=[], memory=None)
    run.network.blocks[0].register_forward_pre_hook(
        lambda block, inputs: sizes.add(len(inputs[0])) if block.training else None
    )
    train(run, STREAM)
    assert sizes == {9, 17}, "the first experience has nothing to replay"


def test_a_teacher_labels_real_texts_whose_embeddings_are_perturbed() -> None:
    awake = Wake(steps=3, batch_size=9, source="day", perturbations=(Embedded(),))
    train(module(wake=awake, generator=None, memory=None, night=[]), STREAM)


def test_a_teacher_says_anew_what_comes_next_in_a_text_that_was_rewritten() -> None:
    """Each domain's own teacher writes in its texts and labels them; a clean label belongs to a clean text."""
    dawn, dusk = (
        Frozen(learner()),
        Frozen(Decoder(STREAM.sample_shape, STREAM.num_classes, width=16, layers=1, heads=2)),
    )
    generator = own_words()
    for domain in range(2):
        day = Batch(torch.zeros(2, 13).long(), torch.zeros(2, 13).long(), torch.full((2,), domain))
        generator.end_experience([day], domain, torch.Generator())
    old, new = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    context = SleepContext(learner(), dawn, dusk, (), None, generator, old, new, None, 2, night=1)
    for part in (InfillSpans(1.0), ShuffleSegments(1.0), MixPrompts(1.0), MaskSpans(1.0)):
        clean = not part.rewrites
        (stage,) = module(night=[REM(2, 16, perturbations=(part,), objectives=(SoftTargets(),))]).parts.night
        dream = stage.dream(context, 1, torch.Generator().manual_seed(0))
        assert (dream.clean is not None) == clean and (dream.teacher is not None) == clean
        taught = stage.teach(context, dream)
        for teacher, domain in ((dawn, 0), (dusk, 1)):
            rows = dream.group == domain
            shown = dream.clean if clean else dream.x
            assert rows.sum() == 8 and torch.allclose(taught.teacher[rows], teacher(shown[rows]), atol=1e-5)


def test_scores_are_bits_of_which_less_is_better(reference: tuple[WakeSleepModule, Path]) -> None:
    results = reference[0].results()
    protocol, rows = results["protocol"], results["accuracy_matrix"]["rows"]
    assert (protocol["score"], protocol["higher_is_better"]) == ("bits per byte", False)
    assert len(rows[0]["accuracy"]) == 3 and all(value > 0 for row in rows for value in row["accuracy"])


def test_a_night_needs_no_network_beside_its_two_teachers(reference: tuple[WakeSleepModule, Path]) -> None:
    sizes = reference[0].bytes()
    assert sizes["teacher"] == 2 * sizes["network"] and sizes["generator"] < 200


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    def weights(seed: int) -> torch.Tensor:
        run = module(seed=seed)
        train(run, STREAM)
        return torch.cat([p.detach().flatten() for p in run.network.parameters()])

    first = weights(0)
    assert torch.equal(first, weights(0)) and not torch.equal(first, weights(1))


@pytest.mark.parametrize(
    "memory",
    [ClassBalanced(12), Reservoir(12), ClassBalanced(12, logits=True)],
    ids=["balanced", "reservoir", "with logits"],
)
def test_real_texts_can_be_rehearsed(memory: Any) -> None:
    run = module(
        generator=None,
        memory=memory,
        wake=Wake(steps=4, batch_size=9, replay=8, replay_objectives=(HardTargets(),)),
        night=[NREM(3, 8)],
    )
    train(run, STREAM)
    drawn = memory.draw(12, torch.Generator().manual_seed(0))
    assert drawn.x.dtype == drawn.y.dtype == torch.int64 and torch.equal(drawn.x[:, 1:], drawn.y[:, :-1])
    opening = torch.tensor([opening[0] for opening in STREAM.tokens.openings])
    assert torch.equal(drawn.x[:, 0], opening[drawn.group])


def test_without_forgetting_and_with_an_average_teacher() -> None:
    plain = {"generator": None, "memory": None, "night": []}
    train(module(**plain, wake=Wake(steps=3, batch_size=9, source="day")), STREAM)
    averaged = Wake(steps=3, batch_size=9, replay=4, teacher="average")
    train(
        module(wake=averaged, memory=ClassBalanced(12), generator=None, night=[], plasticity=[MovingAverage()]), STREAM
    )


def test_texts_keep_their_domain_wherever_they_are_dealt() -> None:
    assert online(STREAM, size=20).tokens is STREAM.tokens
    for experience in blurred(STREAM, fraction=0.4).experiences:
        (batch,) = experience.train.batches([torch.arange(len(experience.train))])
        assert isinstance(batch, Batch) and set(batch.groups.tolist()) == set(experience.classes)


def test_the_run_folder_has_the_words_of_every_night_and_the_columns_of_the_score(tmp_path: Path) -> None:
    callbacks = [RunFolder(tmp_path, dreams_per_class=2), DreamQuality()]
    train(module(), STREAM, callbacks=callbacks, logger=ResumableCSVLogger(tmp_path))
    for night in range(3):
        lines = (tmp_path / "dreams" / f"night_{night:02d}.txt").read_text().splitlines()
        heads = [line for line in lines if line.startswith("[")]
        assert heads == [f"[{name}]" for name in STREAM.class_names[: night + 1]]
        assert sum(line.startswith("reverse ") for line in lines) == 2
    assert (tmp_path / "matrix.png").stat().st_size > 1000 and (tmp_path / "hypnogram.png").stat().st_size > 1000
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"test/bits_per_byte/experience_2", "val/bits_per_byte", "sleep/gain"} <= set(header)
    results = read_results(tmp_path)
    text = plain_table(results)
    assert "bits per byte, lower is better" in text and "average bits per byte" in text and "%" not in text
    assert "forgetting (last - first)" in text
    measured = results["dreams"][-1]
    assert measured["fidelity"] is None and measured["frechet"] > 0 and measured["novelty"] >= 0


def test_perplexity_and_answers_are_measured_by_the_same_run() -> None:
    for score, better in (("perplexity", False), ("answers", True)):
        run = module(problem=Language(score, tokens=STREAM.tokens), wake=Wake(steps=2), night=[], generator=None)
        train(run, STREAM)
        protocol = run.results()["protocol"]
        assert protocol["higher_is_better"] is better and protocol["unit"] == ("%" if better else "")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"problem": Classification()}, "classification needs integer labels.* arithmetic are tokens"),
        ({"problem": Regression()}, "regression needs .* those of arithmetic are tokens"),
        ({"wake": Wake(objectives=[CrossEntropy()])}, "CrossEntropy needs classes, but Language has none"),
        ({"night": [NREM(objectives=[Distillation()])]}, "Distillation needs classes, but Language has none"),
        ({"memory": ClassStatistics(space="samples")}, "ClassStatistics needs classes"),
        ({"memory": ClassBalanced(9, store="uint8")}, "store='uint8'.*int64"),
        ({"memory": ClassBalanced(9, store="float16")}, "store='float16'.*int64"),
        ({"night": [REM(perturbations=[Noise()])]}, "Noise perturbs floating-point samples, got torch.int64"),
        ({"night": [REM()]}, r"floating-point samples, got torch.int64; perturbations=\[\] replays it as it was"),
        ({"night": [REM(perturbations=[Mixup()])]}, "Mixup perturbs floating-point samples"),
        ({"night": [REM(perturbations=[Affine()])]}, "Affine perturbs images"),
        ({"wake": Wake(perturbations=[Noise()])}, "Noise perturbs floating-point samples"),
        (
            {"night": [REM(perturbations=[Embedded(Mixup())])]},
            r"night .*Embedded mixes texts, .* but HardTargets learns from these: .*\(soft_targets\)",
        ),
        (
            {"wake": Wake(perturbations=[Embedded(Mixup())])},
            "wake: Embedded mixes texts, .* and real texts have no teacher",
        ),
        (
            {
                "generator": own_words(logits=3),
                "night": [REM(perturbations=[Embedded(Mixup())], objectives=[SoftTargets()])],
            },
            "Embedded mixes whole distributions, but OwnWords keeps the 3 most likely tokens alone: .*logits=True",
        ),
        (
            {"night": [REM(perturbations=[Embedded()], teacher_sees_perturbed=True)]},
            "which no teacher can be shown: expected teacher_sees_perturbed=False",
        ),
        ({"active_outputs": "seen"}, "Language has no classes: expected active_outputs='all'"),
        (
            {"generator": ClassConditionalVAE((13,), 3, latent_dim=2, hidden=(4,))},
            "makes floating-point samples, arithmetic gives torch.int64",
        ),
    ],
)
def test_what_makes_no_sense_of_text_is_one_sentence(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(**parts).plan(STREAM)


def test_a_learner_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="OwnWords needs a network that writes"):
        WakeSleepModule(MLP((13,), 19), generator=own_words(), problem=Language())
    with pytest.raises(ValueError, match=r"expected MLP to map|MLP cannot take"):
        WakeSleepModule(MLP((13,), 19), problem=Language()).plan(STREAM)


def test_a_vocabulary_larger_than_the_networks_is_one_sentence() -> None:
    small = Decoder(STREAM.sample_shape, 5, width=16, layers=1, heads=2)
    with pytest.raises(ValueError, match=r"Decoder cannot take .* torch.int64|expected Decoder to map"):
        WakeSleepModule(small, problem=Language()).plan(STREAM)


def test_own_words_are_refused_where_samples_are_images() -> None:
    stream = digits()
    generator = OwnWords((13,), 10, tokens=STREAM.tokens)
    with pytest.raises(ValueError, match="shape"):
        WakeSleepModule(learner(), generator=generator).plan(stream)
