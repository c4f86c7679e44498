"""Mistakes of the caller become one message on stderr and exit status 1."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """A command that prints ``error: ...`` and exits with 1 where it raises ValueError, KeyError or OSError.

    The signature is kept, so Typer reads the options of the wrapped command.
    """

    @functools.wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            raise  # the reader of our output left, as `head` does; the command line framework exits quietly
        except (ValueError, KeyError, OSError) as error:
            typer.echo(f"error: {message(error)}", err=True)
            raise typer.Exit(1) from error

    return reporting


def message(error: ValueError | KeyError | OSError) -> str:
    """What the error says, without the quotes that KeyError puts around its message."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
