"""Known public datasets: downloaded into a cache, resumed where broken off, checked before use,
unpacked safely."""

import hashlib
import http.client
import os
import shutil
import stat
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from genrec.config.errors import DataError

BASE = "https://files.grouplens.org/datasets/movielens/"
CHUNK = 1 << 18
TIMEOUT = 30  # seconds without a byte
MAX_UNPACKED = 4 << 30  # bytes


@dataclass(frozen=True)
class Known:
    """A public dataset.

    Attributes:
        summary: what it is, in a line.
        sha256: of the archive; None where releases change it.
    """

    summary: str
    sha256: str | None


KNOWN = {
    "ml-100k": Known(
        "MovieLens 100K, 1998; research use, no redistribution",
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
    ),
    "ml-1m": Known(
        "MovieLens 1M, 2003; research use, no redistribution",
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    ),
    "ml-20m": Known(
        "MovieLens 20M, 2015; research use",
        "96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
    ),
    "ml-latest-small": Known(
        "MovieLens latest-small; changes with releases, so it has no checksum", None
    ),
}


def cache_folder() -> Path:
    """Where downloads are kept: the environment variable GENREC_CACHE, else ~/.cache/genrec."""
    return Path(os.environ.get("GENREC_CACHE") or "~/.cache/genrec").expanduser()


def fetch(name: str, cache: Path | None = None, base: str = BASE, quiet: bool = False) -> Path:
    """The folder of a known dataset, downloaded if it is not in the cache.

    Args:
        name: one of ``KNOWN``.
        cache: folder of downloads; ``cache_folder()`` by default.
        base: address of the folder that holds ``<name>.zip``.
        quiet: show no progress bar (there is none either where stderr is not a terminal).

    Raises:
        DataError: for an unknown name, a wrong checksum or an unsafe archive.
        ConnectionError: where the download fails; what has come is kept and resumed by the next
            call.
    """
    if name not in KNOWN:
        raise DataError(f"no dataset {name!r} is known; known are {', '.join(KNOWN)}")
    cache = cache or cache_folder()
    folder = cache / name
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    part = cache / f"{name}.zip.part"
    url = f"{base.rstrip('/')}/{name}.zip"
    try:
        download(url, part, quiet)
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        raise ConnectionError(
            f"could not download {url}: {error}. What has come is kept in {part}; run the same"
            " again to go on, or"
            f" put the unpacked files into {folder}"
        ) from error
    verify(part, KNOWN[name].sha256)
    unpack(part, folder)
    part.unlink()
    return folder


def download(url: str, part: Path, quiet: bool = False) -> None:
    """Bytes of an address into a file, going on where an earlier attempt broke off.

    A server that does not know ranges sends the whole file, which then replaces the beginning.

    Raises:
        DataError: for an address that is not http(s).
        OSError: where the connection fails or ends early.
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
        if error.code != 416 or not have:
            raise
        if error.headers.get("Content-Range") != f"bytes */{have}":
            part.unlink()  # longer than the file on the server: not a beginning of it
            download(url, part, quiet)
        return
    with response:
        resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        if response.status == 206 and not resumed:
            raise ConnectionError(
                "the server answered with the wrong range"
                f" {response.headers.get('Content-Range')!r}"
            )
        start = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file, _progress(quiet) as progress:
            task = progress.add_task(url.rsplit("/", 1)[-1], total=total, completed=start)
            _copy(response.read, file.write, lambda size: progress.advance(task, size))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def _copy(
    read: Callable[[int], bytes], write: Callable[[bytes], object], advance: Callable[[int], None]
) -> None:
    while chunk := read(CHUNK):
        write(chunk)
        advance(len(chunk))


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


def verify(archive: Path, sha256: str | None) -> None:
    """Check an archive against its checksum, or, where it has none, that it is a sound zip file;
    else delete it.

    Raises:
        DataError: with both checksums.
    """
    if sha256 is None:
        try:
            with zipfile.ZipFile(archive) as opened:
                broken = opened.testzip()
        except zipfile.BadZipFile as error:
            broken = str(error)
        if broken:
            archive.unlink()
            raise DataError(
                f"{archive} is not a sound zip file ({broken}) and was deleted; fetch it again"
            )
        return
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        archive.unlink()
        raise DataError(
            f"{archive} has the SHA-256 {found}, expected was {sha256}; it was deleted. Fetch it"
            " again; if that"
            " repeats, the file has been changed on the server or on the way: do not use it"
        )


def unpack(archive: Path, folder: Path) -> None:
    """Files of a zip archive into a folder that appears only when complete; a single top folder is
    left out.

    Raises:
        DataError: for an entry that leads out of the folder or is a link, and for more than 4 GiB.
    """
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            files = [entry for entry in opened.infolist() if not entry.is_dir()]
            _require_safe(archive, files)
            tops = {PurePosixPath(entry.filename).parts[0] for entry in files}
            nested = all(len(PurePosixPath(entry.filename).parts) > 1 for entry in files)
            for entry in files:
                parts = PurePosixPath(entry.filename).parts[1 if len(tops) == 1 and nested else 0 :]
                target = unfinished.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
        unfinished.replace(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _require_safe(archive: Path, files: list[zipfile.ZipInfo]) -> None:
    for entry in files:
        path = PurePosixPath(entry.filename)
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in entry.filename
            or ":" in entry.filename
        ):
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
