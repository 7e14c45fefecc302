"""Why a test of somebody else's comes to something else with our callback or plugin, where that is as it should be.

Every test that a line here speaks for has been looked at, short nights included; the last lines speak for all whose own
assertions fail there. What else is new stands on the page in its own words.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class _Reason(NamedTuple):
    """A reason in words.

    Attributes:
        words: the reason.
        names: pattern of the tests' names.
        said: pattern of what they said.
        modes: pattern of the modes.
    """

    words: str
    names: str
    said: str = ""
    modes: str = ""


_REASONS = (
    _Reason(
        "The batches hold no tensor at all: there is nothing to keep or to dream of, and the callback says so at the "
        "first of them, whether or not a night is to come.",
        "test_fit_loop_save_and_restore_dataloaders|test_training_loop_dataloader_iter_multiple_dataloaders",
        "expected a tensor in the batch",
    ),
    _Reason(
        "The test compares the list of the Trainer's callbacks, which has one more.",
        "test_checkpoint_callbacks_are_last|test_attach_model_callbacks|test_configure_external_callbacks",
    ),
    _Reason(
        "The test draws its data when it is collected, from random numbers that depend on what else is collected.",
        "test_rich_progress_bar.dataset0",
        "other values",
        "quiet",
    ),
    _Reason("The test stops by the clock, at another step in every run.", "test_timer", "other values", "quiet"),
    _Reason(
        "The test counts calls of `torch.save`, through which the memories of two processes are gathered for a "
        "checkpoint.",
        "test_model_checkpoint_no_extraneous_invocations",
    ),
    _Reason(
        "One of two loaders ends before the other, and its part of the batch is None from then on: its entries can no "
        "longer be kept with the samples, and a sentence says so.",
        r"test_fit_multiple_train_loaders\[max_size-64\]",
        "had an entry for every sample in the first batch",
    ),
    _Reason(
        "Refused in a sentence: the strategy, or another of its plugins, mixes old samples into the batches, and "
        "`DreamPlugin` would take them for new ones.",
        "tests/training",
        "mixes old samples into the strategy's batches",
    ),
    _Reason(
        "Refused in a sentence: the network is made for samples of another size. The test trains for no epoch, so "
        "nobody notices.",
        "test_balancing",
        "the learner does not take a sample of the benchmark",
    ),
    _Reason(
        "The test expects no metrics, and a night publishes its loss.",
        "test_periodic_eval",
        "",
        "nights",
    ),
    _Reason(
        "The test compares the steps at which a loss stops falling, and with replay it falls otherwise.",
        "test_scheduler_reduce_on_plateau_plugin",
        "LR mismatch",
        "nights",
    ),
    _Reason(
        "The test compares the names of all that was logged, and a night logs `sleep/loss`, `sleep/step` and "
        "`sleep/night`.",
        "test_eval_loop_logging|test_logger_connector|test_device_stats|test__training_step__|different_batch_types|"
        "test_log_works_in_train_callback|test_logging_in_callbacks|test_on_epoch_logging|test_log_on_train_start|"
        "test_log_metrics_epoch_step_values",
        "^((?!tensor).)*$",
        "nights",
    ),
    _Reason(
        "The test reaches `max_steps` within the night, so the epoch does not end, and nothing is validated after it.",
        "test_tqdm_progress_bar_print",
        "",
        "nights",
    ),
    _Reason(
        "The test asserts that every batch has one sample; those of the night have two.",
        "test_hooks_with_different_argument_names",
        "",
        "nights",
    ),
    _Reason(
        "The test counts how often the workers of the validation loader end, which is looked at before and after a "
        "night too.",
        "test_workers_are_shutdown",
        "",
        "nights",
    ),
    _Reason(
        "The test resumes at what is an epoch's end without nights, and expects no warning of Lightning's.",
        "test_resume_mid_epoch_warning",
        "",
        "nights",
    ),
    _Reason(
        "The test looks for files that are named after the step, and nights make steps.",
        "test_restart_parity|test_restart_with_val_parity|test_val_check_interval_checkpoint_files|"
        "test_load_with_inf_data_loader|test_model_checkpoint_save_last|test_resume_training_preserves_old_ckpt_last|"
        "test_default_checkpoint_behavior",
        "",
        "nights",
    ),
    _Reason(
        "The test has a list with an entry for each batch of the day, and looks up those of the night in it.",
        "",
        "^IndexError",
        "nights",
    ),
    _Reason(
        "The test counts batches, steps, epochs within `max_steps`, calls, values or files, and every epoch has a "
        "night of two batches more.",
        "tests_pytorch",
        "assert|DID NOT WARN",
        "nights",
    ),
)


def reason(name: str, mode: str, why: str) -> str:
    """The reason in words; what the test said, where none is known."""
    for known in _REASONS:
        fits = ((known.names, name), (known.said, why), (known.modes, mode))
        if all(re.search(pattern, text) for pattern, text in fits):
            return known.words
    return why
