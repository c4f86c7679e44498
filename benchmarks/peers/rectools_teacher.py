"""Train a SASRec or BERT4Rec of RecTools and print its NDCG@10 after every epoch, a JSON line each.

    PEER_PYTHON benchmarks/peers/rectools_teacher.py --log LOG.npz --model sasrec --epochs 30 --goal
    0.17

It runs in an environment of its own (`pip install "rectools[torch]"`), does not import genrec and
is started by benchmarks/time_to_quality.py. LOG.npz contains users and items of the training
events, in order, and the target of each user 0..N-1. Only training counts as time. Lists are made
with RecTools' own ``recommend``, seen items filtered.
"""

import argparse
import json
import resource
import time

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import BERT4RecModel, SASRecModel

MODELS = {"sasrec": SASRecModel, "bert4rec": BERT4RecModel}


class EpochTimer(pl.Callback):
    """Times every epoch, prints the measurement after it, and stops the training at the goal."""

    def __init__(self, measure, goal):
        self.measure, self.goal, self.seconds = measure, goal, 0.0

    def on_train_epoch_start(self, trainer, module):
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer, module):
        """Stop the clock, measure and print a line."""
        self.seconds += time.perf_counter() - self.started
        ndcg = self.measure()
        module.train()  # measuring has set the evaluation mode
        line = {
            "epoch": trainer.current_epoch + 1,
            "seconds": self.seconds,
            "ndcg@10": ndcg,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        print(json.dumps(line), flush=True)
        trainer.should_stop = trainer.should_stop or ndcg >= self.goal


def read_events(log):
    """The training events as a RecTools dataset; seconds stand in for the order."""
    start = pd.Timestamp("2000-01-01")
    events = pd.DataFrame(
        {
            Columns.User: log["users"],
            Columns.Item: log["items"],
            Columns.Weight: np.ones(len(log["users"])),
            Columns.Datetime: start + pd.to_timedelta(np.arange(len(log["users"])), unit="s"),
        }
    )
    return Dataset.construct(events)


def main():
    """Read the log and train, printing a line per epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", required=True)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--goal", type=float, required=True)
    options = parser.parse_args()
    log = np.load(options.log)
    dataset, targets = read_events(log), log["targets"]

    def measure():
        model.is_fitted = True  # RecTools refuses lists of a model in training
        lists = model.recommend(np.arange(len(targets)), dataset, k=10, filter_viewed=True)
        hits = lists[lists[Columns.Item].to_numpy() == targets[lists[Columns.User].to_numpy()]]
        return float((1 / np.log2(hits[Columns.Rank] + 1)).sum() / len(targets))

    timer = EpochTimer(measure, options.goal)

    def make_trainer():
        quiet = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        return pl.Trainer(max_epochs=options.epochs, callbacks=[timer], **quiet)

    pl.seed_everything(0)
    model = MODELS[options.model](
        n_factors=64,
        n_blocks=2,
        n_heads=1,
        session_max_len=200,
        dropout_rate=0.1,
        loss="softmax",
        lr=1e-3,
        batch_size=128,
        get_trainer_func=make_trainer,
        deterministic=True,
    )
    model.fit(dataset)


if __name__ == "__main__":
    main()
