from pathlib import Path

import pytest

from genrec.data import Dataset, load


@pytest.fixture(scope="session")
def movielens_1m(data_dir: Path) -> Dataset:
    """MovieLens-1M as preprocessed for SASRec."""
    return load(data_dir / "ml-1m").dataset
