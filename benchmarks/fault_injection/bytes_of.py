"""Small damages of bytes and texts, each a function of a random generator."""

from collections.abc import Callable
from random import Random

Damage = Callable[[bytes, Random], bytes]


def truncated(content: bytes, random: Random) -> bytes:
    """The first part of it."""
    return content[: random.randrange(len(content) + 1)]


def emptied(content: bytes, random: Random) -> bytes:
    """Nothing."""
    return b""


def bit_flipped(content: bytes, random: Random) -> bytes:
    """One bit is another."""
    place = random.randrange(max(1, len(content)))
    flipped = bytes([content[place] ^ (1 << random.randrange(8))]) if content else b"\x01"
    return content[:place] + flipped + content[place + 1 :]


def bytes_replaced(content: bytes, random: Random) -> bytes:
    """A few bytes in a row are random."""
    place = random.randrange(len(content) + 1)
    return content[:place] + random.randbytes(8) + content[place + 8 :]


def bytes_inserted(content: bytes, random: Random) -> bytes:
    """A few characters that mean something to some readers are put in."""
    odd = random.choice(
        [
            b"\x00",
            b"\xff\xfe",
            b'"',
            b"'",
            b"\r",
            b"\n\n",
            b"\t",
            b",,",
            b"::",
            b"\xef\xbb\xbf",
            b"NaN",
        ]
    )
    place = random.randrange(len(content) + 1)
    return content[:place] + odd + content[place:]


def piece_moved(content: bytes, random: Random) -> bytes:
    """A piece is somewhere else."""
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    piece, rest = content[start:end], content[:start] + content[end:]
    place = random.randrange(len(rest) + 1)
    return rest[:place] + piece + rest[place:]


def random_bytes(content: bytes, random: Random) -> bytes:
    """Something else altogether."""
    return random.randbytes(random.randrange(2000))


DAMAGES: tuple[Damage, ...] = (
    truncated,
    emptied,
    bit_flipped,
    bytes_replaced,
    bytes_inserted,
    piece_moved,
    random_bytes,
)
