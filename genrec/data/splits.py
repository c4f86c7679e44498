"""Splits into training, held-back, validation and test events: leave-one-out and global time."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from genrec.config.errors import GenrecError
from genrec.data.cases import NO_CASES, Cases
from genrec.data.dataset import Catalogue, Dataset
from genrec.data.sequences import Sequences
from genrec.data.training_counts import with_training_counts

SplitName = Literal["leave-one-out", "global-time"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """Training sequences, and cases for validation and test.

    Validation and test cases do not depend on what is held back: their histories contain the
    held-back events. This is no leak: nothing is trained on these cases, and in use a recommender
    reads a user's whole history.

    Attributes:
        name: "leave-one-out" or "global-time".
        fingerprint: fingerprint of the dataset.
        train: one sequence per training user; all counts, teachers and students come from it.
        valid: cases for early stopping, calibration and tuning.
        test: cases for reporting only.
        catalogue: the dataset's items with counts and vectors of the training events.
        notes: facts for the reader of results, for instance users left out of the test and why.
        held_back: cases for alignment rewards: the newest events of the training sequences, which
            ``train`` does not contain, with the events before each as history. Empty if nothing is
            held back.
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
        """Number of held-back events per training sequence, 0 for none."""
        return int(np.bincount(self.held_back.users, minlength=1).max())

    @cached_property
    def train_fingerprint(self) -> str:
        """16 hex digits over the training sequences.

        A model trained on sequences with another fingerprint may have seen other events.
        """
        digest = hashlib.sha256()
        # Little-endian 64-bit integers, so that the digest is the same on every platform.
        for array in (self.train.offsets, self.train.items):
            digest.update(np.ascontiguousarray(array, "<i8").tobytes())
        return digest.hexdigest()[:16]


def leave_one_out(
    dataset: Dataset, *, num_validation: int = 512, seed: int = 42, hold_back: int = 0
) -> Split:
    """The last event of every user is a test target, the one before it a validation target.

    Only ``num_validation`` users have a validation target, drawn with ``RandomState(seed)``; all
    others train on every event but the last. This is the protocol of the gSASRec paper's code
    [Petrov & Macdonald 2023, §5]. On a log with fewer than 4 x ``num_validation`` users of at least
    three events, a quarter of these is drawn.

    Leave-one-out leaks across users: training events of one user may be younger than the test event
    of another. Use ``global_time`` where that matters.

    Args:
        dataset: the log; users with a single event train and are not tested.
        num_validation: number of validation users, 0 for none.
        seed: random seed of the draw.
        hold_back: number of newest events moved from each training sequence to
            ``Split.held_back``; sequences of fewer than two more events keep theirs.

    Raises:
        GenrecError: if no user has two events, or no sequence is long enough to hold events back.
    """
    sequences = dataset.sequences
    lengths = sequences.lengths
    tested = lengths >= 2
    if not tested.any():
        raise GenrecError(f"{dataset.name}: no user has two events, nothing can be held out")
    # With a validation and a test target, three events leave one for training.
    eligible = np.flatnonzero(lengths >= 3)
    size = min(num_validation, max(1, len(eligible) // 4)) if len(eligible) else 0
    size = size if num_validation else 0
    # The old generator of NumPy, as in the authors' code, so that the same users are drawn.
    chosen = np.random.RandomState(seed).choice(len(eligible), size, replace=False)
    validation = np.sort(eligible[chosen])
    held_out = tested.astype(np.int64)
    held_out[validation] = 2
    before_test = sequences.drop_last(1)
    short = int((~tested).sum())
    notes = (f"{short} user(s) with a single event train and are not tested",) if short else ()
    return _make_split(
        dataset,
        "leave-one-out",
        train=sequences.drop_last(held_out),
        valid=_last_event(before_test, validation),
        test=_last_event(sequences, np.flatnonzero(tested)),
        notes=notes,
        hold_back=hold_back,
    )


def global_time(
    dataset: Dataset,
    *,
    valid_share: float = 0.05,
    test_share: float = 0.1,
    max_valid: int = 512,
    hold_back: int = 0,
) -> Split:
    """Events before one moment are for training; each user's first event after it is a target.

    Two moments cut the log: training events are older than the first; validation targets lie
    between them, test targets after the second. A history is all that the user did before the
    moment. Nothing is learnt from events younger than the first moment.

    Args:
        dataset: a log with timestamps.
        valid_share: share of all events that lie between the two moments.
        test_share: share of all events after the second moment.
        max_valid: largest number of validation cases, drawn with a fixed seed.
        hold_back: number of newest events moved from each training sequence to
            ``Split.held_back``; sequences of fewer than two more events keep theirs.

    Raises:
        GenrecError: without timestamps, if a share leaves no case, or if no sequence is long enough
            to hold events back.
    """
    if dataset.timestamps is None:
        raise GenrecError(f"{dataset.name} has no timestamps; split it with leave-one-out")
    if not 0 < valid_share + test_share < 1 or min(valid_share, test_share) <= 0:
        raise GenrecError(
            f"valid_share {valid_share} and test_share {test_share} must be positive and sum to"
            " less than 1"
        )
    # The shares are shares of events, not of the time between the first and the last one.
    ordered = np.sort(dataset.timestamps)
    size = len(ordered)
    first = ordered[int(size * (1 - valid_share - test_share))]
    second = ordered[int(size * (1 - test_share))]
    before_first = _events_before(dataset, first)
    before_second = _events_before(dataset, second)
    valid_users = np.flatnonzero((before_first > 0) & (before_second > before_first))
    test_users = np.flatnonzero((before_second > 0) & (dataset.sequences.lengths > before_second))
    if not len(valid_users) or not len(test_users):
        raise GenrecError(
            f"{dataset.name}: {len(valid_users)} validation and {len(test_users)} test users;"
            " change the shares"
        )
    if len(valid_users) > max_valid:
        drawn = np.random.default_rng(0).choice(valid_users, max_valid, replace=False)
        valid_users = np.sort(drawn)
    untested = len(dataset.users) - len(test_users)
    # A case is everything before the moment and one event more, which is its target.
    return _make_split(
        dataset,
        "global-time",
        train=_first_events(dataset.sequences, before_first),
        valid=_last_event(_first_events(dataset.sequences, before_first + 1), valid_users),
        test=_last_event(_first_events(dataset.sequences, before_second + 1), test_users),
        notes=(f"{untested} user(s) without events before and after the moment are not tested",),
        hold_back=hold_back,
    )


def split(dataset: Dataset, method: SplitName = "leave-one-out", hold_back: int = 0) -> Split:
    """Split a dataset by the name of a method, with that method's defaults.

    Args:
        dataset: the log.
        method: "leave-one-out" or "global-time".
        hold_back: number of newest training events per sequence that are held back for alignment.

    Raises:
        GenrecError: for an unknown method, and for the reasons of the method.
    """
    if method == "leave-one-out":
        return leave_one_out(dataset, hold_back=hold_back)
    if method == "global-time":
        return global_time(dataset, hold_back=hold_back)
    raise GenrecError(f"unknown split {method!r}; choose one of {', '.join(get_args(SplitName))}")


def _events_before(dataset: Dataset, moment: np.int64) -> NDArray[np.int64]:
    """(U,) number of each user's events before a moment."""
    assert dataset.timestamps is not None
    earlier = (dataset.timestamps < moment).astype(np.int64)
    rows = dataset.sequences.rows()
    return np.bincount(rows, weights=earlier, minlength=len(dataset.users)).astype(np.int64)


def _first_events(sequences: Sequences, count: NDArray[np.int64]) -> Sequences:
    """The oldest ``count`` (N,) events of each sequence."""
    starts = sequences.offsets[:-1]
    return sequences.slices(starts, np.minimum(starts + count, sequences.offsets[1:]))


def _last_event(sequences: Sequences, users: NDArray[np.int64]) -> Cases:
    """Cases whose targets are the last events of some users."""
    histories = sequences.drop_last(1).take(users)
    return Cases(histories, sequences.items[sequences.offsets[1:][users] - 1], users)


def _hold_back(train: Sequences, count: int) -> tuple[Sequences, Cases]:
    """Training sequences without their newest ``count`` events, and a case for each such event.

    A sequence that would be left with fewer than two events keeps them all.
    """
    enough = train.lengths >= count + 2
    users = np.repeat(np.flatnonzero(enough), count)
    places = train.offsets[users + 1] - count + np.tile(np.arange(count), int(enough.sum()))
    cases = Cases(train.slices(train.offsets[users], places), train.items[places], users)
    return train.drop_last(np.where(enough, count, 0)), cases


def _make_split(
    dataset: Dataset,
    name: SplitName,
    *,
    train: Sequences,
    valid: Cases,
    test: Cases,
    notes: tuple[str, ...],
    hold_back: int,
) -> Split:
    """The split, with events held back and empty training sequences removed."""
    if hold_back < 0:
        raise GenrecError(f"hold_back is {hold_back}; it must be a number of events, 0 or more")
    short = int(((train.lengths > 0) & (train.lengths < hold_back + 2)).sum())
    # Rows are users up to here: held-back cases are numbered before empty sequences are removed.
    train, held_back = _hold_back(train, hold_back)
    if hold_back and not len(held_back):
        raise GenrecError(
            f"{dataset.name}: no training sequence has {hold_back + 2} events; lower hold_back"
            f" {hold_back}"
        )
    if hold_back and short:
        notes = (
            *notes,
            f"nothing is held back from {short} training sequence(s) with fewer than"
            f" {hold_back + 2} events",
        )
    train = train.take(train.lengths > 0)
    if repeats := _count_repeats(test):
        notes = (
            *notes,
            f"{repeats} test target(s) are already in their history; the filter of seen items makes"
            " them misses",
        )
    return Split(
        name=name,
        fingerprint=dataset.fingerprint,
        train=train,
        valid=valid,
        test=test,
        catalogue=with_training_counts(dataset.catalogue, train),
        notes=notes,
        held_back=held_back,
    )


def _count_repeats(cases: Cases) -> int:
    """Number of cases whose target is in their history."""
    hits = cases.histories.items == np.repeat(cases.targets, cases.histories.lengths)
    return len(np.unique(cases.histories.rows()[hits]))
