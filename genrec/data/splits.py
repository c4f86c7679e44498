"""Train / held back / validation / test: leave-one-out and global time."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genrec.config.errors import GenrecError
from genrec.data.dataset import Catalogue, Dataset, unit_rows
from genrec.data.sequences import PAD, Sequences

NUM_ANCHORS = 256
ITEMS_AT_ONCE = 2**14  # whose vectors are made


@dataclass(frozen=True, eq=False)
class Cases:
    """Evaluation rows: a history and the item that came next.

    When a list is asked for is not part of a case. The only moment that the log holds is that of
    the target, and who knows it knows more than a recommender that has to answer after the last
    event of the history.

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
        """``count`` of the cases drawn with the seed, in their order; all of them for None or more
        than there are."""
        if count is None or count >= len(self):
            return self
        return self.take(
            np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))
        )


NO_CASES = Cases(Sequences.from_lists([]), np.zeros(0, np.int32), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Split:
    """What may be learnt from, tuned on and reported.

    Validation and test cases are the same whatever is held back: their histories contain the
    held-back events. That is right, for nobody is trained on them there, and in use a recommender
    reads all that a user did.

    Attributes:
        name: "leave-one-out" or "global-time".
        fingerprint: of the dataset that was split.
        train: one sequence a training user; the only source of counts, teachers and students.
        valid: cases for early stopping, calibration and tuning.
        test: cases for reporting only.
        catalogue: the dataset's items with counts and vectors of the training events.
        notes: what a reader must know, for instance users left out of the test and why.
        held_back: a case for each of the newest events of a training sequence that ``train`` is
            without: what came before it, and the event. Alignment is paid on them; no case where
                nothing is held back.
    """

    name: str
    fingerprint: str
    train: Sequences
    valid: Cases
    test: Cases
    catalogue: Catalogue
    notes: tuple[str, ...]
    held_back: Cases = NO_CASES

    @property
    def hold_back(self) -> int:
        """How many events of a training sequence are held back, 0 where none are."""
        return int(np.bincount(self.held_back.users, minlength=1).max())

    @cached_property
    def train_fingerprint(self) -> str:
        """16 hex digits over the training sequences: what was trained on others may have seen other
        events."""
        digest = hashlib.sha256()
        for array in (self.train.offsets, self.train.items):
            digest.update(np.ascontiguousarray(array, "<i8").tobytes())
        return digest.hexdigest()[:16]


def leave_one_out(
    dataset: Dataset, num_validation: int = 512, seed: int = 42, hold_back: int = 0
) -> Split:
    """The last event of every user is the test target; validation users also lose the one before
    it.

    This is the protocol of the gSASRec paper's code [Petrov & Macdonald 2023, §5]:
    ``num_validation`` users drawn with ``RandomState(seed)`` give the validation cases, everybody
    else trains on all events but the last. On a log with fewer than 4 x ``num_validation`` eligible
    users a quarter of them is drawn.

    Leave-one-out leaks across users: training events of one user may be younger than the test event
    of another. Use ``global_time`` where that matters.

    Args:
        dataset: the log; users with a single event train and are not tested.
        num_validation: validation users, 0 for none.
        seed: of the draw.
        hold_back: newest events that training sequences of at least two more lose to
            ``Split.held_back``.

    Raises:
        GenrecError: if no user has two events, or events are to be held back and no sequence is long
            enough.
    """
    sequences = dataset.sequences
    lengths = sequences.lengths
    tested = lengths >= 2
    if not tested.any():
        raise GenrecError(f"{dataset.name}: no user has two events, nothing can be held out")
    eligible = np.flatnonzero(lengths >= 3)
    size = min(num_validation, max(1, len(eligible) // 4)) if len(eligible) else 0
    size = size if num_validation else 0
    chosen = np.random.RandomState(seed).choice(len(eligible), size, replace=False)
    validation = np.sort(eligible[chosen])
    held_out = tested.astype(np.int64)
    held_out[validation] = 2
    before_test = sequences.drop_last(1)
    short = int((~tested).sum())
    notes = (f"{short} user(s) with a single event train and are not tested",) if short else ()
    return _split(
        dataset,
        "leave-one-out",
        sequences.drop_last(held_out),
        valid=_last_event(before_test, validation),
        test=_last_event(sequences, np.flatnonzero(tested)),
        notes=notes,
        hold_back=hold_back,
    )


def global_time(
    dataset: Dataset,
    valid_share: float = 0.05,
    test_share: float = 0.1,
    max_valid: int = 512,
    hold_back: int = 0,
) -> Split:
    """Everything before one moment trains; the first event of each user after it is the target.

    Two moments cut the log: training events are older than the first; validation targets lie
    between them, test targets after the second. A history is all that the user did before the
    moment. Nothing is learnt from events younger than the first moment.

    Args:
        dataset: a log with timestamps.
        valid_share: share of all events that lie between the two moments.
        test_share: share of all events after the second moment.
        max_valid: keep at most this many validation cases, drawn with a fixed seed.
        hold_back: newest events that training sequences of at least two more lose to
            ``Split.held_back``.

    Raises:
        GenrecError: without timestamps, where a share leaves no case, or if events are to be held
            back and no sequence is long enough.
    """
    if dataset.timestamps is None:
        raise GenrecError(f"{dataset.name} has no timestamps; split it with leave-one-out")
    if not 0 < valid_share + test_share < 1 or min(valid_share, test_share) <= 0:
        raise GenrecError(
            f"valid_share {valid_share} and test_share {test_share} must be positive and sum to"
            " less than 1"
        )
    ordered = np.sort(dataset.timestamps)
    size = len(ordered)
    first = ordered[int(size * (1 - valid_share - test_share))]
    second = ordered[int(size * (1 - test_share))]
    before_first = _events_before(dataset, first)
    before_second = _events_before(dataset, second)
    lengths = dataset.sequences.lengths
    valid_users = np.flatnonzero((before_first > 0) & (before_second > before_first))
    test_users = np.flatnonzero((before_second > 0) & (lengths > before_second))
    if not len(valid_users) or not len(test_users):
        raise GenrecError(
            f"{dataset.name}: {len(valid_users)} validation and {len(test_users)} test users;"
            " change the shares"
        )
    if len(valid_users) > max_valid:
        valid_users = np.sort(
            np.random.default_rng(0).choice(valid_users, max_valid, replace=False)
        )
    notes = (
        f"{len(dataset.users) - len(test_users)} user(s) without events on both sides of the moment"
        " are not tested",
    )
    return _split(
        dataset,
        "global-time",
        _first_events(dataset.sequences, before_first),
        valid=_last_event(_first_events(dataset.sequences, before_first + 1), valid_users),
        test=_last_event(_first_events(dataset.sequences, before_second + 1), test_users),
        notes=notes,
        hold_back=hold_back,
    )


def random_cases(train: Sequences, count: int, generator: np.random.Generator) -> Cases:
    """``count`` beginnings of training sequences and the event that followed, to write lists for
    while training.

    A user at random, then a length at random, from 1 to all of theirs; the target of a whole
    sequence is 0 (unknown).

    Args:
        train: training sequences, none empty.
        count: N.
        generator: decides everything.
    """
    users = generator.integers(len(train), size=count)
    starts, ends = train.offsets[users], train.offsets[users + 1]
    stops = starts + 1 + (generator.random(count) * (ends - starts)).astype(np.int64)
    with_surrogates = train.items[np.minimum(stops, len(train.items) - 1)]
    targets = np.where(stops < ends, with_surrogates, PAD).astype(np.int32)
    return Cases(train.slices(starts, stops), targets, users)


def whole_cases(train: Sequences) -> Cases:
    """Every training sequence whole; the target is 0 (unknown)."""
    return Cases(train, np.full(len(train), PAD, np.int32), np.arange(len(train)))


def split(
    dataset: Dataset,
    method: Literal["leave-one-out", "global-time"] = "leave-one-out",
    hold_back: int = 0,
) -> Split:
    """Split by name with the defaults of that split; training sequences lose ``hold_back`` events
    to ``held_back``."""
    if method == "leave-one-out":
        return leave_one_out(dataset, hold_back=hold_back)
    return global_time(dataset, hold_back=hold_back)


def _events_before(dataset: Dataset, moment: np.int64) -> NDArray[np.int64]:
    assert dataset.timestamps is not None
    earlier = (dataset.timestamps < moment).astype(np.int64)
    return np.bincount(
        dataset.sequences.rows(), weights=earlier, minlength=len(dataset.users)
    ).astype(np.int64)


def _first_events(sequences: Sequences, count: NDArray[np.int64]) -> Sequences:
    starts = sequences.offsets[:-1]
    return sequences.slices(starts, np.minimum(starts + count, sequences.offsets[1:]))


def _last_event(sequences: Sequences, users: NDArray[np.int64]) -> Cases:
    histories = sequences.drop_last(1).take(users)
    return Cases(histories, sequences.items[sequences.offsets[1:][users] - 1], users)


def _hold_back(train: Sequences, count: int) -> tuple[Sequences, Cases]:
    """Sequences without their newest ``count`` events, where two are left, and a case for each of
    those events."""
    enough = train.lengths >= count + 2
    users = np.repeat(np.flatnonzero(enough), count)
    places = train.offsets[users + 1] - count + np.tile(np.arange(count), int(enough.sum()))
    cases = Cases(train.slices(train.offsets[users], places), train.items[places], users)
    return train.drop_last(np.where(enough, count, 0)), cases


def _split(
    dataset: Dataset,
    name: str,
    train: Sequences,
    valid: Cases,
    test: Cases,
    notes: tuple[str, ...],
    hold_back: int,
) -> Split:
    if hold_back < 0:
        raise GenrecError(f"hold_back {hold_back} is no number of events: give 0 or more")
    short = int(((train.lengths > 0) & (train.lengths < hold_back + 2)).sum())
    train, held_back = _hold_back(train, hold_back)
    if hold_back and not len(held_back):
        raise GenrecError(
            f"{dataset.name}: no training sequence has {hold_back + 2} events, lower hold_back"
            f" {hold_back}"
        )
    if hold_back and short:
        notes = (
            *notes,
            f"nothing is held back of {short} training sequence(s) of fewer than {hold_back + 2}"
            " events",
        )
    train = train.take(train.lengths > 0)
    if repeats := _repeats(test):
        notes = (
            *notes,
            f"{repeats} test target(s) are in their history already: the seen filter makes them"
            " misses",
        )
    catalogue = with_training_counts(dataset.catalogue, train)
    return Split(name, dataset.fingerprint, train, valid, test, catalogue, notes, held_back)


def _repeats(cases: Cases) -> int:
    """How many cases have a target that is in their history."""
    hits = cases.histories.items == np.repeat(cases.targets, cases.histories.lengths)
    return len(np.unique(cases.histories.rows()[hits]))


def with_training_counts(catalogue: Catalogue, train: Sequences) -> Catalogue:
    """The catalogue with counts, user_counts and, where it has no features, vectors of the training
    events."""
    size = catalogue.num_items + 1
    rows = train.rows()
    once = sparse.csr_matrix(
        (np.ones(len(rows), np.float32), (rows, train.items)), shape=(len(train), size)
    )
    once.data[:] = 1  # a repeated item is one user
    user_counts = np.asarray(once.sum(axis=0)).ravel().astype(np.int64)
    vectors = (
        catalogue.vectors if catalogue.feature_names else _co_occurrence_vectors(once, user_counts)
    )
    counts = np.bincount(train.items, minlength=size)
    return replace(
        catalogue, counts=counts, user_counts=user_counts, num_users=len(train), vectors=vectors
    )


def _co_occurrence_vectors(
    once: sparse.csr_matrix, user_counts: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Positive pointwise mutual information of each item with the most popular items, as unit rows
    (V+1, <=256)."""
    anchors = np.argsort(-user_counts, kind="stable")[: min(NUM_ANCHORS, len(user_counts) - 1)]
    pairs = (once.T @ once[:, anchors]).tocsr()
    items = np.arange(len(user_counts))[:, None]
    vectors = np.zeros(pairs.shape, np.float32)
    for start in range(0, len(user_counts), ITEMS_AT_ONCE):
        rows = slice(start, start + ITEMS_AT_ONCE)
        together = np.where(items[rows] == anchors, 0.0, pairs[rows].toarray())
        expected = user_counts[rows, None] * user_counts[anchors][None, :] / max(1, once.shape[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            information = np.log(together / expected)
        vectors[rows] = unit_rows(
            np.where(together > 0, np.maximum(information, 0), 0).astype(np.float32)
        )
    return vectors
