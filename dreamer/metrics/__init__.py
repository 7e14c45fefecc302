"""What is measured of a run: accuracies over experiences, and dreams beside real data. Formulas only, torch only."""

from dreamer.metrics.continual import (
    AccuracyRow,
    Metrics,
    accuracy,
    accuracy_matrix,
    average_accuracy,
    average_seen,
    backward_transfer,
    experience_accuracies,
    forgetting,
    forgetting_max,
    forward_transfer,
    initial_accuracies,
    night_gains,
    sleep_gain,
    summarise,
    whole_rows,
)

__all__ = [
    "AccuracyRow",
    "Metrics",
    "accuracy",
    "accuracy_matrix",
    "average_accuracy",
    "average_seen",
    "backward_transfer",
    "initial_accuracies",
    "experience_accuracies",
    "forgetting",
    "forgetting_max",
    "forward_transfer",
    "night_gains",
    "sleep_gain",
    "summarise",
    "whole_rows",
]
