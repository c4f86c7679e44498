import hashlib
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrec.config.errors import GenrecError
from genrec.data import (
    Dataset,
    Sequences,
    global_time,
    leave_one_out,
    load,
    make_catalogue,
    split,
    synthetic,
)
from genrec.data.cases import random_cases
from genrec.data.training_counts import with_training_counts


def dataset(rows, times=None, num_items=6):
    flat = None if times is None else np.concatenate(times).astype(np.int64)
    users = np.array([f"u{n}" for n in range(len(rows))])
    items = make_catalogue([str(n) for n in range(1, num_items + 1)])
    return Dataset(
        name="toy",
        users=users,
        sequences=Sequences.from_lists(rows),
        timestamps=flat,
        catalogue=items,
    )


def lists(sequences):
    return [sequences[n].tolist() for n in range(len(sequences))]


def test_leave_one_out_by_hand():
    # The three users of three events and more are eligible for validation; a quarter of 3 rounds to
    # none, at least 1.
    result = leave_one_out(
        dataset([[1, 2, 3, 4], [5], [2, 6], [3, 1, 2], [4, 5, 6]]), num_validation=512, seed=42
    )
    chosen = [0, 3, 4][np.random.RandomState(42).choice(3, 1, replace=False)[0]]
    assert chosen == 0
    assert result.name == "leave-one-out"
    assert lists(result.train) == [[1, 2], [5], [2], [3, 1], [4, 5]]
    assert lists(result.valid.histories) == [[1, 2]]
    assert result.valid.targets.tolist() == [3]
    assert result.valid.users.tolist() == [0]
    assert lists(result.test.histories) == [[1, 2, 3], [2], [3, 1], [4, 5]]
    assert result.test.targets.tolist() == [4, 6, 2, 6]
    assert result.test.users.tolist() == [0, 2, 3, 4]
    assert result.notes == ("1 user(s) with a single event train and are not tested",)


def test_counts_and_user_counts_are_of_training_events_only():
    result = leave_one_out(dataset([[1, 1, 2, 3], [1, 2], [4, 5]]), num_validation=0)
    assert len(result.valid) == 0
    assert lists(result.train) == [[1, 1, 2], [1], [4]]
    assert result.catalogue.counts.tolist() == [0, 3, 1, 0, 1, 0, 0]
    assert result.catalogue.user_counts.tolist() == [0, 2, 1, 0, 1, 0, 0]
    assert result.catalogue.num_users == 3
    np.testing.assert_allclose(result.catalogue.popularity, [0, 0.6, 0.2, 0, 0.2, 0, 0])


def test_a_log_without_events_to_hold_out():
    with pytest.raises(ValueError, match="toy: no user has two events"):
        leave_one_out(dataset([[1], [2]]))


def test_global_time_by_hand():
    # 10 events at times 1..10; shares .2 and .2: training before time 7, validation from 7, test
    # from 9.
    log = dataset([[1, 2, 3], [4, 5, 6, 1], [2, 3, 4]], [[1, 4, 9], [2, 3, 7, 10], [5, 6, 8]])
    result = global_time(log, valid_share=0.2, test_share=0.2)
    assert lists(result.train) == [[1, 2], [4, 5], [2, 3]]
    assert lists(result.valid.histories) == [[4, 5], [2, 3]]
    assert result.valid.targets.tolist() == [6, 4]
    assert result.valid.users.tolist() == [1, 2]
    assert lists(result.test.histories) == [[1, 2], [4, 5, 6]]
    assert result.test.targets.tolist() == [3, 1]
    assert result.test.users.tolist() == [0, 1]
    assert result.notes == ("1 user(s) without events before and after the moment are not tested",)


def test_global_time_refuses_logs_without_times_and_impossible_shares():
    with pytest.raises(ValueError, match="toy has no timestamps; split it with leave-one-out"):
        global_time(dataset([[1, 2]]))
    with pytest.raises(ValueError, match="must be positive and sum to less than 1"):
        global_time(dataset([[1, 2]], [[1, 2]]), valid_share=0.6, test_share=0.5)
    with pytest.raises(ValueError, match="change the shares"):
        global_time(dataset([[1, 2]], [[1, 1]]))


def test_split_by_name():
    log = synthetic.chain(num_users=40, num_items=30, length=10, randomness=0.5, seed=0)
    assert split(log).name == "leave-one-out"
    assert split(log, "global-time").name == "global-time"
    with pytest.raises(GenrecError, match="unknown split 'random'; choose one of leave-one-out, g"):
        split(log, "random")


@pytest.fixture(scope="module")
def demo() -> Dataset:
    return synthetic.demo(num_users=400, num_items=200, seed=3)


def test_no_held_out_event_is_trained_on(demo):
    """Items are unique within a user here, so an item identifies the event."""
    result = leave_one_out(demo, num_validation=50)
    seen = np.zeros((400, 201), dtype=bool)
    seen[result.train.rows(), result.train.items] = True  # every user trains, so rows are users
    assert len(result.train) == 400
    assert not seen[result.test.users, result.test.targets].any()
    assert not seen[result.valid.users, result.valid.targets].any()
    assert len(result.valid) == 50


def test_nothing_in_train_is_younger_than_the_moment(demo):
    result = global_time(demo, valid_share=0.1, test_share=0.1)
    rows, times = demo.sequences.rows(), demo.timestamps
    time_of = {(u, i): t for u, i, t in zip(rows, demo.sequences.items, times, strict=True)}
    valid = [time_of[u, i] for u, i in zip(result.valid.users, result.valid.targets, strict=True)]
    test = [time_of[u, i] for u, i in zip(result.test.users, result.test.targets, strict=True)]
    moment = np.sort(times)[int(len(times) * 0.8)]
    assert min(valid) >= moment
    assert max(valid) < min(test)
    assert len(result.train.items) == (times < moment).sum()


TRAIN = [[1, 2, 3, 4], [5], [6, 4, 2]]


def test_random_cases_are_prefixes_with_the_next_event():
    cases = random_cases(Sequences.from_lists(TRAIN), 500, np.random.default_rng(0))
    for history, target, user in zip(
        lists(cases.histories), cases.targets.tolist(), cases.users, strict=True
    ):
        whole = TRAIN[user]
        assert history == whole[: len(history)] != []
        assert target == [*whole, 0][len(history)]  # 0: nothing is known after a whole sequence


def test_random_cases_draw_users_and_lengths_uniformly():
    cases = random_cases(Sequences.from_lists(TRAIN), 6000, np.random.default_rng(0))
    assert np.abs(np.bincount(cases.users) - 2000).max() < 150  # four standard deviations
    for user, whole in enumerate(TRAIN):
        counts = np.bincount(cases.histories.lengths[cases.users == user], minlength=len(whole) + 1)
        assert counts[0] == 0
        assert np.abs(counts[1:] - 2000 / len(whole)).max() < 170
    assert set(np.unique(cases.targets)) == {0, 2, 3, 4}


def test_random_cases_depend_on_the_generator():
    train = Sequences.from_lists(TRAIN)
    first, same, other = (
        random_cases(train, 20, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert lists(first.histories) == lists(same.histories)
    assert lists(first.histories) != lists(other.histories)


def test_ml_1m_is_the_file_of_the_papers(data_dir):
    loaded = load(data_dir / "ml-1m")
    log = loaded.dataset
    result = leave_one_out(log)
    assert (len(log.users), log.catalogue.num_items, len(log.sequences.items)) == (
        6040,
        3416,
        999611,
    )
    assert log.catalogue.item_ids[1:].astype(int).tolist() == list(range(1, 3417))
    assert sorted(result.valid.users) == sorted(
        np.random.RandomState(42).choice(6040, 512, replace=False)
    )
    assert len(result.valid) == 512
    assert len(result.test) == 6040
    assert len(result.train.items) == 999611 - 6040 - 512


def test_ml_1m_keeps_the_order_of_its_lines(data_dir):
    log = load(data_dir / "ml-1m").dataset
    expected = np.loadtxt(data_dir / "ml-1m" / "ml-1m.txt", dtype=np.int32, max_rows=2000)
    np.testing.assert_array_equal(log.sequences.items[:2000], expected[:, 1])
    np.testing.assert_array_equal(
        log.users[log.sequences.rows()[:2000]].astype(int), expected[:, 0]
    )


def test_histories_of_both_splits_have_times_and_targets_have_none():
    log = dataset([[1, 2, 3], [4, 5, 6, 1], [2, 3, 4]], [[1, 4, 9], [2, 3, 7, 10], [5, 6, 8]])
    assert log.sequences.times.tolist() == [1, 4, 9, 2, 3, 7, 10, 5, 6, 8]
    by_time = global_time(log, valid_share=0.2, test_share=0.2)
    assert by_time.train.times.tolist() == [1, 4, 2, 3, 5, 6]
    assert by_time.valid.histories.times.tolist() == [2, 3, 5, 6]
    assert by_time.test.histories.times.tolist() == [1, 4, 2, 3, 7]
    assert by_time.test.take(np.array([1])).histories.times.tolist() == [2, 3, 7]
    one_out = leave_one_out(log, num_validation=0)
    assert (
        one_out.train.times.tolist()
        == one_out.test.histories.times.tolist()
        == [1, 4, 2, 3, 7, 5, 6]
    )
    assert leave_one_out(dataset([[1, 2], [3, 4]])).train.times is None


def test_random_cases_have_the_times_of_their_history_alone():
    train = Sequences.from_lists(TRAIN, times=[[10 * item for item in row] for row in TRAIN])
    cases = random_cases(train, 50, np.random.default_rng(0))
    assert cases.histories.times.tolist() == (10 * cases.histories.items).tolist()
    assert len(cases.histories.times) == cases.histories.lengths.sum()
    assert (
        random_cases(Sequences.from_lists(TRAIN), 5, np.random.default_rng(0)).histories.times
        is None
    )


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order():
    cases = leave_one_out(dataset([[1, 2]] * 60), num_validation=0).test
    drawn = [cases.sample(10, seed).users.tolist() for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(users == sorted(set(users)) and len(users) == 10 for users in drawn)
    assert cases.sample(None, 0) is cases
    assert len(cases.sample(99, 0)) == 60


@pytest.mark.parametrize("at_once", [2, 100])
def test_items_without_features_get_co_occurrence_vectors(
    at_once: int, monkeypatch: pytest.MonkeyPatch
):
    """Positive pointwise mutual information with items 1, 2, 4, 3, the most popular first, of six
    users."""
    monkeypatch.setattr("genrec.data.training_counts.ITEMS_AT_ONCE", at_once)
    train = Sequences.from_lists([[1, 2], [2, 1], [1, 3], [4], [4], [4, 2]])
    vectors = with_training_counts(make_catalogue(list("abcd")), train).vectors
    # 1 with 2: log(2 * 6 / (3 * 3)) = 0.2877; 1 with 3: log(1 * 6 / (3 * 1)) = 0.6931; 2 with 4:
    # log(6 / 9) < 0
    expected = [[0, 0, 0, 0], [0, 0.38333, 0, 0.92361], [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert vectors.dtype == np.float32


LOG = [[1, 2, 3, 4, 5], [5], [2, 6], [3, 1, 2], [4, 5, 6]]  # trains on 1 2 3 4, 5, 2, 3 1 and 4 5


def test_the_newest_events_are_held_back_by_hand():
    result = leave_one_out(dataset(LOG), num_validation=0, hold_back=1)
    # Two events are too few to hold one back.
    assert lists(result.train) == [[1, 2, 3], [5], [2], [3, 1], [4, 5]]
    assert lists(result.held_back.histories) == [[1, 2, 3]]
    assert (result.held_back.targets.tolist(), result.held_back.users.tolist()) == ([4], [0])
    assert result.catalogue.counts.tolist() == [0, 2, 2, 2, 1, 2, 0]
    assert result.catalogue.user_counts.tolist() == [0, 2, 2, 2, 1, 2, 0]
    assert result.hold_back == 1
    assert (
        "nothing is held back from 4 training sequence(s) with fewer than 3 events" in result.notes
    )


def test_every_held_back_event_is_a_case_after_all_that_came_before_it():
    result = leave_one_out(dataset(LOG), num_validation=0, hold_back=2)
    assert lists(result.train) == [[1, 2], [5], [2], [3, 1], [4, 5]]
    assert lists(result.held_back.histories) == [[1, 2], [1, 2, 3]]
    assert (result.held_back.targets.tolist(), result.held_back.users.tolist()) == ([3, 4], [0, 0])
    assert result.catalogue.counts.tolist() == [0, 2, 2, 1, 1, 2, 0]
    assert result.hold_back == 2


def test_vectors_are_without_the_events_that_are_held_back():
    """Items 2 and 3 have one user in common, whose event with item 3 is held back."""
    log = dataset([[1, 2, 3, 4], [1, 5], [5, 6]])
    assert leave_one_out(log, num_validation=0).catalogue.vectors[3].any()
    assert not leave_one_out(log, num_validation=0, hold_back=1).catalogue.vectors[3].any()


def test_events_before_a_moment_are_held_back_with_their_times_and_users():
    # training before time 7, validation from 7, test from 9; the first user has no training event
    log = dataset([[1, 2], [3, 4, 5, 6, 1], [2, 3, 4]], [[7, 9], [1, 2, 3, 4, 8], [5, 6, 10]])
    result = global_time(log, valid_share=0.2, test_share=0.2, hold_back=2)
    assert lists(result.train) == [[3, 4], [2, 3]]
    assert result.train.times.tolist() == [1, 2, 5, 6]
    assert lists(result.held_back.histories) == [[3, 4], [3, 4, 5]]
    assert result.held_back.histories.times.tolist() == [1, 2, 1, 2, 3]
    assert (result.held_back.targets.tolist(), result.held_back.users.tolist()) == ([5, 6], [1, 1])
    assert lists(result.valid.histories) == [[3, 4, 5, 6]]
    assert (
        "nothing is held back from 1 training sequence(s) with fewer than 4 events" in result.notes
    )


def test_nothing_is_held_back_by_default():
    result = leave_one_out(dataset(LOG), num_validation=0)
    assert (result.hold_back, len(result.held_back), len(result.held_back.histories)) == (0, 0, 0)
    assert not [note for note in result.notes if "held back" in note]


def test_impossible_numbers_of_held_back_events():
    with pytest.raises(
        ValueError, match="toy: no training sequence has 5 events; lower hold_back 3"
    ):
        leave_one_out(dataset(LOG), num_validation=0, hold_back=3)
    with pytest.raises(
        ValueError, match="hold_back is -1; it must be a number of events, 0 or more"
    ):
        leave_one_out(dataset(LOG), hold_back=-1)


@pytest.mark.parametrize("method", ["leave-one-out", "global-time"])
def test_validation_and_test_are_the_same_whatever_is_held_back(demo, method):
    plain, reduced = split(demo, method), split(demo, method, hold_back=2)
    for ours, theirs in ((plain.valid, reduced.valid), (plain.test, reduced.test)):
        assert len(ours) > 0
        assert lists(ours.histories) == lists(theirs.histories)
        assert ours.histories.times.tolist() == theirs.histories.times.tolist()
        assert (ours.targets.tolist(), ours.users.tolist()) == (
            theirs.targets.tolist(),
            theirs.users.tolist(),
        )
    assert len(reduced.train.items) + len(reduced.held_back) == len(plain.train.items)
    assert reduced.catalogue.counts.sum() == len(reduced.train.items) < len(plain.train.items)


@given(
    st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=8), min_size=1, max_size=6).filter(
        lambda rows: max(map(len, rows)) >= 6
    ),
    st.integers(1, 3),
)
def test_a_user_trains_on_what_came_before_the_held_back_events_and_on_nothing_else(rows, count):
    result = leave_one_out(dataset(rows), num_validation=0, hold_back=count)
    expected = []
    for user, (whole, kept) in enumerate(
        zip([row[:-1] for row in rows], lists(result.train), strict=True)
    ):
        cut = len(whole) - count if len(whole) - count >= 2 else len(whole)
        assert kept == whole[:cut]
        expected += [(user, whole[:place], whole[place]) for place in range(cut, len(whole))]
    found = result.held_back
    assert (
        list(zip(found.users.tolist(), lists(found.histories), found.targets.tolist(), strict=True))
        == expected
    )


def test_the_train_fingerprint_is_the_hash_of_offsets_and_items():
    result = leave_one_out(dataset([[1, 2, 6], [3, 4]]), num_validation=0)
    packed = struct.pack("<3q", 0, 2, 3) + struct.pack("<3q", 1, 2, 3)
    assert result.train_fingerprint == hashlib.sha256(packed).hexdigest()[:16]
    others = ([[1], [2, 3]], [[1, 3], [2]], [[1, 2], [4]], [[1, 2]])
    digests = {
        replace(result, train=Sequences.from_lists(rows)).train_fingerprint for rows in others
    }
    assert len(digests | {result.train_fingerprint}) == 5
