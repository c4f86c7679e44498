"""Files that are either complete or not there: atomic writing, and digests."""

import contextlib
import glob
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

PART = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)-[0-9a-f]{8}\.part(\.\w+)?")
"""Names of the temporary files of ``replacing``."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside a file, which it replaces at the end of the block.

    No reader ever sees half of the file, and a failure leaves the old one as it was. The content is
    on disk before the name changes, so that a power failure leaves the old or the new file. The
    permissions are those that the umask gives to a new file, whoever wrote the temporary one.

    Args:
        path: file to write; a symbolic link is followed.

    Yields:
        The temporary file, empty; its name ends like that of the file.

    Raises:
        OSError: if the file cannot be written; it names the file.
    """
    if path.is_symlink():
        path = path.resolve()
    temporary = path.with_name(
        f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}"
    )
    remove_parts(path.parent, path.name)
    try:
        with naming(path):
            temporary.touch(exist_ok=False)
            mode = temporary.stat().st_mode
            yield temporary
            temporary.chmod(mode)
            _flush(temporary)
            temporary.replace(path)
            if os.name == "posix":  # elsewhere a directory cannot be opened
                _flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the operating system that name no file, such as a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file through a temporary one, see ``replacing``."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def remove_parts(directory: Path, name: str | None = None) -> None:
    """Remove temporary files that killed processes of this machine left behind.

    Args:
        directory: where they are.
        name: of the file that they were to replace; None for all files.
    """
    pattern = glob.escape(name) if name else "*"
    for found in directory.glob(f".{pattern}.*.part*"):
        match = PART.fullmatch(found.name)
        if match and match["name"] == (name or match["name"]) and not is_alive(int(match["pid"])):
            with contextlib.suppress(OSError):
                found.unlink(missing_ok=True)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has that number."""
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
