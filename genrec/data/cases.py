"""Cases: histories with the item that came next, for evaluation and for training policies."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genrec.data.sequences import PAD, Sequences


@dataclass(frozen=True, eq=False)
class Cases:
    """Rows of an evaluation: a history and the item that came next.

    The time of the request is not part of a case. The only such time in a log is that of the
    target, and it tells more than is known to a recommender that answers right after the last event
    of the history.

    Attributes:
        histories: N histories, with the times of their own events where the log has them.
        targets: (N,) held-out item index of each.
        users: (N,) row of the user in the dataset.
    """

    histories: Sequences
    targets: NDArray[np.int32]
    users: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: NDArray[np.integer]) -> "Cases":
        """The cases at ``rows``."""
        return Cases(self.histories.take(rows), self.targets[rows], self.users[rows])

    def sample(self, count: int | None, seed: int) -> "Cases":
        """A random sample of the cases, in their order.

        Args:
            count: number of cases; None, or more than there are, for all of them.
            seed: random seed.
        """
        if count is None or count >= len(self):
            return self
        chosen = np.random.default_rng(seed).choice(len(self), count, replace=False)
        return self.take(np.sort(chosen))


NO_CASES = Cases(Sequences.from_lists([]), np.zeros(0, np.int32), np.zeros(0, np.int64))


def random_cases(train: Sequences, count: int, generator: np.random.Generator) -> Cases:
    """Random prefixes of training sequences, each with the event that followed.

    The user is drawn uniformly, then the length of the prefix, from 1 to the length of the user's
    sequence. The target of a whole sequence is 0 (unknown).

    Args:
        train: training sequences, none of them empty.
        count: N, the number of cases.
        generator: random numbers.
    """
    users = generator.integers(len(train), size=count)
    starts, ends = train.offsets[users], train.offsets[users + 1]
    stops = starts + 1 + (generator.random(count) * (ends - starts)).astype(np.int64)
    # The whole last sequence is followed by nothing; its index is clipped and not used.
    following = train.items[np.minimum(stops, len(train.items) - 1)]
    targets = np.where(stops < ends, following, PAD).astype(np.int32)
    return Cases(train.slices(starts, stops), targets, users)


def whole_cases(train: Sequences) -> Cases:
    """Every training sequence as a whole; the targets are 0 (unknown)."""
    return Cases(train, np.full(len(train), PAD, np.int32), np.arange(len(train)))
