"""Fine-tune a language model on French novels and keep its English: beside every batch it learns its own words again.

    python examples/fine_tune_language_model.py MODEL TEXTS [--steps 100] [--replay 4]

MODEL is a folder, a .gguf file or a name of the hub; TEXTS a folder with ``french.txt`` and other ``<name>.txt``, whose
middle twentieths are held out. ``--replay 0`` shows what is lost without. Needs ``pip install 'dreamer[language]'``.
Expect a table of what was kept and what was lost, in

    bits per byte, lower is better
"""

import argparse
import copy
import resource
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from dreamer import OwnText, SleepCallback
from dreamer.core.transformers import tokeniser as read_tokeniser
from dreamer.networks import CausalLM
from dreamer.problems import Language
from dreamer.streams import TensorSamples, from_texts
from dreamer.training.retention import retention, retention_table


class Adapters(pl.LightningModule):
    """Adapters of a causal language model, trained on its own loss; it knows nothing of sleep."""

    def __init__(self, model, lr):
        super().__init__()
        self.model, self.lr = model, lr

    def training_step(self, batch, batch_idx):
        return self.model(**batch).loss

    def configure_optimizers(self):
        return torch.optim.AdamW([weight for weight in self.parameters() if weight.requires_grad], lr=self.lr)


def first(samples, count):
    batch = next(iter(samples.batches([torch.arange(min(count, len(samples)))])))
    return batch.x, batch.y


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("texts", type=Path)
    for name, default in {"steps": 100, "replay": 4, "block": 128, "lr": 1e-3}.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    words = parser.parse_args()
    torch.manual_seed(0)

    tokeniser = read_tokeniser(words.model)
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(words.texts.glob("*.txt"))}
    stream = from_texts(texts, tokeniser, words.block, opening="beginning", validation=0)
    held_out = dict(zip(texts, (TensorSamples(*first(one.test, 16)) for one in stream.experiences), strict=True))
    french = stream.experiences[list(texts).index("french")].train
    rows = [{"input_ids": tokens, "labels": tokens} for tokens in first(french, len(french))[0]]

    learner = CausalLM((words.block,), stream.num_classes, words.model, lora=16)
    before = copy.deepcopy(learner)  # its adapters; all else is shared
    callbacks = [SleepCallback(generator=OwnText(tokeniser, replay=words.replay, length=words.block))]
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_steps=words.steps, callbacks=callbacks if words.replay else [], **quiet)
    start = time.process_time()
    trainer.fit(Adapters(learner.model, words.lr), DataLoader(rows, batch_size=4, shuffle=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{words.steps} steps in {time.process_time() - start:.0f} CPU seconds; at most {peak:.1f} GiB of memory")
    problem = Language(tokens=stream.tokens)
    print(retention_table(retention(before, learner, held_out, problem), problem, margin=0.0))


if __name__ == "__main__":
    main()
