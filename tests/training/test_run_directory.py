import hashlib
import os
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest
import torch

from genrec.config.errors import RunError
from genrec.config.writing import digest
from genrec.training.run_directory import (
    LOCK,
    exclusive,
    read_json,
    relative,
    require_run_directory,
    versions,
    write_json,
)


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


HOLD = """
import sys, time
from pathlib import Path
from socket import gethostname
from genrec.training.run_directory import exclusive

with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds a directory."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_one_process_writes_at_a_time_and_a_killed_one_holds_nothing(tmp_path: Path, holder):
    run = tmp_path / "run"
    message = (
        rf"run is being written by another command \(pid {holder.pid} on {gethostname()} since"
    )
    with pytest.raises(RunError, match=message), exclusive(run):
        raise AssertionError("both hold it")
    holder.kill()
    holder.wait()
    with exclusive(run), exclusive(run):  # calls of one process may be nested
        assert (run / LOCK).read_text().startswith(f"pid {os.getpid()} on")
    assert (run / LOCK).read_text() == ""
    with exclusive(run):
        pass


def test_where_the_file_system_has_no_locks_the_holder_is_asked_for(
    tmp_path: Path, holder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("genrec.training.run_directory.fcntl", None)
    run = tmp_path / "run"
    with pytest.raises(RunError, match=f"pid {holder.pid}"), exclusive(run):
        pass
    holder.kill()
    holder.wait()
    with exclusive(run):
        (run / "plan.json").touch()
    (run / LOCK).write_text("pid 1 on another-machine since 2026-01-01 00:00:00")
    with (
        pytest.raises(RunError, match=r"If it no longer runs, remove .*run/\.lock"),
        exclusive(run),
    ):
        pass


def test_a_directory_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunError, match=r"no run directory, and it is not empty \(it has thesis"):
        require_run_directory(tmp_path)
    with pytest.raises(RunError, match=r"thesis\.tex is a file: give a directory"):
        require_run_directory(tmp_path / "thesis.tex")
    with pytest.raises(RunError, match="not empty"), exclusive(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "new").mkdir()
    for allowed in (tmp_path / "new", tmp_path / "absent" / "deep"):
        require_run_directory(allowed)


def test_a_command_that_fails_at_once_leaves_no_directory(tmp_path: Path):
    with pytest.raises(RunError, match="refused"), exclusive(tmp_path / "new"):
        raise RunError("refused")
    assert not (tmp_path / "new").exists()
