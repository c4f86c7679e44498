import pandas as pd
import pytest

from genrec.config.errors import DataError
from genrec.data import ReadConfig, load


@pytest.fixture
def write(tmp_path):
    def written(name, text, encoding="utf-8"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode(encoding))
        return path

    return written


def events(path, **options):
    dataset = load(path, ReadConfig(**options)).dataset
    ids = dataset.catalogue.item_ids
    return {str(user): ids[dataset.sequences[n]].tolist() for n, user in enumerate(dataset.users)}


def genres(dataset, index):
    catalogue = dataset.catalogue
    return [
        name
        for name, has in zip(catalogue.feature_names, catalogue.features[index], strict=True)
        if has
    ]


def test_a_title_over_two_lines_becomes_one_without_tabs(write):
    path = write("toy/toy.txt", "1 3\n1 2\n")
    write("toy/items.csv", 'item_id,title\n2,"Two:\n\tthe  Return "\n')
    assert load(path.parent).dataset.catalogue.titles.tolist() == ["", "Two: the Return", "3"]


def test_sasrec_text_with_an_item_file(write):
    path = write("toy/toy.txt", "1 3\n1 2\n2 10\n")
    write("toy/items.csv", 'item_id,movielens_id,title,genres\n2,9,"Two, The",A|B\n3,8,Three,B\n')
    loaded = load(path.parent)
    assert loaded.dataset.name == "toy"
    assert loaded.dataset.catalogue.item_ids.tolist() == ["", "2", "3", "10"]
    assert loaded.dataset.catalogue.titles.tolist() == ["", "Two, The", "Three", "10"]
    assert [genres(loaded.dataset, i) for i in (1, 2, 3)] == [["A", "B"], ["B"], []]
    assert loaded.dataset.sequences.items.tolist() == [2, 1, 3]
    assert loaded.report.titled_items == 2


def test_sasrec_text_with_tabs_names_and_a_blank_line(write):
    path = write("log.txt", "ann\tx1\nbob\tx2\n\nann\tx2\n")
    assert events(path) == {"ann": ["x1", "x2"], "bob": ["x2"]}
    assert load(path).report.missing_ids == 1


def test_movielens_csv(write):
    path = write("ml/ratings.csv", "userId,movieId,rating,timestamp\n1,31,2.5,20\n1,5,3.0,10\n")
    write(
        "ml/movies.csv",
        "movieId,title,genres\n31,Dangerous Minds (1995),Drama\n5,Other,(no genres listed)\n",
    )
    loaded = load(path.parent)
    assert loaded.dataset.name == "ml"
    assert events(path) == {"1": ["5", "31"]}
    assert loaded.dataset.catalogue.titles.tolist() == ["", "Other", "Dangerous Minds (1995)"]
    assert loaded.dataset.catalogue.feature_names == ("Drama",)


def test_movielens_dat(write):
    path = write("ml/ratings.dat", "1::31::5::20\n1::5::3::10\n")
    write(
        "ml/movies.dat",
        "31::Misérables: Les (1995)::Drama|War\n5::Other::Comedy\n",
        encoding="latin-1",
    )
    dataset = load(path.parent).dataset
    assert events(path) == {"1": ["5", "31"]}
    assert dataset.timestamps.tolist() == [10, 20]
    assert dataset.catalogue.titles.tolist() == ["", "Other", "Misérables: Les (1995)"]
    assert genres(dataset, 2) == ["Drama", "War"]


@pytest.mark.parametrize("with_genre_file", [True, False])
def test_movielens_100k(write, with_genre_file):
    path = write("ml-100k/u.data", "1\t31\t5\t20\n1\t5\t3\t10\n")
    flags = "|".join("1" if n in (1, 18) else "0" for n in range(19))
    item = "{}|Café (1995)|01-Jan-1995||http://x|" + flags + "\n"
    write("ml-100k/u.item", item.format(31) + item.format(5), encoding="latin-1")
    names = (
        "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy"
        " Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western"
    )
    if with_genre_file:
        write(
            "ml-100k/u.genre",
            "".join(f"{name}|{n}\n" for n, name in enumerate(names.split())) + "\n",
        )
    dataset = load(path.parent).dataset
    assert events(path) == {"1": ["5", "31"]}
    assert dataset.catalogue.titles.tolist() == ["", "Café (1995)", "Café (1995)"]
    assert genres(dataset, 1) == ["Action", "Western"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_found_in_the_header(write, separator):
    text = "when,reviewerID,asin\n2,u,b\n1,u,a\n".replace(",", separator)
    assert events(write("log.csv", text), time="when") == {"u": ["a", "b"]}


def test_columns_by_option_and_quoted_ids(write):
    path = write("log.csv", 'buyer,thing,day\nu,"b, the",2020-01-02\nu,a,2020-01-01\n')
    assert events(path, user="buyer", item="thing", time="day") == {"u": ["a", "b, the"]}
    assert events(path, user="buyer", item="thing") == {"u": ["b, the", "a"]}


def test_typed_headers_and_ids_such_as_na(write):
    path = write(
        "log.inter", "user_id:token\titem_id:token\ttimestamp:float\nu\tNA\t2.5\nu\t007\t1.5\n"
    )
    assert events(path) == {"u": ["007", "NA"]}


def test_nan_ids_are_dropped_and_counted(write):
    path = write("log.csv", "user,item,time\n1,2,1\nNaN,2,2\n1,,3\n1,3,4\n")
    assert events(path) == {"1": ["2", "3"]}
    assert load(path).report.missing_ids == 2


def test_byte_order_mark_and_latin_1(write):
    assert events(write("bom.csv", "\ufeffuser,item\nu,a\nu,b\n")) == {"u": ["a", "b"]}
    assert events(write("latin.csv", "user,item\nu,é\nu,b\n", encoding="latin-1")) == {
        "u": ["é", "b"]
    }


def test_parquet(tmp_path):
    frame = pd.DataFrame(
        {"user": [1, 1], "item": ["b", "a"], "time": pd.to_datetime(["2020-01-02", "2020-01-01"])}
    )
    frame.to_parquet(tmp_path / "log.parquet")
    assert events(tmp_path / "log.parquet") == {"1": ["a", "b"]}


def test_options_reach_the_cleaning(write):
    path = write("log.csv", "user,item\nu,a\nu,a\nu,b\nv,b\nv,c\n")
    assert events(path, min_item_events=2) == {"u": ["a", "a", "b"], "v": ["b"]}
    assert events(path, drop_repeats=True) == {"u": ["a", "b"], "v": ["b", "c"]}


def test_a_possible_time_column_with_an_unusual_name_is_noted(write):
    report = load(write("log.csv", "user,item,happened\nu,a,2\nu,b,1\n")).report
    assert any(
        "none of its columns (user, item, happened) has a usual name of a time" in note
        for note in report.notes
    )
    for name in ("ts", "happened"):
        path = write("log.csv", f"user,item,{name}\nu,a,2\nu,b,1\n")
        found = load(path, ReadConfig(time=None if name == "ts" else name))
        assert found.report.order == "time"
        assert not any("--time" in note for note in found.report.notes)


BAD = {
    "wrong separator": (
        "log.csv",
        "user;item\n1;2\n1;3\n",
        {"separator": ","},
        r"line 1: the header.*seems to be ';'",
    ),
    "no separator": (
        "log.csv",
        "user^item\n1^2\n",
        {},
        r"line 1: the header 'user\^item'.*--separator",
    ),
    "missing column": (
        "log.csv",
        "user,item\n1,2\n",
        {"item": "itme"},
        r"no column 'itme'.*user, item.*mean 'item'",
    ),
    "unknown columns": (
        "log.csv",
        "usr,item\n1,2\n",
        {},
        r"no column for the user.*usr, item.*mean 'usr'.*--user",
    ),
    "missing time": (
        "log.csv",
        "user,item\n1,2\n",
        {"time": "when"},
        r"no column 'when'; the columns are user, item",
    ),
    "same column": (
        "log.csv",
        "user,item\n1,2\n",
        {"user": "item"},
        r"columns item, item; they must be different",
    ),
    "column twice": ("log.csv", "user,item,item\n1,2,3\n", {}, r"'item' occurs more than once"),
    "empty": ("log.csv", "", {}, r"log\.csv is empty"),
    "only blank": ("log.csv", "\n\n", {}, r"line 1 is blank"),
    "header only": ("log.csv", "user,item\n", {}, r"has a header but no rows"),
    "no header": (
        "log.csv",
        "1,2,3\n1,3,4\n",
        {},
        r"line 1: the first line '1, 2, 3' looks like data.*header line",
    ),
    "no header text": (
        "log.txt",
        "1 2 3\n1 3 4\n",
        {},
        r"line 1: the first line '1, 2, 3' looks like data",
    ),
    "one item": ("log.csv", "user,item\n1,2\n2,2\n", {}, r"1 item\(s\).*at least 2"),
    "bad time": ("log.csv", "user,item,time\n1,2,3\n\n1,3,soon\n", {}, r"line 4: the time 'soon'"),
    "long line": (
        "log.csv",
        "user,item,time\n1,2,3\n1,3,4,5\n",
        {},
        r"line 3: more than the 3 fields user, item, time",
    ),
    "longer line": ("log.csv", "user,item\n1,2\n1,3,4,5,6\n", {}, r"in line 3, saw 5"),
    "three fields": ("log.txt", "1 2\n1 3 4\n", {}, r"line 2: more than the 2 fields user, item"),
    "open quote": ("log.csv", 'user,item\n1,"2\n1,3\n', {}, r"close quotes"),
    "not parquet": ("log.parquet", "user,item\n1,2\n", {}, r"is not a sound Parquet file"),
    "binary": ("log.csv", "PK\0\0\n", {}, r"line 1: this is not text"),
    "short dat": (
        "ratings.dat",
        "1::2::3::4\n1::2::3\n",
        {},
        r"line 2: lines must be user::item::rating::time",
    ),
    "no item file": (
        "log.csv",
        "user,item\n1,2\n1,3\n",
        {"items": "none.csv"},
        r"no item file none\.csv.*--items",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_message_with_place_and_remedy(write, case):
    name, text, options, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        load(write(name, text), ReadConfig(**options))
    assert len(str(caught.value)) < 500


def test_item_file_without_an_id_column(write):
    write("items.csv", "key,title\n1,One\n")
    with pytest.raises(
        DataError, match=r"items\.csv, line 1: no column for the item id.*key, title"
    ):
        load(write("log.csv", "user,item\n1,2\n1,3\n"))


def test_folders_with_no_or_several_logs(write, tmp_path):
    write("notes.md", "nothing")
    with pytest.raises(DataError, match=r"no file in it looks like a log \(there: notes\.md\)"):
        load(tmp_path)
    write("a.csv", "user,item\n1,2\n")
    write("b.csv", "user,item\n1,2\n")
    with pytest.raises(DataError, match="2 files in it could be the log"):
        load(tmp_path)


def test_unknown_source_lists_the_known_ones():
    with pytest.raises(
        DataError,
        match=r"'ml-1n'. Did you mean 'ml-1m'\? Built in: demo. Known by name: ml-100k, ml-1m",
    ):
        load("ml-1n")


def test_demo_takes_no_options():
    with pytest.raises(DataError, match="demo is built in and takes no options"):
        load("demo", ReadConfig(min_user_events=5))


def test_latest_small(data_dir):
    loaded = load(data_dir / "ml-latest-small")
    dataset = loaded.dataset
    assert (len(dataset.users), dataset.catalogue.num_items, len(dataset.sequences.items)) == (
        671,
        9066,
        100004,
    )
    assert dataset.name == "ml-latest-small"
    assert loaded.report.titled_items == 9066


def test_beauty(data_dir):
    dataset = load(data_dir / "beauty").dataset
    assert (len(dataset.users), dataset.catalogue.num_items, len(dataset.sequences.items)) == (
        40226,
        54542,
        353962,
    )
    assert dataset.catalogue.feature_names == ()
