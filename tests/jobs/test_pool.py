"""What the worker pool refuses and reads, without a worker."""

from __future__ import annotations

import os
import sys

import pytest

from dreamer.compare.grid import PROGRAM
from dreamer.config.binding import ConfigError
from dreamer.core.lock import locked
from dreamer.jobs.job import last_word
from dreamer.jobs.manifest import completed
from dreamer.jobs.pool import cores, run_jobs
from tests.helpers.stand_in_job import STAND_IN, cells


def test_nothing_to_run_is_nothing_run():
    assert run_jobs([], STAND_IN, workers=3) == []


def test_there_are_cores():
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_the_last_word_of_a_log(tmp_path):
    path = tmp_path / "cell.log"
    path.write_text("one\ntwo \n\n-----\n")
    assert last_word(path) == "two"
    assert last_word(path, start=len("one\ntwo \n")) == ""
    path.write_text(
        "Traceback (most recent call last):\n  File x\nKeyError: 1\n\nDuring handling:\n\n"
        "Traceback (most recent call last):\n  File y\n    f()\nOSError: no space\nleft at all\nremark\n"
    )
    assert last_word(path) == "OSError: no space"
    path.write_text("Traceback (most recent call last):\n  cut off")
    assert last_word(path) == "cut off"
    path.write_bytes(b"x" * 1_000_000 + b"\xff\n" + b"long " * 1000)
    assert last_word(path) == "long " * 60


def test_completed_means_complete_results(tmp_path):
    assert not completed(tmp_path) and not completed(tmp_path / "nowhere")
    for text in ("", "[]", "{}", '{"complete": false}', '{"complete": "yes"}', '{"complete": tru'):
        (tmp_path / "results.json").write_text(text)
        assert not completed(tmp_path), text
    (tmp_path / "results.json").write_text('{"complete": true}')
    assert completed(tmp_path)


def test_numbers_that_make_no_sense_are_refused(tmp_path):
    folders = cells(tmp_path, "finish")
    for wrong in ({"workers": 0}, {"workers": 1, "retries": -1}, {"workers": 1, "threads": 0}):
        with pytest.raises(ConfigError, match="expected"):
            run_jobs(folders, STAND_IN, **wrong)
    assert not (folders[0] / "tries").exists()


def test_a_folder_that_cannot_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write to .*file"), locked(tmp_path / "file" / "comparison"):
        pass


def test_the_command_of_a_cell(tmp_path):
    assert PROGRAM.command(tmp_path) == [sys.executable, "-m", "dreamer.compare.cell", str(tmp_path)]
