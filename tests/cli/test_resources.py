"""A full disk, too few file handles, too little memory: an error that names what is missing, and
nothing that was saved is lost.
"""

import resource
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import load_file

TRAIN = ("train-teacher", "-c", "tiny.yaml", "-q", "--set", "teacher.epochs=6")


@pytest.fixture
def limited(command, write_log, tmp_path):
    """Runs a command in a folder with the log, with a limit of the operating system."""
    write_log(tmp_path, 0)

    def run(*arguments: str, **limits: int) -> subprocess.CompletedProcess[str]:
        def limit() -> None:
            for name, value in limits.items():
                resource.setrlimit(getattr(resource, name), (value, value))

        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            preexec_fn=limit,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_a_full_disk(limited, tmp_path: Path):
    """A limit on the size of files stands in for it: the second checkpoint does not fit."""
    whole = limited(*TRAIN, "-o", "whole")
    assert whole.returncode == 0, whole.stderr
    found = limited(*TRAIN, "-o", "run", RLIMIT_FSIZE=8_000)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert found.stderr.splitlines()[-1].startswith("error: [Errno 27] File too large: 'run/")
    assert not list((tmp_path / "run").glob("*.part*"))
    assert not (tmp_path / "run" / "run.json").exists()
    again = limited(*TRAIN, "-o", "run")
    assert again.returncode == 0, again.stderr
    expected = load_file(tmp_path / "whole" / "scorer.safetensors")
    found_weights = load_file(tmp_path / "run" / "scorer.safetensors")
    assert all((found_weights[name] == expected[name]).all() for name in expected)


def test_too_few_file_handles(limited):
    found = limited(*TRAIN, "-o", "run", RLIMIT_NOFILE=5)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert "Too many open files" in found.stderr


def test_too_little_memory(limited):
    wide = ("--set", "teacher.hidden_size=16384", "--set", "teacher.backbone.blocks=16")
    found = limited(*TRAIN, "-o", "run", *wide, RLIMIT_DATA=4 * 2**30)
    assert found.returncode == 1
    assert "error: out of memory" in found.stderr
    assert "Traceback" not in found.stderr
