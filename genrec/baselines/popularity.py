"""The popularity baseline: everybody gets the most frequent items."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from genrec.baselines import storage
from genrec.data.sequences import Sequences
from genrec.data.splits import Split

TIE_WEIGHT = 1e-3


@dataclass(frozen=True, eq=False)
class Popularity:
    """Scores an item by how often it was used in training, whoever asks.

    score_i = log((n_i + 1) / (N + V)), n_i the training events of item i and N their sum: the order
    of the counts, on the scale of a log-probability, finite for items without events.

    Attributes:
        counts: (V+1,) training events of each item, 0 at PAD.
    """

    counts: NDArray[np.int64]

    @classmethod
    def fit(cls, split: Split) -> Self:
        """The counts of the split's training events."""
        return cls(split.catalogue.counts)

    @property
    def num_items(self) -> int:
        """V."""
        return len(self.counts) - 1

    def score(self, histories: Sequences) -> torch.Tensor:
        """(B, V+1) the same scores for each of the B histories; column 0 is -inf."""
        row = torch.from_numpy(log_popularity(self.counts, smoothing=1.0).astype(np.float32))
        return row.repeat(len(histories), 1)

    def save(self, folder: Path) -> None:
        """Write ``scorer.json`` and ``scorer.safetensors`` into the folder."""
        storage.write(folder, "popularity", {}, {"counts": self.counts})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The scorer that ``save`` wrote.

        Raises:
            GenrecError: if the folder holds another kind of scorer.
        """
        return cls(storage.read(folder, "popularity")[1]["counts"])


def log_popularity(counts: NDArray[np.int64], smoothing: float) -> NDArray[np.float64]:
    """(V+1,) log((n_i + s) / (N + s·V)), the smoothed log share of item i; -inf at PAD.

    >>> log_popularity(np.array([0, 3, 0]), smoothing=1.0).round(3).tolist()
    [-inf, -0.223, -1.609]
    """
    share = (counts + smoothing) / (counts.sum() + smoothing * (len(counts) - 1))
    logs: NDArray[np.float64] = np.log(share)
    logs[0] = -np.inf
    return logs


def tie_break(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """(V+1,) ε · n_i / N with ε = 0.001: the training share of item i, small enough to decide only
    between equals.

    >>> tie_break(np.array([0, 3, 1])).astype(float).round(6).tolist()
    [-inf, 0.00075, 0.00025]
    """
    share = (TIE_WEIGHT * counts / max(1, int(counts.sum()))).astype(np.float32)
    share[0] = -np.inf
    return share
