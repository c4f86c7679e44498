"""Files that are either complete or not there: atomic writing, and digests."""

import contextlib
import glob
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

PART = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{8}\.part")
"""Names of the temporary folders of ``replacing``."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file in a folder beside a file, which it replaces at the end of the block.

    No reader ever sees half of the file, and a failure leaves the old one as it was. The content is
    on disk before the name changes, so that a power failure leaves the old or the new file. The
    permissions are those that the umask gives to a new file, whoever wrote the temporary one. The
    folder also holds what the writer leaves beside the file, as safetensors does when it is killed.

    Args:
        path: file to write; a symbolic link is followed.

    Yields:
        The temporary file, empty; it has the name of the file.

    Raises:
        OSError: if the file cannot be written; it names the file.
    """
    if path.is_symlink():
        path = path.resolve()
    folder = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    temporary = folder / path.name
    remove_parts(path.parent, path.name)
    try:
        with naming(path):
            folder.mkdir()
            temporary.touch()
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)
            _flush(temporary)
            temporary.replace(path)
            if os.name == "posix":  # elsewhere a directory cannot be opened
                _flush(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the operating system that name no file, or a temporary one, name this one."""
    try:
        yield
    except OSError as error:
        temporary = error.filename is None or f".{path.name}." in str(error.filename)
        if error.errno is None or not temporary:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file through a temporary one, see ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def remove_parts(directory: Path, name: str | None = None) -> None:
    """Remove temporary folders that killed processes of this machine left behind.

    Args:
        directory: where they are.
        name: of the file that they were to replace; None for all files.
    """
    pattern = glob.escape(name) if name else "*"
    for found in directory.glob(f".{pattern}.*.part"):
        match = PART.fullmatch(found.name)
        if match and match["name"] == (name or match["name"]) and not is_alive(int(match["pid"])):
            shutil.rmtree(found, ignore_errors=True)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has that number; yes where that cannot be asked."""
    if os.name == "nt":  # there os.kill ends the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def digest(file: Path) -> str:
    """SHA-256 hash of a file's content, as 64 hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
