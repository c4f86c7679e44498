"""Mistakes of the caller become one message on stderr and exit status 1; Ctrl-C one and exit status
130."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")

MISTAKES = (ValueError, OSError, FloatingPointError)  # the last one of a training that diverged
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """A command that prints ``error: ...`` and exits with 1 where it raises one of ``MISTAKES``.

    A training that was stopped by Ctrl-C and saved says how to go on and exits with 130. The
    signature is kept, so Typer reads the options of the wrapped command.
    """

    @functools.wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        from genrec.training.logger import configure

        configure(quiet=bool(kwargs.get("quiet")))
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            # the reader of our output left, as `head` does; the command line framework exits
            # quietly
            raise
        except MISTAKES as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error
        except Exception as error:
            from genrec.training.interruption import Interrupted

            if not isinstance(error, Interrupted):
                raise
            typer.echo(str(error), err=True)
            raise typer.Exit(INTERRUPTED) from error

    return reporting
