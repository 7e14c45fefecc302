"""Stands in for ``dreamer.compare.cell``: does what the words of ``cell.json`` say, one word an attempt.

It is free of torch, so that a hundred of them cost little.
"""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import traceback

from dreamer.config.binding import ConfigError
from dreamer.core.lock import locked
from dreamer.jobs.watchdog import die_with_parent


def main() -> None:
    """Do what the next word of the folder's manifest says."""
    folder = pathlib.Path(sys.argv[1])
    root = folder.parent
    die_with_parent()
    lock = locked(folder, float(os.environ.get("PATIENCE", 10)))
    try:
        lock.__enter__()
    except ConfigError as error:
        sys.exit(print(f"dreamer: {error}", file=sys.stderr) or 2)
    fcntl.flock(1, fcntl.LOCK_EX)  # held by helpers as well

    def write(name, text):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        neighbour = path.with_name("." + path.name)
        neighbour.write_text(text)
        os.replace(neighbour, path)

    def wait_for(true):
        until = time.monotonic() + 60
        while not true():
            if time.monotonic() > until:
                sys.exit("waited in vain")
            time.sleep(0.01)

    def finish(complete=True):
        write("dreams/night_00.png", "a picture")
        write("checkpoints/last.ckpt", "weights")
        write("metrics.csv", "step,loss")
        write("results.json", json.dumps({"complete": complete, "cell": json.loads(text), "pid": os.getpid()}))

    text = (folder / "cell.json").read_text()
    words = json.loads(text)["do"]
    with open(folder / "tries", "a") as file:
        file.write(str(os.getpid()) + "\n")
    attempt = int(re.findall(r"^\[attempt (\d+) of", (folder / "cell.log").read_text(), re.MULTILINE)[-1])
    word = words[min(attempt, len(words)) - 1]
    print("tries to", word)

    if word == "finish":
        finish()
    elif word == "half":
        finish(complete=False)
    elif word == "crash":
        try:
            raise ValueError("the sheep ran out")
        except ValueError:
            traceback.print_exc()
        print("remark: leaving a mess behind", file=sys.stderr)
        sys.exit(1)
    elif word == "refuse":
        sys.exit(print("dreamer: wake.stepz: unknown key", file=sys.stderr) or 2)
    elif word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "hang":
        subprocess.Popen(["sleep", "600"])
        write("pid", str(os.getpid()))
        time.sleep(600)
    elif word == "save":

        def save(*_):
            write("saved", "")
            sys.exit(130)

        signal.signal(signal.SIGINT, save)
        write("pid", str(os.getpid()))
        time.sleep(600)
    elif word == "deaf":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        write("pid", str(os.getpid()))
        time.sleep(600)
    elif word == "overlap":  # ends when another one runs at the same time
        write("here", "")
        wait_for(lambda: len(list(root.glob("*/here"))) > 1)
        finish()
    elif word == "count":
        here = root / "running" / folder.name
        here.parent.mkdir(exist_ok=True)
        here.touch()
        time.sleep(0.1)
        write("running", str(len(list(here.parent.iterdir()))))
        here.unlink()
        finish()
    elif word == "environment":
        write("environment", json.dumps(dict(os.environ)))
        finish()


if __name__ == "__main__":
    main()
