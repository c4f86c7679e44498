"""Teacher-student pretraining: GPTRec learns to write the lists that a teacher sorts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from genrec import runs
from genrec.agents.gptrec import NEVER, GPTRec
from genrec.data.sequences import Sequences
from genrec.recommender import Scorer, TopK


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a teacher would list after N histories.

    Attributes:
        histories: N prefixes of training sequences.
        items: (N, C) the teacher's best unseen items, best first; the first K are its list.
        scores: (N, C) their scores.
    """

    histories: Sequences
    items: NDArray[np.int64]
    scores: NDArray[np.float32]

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        runs.save_tensors(
            path,
            {
                "offsets": torch.from_numpy(self.histories.offsets),
                "history_items": torch.from_numpy(self.histories.items),
                "items": torch.from_numpy(self.items.astype(np.int32)),
                "scores": torch.from_numpy(self.scores),
            },
        )

    @classmethod
    def load(cls, path: Path) -> "Lessons":
        """Read what ``save`` wrote."""
        stored = {name: tensor.numpy() for name, tensor in load_file(path).items()}
        histories = Sequences(stored["offsets"], stored["history_items"])
        return cls(histories, stored["items"].astype(np.int64), stored["scores"])


def random_prefixes(train: Sequences, count: int, k: int, generator: np.random.Generator) -> Sequences:
    """``count`` beginnings of training sequences: a user at random, then a length at random (1 to all) of theirs.

    Users with an empty sequence give none; the generator decides everything.
    """
    users = generator.integers(len(train), size=count)
    lengths = train.lengths[users]
    stops = train.offsets[users] + 1 + (generator.random(count) * lengths).astype(np.int64)
    return train.slices(train.offsets[users], stops)


def make_lessons(teacher: Scorer, histories: Sequences, pool: int, batch_size: int = 512) -> Lessons:
    """Ask the teacher for its ``pool`` best unseen items after each history."""
    order = np.argsort(histories.lengths, kind="stable")
    items, scores = TopK(teacher, batch_size).candidates(histories.take(order), pool)
    back = np.argsort(order, kind="stable")
    return Lessons(histories, items[back], scores[back])


def targets(scores: torch.Tensor, k: int, hard: float, temperature: float) -> torch.Tensor:
    """(N, k, C) what each list position should be: the teacher's choice among items it has not placed yet.

    Position t mixes, with weight ``hard``, the teacher's t-th item and its softmax over the pool without its first
    t - 1 items (Plackett-Luce): q_t(c) = hard·1[c = t] + (1 − hard)·exp(s_c/τ) / Σ_{c' ≥ t} exp(s_{c'}/τ).

    Args:
        scores: (N, C) the teacher's scores, best first.
        k: list length.
        hard: 1 gives the cross-entropy on the teacher's list alone [Petrov 2025, eq. 8.9].
        temperature: τ.
    """
    width = scores.shape[1]
    placed = torch.ones(k, width, dtype=torch.bool, device=scores.device).tril(-1)
    soft = torch.softmax((scores[:, None] / temperature).masked_fill(placed, NEVER), dim=2)
    return hard * torch.eye(k, width, device=scores.device) + (1 - hard) * soft


def lesson_loss(
    policy: GPTRec, lessons: Lessons, rows: NDArray[np.integer[Any]], k: int, target: torch.Tensor
) -> torch.Tensor:
    """Mean cross-entropy of the policy, teacher forced along the teacher's lists, with ``target`` (N, k, C)."""
    items = torch.from_numpy(lessons.items[rows]).to(policy.device)
    log_probabilities = policy.log_distribution(lessons.histories.take(rows), items[:, None, :k])[:, 0]
    at_pool = log_probabilities.gather(2, items[:, None, :].expand(-1, k, -1))
    return -(target * at_pool.masked_fill(target == 0, 0)).sum(dim=2).mean()
