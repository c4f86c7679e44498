import pandas as pd
import pytest

from genrec.data import Log, ReadConfig, clean, load


def warnings(rows):
    frame = pd.DataFrame(rows, columns=["user", "item", "time"][: len(rows[0])])
    return clean(Log("toy", frame))[1].warnings


def plain():
    """20 events of 4 users on 40 items, a day apart."""
    return [(f"u{n % 4}", f"i{n * 2 % 40}", 1_600_000_000 + n * 86_400) for n in range(20)]


def test_nothing_is_said_of_a_usual_log():
    assert not [text for text in warnings(plain()) if "are few" not in text]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda n, row: ("NA" if n < 3 else row[0], *row[1:]), "the user 'NA' has 3 event(s)"),
        (lambda n, row: ("u0" if n < 12 else row[0], *row[1:]), "the user 'u0' has 14 of 20"),
        (lambda n, row: (*row[:2], 5), "all events have the same time"),
        (lambda n, row: (*row[:2], 0 if n < 4 else row[2]), "of 4 and 16 event(s)"),
    ],
)
def test_what_looks_wrong_is_said(change, expected):
    rows = [change(n, row) for n, row in enumerate(plain())]
    assert any(expected in text for text in warnings(rows))


def test_more_events_than_pairs():
    rows = [(f"u{n % 2}", f"i{n // 2 % 3}", n) for n in range(12)]
    assert any("12 events are more than the 6 pairs" in text for text in warnings(rows))


def test_the_columns_and_the_range_of_times_are_said(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("user,item,rating,time\na,x,5,0\na,y,1,86400\n", encoding="utf-8")
    notes = load(log).report.notes
    assert any(
        "user from user, item from item, time from time; ignored: rating" in n for n in notes
    )
    assert "times from 1970-01-01T00:00:00 to 1970-01-02T00:00:00 (UTC)" in notes


def test_milliseconds_win_over_the_day(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(
        "user_id,item_id,date,time_ms\n0,late,20220408,1649421600000\n"
        "0,early,20220408,1649400000000\n",
        encoding="utf-8",
    )
    dataset = load(log).dataset
    assert dataset.catalogue.item_ids[dataset.sequences[0]].tolist() == ["early", "late"]


def test_blanks_in_names_do_not_hide_the_separator(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("Customer ID, Product ID, Order Date\na, x, 2020-01-02\na, y, 2020-01-01\n")
    options = ReadConfig(user="Customer ID", item="Product ID", time="Order Date")
    dataset = load(log, options).dataset
    assert dataset.catalogue.item_ids[dataset.sequences[0]].tolist() == ["y", "x"]


def test_an_open_quote_in_a_tab_separated_file_joins_no_lines(tmp_path):
    log = tmp_path / "log.tsv"
    log.write_text('user\titem\tname\na\tx\t"Heroes\na\ty\tLow\nb\tx\t"Heroes\nb\tz\tLow\n')
    loaded = load(log)
    assert loaded.report.rows == 4
    assert loaded.dataset.catalogue.item_ids.tolist() == ["", "x", "y", "z"]


def test_paired_quotes_in_a_tab_separated_file_stay_quotes(tmp_path):
    log = tmp_path / "log.tsv"
    log.write_text('user\titem\na\t"x\t1"\na\ty\n')
    assert load(log).dataset.catalogue.item_ids.tolist() == ["", "x\t1", "y"]


def test_one_time_in_milliseconds_does_not_change_the_unit_of_all():
    rows = plain()
    rows[3] = (*rows[3][:2], 253_370_764_800_000)
    frame = pd.DataFrame(rows, columns=["user", "item", "time"])
    dataset, report = clean(Log("toy", frame))
    assert sorted(dataset.timestamps.tolist())[:19] == sorted(row[2] for row in rows)[:19]
    assert any("of 19 and 1 event(s)" in text for text in report.warnings)


def test_the_index_of_a_parquet_file_is_a_column(tmp_path):
    frame = pd.DataFrame([("a", "x"), ("a", "y"), ("b", "y")], columns=["user", "item"])
    frame.set_index("user").to_parquet(tmp_path / "log.parquet")
    dataset = load(tmp_path / "log.parquet").dataset
    assert dataset.users.tolist() == ["a", "b"]
    assert dataset.sequences.items.tolist() == [1, 2, 2]
