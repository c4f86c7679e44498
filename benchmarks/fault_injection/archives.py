"""Hostile zip archives for ``genrec.data.download.unpack``."""

import io
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from fault_injection.bytes_of import DAMAGES
from fault_injection.commands import call


def _zip(
    entries: list[tuple[zipfile.ZipInfo | str, bytes]], method: int = zipfile.ZIP_DEFLATED
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as opened:
        for name, content in entries:
            opened.writestr(name, content)
    return file.getvalue()


def sound(random: Random) -> bytes:
    """An archive as it should be."""
    return _zip([("ml/ratings.csv", b"user,item\n1,2\n"), ("ml/movies.csv", b"item,title\n2,x\n")])


def climbing(random: Random) -> bytes:
    """A name that leads out of the folder."""
    name = random.choice(
        [
            "../out",
            "a/../../out",
            "/tmp/genrec-fault-injection-out",
            "..\\out",
            "C:\\out",
            "a/b/../../../out",
            "./../out",
            "~/out",
        ]
    )
    return _zip([("ml/ratings.csv", b"1"), (name, b"out")])


def link(random: Random) -> bytes:
    """A symbolic link, and a file behind it."""
    entry = zipfile.ZipInfo("ml/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return _zip(
        [(entry, random.choice([b"/tmp", b"../..", b"/etc/passwd"])), ("ml/link/out", b"out")]
    )


def device(random: Random) -> bytes:
    """A pipe or a device."""
    entry = zipfile.ZipInfo("ml/device")
    entry.external_attr = (random.choice([stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK]) | 0o666) << 16
    return _zip([(entry, b"")])


def bomb(random: Random) -> bytes:
    """Gigabytes of zeros in a few kilobytes."""
    return _zip([(f"ml/{number}", bytes(200_000_000)) for number in range(25)])


def lying_size(random: Random) -> bytes:
    """Another size in the directory than what is unpacked."""
    content = bytearray(_zip([("ml/ratings.csv", b"a" * 5000)], zipfile.ZIP_STORED))
    for mark, place in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = content.find(mark)
        content[at + place : at + place + 4] = struct.pack(
            "<I", random.choice([1, 10**9, 2**32 - 1])
        )
    return bytes(content)


def same_names(random: Random) -> bytes:
    """A name twice, or differing in case, or a folder that is a file."""
    names = random.choice(
        [("ml/a", "ml/a"), ("ml/a", "ml/A"), ("ml/a", "ml/a/b"), ("ml/a/b", "ml/a")]
    )
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _zip([(name, b"x") for name in names])


def odd_names(random: Random) -> bytes:
    """Names that are long, empty or made of controls."""
    name = random.choice(
        ["ml/" + "x" * 300, "ml/\x01\x1b", " ", "ml/ ", "ml/CON", "ml/" + "d/" * 400 + "x"]
    )
    return _zip([(name, b"x")])


def nested(random: Random) -> bytes:
    """An archive in an archive, which stays one."""
    return _zip([("ml/inner.zip", sound(random))])


def encrypted(random: Random) -> bytes:
    """The flag of encryption without a password."""
    content = bytearray(sound(random))
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = content.find(mark)
        content[at + place] |= 1
    return bytes(content)


def damaged(random: Random) -> bytes:
    """A sound archive with damaged bytes."""
    return random.choice(DAMAGES)(sound(random), random)


KINDS: tuple[Callable[[Random], bytes], ...] = (
    climbing, link, device, lying_size, same_names, odd_names, nested, encrypted, damaged,
    damaged, sound,
)  # fmt: skip


def try_once(folder: Path, random: Random) -> tuple[str, str]:
    """Unpack a hostile archive.

    Returns:
        What was tried, and what is wrong; empty where nothing is.
    """
    kind = bomb if random.random() < 0.03 else random.choice(KINDS)
    shutil.rmtree(folder, ignore_errors=True)
    cache = folder / "outer" / "cache"
    cache.mkdir(parents=True)
    (cache / "ml.zip").write_bytes(kind(random))

    def unpack() -> None:
        from genrec.config.errors import GenrecError
        from genrec.data.download import unpack, verify

        try:
            verify(cache / "ml.zip", None)
            unpack(cache / "ml.zip", cache / "ml")
        except (GenrecError, OSError) as error:
            print(f"error: {error}", file=__import__("sys").stderr)
            raise SystemExit(1) from None

    ended = call(unpack, folder)
    outside = [path for path in folder.rglob("*") if cache not in (path, *path.parents)]
    outside = [path for path in outside if path not in (folder / "outer",)]
    if outside or Path("/tmp/genrec-fault-injection-out").exists():
        return kind.__name__, f"written outside: {outside}"
    links = [path for path in cache.rglob("*") if path.is_symlink()]
    if not ended.is_clean or links:
        return kind.__name__, f"exit status {ended.status}, links {links}: {ended.messages[-400:]}"
    left = [path for path in cache.iterdir() if path.name not in ("ml.zip", "ml")]
    if left or (ended.status and (cache / "ml").exists()):
        return kind.__name__, f"half unpacked: {sorted(cache.iterdir())}"
    return kind.__name__, ""
