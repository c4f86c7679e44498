import hashlib
from pathlib import Path

import pytest
import torch

from genrec.config.errors import RunError
from genrec.results import digest
from genrec.training.run_directory import read_json, relative, versions, write_json


def test_json_round_trip_leaves_no_other_file(tmp_path: Path):
    write_json(tmp_path / "a.json", {"x": [1, 2.5, "ü"], "y": {"z": None}})
    assert read_json(tmp_path / "a.json") == {"x": [1, 2.5, "ü"], "y": {"z": None}}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path: Path):
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json") == {"x": 1}


def test_json_that_is_missing_broken_or_no_object(tmp_path: Path):
    (tmp_path / "sweep" / "weight-0.1" / "seed-0").mkdir(parents=True)
    (tmp_path / "sweep" / "weight-0.1" / "seed-0" / "run.json").write_text("{}")
    with pytest.raises(
        RunError, match=r"is a sweep; give one of its runs, such as .*sweep/weight-0.1/seed-0"
    ):
        read_json(tmp_path / "sweep" / "run.json")
    (tmp_path / "stopped").mkdir()
    (tmp_path / "stopped" / "plan.json").write_text("{}")
    with pytest.raises(
        RunError, match="stopped is not finished; the command that started it resumes it"
    ):
        read_json(tmp_path / "stopped" / "run.json")
    with pytest.raises(
        RunError, match=rf"run\.json does not exist: is {tmp_path} a genrec run directory"
    ):
        read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text('{"x": ')
    with pytest.raises(RunError, match=r"run\.json is not valid JSON .* may have been cut off"):
        read_json(tmp_path / "run.json")
    (tmp_path / "run.json").write_text("[1]")
    with pytest.raises(RunError, match=r"run\.json holds no JSON object"):
        read_json(tmp_path / "run.json")


def test_versions():
    assert set(versions()) == {
        "genrec",
        "python",
        "torch",
        "transformers",
        "gymnasium",
        "numpy",
        "pandas",
        "scipy",
    }
    assert versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"genrec")
    assert digest(tmp_path / "a") == hashlib.sha256(b"genrec").hexdigest()


def test_paths_between_directories():
    assert relative(Path("runs/demo/teacher"), Path("runs/other")) == "../demo/teacher"
    assert relative(Path("runs/demo/teacher"), Path("runs/demo")) == "teacher"
