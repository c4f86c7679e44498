"""What every test may ask for."""

import logging
import os
from pathlib import Path

import matplotlib
import pytest
import torch

from genrec.config.trust import Trust, set_trust

matplotlib.use("Agg")
torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _logger_as_it_was():
    """The handler and level that the command line gives to genrec's logger end with the test."""
    logger = logging.getLogger("genrec")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def _nothing_is_trusted(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """No code was named before the test, and what a command remembers stays in a folder of ours."""
    monkeypatch.setenv("GENREC_CONFIG", str(tmp_path_factory.mktemp("configuration")))
    set_trust(Trust())


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the public datasets: GENREC_DATA, a path from the root of the repository."""
    folder = (ROOT / os.environ.get("GENREC_DATA", "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip(
            f"no data in {folder}: set GENREC_DATA to the folder that holds ml-1m/ml-1m.txt and the"
            " others"
        )
    return folder
