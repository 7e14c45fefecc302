"""What the Ray pool refuses, and how it stops tasks, without a Ray."""

from __future__ import annotations

import itertools
import socket
import sys
from types import SimpleNamespace

import pytest

from dreamer.config.binding import ConfigError
from dreamer.jobs import ray as ray_pool
from dreamer.jobs.job import Event, JobTracker
from dreamer.jobs.ray import run_jobs_on_ray
from dreamer.runs import run as runs
from tests.helpers.stand_in_job import STAND_IN, cells


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"not installed: pip install 'dreamer\[ray\]'"):
        run_jobs_on_ray([], STAND_IN)


def test_what_is_needed_to_resume_is_what_a_run_keeps_for_it():
    assert ray_pool.LEFT_BEHIND == (runs.CHECKPOINTS,)


def test_addresses_that_lead_nowhere_are_refused_at_once():
    pytest.importorskip("ray", reason="needs ray: pip install 'dreamer[ray]'")
    for wrong in ("nonsense", "ray://localhost:10001", "localhost:", "localhost:1e3"):
        with pytest.raises(ConfigError, match=r"address: expected auto, or HOST:PORT"):
            run_jobs_on_ray([], STAND_IN, address=wrong)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"address: no Ray cluster responds at '{address}'"):
            run_jobs_on_ray([], STAND_IN, address=address)
    for wrong in ({"threads": 0}, {"retries": -1}):
        with pytest.raises(ConfigError, match="expected"):
            run_jobs_on_ray([], STAND_IN, **wrong)


class Task:
    """Begins at once, and is cancelled when its messages are read to the end."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.messages = iter(["begun"])

    def __next__(self) -> str:
        for message in self.messages:
            return message
        raise RuntimeError("cancelled")

    def completed(self) -> Task:
        return self


class DeafRay:
    """A cluster whose tasks end when they are cancelled for the n-th time, or when they are forced."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def __init__(self, ends_at: int):
        self.ends_at = ends_at
        self.forced: list[Task] = []

    def remote(self, **options):
        return lambda function: SimpleNamespace(remote=lambda job: Task())

    def cancel(self, task, force=False):
        task.cancelled += 1
        self.forced += [task] * force

    def wait(self, tasks, timeout, num_returns=1):
        if not any(task.cancelled for task in tasks):
            return tasks[:1], tasks[1:]
        return [task for task in tasks if task.cancelled >= self.ends_at], []

    def get(self, message):
        return None


@pytest.mark.parametrize(
    ("ends_at", "forced", "reason"), [(1, 0, "cancelled"), (3, 0, "cancelled"), (99, 1, "when it was cancelled")]
)
def test_a_task_that_does_not_react_is_cancelled_again_and_ended_at_last(
    tmp_path, monkeypatch, ends_at, forced, reason
):
    clock = itertools.count()
    monkeypatch.setattr(ray_pool.time, "monotonic", lambda: float(next(clock)))
    events: list[Event] = []

    deaf, folders = DeafRay(ends_at), cells(tmp_path, "hang")
    pool = ray_pool.RayPool(deaf, JobTracker(folders, 1, events.append), 1, 0.0, STAND_IN)
    pool.work(lambda: len(events))
    pool.cancel()
    assert [event.kind for event in events] == ["started", "stopped"]
    assert events[-1].reason.endswith(reason)
    assert len(deaf.forced) == forced
