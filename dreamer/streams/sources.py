"""Where a classic data set lies, and how it is had when it lies nowhere."""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import shutil
import socket
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from dreamer.streams.base import DataNotFound

_PATIENCE = 3.0
_STALL = 20.0


@dataclass(frozen=True)
class Source:
    """A data set that is either there or downloaded.

    Attributes:
        title: its name in messages.
        home: Avalanche's name for its folder.
        layout: the files that are looked for, in words.
        url: requested, before any download, to see whether the network is there.
        present: whether the files are in a folder.
        download: puts the files into a folder; may raise anything.
    """

    title: str
    home: str
    layout: str
    url: str
    present: Callable[[Path], bool]
    download: Callable[[Path], None]


def locate(source: Source, root: str | Path | None = None, download: bool = True) -> Path:
    """The folder that holds a data set, downloaded into it where it is absent and the network allows.

    Looks in ``root``, else in the environment variable ``DREAMER_DATA``, else where Avalanche keeps its data; and
    in the folder of Avalanche's name below. A download that fails leaves nothing behind.

    Raises:
        DataNotFound: when it is absent and cannot be had; within a few seconds where there is no network.
    """
    places = _places(source, root)
    for place in places:
        if source.present(place):
            return place
    why = "downloading is switched off"
    if download:
        why = _download(source, places[0]) if reachable(source.url) else "its host does not respond"
        if not why:
            return places[0]
    sought = " or ".join(repr(str(place)) for place in places)
    raise DataNotFound(
        f"{source.title} is not in {sought} and {why}: put {source.layout} there, "
        "or name the folder that holds it with data.root or DREAMER_DATA"
    )


def own_folder(stream: str, of: str, root: str | Path | None) -> Path:
    """The folder of a user's own data: ``root``, else the environment variable ``DREAMER_DATA``.

    Args:
        stream: the name of the stream, for the message.
        of: what is sought there, in the plural.

    Raises:
        DataNotFound: when neither is set, or there is no such folder.
    """
    named = root if root is not None else os.environ.get("DREAMER_DATA")
    if named is None:
        raise DataNotFound(f"stream {stream!r} needs a folder of {of}: set data.root or the variable DREAMER_DATA")
    place = Path(named).expanduser()
    if not place.is_dir():
        raise DataNotFound(f"stream {stream!r} sought {of} in {str(place)!r}, which is no folder: correct data.root")
    return place


def reachable(url: str) -> bool:
    """Whether the host of a URL responds within three seconds, name look-up included."""
    heard: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def request() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE).close()
        except urllib.error.HTTPError as refusal:
            refusal.close()  # a refusal is a reply, too
        except (OSError, ValueError, HTTPException):
            return heard.put(False)
        heard.put(True)

    # a look-up of names has no time limit of its own, so it waits in a thread that may be left behind
    threading.Thread(target=request, daemon=True).start()
    try:
        return heard.get(timeout=_PATIENCE)
    except queue.Empty:
        return False


def _places(source: Source, root: str | Path | None) -> list[Path]:
    named = root if root is not None else os.environ.get("DREAMER_DATA")
    if named:
        place = Path(named).expanduser()
        return [place, place / source.home]
    return [_avalanche_home() / source.home]


def _avalanche_home() -> Path:
    """Where Avalanche keeps its data, from its own settings, without the seconds that its import takes."""
    settings = Path("~/.avalanche/config.json").expanduser()
    try:
        return Path(json.loads(settings.read_text())["dataset_location"]).expanduser()
    except (OSError, ValueError, KeyError):
        return Path("~/.avalanche/data").expanduser()


def _download(source: Source, place: Path) -> str:
    """Download beside the place and move what came into it; the reason when nothing came, else an empty text."""
    try:
        above = next(parent for parent in (place, *place.parents) if parent.is_dir())
        with tempfile.TemporaryDirectory(prefix=".download-", dir=above) as name, _impatience():
            # what torchvision prints would stand in the middle of our tables
            with contextlib.redirect_stdout(io.StringIO()):
                source.download(Path(name))
            if not source.present(Path(name)):
                return "its download is incomplete"
            _move(Path(name), place)
    except Exception as error:  # downloads end in errors of many libraries
        return f"its download failed ({' '.join(str(error).split()) or type(error).__name__})"
    return ""


def _move(here: Path, there: Path) -> None:
    for path in sorted(here.rglob("*")):
        target = there / path.relative_to(here)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(str(path), target)


@contextlib.contextmanager
def _impatience() -> Iterator[None]:
    """Let sockets that say nothing for a while fail."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_STALL)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
