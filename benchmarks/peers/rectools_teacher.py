"""Train a RecTools SASRec or BERT4Rec and say after every epoch how good it is: a line of JSON an
epoch.

    PEER_PYTHON benchmarks/peers/rectools_teacher.py --log LOG.npz --model sasrec --epochs 30 --goal
    0.17

Runs in an environment of its own (`pip install "rectools[torch]"`), knows nothing of genrec and is
started by benchmarks/time_to_quality.py. LOG.npz holds users, items (in order) of the training
events, and the target of each user 0..N-1. Only training counts as time; lists are written with
RecTools' own ``recommend``, seen items filtered.
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


class Watch(pl.Callback):
    """Times epochs, and measures and stops at the goal after each."""

    def __init__(self, measure, goal):
        self.measure, self.goal, self.seconds = measure, goal, 0.0

    def on_train_epoch_start(self, trainer, module):
        """Start the watch."""
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer, module):
        """Stop it, measure, say."""
        self.seconds += time.perf_counter() - self.started
        ndcg = self.measure()
        module.train()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        epoch = trainer.current_epoch + 1
        print(
            json.dumps(
                {"epoch": epoch, "seconds": self.seconds, "ndcg@10": ndcg, "peak_gib": peak}
            ),
            flush=True,
        )
        trainer.should_stop = trainer.should_stop or ndcg >= self.goal


def main():
    """Read the log, train, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", required=True)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--goal", type=float, required=True)
    options = parser.parse_args()
    log = np.load(options.log)
    moments = pd.Timestamp("2000-01-01") + pd.to_timedelta(np.arange(len(log["users"])), unit="s")
    weights = np.ones(len(log["users"]))
    events = pd.DataFrame(
        {
            Columns.User: log["users"],
            Columns.Item: log["items"],
            Columns.Weight: weights,
            Columns.Datetime: moments,
        }
    )
    dataset = Dataset.construct(events)
    targets = log["targets"]

    def measure():
        model.is_fitted = True
        lists = model.recommend(np.arange(len(targets)), dataset, k=10, filter_viewed=True)
        hits = lists[lists[Columns.Item].to_numpy() == targets[lists[Columns.User].to_numpy()]]
        return float((1 / np.log2(hits[Columns.Rank] + 1)).sum() / len(targets))

    watch = Watch(measure, options.goal)

    def trainer():
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        return pl.Trainer(
            max_epochs=options.epochs, callbacks=[watch], enable_model_summary=False, **quiet
        )

    pl.seed_everything(0)
    model = MODELS[options.model](
        n_factors=64, n_blocks=2, n_heads=1, session_max_len=200, dropout_rate=0.1, loss="softmax", lr=1e-3,
        batch_size=128, get_trainer_func=trainer, deterministic=True,
    )  # fmt: skip
    model.fit(dataset)


if __name__ == "__main__":
    main()
