"""Weights & Biases through Lightning's WandbLogger: online where it can be, offline by itself where not.

Whether a run goes online is decided before ``wandb`` is called, because without a key it raises, and with a key but
without a network it waits for more than a minute and raises then. An offline run loses nothing: it is synced later.
"""

from __future__ import annotations

import configparser
import netrc
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pytorch_lightning.utilities.rank_zero import rank_zero_only

if TYPE_CHECKING:
    from pytorch_lightning.loggers import WandbLogger

_DEFAULT_URL = "https://api.wandb.ai"
_OFFLINE_MODES = ("offline", "dryrun")
# Lightning gives "*" an axis as well; what is named in full has its axis whichever pattern W&B looks at first
_AXES = {
    "stream/experience": ("stream/average_accuracy", "stream/*"),
    "sleep/night": ("sleep/gain", "sleep/dreams", "sleep/*", "dreams/*"),
}

_begun: list[Any] = []
"""The logger that was begun last in this process."""


def wandb_logger(
    out: str | Path,
    project: str = "dreamer",
    group: str | None = None,
    job_type: str | None = None,
    name: str | None = None,
    config: Mapping[str, Any] | None = None,
    timeout: float = 3.0,
    entity: str | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    log_model: bool = False,
) -> WandbLogger:
    """Begin a W&B run whose files lie in ``out/wandb``.

    The run is offline when ``WANDB_MODE`` says so, when no key is found, or when the host does not respond; a line
    then says why, and how to sync. With ``WANDB_MODE=disabled`` nothing is kept.

    Args:
        group: runs that belong together, such as the seeds of one strategy.
        timeout: seconds within which the host must respond.
        entity: user or team that the run belongs to; by default W&B's own.
        tags: short words by which runs are filtered.
        notes: a longer description.
        log_model: keep the last checkpoint of a run folder as an artifact, ``model-ID``.
    """
    from pytorch_lightning.loggers import WandbLogger

    _end_earlier()
    mode = os.environ.get("WANDB_MODE", "online").lower()
    reason = why_offline(timeout) if mode == "online" else "WANDB_MODE says so" if mode in _OFFLINE_MODES else None
    # in full: W&B's service, which writes the files, may have been begun elsewhere by the process that began this one
    out = Path(out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    # said to this run alone: WandbLogger(offline=True) would set WANDB_MODE for every later run of the process
    mode = mode if reason is None else "offline"
    logger = WandbLogger(
        project=project,
        save_dir=out,
        name=name,
        group=group,
        job_type=job_type,
        config=dict(config or {}),
        mode=mode,
        entity=entity,
        tags=list(tags),
        notes=notes,
        log_model=log_model,
    )
    _define_axes(logger)
    _begun.append(logger)
    if reason is not None:
        _report_offline(logger, reason)
    return logger


def why_offline(timeout: float = 3.0) -> str | None:
    """Why a run cannot go online, in a few words; None when it can."""
    settings = _settings()
    url = urlsplit(os.environ.get("WANDB_BASE_URL") or settings.get("base_url") or _DEFAULT_URL)
    host = url.hostname or url.path
    if not _has_key(url.netloc or url.path, settings):
        return f"no API key for {host}"
    try:
        port = url.port or (80 if url.scheme == "http" else 443)
        socket.create_connection((host, port), timeout).close()
    except OSError as error:
        return f"{host} cannot be reached: {error}"
    return None


@rank_zero_only
def log_images(logger: WandbLogger, pictures: Mapping[str, Path], step: int, axes: Mapping[str, float]) -> None:
    """Log PNG files together with the values of their axes."""
    import wandb

    images: dict[str, Any] = {name: [wandb.Image(str(path))] for name, path in pictures.items()}
    logger.log_metrics({**images, **axes}, step)


@rank_zero_only
def keep_results(logger: WandbLogger, results: Mapping[str, Any], path: Path) -> None:
    """Put the numbers of a whole run into the run's summary, and ``results.json`` among its files.

    The summary has the metrics (``stream/...``), what they cost (``cost/...``) and under which protocol they were
    measured (``protocol/...``); the accuracy matrix is a table besides.

    Args:
        path: the file of the results, which lies in ``logger.experiment.dir``.
    """
    import wandb

    run = logger.experiment
    numbers = {f"stream/{name}": value for name, value in results["metrics"].items() if value is not None}
    numbers |= {"stream/nights": _nights(results)}
    told = {**_flat("cost", results.get("cost") or {}), **_flat("protocol", results.get("protocol") or {})}
    run.summary.update({**numbers, **told, "complete": results["complete"]})
    columns, rows = matrix_rows(results)
    if rows:
        run.log({"stream/accuracy_table": wandb.Table(columns=[*columns], data=rows)})
    run.save(str(path), base_path=run.dir, policy="now")


@rank_zero_only
def keep_model(logger: WandbLogger, checkpoint: Path) -> None:
    """Keep a checkpoint as an artifact, where the logger was asked for it and there is one."""
    import wandb

    if not (logger._log_model and checkpoint.is_file()):
        return
    run = logger.experiment
    artifact = wandb.Artifact(f"model-{run.id}", type="model")
    artifact.add_file(str(checkpoint))
    run.log_artifact(artifact)


def matrix_rows(results: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    """The accuracy matrix as a table: an evaluation each row; its night, and every experience, in columns.

    Returns:
        Headings and rows; scores are as in ``results.json``.
    """
    found = results["accuracy_matrix"]["rows"]
    said = ["after", "experience", "night", "global_step"]
    score = (results.get("protocol") or {}).get("score", "accuracy")
    columns = [*said, *(f"{score} on experience {index}" for index in range(len(found[0]["accuracy"]) if found else 0))]
    rows = [[row[key] for key in said] + list(row["accuracy"]) for row in found]
    return columns, [["untrained", *row[1:]] if row[0] == "birth" else row for row in rows]


def log_comparison(
    out: Path,
    title: str,
    tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence[Any]]]],
    summary: Mapping[str, Any],
    options: Mapping[str, Any],
) -> None:
    """Log the tables of a comparison, and means over its seeds, as a run of its own, of the job type ``comparison``.

    Args:
        tables: headings and rows, by name.
        summary: numbers by name; None is left out.
        options: of :func:`wandb_logger`, such as ``project`` and ``entity``.
    """
    import wandb

    kept = {key: value for key, value in options.items() if key in ("project", "entity", "tags", "notes")}
    logger = wandb_logger(out, job_type="comparison", name=title, **kept)
    run = logger.experiment
    run.log(
        {
            name: wandb.Table(columns=list(head), data=[list(row) for row in rows])
            for name, (head, rows) in tables.items()
        }
    )
    run.summary.update({name: value for name, value in summary.items() if value is not None})
    finish(logger)


@rank_zero_only
def finish(logger: WandbLogger, failed: bool = False) -> None:
    """End the run, so that the next run of this process begins one of its own."""
    logger.experiment.finish(exit_code=int(failed))


@rank_zero_only
def _end_earlier() -> None:
    """End the run that was begun here before: W&B would go on with it, and several seeds be one run."""
    import wandb

    for earlier in _begun:
        if wandb.run is not None and wandb.run is earlier._experiment:
            wandb.run.finish()
    _begun.clear()


@rank_zero_only
def _define_axes(logger: WandbLogger) -> None:
    run = logger.experiment
    for axis, names in _AXES.items():
        run.define_metric(axis)
        for name in names:
            run.define_metric(name, step_metric=axis)


@rank_zero_only
def _report_offline(logger: WandbLogger, reason: str) -> None:
    """Print it: the level of Lightning's log, where it would be lost, is not ours."""
    folder = Path(logger.experiment.dir).parent
    print(f"W&B is offline ({reason}); to upload the run later: wandb sync {folder}", file=sys.stderr)


def _nights(results: Mapping[str, Any]) -> int:
    return len({row["night"] for row in results["accuracy_matrix"]["rows"] if row["night"] >= 0})


def _flat(name: str, value: Any) -> dict[str, Any]:
    """Nested numbers and words as names with slashes; lists as text, which W&B shows in a column."""
    if isinstance(value, Mapping):
        return {key: each for inner, node in value.items() for key, each in _flat(f"{name}/{inner}", node).items()}
    return {} if value is None else {name: str(value) if isinstance(value, list | tuple) else value}


def _settings() -> dict[str, str]:
    """The default section of W&B's settings files; the one of the working directory goes before the user's."""
    home = Path(os.environ.get("WANDB_CONFIG_DIR") or Path.home() / ".config" / "wandb")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read([home / "settings", Path(os.environ.get("WANDB_DIR", ".")) / "wandb" / "settings"])
    except configparser.Error:
        return {}
    return dict(parser["default"]) if parser.has_section("default") else {}


def _has_key(netloc: str, settings: Mapping[str, str]) -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or settings.get("api_key"):
        return True
    named = os.environ.get("NETRC")
    for path in [Path(named)] if named else [Path.home() / ".netrc", Path.home() / "_netrc"]:
        try:
            found = netrc.netrc(path).authenticators(netloc)
        except (OSError, netrc.NetrcParseError):
            continue
        if found and found[2]:
            return True
    return False
