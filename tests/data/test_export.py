import errno
import os
import subprocess
import sys

import pandas as pd
import pytest

from genrec.config.errors import DataError
from genrec.data import load, synthetic
from genrec.data.export import write


@pytest.mark.parametrize("ending", ["txt", "csv", "parquet"])
def test_a_written_dataset_can_be_loaded(tmp_path, ending):
    films = synthetic.demo(num_users=30, num_items=60, seed=0)
    path, items = write(films, tmp_path / f"films.{ending}")
    assert items.name == "films.items.csv"
    again = load(path).dataset
    kept = films.catalogue.item_ids[films.sequences.items]
    by_title = films.catalogue.titles[films.sequences.items].tolist()
    assert again.catalogue.titles[again.sequences.items].tolist() == by_title
    assert again.catalogue.feature_names == films.catalogue.feature_names
    assert again.sequences.offsets.tolist() == films.sequences.offsets.tolist()
    if ending == "txt":
        assert path.read_text().splitlines()[0] == f"1 {films.sequences.items[0]}"
        assert again.timestamps is None
    else:
        assert again.catalogue.item_ids[again.sequences.items].tolist() == kept.tolist()
        assert again.timestamps.tolist() == films.timestamps.tolist()
        assert again.users.tolist() == films.users.tolist()


def test_sasrec_text_of_integer_ids_has_the_same_fingerprint(tmp_path):
    (tmp_path / "a.txt").write_text("1 2\n1 1\n2 3\n2 1\n")
    first = load(tmp_path / "a.txt").dataset
    write(first, tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "1 2\n1 1\n2 3\n2 1\n"
    assert load(tmp_path / "b.txt").dataset.fingerprint == first.fingerprint


def test_other_endings_and_missing_folders_are_refused(tmp_path):
    films = synthetic.demo(num_users=30, num_items=60, seed=0)
    with pytest.raises(DataError, match=r"must end in \.txt"):
        write(films, tmp_path / "films.json")
    with pytest.raises(DataError, match="there is no folder"):
        write(films, tmp_path / "none" / "films.csv")


@pytest.mark.parametrize(
    ("ending", "method", "failing"),
    [
        (".txt", "to_csv", "log.items.csv"),
        (".txt", "to_csv", "log.txt"),
        (".csv", "to_csv", "log.csv"),
        (".parquet", "to_csv", "log.items.csv"),
        (".parquet", "to_parquet", "log.parquet"),
    ],
)
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, ending, method, failing):
    """Of both files, whichever of them could not be written."""
    path = tmp_path / f"log{ending}"
    path.write_text("old")
    path.with_name("log.items.csv").write_text("old items")
    real = getattr(pd.DataFrame, method)

    def fail(self, target, *arguments, **options):
        real(self.head(1), target, *arguments, **options)
        if f".{failing}." in str(target):  # the temporary file beside it
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, method, fail)
    with pytest.raises(OSError, match=rf"No space left on device: .*/{failing}'"):
        write(synthetic.demo(num_users=5, num_items=50, seed=0), path)
    assert path.read_text() == "old"
    assert path.with_name("log.items.csv").read_text() == "old items"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_both_files_have_the_permissions_of_the_umask(tmp_path):
    code = (
        "import os; from pathlib import Path; from genrec.data import synthetic\n"
        "from genrec.data.export import write; os.umask(0o027)\n"
        "write(synthetic.demo(num_users=5, num_items=50, seed=0), Path('log.csv'))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"log.csv": 0o640, "log.items.csv": 0o640}
