import numpy as np
import pytest

from genrec.data import Dataset, Sequences, make_catalogue


@pytest.fixture
def films():
    return make_catalogue(
        ["a", "b", "c"], {"a": "Alien"}, {"a": ["Sci-Fi", "Horror"], "c": ["Horror"]}
    )


def dataset(rows, catalogue, name="toy"):
    users = np.array([f"u{n}" for n in range(len(rows))])
    return Dataset(
        name=name,
        users=users,
        sequences=Sequences.from_lists(rows),
        timestamps=None,
        catalogue=catalogue,
    )


def test_catalogue_rows_are_indices_and_row_0_is_padding(films):
    assert films.num_items == 3
    assert films.item_ids.tolist() == ["", "a", "b", "c"]
    assert films.titles.tolist() == ["", "Alien", "b", "c"]
    assert films.feature_names == ("Horror", "Sci-Fi")
    assert films.features.astype(int).tolist() == [[0, 0], [1, 1], [0, 0], [1, 0]]
    assert films.counts.tolist() == [0, 0, 0, 0]


def test_vectors_have_length_one_or_zero(films):
    half = 0.70710678
    np.testing.assert_allclose(films.vectors, [[0, 0], [half, half], [0, 0], [1, 0]], rtol=1e-6)


def test_indices_of_raw_ids(films):
    assert films.indices(["c", "a"]).tolist() == [3, 1]
    with pytest.raises(
        ValueError, match=r"unknown item id\(s\) x, y; this catalogue has ids such as a, b, c"
    ):
        films.indices(["x", "a", "y"])


def test_the_raw_id_of_padding_is_unknown(films):
    with pytest.raises(ValueError, match="unknown"):
        films.indices([""])


def test_statistics(films):
    assert dataset([[1, 2, 3], [2]], films).statistics() == {
        "users": 2,
        "items": 3,
        "interactions": 4,
        "mean length": 2.0,
        "median length": 2.0,
        "shortest": 1,
        "longest": 3,
        "density": pytest.approx(0.666667, abs=1e-6),
        "features": 2,
    }


def test_fingerprint_depends_on_events_offsets_and_items_but_not_on_the_name(films):
    base = dataset([[1, 2, 3], [2]], films)
    assert dataset([[1, 2, 3], [2]], films, "other").fingerprint == base.fingerprint
    assert dataset([[1, 3, 2], [2]], films).fingerprint != base.fingerprint
    assert dataset([[1, 2], [3, 2]], films).fingerprint != base.fingerprint
    assert (
        dataset([[1, 2, 3], [2]], make_catalogue(["a", "b", "d"])).fingerprint != base.fingerprint
    )
    assert len(base.fingerprint) == 16
