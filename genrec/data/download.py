"""Public datasets: downloaded into a cache with resumption, verified, and unpacked safely."""

import contextlib
import http.client
import os
import shutil
import stat
import struct
import sys
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from genrec.config.errors import DataError
from genrec.config.writing import digest

BASE_URL = "https://files.grouplens.org/datasets/movielens/"
CHUNK = 1 << 18  # bytes per write
TIMEOUT = 30  # seconds without a byte
MAX_UNPACKED = 4 << 30  # bytes; a small archive can unpack to any size
RANGE_NOT_SATISFIABLE = 416  # HTTP status codes
PARTIAL_CONTENT = 206
# What zipfile raises for archives that are damaged, encrypted or of a kind that it does not know
UNREADABLE = (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, ValueError, EOFError)


@dataclass(frozen=True)
class KnownDataset:
    """A public dataset that can be loaded by name.

    Attributes:
        summary: a description in one line.
        sha256: checksum of the archive; None if releases change it.
    """

    summary: str
    sha256: str | None


KNOWN = {
    "ml-100k": KnownDataset(
        "MovieLens 100K, 1998; research use, no redistribution",
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    ),
    "ml-1m": KnownDataset(
        "MovieLens 1M, 2003; research use, no redistribution",
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    ),
    "ml-20m": KnownDataset(
        "MovieLens 20M, 2015; research use",
        "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
    ),
    "ml-latest-small": KnownDataset(
        "MovieLens latest-small; changes with releases, so it has no checksum", None
    ),
}


def cache_folder() -> Path:
    """The folder of downloads: the environment variable GENREC_CACHE, else ~/.cache/genrec."""
    return Path(os.environ.get("GENREC_CACHE") or "~/.cache/genrec").expanduser()


def fetch(
    name: str, cache: Path | None = None, *, base_url: str = BASE_URL, quiet: bool = False
) -> Path:
    """The folder of a known dataset, downloaded if it is not in the cache.

    Args:
        name: one of ``KNOWN``.
        cache: folder of downloads; ``cache_folder()`` by default.
        base_url: address of the folder that contains ``<name>.zip``.
        quiet: show no progress bar; without a terminal there is none either.

    Raises:
        DataError: for an unknown name, a wrong checksum or an unsafe archive.
        ConnectionError: if the download fails; the part that has arrived is kept, and the next call
            resumes.
    """
    if name not in KNOWN:
        raise DataError(f"no dataset {name!r} is known; known are {', '.join(KNOWN)}")
    cache = cache or cache_folder()
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    part = cache / f"{name}.zip.part"
    url = f"{base_url.rstrip('/')}/{name}.zip"
    try:
        download(url, part, quiet)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        raise ConnectionError(
            f"could not download {url}: {error}. The part that has arrived is kept in {part}; run"
            f" the same command again to resume, or put the unpacked files into {folder}"
        ) from error
    verify(part, KNOWN[name].sha256)
    unpack(part, folder)
    part.unlink()
    return folder


def download(url: str, part: Path, quiet: bool = False) -> None:
    """Download a file, resuming where an earlier attempt stopped.

    A server without ranges sends the whole file, which then replaces the part.

    Args:
        url: address of the file.
        part: where to write it; bytes that are already there are not requested again.
        quiet: show no progress bar.

    Raises:
        DataError: for an address that is not http(s).
        OSError: if the connection fails or ends early.
    """
    if not url.startswith(("http://", "https://")):
        raise DataError(
            f"cannot download from {url!r}; the address must start with http:// or https://"
        )
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "genrec"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if error.code != RANGE_NOT_SATISFIABLE or not have:
            raise
        # The part has the length of the file on the server, or is longer and so no part of it.
        if error.headers.get("Content-Range") != f"bytes */{have}":
            part.unlink()
            download(url, part, quiet)
        return
    with response:
        sent_range = response.headers.get("Content-Range", "")
        resumed = response.status == PARTIAL_CONTENT and sent_range.startswith(f"bytes {have}-")
        if response.status == PARTIAL_CONTENT and not resumed:
            raise ConnectionError(f"the server answered with the wrong range {sent_range!r}")
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file, _progress(quiet) as progress:
            task = progress.add_task(url.rsplit("/", 1)[-1], total=total, completed=start)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                progress.advance(task, len(chunk))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def _progress(quiet: bool) -> Progress:
    """A progress bar on standard error that vanishes when it is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


def verify(archive: Path, sha256: str | None) -> None:
    """Check an archive and delete it if it is broken.

    Args:
        archive: the file.
        sha256: expected checksum; None to check only that the zip file is sound.

    Raises:
        DataError: with both checksums.
    """
    if sha256 is None:
        try:
            with zipfile.ZipFile(archive) as opened:
                broken = opened.testzip()
        except UNREADABLE as error:
            broken = str(error)
        if broken:
            archive.unlink()
            raise DataError(
                f"{archive} is not a sound zip file ({broken}) and was deleted; fetch it again"
            )
        return
    found = digest(archive)
    if found != sha256:
        archive.unlink()
        raise DataError(
            f"{archive} has the SHA-256 {found}, expected was {sha256}; it was deleted. Fetch it"
            " again; if the error repeats, the file has been changed on the server or on the way:"
            " do not use it"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the files of a zip archive into a folder, which appears only when it is complete.

    A single top folder of the archive is left out.

    Raises:
        DataError: for an entry that leads out of the folder or is a link, and for more than 4 GiB.
    """
    # Named by the process, so that two processes do not write into the same folder.
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with _readable(archive), zipfile.ZipFile(archive) as opened:
            files = [entry for entry in opened.infolist() if not entry.is_dir()]
            _require_safe(archive, files)
            paths = [PurePosixPath(entry.filename) for entry in files]
            one_top_folder = len({path.parts[0] for path in paths}) == 1
            nested = all(len(path.parts) > 1 for path in paths)
            for entry, path in zip(files, paths, strict=True):
                target = unfinished.joinpath(*path.parts[1 if one_top_folder and nested else 0 :])
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
        unfinished.replace(folder)  # atomic: a folder in the cache is always complete
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """What is wrong with a zip file as a DataError."""
    try:
        yield
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{archive} cannot be unpacked: {error}; fetch it again") from None


def _require_safe(archive: Path, files: list[zipfile.ZipInfo]) -> None:
    """Raise DataError for entries that lead out of the folder, for links, and for large sizes."""
    for entry in files:
        path = PurePosixPath(entry.filename)
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in entry.filename
            or ":" in entry.filename
        ):
            # Backslashes and colons are separators and drives on Windows.
            raise DataError(
                f"{archive}: the entry {entry.filename!r} leads out of the folder; do not use this"
                " archive"
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError(
                f"{archive}: the entry {entry.filename!r} is a link; do not use this archive"
            )
    size = sum(entry.file_size for entry in files)
    if not files or size > MAX_UNPACKED:
        raise DataError(
            f"{archive}: {len(files)} file(s) of {size} bytes when unpacked; allowed are 1 to"
            f" {MAX_UNPACKED}"
        )
