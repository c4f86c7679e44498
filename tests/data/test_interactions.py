import numpy as np
import pandas as pd
import pytest

from genrec.config.errors import DataError
from genrec.data import Log, clean


def log(rows, columns=("user", "item", "time"), **about):
    return Log("toy", pd.DataFrame(rows, columns=list(columns)), **about)


def by_user(dataset):
    ids = dataset.catalogue.item_ids
    return {str(user): ids[dataset.sequences[n]].tolist() for n, user in enumerate(dataset.users)}


def test_events_are_sorted_by_time_and_ties_keep_the_order_of_the_file():
    rows = [("u", "late", 9), ("u", "tie2", 5), ("v", "x", 1), ("u", "tie1", 5), ("u", "early", 1)]
    dataset, report = clean(log(rows))
    assert by_user(dataset) == {"u": ["early", "tie2", "tie1", "late"], "v": ["x"]}
    assert dataset.timestamps.tolist() == [1, 5, 5, 9, 1]
    assert report.ties == 1
    assert report.order == "time"


def test_many_ties_stay_in_order():
    rows = [("u", f"i{n}", n // 100) for n in range(1000)]
    dataset, _ = clean(log(rows))
    assert dataset.sequences.items.tolist() == list(range(1, 1001))


def test_without_times_the_file_gives_the_order():
    dataset, report = clean(log([("u", "b"), ("v", "b"), ("u", "a"), ("u", "b")], ["user", "item"]))
    assert by_user(dataset) == {"u": ["b", "a", "b"], "v": ["b"]}
    assert dataset.timestamps is None
    assert (report.duplicates, report.repeats, report.ties) == (0, 1, 0)


def test_everything_dropped_is_counted():
    rows = [
        ("u", "a", 1),
        ("u", "a", 1),
        ("u", "a", 2),
        (None, "a", 3),
        ("u", None, 4),
        ("u", "b", 5),
        ("", "b", 6),
    ]
    dataset, report = clean(log(rows))
    assert by_user(dataset) == {"u": ["a", "a", "b"]}
    assert (report.rows, report.missing_ids, report.duplicates, report.repeats) == (7, 3, 1, 1)
    assert report.repeats_dropped is False
    assert "3 row(s) without a user or an item dropped" in report.sentences()
    dataset, report = clean(log(rows), drop_repeats=True)
    assert by_user(dataset) == {"u": ["a", "b"]}
    assert dataset.timestamps.tolist() == [1, 5]
    assert (report.repeats, report.repeats_dropped) == (1, True)


def test_a_bad_time_in_a_dropped_row_does_not_matter():
    _, report = clean(log([("u", "a", "1"), (None, "a", "never"), ("u", "b", "2")]))
    assert report.missing_ids == 1


def test_integer_ids_are_sorted_and_others_keep_their_order():
    dataset, _ = clean(log([("10", "30", 1), ("9", "4", 1), ("10", "200", 2)]))
    assert dataset.users.tolist() == ["9", "10"]
    assert dataset.catalogue.item_ids.tolist() == ["", "4", "30", "200"]
    dataset, _ = clean(log([("10", "x30", 1), ("9", "4", 1), ("10", "200", 2)]))
    assert dataset.catalogue.item_ids.tolist() == ["", "x30", "4", "200"]


def test_leading_zeros_are_part_of_an_id():
    dataset, _ = clean(log([("u", "007", 1), ("u", "7", 2)]))
    assert dataset.catalogue.num_items == 2


def test_integer_ids_beside_a_missing_one_stay_integers():
    frame = pd.DataFrame({"user": [1.0, np.nan, 2.0], "item": [7, 8, 9]})
    dataset, report = clean(Log("toy", frame))
    assert dataset.users.tolist() == ["1", "2"]
    assert report.missing_ids == 1


def test_core_filter_repeats_until_nothing_changes():
    # d has one event; without it w has one left; without w, c has one left; u and v with a and b
    # remain.
    rows = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("v", "c"), ("w", "c"), ("w", "d")]
    dataset, report = clean(log(rows, ["user", "item"]), min_user_events=2, min_item_events=2)
    assert by_user(dataset) == {"u": ["a", "b"], "v": ["a", "b"]}
    assert (report.filtered_users, report.filtered_items, report.filtered_events) == (1, 2, 3)


def test_core_filter_that_leaves_nothing():
    with pytest.raises(
        DataError, match=r"0 item\(s\) in 0 usable event\(s\) of 2 row\(s\).*lower min_user_events"
    ):
        clean(log([("u", "a", 1), ("u", "b", 2)]), min_user_events=3)


def test_a_single_item_is_refused():
    with pytest.raises(DataError, match=r"1 item\(s\).*at least 2"):
        clean(log([("u", "a", 1), ("v", "a", 2)]))


def test_a_log_of_missing_ids_is_refused():
    with pytest.raises(DataError, match="0 item"):
        clean(log([(None, "a", 1)]))


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["1970-01-02", "1970-01-01T00:01:00Z"], [60, 86400]),
        (["1970-01-01 01:00:00+01:00", "1970-01-01T00:00:01.9"], [0, 1]),
        (["20.5", "3"], [3, 20]),
        ([1_500_000_000_000, 1_400_000_000_999], [1_400_000_000, 1_500_000_000]),
        ([1_500_000_000_000_000, 1_400_000_000_000_000], [1_400_000_000, 1_500_000_000]),
        (pd.to_datetime(["1970-01-02", "1970-01-01"]), [0, 86400]),
        (pd.to_datetime(["1970-01-02", "1970-01-01"]).tz_localize("Asia/Tokyo"), [-32400, 54000]),
    ],
)
def test_times_become_seconds(times, seconds):
    frame = pd.DataFrame({"user": ["u", "u"], "item": ["a", "b"], "time": times})
    dataset, _ = clean(Log("toy", frame))
    assert dataset.timestamps.tolist() == seconds


def test_parts_of_a_second_still_order_events():
    dataset, report = clean(log([("u", "b", 1.75), ("u", "a", 1.25)]))
    assert by_user(dataset) == {"u": ["a", "b"]}
    assert dataset.timestamps.tolist() == [1, 1]
    assert report.ties == 0


@pytest.mark.parametrize("bad", ["yesterday", None, "", "inf"])
def test_an_unreadable_time_names_place_value_and_remedy(bad):
    frame = pd.DataFrame(
        {"user": list("uuu"), "item": list("abc"), "time": ["1", bad, "3"]}, index=[2, 3, 4]
    )
    with pytest.raises(
        DataError,
        match=r"log\.csv, line 3: the time .* cannot be read \(1 such row.*ISO dates.*--time",
    ):
        clean(Log("toy", frame, place="log.csv", unit="line"))


def test_a_number_among_dates_is_the_error():
    times = ["2020-01-01", "2020-01-02", "17"]
    with pytest.raises(DataError, match="row 2: the time '17'"):
        clean(log([("u", item, time) for item, time in zip("abc", times, strict=True)]))


def test_a_small_catalogue_is_a_warning():
    _, report = clean(log([("u", f"i{n}", n) for n in range(5)]))
    assert "5 items are few" in report.warnings[0]
    rows = [("u", "i0", 0)] + [(f"v{n}", f"i{n}", n) for n in range(11)]
    assert clean(log(rows))[1].warnings == ()


def test_titles_and_features_reach_the_catalogue_and_other_ids_are_a_warning():
    rows = [("u", "a", 1), ("u", "b", 2)]
    dataset, report = clean(
        log(rows, titles={"a": "Alien", "z": "Zorro"}, features={"a": ["Horror"]})
    )
    assert dataset.catalogue.titles.tolist() == ["", "Alien", "b"]
    assert (report.titled_items, report.featured_items) == (1, 1)
    _, report = clean(log(rows, titles={"z": "Zorro"}))
    assert any(
        "for instance 'a' in the log and 'z' in the item file" in warning
        for warning in report.warnings
    )
    assert any("no item of the log is in the item file" in warning for warning in report.warnings)
