"""The results of a run as plain numbers, composed once for whoever has trained: what goes into ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from dreamer.metrics.continual import AccuracyRow, average_seen, night_gains, summarise, whole_rows
from dreamer.metrics.stability import old_average

if TYPE_CHECKING:
    from dreamer.problems import Problem
    from dreamer.streams.base import Stream


def results_record(
    *,
    complete: bool,
    seed: int,
    protocol: Mapping[str, Any],
    hypnogram: Sequence[Mapping[str, Any]],
    rows: Sequence[AccuracyRow],
    origins: Sequence[int],
    cost: Mapping[str, Any],
) -> dict[str, Any]:
    """A run as plain numbers: protocol, hypnogram, accuracy matrix, metrics and cost.

    Args:
        protocol: see :func:`protocol_record`.
        cost: ``optimizer_steps``, ``samples``, ``seconds`` and ``bytes``, each a mapping; more where there is more.
    """
    return {
        "complete": complete,
        "seed": seed,
        "protocol": dict(protocol),
        "hypnogram": list(hypnogram),
        "accuracy_matrix": {"rows": list(rows)},
        "metrics": dict(summarise(rows, origins, protocol["higher_is_better"])),
        "cost": dict(cost),
    }


def protocol_record(stream: Stream, problem: Problem, name: str, active_outputs: str) -> dict[str, Any]:
    """What a run was about: the problem, the stream and its sizes."""
    held = [experience.validation for experience in stream.experiences]
    return {
        "problem": name,
        "groups": problem.groups,
        "score": problem.score,
        "unit": problem.unit,
        "higher_is_better": problem.higher_is_better,
        "stream": stream.name,
        "scenario": stream.scenario,
        "experiences": len(stream),
        "class_order": [list(classes) for classes in stream.class_order],
        "active_outputs": active_outputs,
        "train_samples": [len(experience.train) for experience in stream.experiences],
        "validation_samples": [0 if samples is None else len(samples) for samples in held],
        "test_samples": [len(experience.test) for experience in stream.experiences],
        "sample_shape": list(stream.sample_shape),
        "num_classes": stream.num_classes,
        **_class_names(stream),
        **({"origins": list(stream.origins)} if stream.in_pieces else {}),
    }


def _class_names(stream: Stream) -> dict[str, list[str]]:
    """The names of classes, or of domains, where they are more than their numbers."""
    names = list(stream.class_names)
    return {} if names == [str(label) for label in range(len(names))] else {"class_names": names}


def row_logs(rows: Sequence[AccuracyRow], origins: Sequence[int], problem: Problem) -> dict[str, float]:
    """The last evaluation as named numbers for loggers.

    Args:
        origins: see :func:`results_record`.
    """
    row, score = rows[-1], problem.key
    (whole,) = whole_rows([row], origins)
    named: dict[str, float | None] = {
        f"test/{score}/experience_{index}": value for index, value in enumerate(whole["accuracy"])
    }
    named |= {"stream/experience": row["experience"], f"stream/average_{score}": seen_average(row, origins, "accuracy")}
    named["stream/recency_bias"] = row.get("recency_bias")
    if row["night"] >= 0:
        gain = night_gains(whole_rows(rows, origins), problem.higher_is_better)[-1]
        named |= {"sleep/night": row["night"], "sleep/gain": gain}
    return {name: float(value) for name, value in named.items() if value is not None}


def step_logs(row: AccuracyRow, origins: Sequence[int], problem: Problem) -> dict[str, float]:
    """An evaluation within a stage as named numbers for loggers.

    Args:
        row: its row, of held-out data.
        origins: see :func:`results_record`.
        problem: names the score.
    """
    (whole,) = whole_rows([row], origins)
    named: dict[str, float | None] = {
        f"continual/{problem.key}/experience_{index}": value for index, value in enumerate(whole["validation"] or [])
    }
    named[f"continual/old_{problem.key}"] = old_average(row, origins)
    named["continual/recency_bias"] = row.get("recency_bias")
    return {name: float(value) for name, value in named.items() if value is not None}


def seen_average(row: AccuracyRow, origins: Sequence[int], split: Literal["accuracy", "validation"]) -> float | None:
    """The mean score over the experiences seen so far; None where nothing was measured."""
    (whole,) = whole_rows([row], origins)
    values = whole[split]
    return None if values is None else average_seen(values, whole["experience"])
