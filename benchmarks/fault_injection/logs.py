"""Logs in every format that genrec reads, damaged, and read by ``genrec data describe``."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import pandas as pd

from fault_injection.bytes_of import DAMAGES, Damage
from fault_injection.commands import run

MOST_MEGABYTES = 4000  # of a command that reads a few kilobytes, all of its libraries included


def _table() -> pd.DataFrame:
    rows = [(f"u{n % 7}", f"i{(n * n) % 11}", 1_600_000_000 + 60 * n) for n in range(60)]
    return pd.DataFrame(rows, columns=["user", "item", "time"])


def _parquet() -> bytes:
    file = io.BytesIO()
    _table().to_parquet(file)
    return file.getvalue()


FORMATS: dict[str, Callable[[], bytes]] = {
    "log.csv": lambda: _table().to_csv(index=False).encode(),
    "log.tsv": lambda: _table().to_csv(index=False, sep="\t").encode(),
    "log.txt": lambda: "".join(f"{n // 6 + 1} {n % 13 + 1}\n" for n in range(60)).encode(),
    "ratings.dat": lambda: "".join(
        f"{n // 6 + 1}::{n % 13 + 1}::{n % 5 + 1}::{978300000 + n}\n" for n in range(60)
    ).encode(),
    "u.data": lambda: "".join(
        f"{n // 6 + 1}\t{n % 13 + 1}\t{n % 5 + 1}\t{978300000 + n}\n" for n in range(60)
    ).encode(),
    "log.parquet": _parquet,
}
ITEMS = b"item_id,title,genres\n" + b"".join(b"i%d,Title %d,A|B\n" % (n, n) for n in range(11))


def line_repeated(content: bytes, random: Random) -> bytes:
    """A line, perhaps the header, comes twice."""
    lines = content.splitlines(keepends=True) or [b"\n"]
    place = random.randrange(len(lines))
    return b"".join([*lines[:place], lines[place], *lines[place:]])


def line_removed(content: bytes, random: Random) -> bytes:
    """A line, perhaps the header, is missing."""
    lines = content.splitlines(keepends=True) or [b"\n"]
    del lines[random.randrange(len(lines))]
    return b"".join(lines)


def field_changed(content: bytes, random: Random) -> bytes:
    """A field holds something that few expect."""
    odd = [
        "", " ", "NaN", "null", "-1", "0", "1e400", "9" * 30, "-9223372036854775809", "1.5", "inf",
        "0x10", "2020-13-45", "é" * 3, "\u202e", '"', '""', "a" * 5000, "=1+1", "True",
        "253402300800000",
    ]  # fmt: skip
    return _in_a_field(content, random, random.choice(odd).encode())


def field_added(content: bytes, random: Random) -> bytes:
    """A line has a field too many."""
    return _in_a_field(content, random, b"x,y\tz::w w")


def separators_changed(content: bytes, random: Random) -> bytes:
    """Another separator, in the whole file or in its first part."""
    old = random.choice([b",", b"\t", b"::", b" "])
    end = random.choice([len(content), random.randrange(len(content) + 1)])
    new = random.choice([b";", b"|", b"\t", b",", b" "])
    return content[:end].replace(old, new) + content[end:]


def header_changed(content: bytes, random: Random) -> bytes:
    """Other names of columns: equal, empty, with blanks, or of another meaning."""
    head, _, rest = content.partition(b"\n")
    name = random.choice([b"user", b"", b" user ", b"item", b"rating", b'"user', b"time", b"u\xff"])
    names = head.split(b",")
    names[random.randrange(len(names))] = name
    return b",".join(names) + b"\n" + rest


def encoded_otherwise(content: bytes, random: Random) -> bytes:
    """Another encoding, or compressed."""
    text = content.decode("latin-1")
    encoding = random.choice(["utf-16", "utf-32", "utf-8-sig", "cp037", "gzip"])
    return gzip.compress(content) if encoding == "gzip" else text.encode(encoding)


def lines_ended_otherwise(content: bytes, random: Random) -> bytes:
    """Line ends of another system."""
    return content.replace(b"\n", random.choice([b"\r", b"\r\n", b"\n\r", b"\x0b", b"\x1e"]))


def _in_a_field(content: bytes, random: Random, value: bytes) -> bytes:
    lines = content.splitlines(keepends=True) or [b"\n"]
    place = random.randrange(len(lines))
    for separator in (b"::", b"\t", b",", b" "):
        if separator in lines[place]:
            fields = lines[place].rstrip(b"\n").split(separator)
            fields[random.randrange(len(fields))] = value
            lines[place] = separator.join(fields) + b"\n"
            break
    return b"".join(lines)


TEXT_DAMAGES: tuple[Damage, ...] = (
    line_repeated,
    line_removed,
    field_changed,
    field_added,
    separators_changed,
    header_changed,
    encoded_otherwise,
    lines_ended_otherwise,
)


def try_once(folder: Path, random: Random) -> tuple[str, str]:
    """Describe a damaged log.

    Returns:
        What was tried, and what is wrong; empty where nothing is.
    """
    name = random.choice(list(FORMATS))
    content = FORMATS[name]()
    known = DAMAGES if name == "log.parquet" else (*TEXT_DAMAGES, *DAMAGES)
    chosen = [random.choice(known) for _ in range(random.choice([1, 1, 2]))]
    for old in folder.iterdir():
        old.unlink()
    items = ITEMS
    in_items = name == "log.csv" and random.random() < 0.3
    for damage in chosen:
        if in_items:
            items = damage(items, random)
        else:
            content = damage(content, random)
    (folder / name).write_bytes(content)
    if name.startswith("log."):
        (folder / "log.items.csv").write_bytes(items)
    tried = f"{'items of ' * in_items}{name}: {', '.join(damage.__name__ for damage in chosen)}"
    ended = run(["data", "describe", name, "--json"], folder)
    if not ended.is_clean:
        return tried, f"exit status {ended.status}: {ended.messages[-400:]}"
    if ended.megabytes > MOST_MEGABYTES:
        return tried, f"took {ended.megabytes:.0f} MB"
    if ended.status == 0:
        count = json.loads(ended.output)["statistics"]["interactions"]
        lines = content.count(b"\n") + content.count(b"\r") + 1
        if name != "log.parquet" and not in_items and not 0 < count <= max(lines, 1):
            return tried, f"{count} interactions of {lines} lines"
    return tried, ""
