import numpy as np
import pytest

from genrec.data import leave_one_out
from genrec.data.synthetic import chain, demo


def transitions(dataset):
    """(M', 2) pairs of consecutive items of the same user."""
    rows, items = dataset.sequences.rows(), dataset.sequences.items
    return np.stack([items[:-1], items[1:]], axis=1)[rows[:-1] == rows[1:]]


def repeats(dataset):
    keys = dataset.sequences.rows() * (dataset.catalogue.num_items + 1) + dataset.sequences.items
    return len(keys) - len(np.unique(keys))


def test_a_chain_without_randomness_follows_one_cycle():
    dataset = chain(num_users=300, num_items=20, length=8, randomness=0, seed=1)
    pairs = np.unique(transitions(dataset), axis=0)
    assert len(pairs) == 20
    successor = dict(pairs.tolist())
    walk = [1]
    for _ in range(20):
        walk.append(successor[walk[-1]])
    assert sorted(walk[:20]) == list(range(1, 21))
    assert walk[20] == 1


def test_a_chain_jumps_as_often_as_it_is_random():
    successor = dict(
        np.unique(
            transitions(chain(num_users=300, num_items=200, length=10, randomness=0, seed=5)),
            axis=0,
        ).tolist()
    )
    pairs = transitions(chain(num_users=2000, num_items=200, length=10, randomness=0.3, seed=5))
    share = np.mean([successor[a] == b for a, b in pairs.tolist()])
    # 0.7, a little more by chance jumps to the successor, less where it has been seen
    assert share == pytest.approx(0.7, abs=0.02)


def test_noise_has_no_structure():
    dataset = chain(num_users=4000, num_items=10, length=9, randomness=1.0, seed=2)
    table = np.zeros((11, 11))
    np.add.at(table, tuple(transitions(dataset).T), 1)
    share = table[1:, 1:] / table.sum(axis=1)[1:, None]
    assert np.abs(share[~np.eye(10, dtype=bool)] - 1 / 9).max() < 0.02


def test_a_chain_never_repeats_an_item():
    dataset = chain(num_users=100, num_items=12, length=11, randomness=0.5, seed=0)
    assert dataset.sequences.lengths.tolist() == [11] * 100
    assert repeats(dataset) == 0
    assert dataset.sequences.items.min() == 1
    assert dataset.sequences.items.max() == 12
    with pytest.raises(ValueError, match=r"length 12 must be from 1 to num_items - 1 = 11"):
        chain(num_users=1, num_items=12, length=12, randomness=0.5, seed=0)
    with pytest.raises(ValueError, match=r"randomness is 1\.5"):
        chain(num_users=1, num_items=12, length=3, randomness=1.5, seed=0)


def test_the_seed_decides():
    assert (
        chain(num_users=9, num_items=12, length=5, randomness=0.5, seed=0).fingerprint
        == chain(num_users=9, num_items=12, length=5, randomness=0.5, seed=0).fingerprint
    )
    assert (
        chain(num_users=9, num_items=12, length=5, randomness=0.5, seed=0).fingerprint
        != chain(num_users=9, num_items=12, length=5, randomness=0.5, seed=1).fingerprint
    )
    assert (
        demo(num_users=50, num_items=60, seed=0).fingerprint
        == demo(num_users=50, num_items=60, seed=0).fingerprint
    )
    assert (
        demo(num_users=50, num_items=60, seed=0).fingerprint
        != demo(num_users=50, num_items=60, seed=1).fingerprint
    )


@pytest.fixture(scope="module")
def films():
    return demo()


def test_demo_looks_like_a_log(films):
    lengths, catalogue = films.sequences.lengths, films.catalogue
    assert (len(films.users), catalogue.num_items) == (2000, 1000)
    assert lengths.min() == 10
    assert lengths.max() <= 150
    assert 35 < lengths.mean() < 45
    assert repeats(films) == 0
    per_item = catalogue.features[1:].sum(axis=1)
    assert set(per_item) == {1, 2, 3}
    assert len(catalogue.feature_names) == 12
    counts = np.sort(np.bincount(films.sequences.items, minlength=1001)[1:])[::-1]
    assert counts[:100].sum() > 0.3 * counts.sum()  # a long tail: uniform would be .1
    assert catalogue.item_ids[1] == "item-0001"


def test_demo_titles_are_unique_and_name_the_genres(films):
    titles = films.catalogue.titles[1:]
    assert len(np.unique(titles)) == 1000
    genres = [
        n
        for n, has in zip(films.catalogue.feature_names, films.catalogue.features[7], strict=True)
        if has
    ]
    assert films.catalogue.titles[7].endswith(f"({', '.join(genres)})")


def test_demo_times_rise_within_a_user(films):
    rows = films.sequences.rows()
    assert (np.diff(films.timestamps)[rows[:-1] == rows[1:]] > 0).all()


def top10(scores, cases):
    scores = scores.copy()
    scores[cases.histories.rows(), cases.histories.items] = -np.inf
    scores[:, 0] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :10]


def test_demo_sequence_models_are_accurate_with_similar_items(films):
    split = leave_one_out(films)
    table = np.zeros((1001, 1001))
    rows, items = split.train.rows(), split.train.items
    same = rows[:-1] == rows[1:]
    np.add.at(table, (items[:-1][same], items[1:][same]), 1)
    histories, targets = split.test.histories, split.test.targets
    last = histories.items[histories.offsets[1:] - 1]
    popular = top10(np.tile(split.catalogue.counts.astype(float), (len(targets), 1)), split.test)
    markov = top10(table[last] + 1e-6 * split.catalogue.counts, split.test)
    recall = [(lists == targets[:, None]).any(axis=1).mean() for lists in (popular, markov)]
    assert recall[0] < 0.1
    assert recall[1] > 0.6

    def similarity(lists):
        vectors = split.catalogue.vectors[lists]
        return (np.einsum("bif,bjf->b", vectors, vectors) - 10).mean() / 90

    assert similarity(markov) > similarity(popular) + 0.15


def test_predictability_lowers_the_number_of_different_transitions():
    num_transitions = [
        len(
            np.unique(
                transitions(demo(num_users=400, num_items=200, predictability=p, seed=0)), axis=0
            )
        )
        for p in (0.1, 0.5, 1.0)
    ]
    assert num_transitions[0] > num_transitions[1] > num_transitions[2]


def test_demo_refuses_impossible_sizes():
    with pytest.raises(ValueError, match="num_items is 20"):
        demo(num_users=10, num_items=20)
    with pytest.raises(ValueError, match="predictability is -1"):
        demo(num_users=10, num_items=60, predictability=-1)
