"""What counting knows that a network misses: NDCG@10 of both by kind of target.

    python benchmarks/what_counts_add.py runs/counts --dataset path/to/ml-1m --json counts.json

The run is a teacher of the recipe ``sasrec_counts``, whose network is trained as if it were alone.
The script measures the lists of the network, of the gated counts without it, and of the combined
scores, for all test users, and splits the users by what their test item is: how often it followed
the newest item of the history directly in training, and how many training events it has.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.baselines.markov import count_transitions
from genrec.data import Split, leave_one_out, load
from genrec.data.sequences import Sequences
from genrec.metrics.ranking import evaluate
from genrec.models.scorer import NeuralScorer
from genrec.pipeline.teachers import load_scorer
from genrec.recommender import TopK
from genrec.training.run_directory import write_json

Mask = NDArray[np.bool_]
PARTS = ("network", "counts", "combined")


class Part:
    """The network of a scorer, or its gated counts.

    Args:
        scorer: a scorer with a count-based expert.
        name: network, or counts.
    """

    makes_new_scores = True

    def __init__(self, scorer: NeuralScorer, name: str) -> None:
        self.scorer, self.name, self.num_items = scorer, name, scorer.num_items

    @torch.no_grad()
    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) scores."""
        states = self.scorer.final_states(histories)
        scores = self.scorer.embedding.score(states).float()
        if self.name == "network":
            return scores
        expert = self.scorer.expert
        assert expert is not None
        counts: torch.Tensor = expert(scores * 0, states, expert.newest(histories))
        return counts


def groups(split: Split) -> Iterator[tuple[str, Mask]]:
    """Names of groups of test cases, and which cases are in them."""
    cases, counts, size = split.test, split.catalogue.counts, split.catalogue.num_items + 1
    targets, newest = cases.targets, cases.histories.last(1).padded(1)[:, 0]
    followed = count_transitions(split.train, size - 1, 1)
    times = np.asarray(followed[newest, targets]).ravel()
    yield "all", np.ones(len(cases), bool)
    yield "never followed the newest item", times == 0
    yield "followed it once or twice", (times >= 1) & (times <= 2)
    yield "followed it three times or more", times >= 3
    low, high = np.quantile(counts[targets], [1 / 3, 2 / 3])
    yield f"at most {low:.0f} events", counts[targets] <= low
    yield f"{low + 1:.0f} to {high:.0f} events", (counts[targets] > low) & (counts[targets] <= high)
    yield f"more than {high:.0f} events", counts[targets] > high


def main() -> None:
    """Print a row for each group."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="directory of a teacher with teacher.expert=counts")
    parser.add_argument("--dataset", required=True, help="log that it was trained on")
    parser.add_argument("--json", type=Path, help="file that receives the rows")
    arguments = parser.parse_args()
    split = leave_one_out(load(arguments.dataset).dataset)
    scorer = load_scorer(arguments.run, torch.device("cpu"))
    assert isinstance(scorer, NeuralScorer)
    if scorer.expert is None:
        parser.error(f"{arguments.run} has no count-based expert")
    measured = {
        name: evaluate(
            TopK(scorer if name == "combined" else Part(scorer, name)), split.test, split.catalogue
        ).per_user["ndcg@10"]
        for name in PARTS
    }
    rows = []
    print(f"{'test item':34} {'users':>6} {' '.join(f'{name:>9}' for name in PARTS)}")
    for name, mask in groups(split):
        means = {part: float(values[mask].mean()) for part, values in measured.items()}
        shown = " ".join(f"{means[part]:9.4f}" for part in PARTS)
        print(f"{name:34} {int(mask.sum()):6} {shown}", flush=True)
        rows.append({"test item": name, "users": int(mask.sum()), **means})
    if arguments.json:
        write_json(arguments.json, {"fingerprint": split.fingerprint, "rows": rows})


if __name__ == "__main__":
    main()
