"""Lightning callbacks: sleep between epochs, run folder, checkpoint, progress, dream quality, evaluation on the way."""

from dreamer.callbacks.checkpoint import RunCheckpoint
from dreamer.callbacks.continual_evaluation import ContinualEvaluation
from dreamer.callbacks.dream_quality import DreamQuality
from dreamer.callbacks.progress import RunProgress
from dreamer.callbacks.run_folder import RunFolder
from dreamer.callbacks.sleep.callback import SleepCallback
from dreamer.callbacks.sleep.own_text import OwnText

__all__ = [
    "ContinualEvaluation",
    "DreamQuality",
    "OwnText",
    "RunCheckpoint",
    "RunFolder",
    "RunProgress",
    "SleepCallback",
]
