"""Where a run is logged: the csv file, Weights & Biases, pictures."""

from dreamer.loggers.csv import ResumableCSVLogger, write_metrics
from dreamer.loggers.pictures import log_pictures
from dreamer.loggers.wandb import wandb_logger

__all__ = ["ResumableCSVLogger", "log_pictures", "wandb_logger", "write_metrics"]
