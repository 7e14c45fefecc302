"""The command line: record, compare, list."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from unittest import mock

import reproductions.outcomes
from reproductions.outcomes.compare import Outcome, compare, table

CHECKOUT = Path(__file__).parents[2]
PICTURED = ("dreams",)
"""Cases whose pictures are drawn; in the others they are empty files, because drawing takes longer than training."""


def main() -> int:
    """Record, compare or list; the exit code."""
    if sys.argv[1:2] == ["serve"]:
        base, jobs, *names = sys.argv[2:]
        return serve(names, int(jobs), Path(base))
    about = reproductions.outcomes.__doc__
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run the cases and write what they come out at")
    recording.add_argument("out", type=Path, metavar="OUT.json")
    recording.add_argument("--only", nargs="+", default=[], metavar="NAME")
    recording.add_argument("--skip", nargs="+", default=[], metavar="NAME")
    recording.add_argument("--processes", action="store_true", help="also cases of many processes, a minute more")
    recording.add_argument("--jobs", type=int, default=1, help="cases at once")
    recording.add_argument("--keep", type=Path, help="a new folder that keeps the run folders")
    comparing = commands.add_parser("compare", help="compare two records; exit code 1 when they differ")
    comparing.add_argument("records", nargs=2, type=Path, metavar="RECORD.json")
    commands.add_parser("list", help="list the cases")
    words = parser.parse_args()
    if words.command == "compare":
        return compare(*words.records)
    from reproductions.outcomes.cases import CASES, PROCESSES

    if words.command == "list":
        print("\n".join([*CASES, *(f"{name} (--processes)" for name in PROCESSES)]))
        return 0
    for name in [*words.only, *words.skip]:
        if name not in CASES | PROCESSES:
            parser.error(f"there is no case {name!r}: {', '.join(CASES | PROCESSES)}")
    usual = [*CASES, *(PROCESSES if words.processes else ())]
    names = [name for name in (words.only or usual) if name not in words.skip]
    return record(words.out, names, words.jobs, words.keep, whole=not words.only and not words.skip)


def record(out: Path, names: list[str], jobs: int, keep: Path | None, whole: bool) -> int:
    """Run cases and write their outcomes; the exit code."""
    out = out.resolve()
    began = time.perf_counter()
    base = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="outcomes-"))
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DREAMER_", "WANDB_"))}
    environment = (
        kept
        | threads
        | {
            "PYTHONPATH": str(CHECKOUT),
            # nothing is left in the tree
            "PYTHONDONTWRITEBYTECODE": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "TMPDIR": str(base),
            "MPLCONFIGDIR": str(base),
        }
    )
    server = [sys.executable, "-m", "reproductions.outcomes", "serve", str(base), str(jobs), *names]
    base.mkdir(parents=True, exist_ok=True)
    # a session of its own: Ctrl-C that is meant for somebody else's run would stop a case half-way
    code = subprocess.run(server, env=environment, cwd=base, start_new_session=True).returncode
    cases = {}
    for name in names:
        path = base / name / "outcome.json"
        cases[name] = json.loads(path.read_text()) if path.is_file() else {"error": f"it died (server: {code})"}
    if not keep:
        shutil.rmtree(base)
    failed = [name for name, outcome in cases.items() if "error" in outcome]
    writing = out.with_name(f".{out.name}.{os.getpid()}")
    writing.write_text(json.dumps({"whole": whole, "cases": cases}, indent=1) + "\n")
    os.replace(writing, out)
    table({name: (outcome, None) for name, outcome in cases.items()})
    print(f"\n{len(cases)} cases in {time.perf_counter() - began:.0f} s: {out}")
    for name in failed:
        print(f"\nFAILED {name}: {cases[name]['error']}")
    return 1 if failed else 0


def serve(names: list[str], jobs: int, base: Path) -> int:
    """Fork a process for every case; each leaves outcome.json in its folder."""
    die_with_parent()
    import matplotlib
    import pytorch_lightning  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch
    import torchmetrics  # noqa: F401

    matplotlib.use("agg")
    torch.set_num_threads(1)
    assert not {"dreamer", "avalanche"} & {name.partition(".")[0] for name in sys.modules}
    waiting = list(names)
    busy: dict[int, tuple[str, float]] = {}
    while waiting or busy:
        if waiting and len(busy) < jobs:
            name = waiting.pop(0)
            child = os.fork()
            if not child:
                die_with_parent()
                os._exit(alone(name, base / name))
            busy[child] = (name, time.perf_counter())
            continue
        child, status, used = os.wait4(-1, 0)
        name, began = busy.pop(child)
        ending = "" if not status else "   FAILED"
        spent = used.ru_utime + used.ru_stime
        print(f"{name:<24} {time.perf_counter() - began:5.1f} s, CPU {spent:5.1f} s{ending}", flush=True)
    return 0


def alone(name: str, folder: Path) -> int:
    """One case, in this process, with everything that is printed in printed.txt."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    printed = os.open("printed.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    outcome: Outcome
    try:
        import dreamer
        from reproductions.outcomes.cases import CASES, PROCESSES

        if CHECKOUT not in Path(dreamer.__file__).resolve().parents:
            raise RuntimeError(f"expected dreamer of {CHECKOUT}, got {dreamer.__file__}")
        if name not in PICTURED:
            from matplotlib.figure import Figure

            mock.patch.object(Figure, "savefig", lambda figure, path, **options: Path(path).touch()).start()
        outcome = (CASES | PROCESSES)[name]()
    except BaseException:
        traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        outcome = {"error": Path("printed.txt").read_text()[-3000:]}
    Path("outcome.json").write_text(json.dumps(outcome))
    sys.stdout.flush()
    sys.stderr.flush()
    return int("error" in outcome)


def die_with_parent() -> None:
    """End this process when its parent ends: a signal to the parent's group does not reach another session."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    raise SystemExit(main())
