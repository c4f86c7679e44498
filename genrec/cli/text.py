"""What commands print: text that cannot steer a terminal."""

import contextlib
import sys

import typer

from genrec.config.text import printable


def echo(message: str, err: bool = False) -> None:
    """Print a message, with the control characters of titles, ids and paths written out.

    Args:
        message: text; its line ends and tabs stay.
        err: print on standard error.
    """
    typer.echo(printable(message), err=err)


def tolerate_encodings() -> None:
    """Write out characters that standard output or error cannot encode, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8":
            with contextlib.suppress(AttributeError, ValueError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
