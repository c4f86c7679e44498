"""Files are replaced as a whole or not at all."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from genrec.config.writing import digest, naming, remove_parts, replacing, write_text


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.suffix == ".csv"  # writers choose their format by it
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type):
    path = tmp_path / "run.json"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o002, 0o664)])
def test_permissions_are_those_of_the_umask_whoever_wrote(tmp_path: Path, umask: int, mode: int):
    """safetensors makes its files readable for their owner alone."""
    code = (
        "import os, torch; from pathlib import Path; from genrec.training import save_tensors;"
        f"os.umask({umask}); save_tensors(Path('a.safetensors'), {{'x': torch.ones(2)}})"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == mode


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path):
    """A limit on the size of files stands in for the disk."""
    path = tmp_path / "weights.bin"
    path.write_bytes(b"old")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = (
        "import signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pathlib import Path; from genrec.config.writing import replacing\n"
        "with replacing(Path('weights.bin')) as temporary: temporary.write_bytes(b'x' * 5000)"
    )
    found = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=tmp_path,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert f"OSError: [Errno {errno.EFBIG}] File too large: 'weights.bin'" in found.stderr
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_that_name_a_file_keep_it(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="'absent'"), naming(tmp_path / "other"):
        open("absent").close()
    with pytest.raises(OSError, match="other") as found, naming(tmp_path / "other"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert found.value.errno == errno.ENOSPC


def test_what_killed_processes_left_is_removed(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name, pid in (("run.json", dead.pid), ("run.json", os.getpid()), ("a[b].txt", dead.pid)):
        folder = tmp_path / f".{name}.{pid}-0123abcd.part"
        folder.mkdir()
        (folder / ".tmpAbC123").write_text("half")
    (tmp_path / ".other.part").write_text("not ours")
    write_text(tmp_path / "a[b].txt", "whole")
    assert len(list(tmp_path.glob(".a*"))) == 0
    remove_parts(tmp_path)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".other.part", f".run.json.{os.getpid()}-0123abcd.part", "a[b].txt"]


def test_the_digest_is_sha256(tmp_path: Path):
    (tmp_path / "empty").touch()
    # SHA-256 of nothing
    expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest(tmp_path / "empty") == expected
