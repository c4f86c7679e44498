"""How commands report errors: one message for what a user can correct, a traceback for a bug."""

import contextlib
import functools
import inspect
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import metadata
from typing import ParamSpec, TypeVar

import typer

from genrec.cli.text import echo, tolerate_encodings
from genrec.config.errors import GenrecError
from genrec.config.trust import UntrustedCodeError, trust_of_command
from genrec.training.interruption import Interrupted, Terminated, terminable

P = ParamSpec("P")
R = TypeVar("R")

USER_ERROR = 1
BUG = 70  # EX_SOFTWARE of sysexits.h
SIGNAL = 128  # added to the number of the signal that ended a command, as shells report it

_debug = False


def set_debug(debug: bool) -> None:
    """Whether errors of the user are shown with their traceback."""
    global _debug
    _debug = debug


def reports_errors(command: Callable[P, R]) -> Callable[P, R]:
    """A command that reports its errors and exits with the status that belongs to them.

    ``GenrecError`` and ``OSError`` print ``error: ...`` and exit with 1. A command that a signal
    ended, such as a training that was saved, says so and exits with 128 + its number: 130 after
    Ctrl-C, 143 after SIGTERM, 129 after SIGHUP. Missing memory, and a component of the user's own
    that ends the process, are errors with exit status 1. Any other exception is a bug: it prints
    its traceback and where to report it, and exits with 70. The signature is kept, so that Typer
    reads the options of the wrapped command.
    """

    @functools.wraps(command)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> R:
        tolerate_encodings()
        try:
            with trust_of_command(), terminable():
                return command(*args, **kwargs)
        except (BrokenPipeError, typer.Exit, typer.Abort):
            raise  # the reader of the output left, as `head` does, or the command is done
        except (GenrecError, OSError) as error:
            if _debug:
                traceback.print_exc()
            echo(f"error: {_with_remedy(error)}", err=True)
            raise typer.Exit(USER_ERROR) from error
        except SystemExit as error:
            # A file of the user's own may not end the command, least of all with status 0.
            place = traceback.extract_tb(error.__traceback__)[-1]
            if _debug:
                traceback.print_exc()
            echo(
                f"error: line {place.lineno} of {place.filename} ends the process ({error}): a"
                " component of your own must raise an error instead",
                err=True,
            )
            raise typer.Exit(USER_ERROR) from error
        except Interrupted as error:
            _echo_if_possible(str(error))
            raise typer.Exit(SIGNAL + error.number) from error
        except Terminated as error:
            _echo_if_possible("stopped; what a training had saved is resumed by the same command")
            raise typer.Exit(SIGNAL + error.number) from error
        except KeyboardInterrupt as error:
            _echo_if_possible("stopped; what a training had saved is resumed by the same command")
            raise typer.Exit(SIGNAL + signal.SIGINT) from error
        except Exception as error:
            if _is_out_of_memory(error):
                echo(
                    f"error: out of memory ({error}): lower the sizes of the model or of its"
                    " batches, or take a machine with more memory",
                    err=True,
                )
                raise typer.Exit(USER_ERROR) from error
            traceback.print_exc()
            echo(
                "This is a bug: of a file or plugin of your own if the traceback ends there,"
                f" otherwise of genrec. Please report it {_where()}.",
                err=True,
            )
            raise typer.Exit(BUG) from error

    reporting.__doc__ = unwrapped(inspect.getdoc(command) or "")
    return reporting


def _echo_if_possible(message: str) -> None:
    """Print on standard error; after SIGHUP there may be none any more."""
    with contextlib.suppress(OSError):
        echo(message, err=True)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory is missing; torch says so in errors of its own."""
    phrases = ("out of memory", "not enough memory", "allocate memory")
    said = any(phrase in str(error).lower() for phrase in phrases)
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and said)


def _with_remedy(error: Exception) -> str:
    """The message of an error; where code was refused, with the command that lets it run."""
    if not isinstance(error, UntrustedCodeError):
        return str(error)
    command = shlex.join(["genrec", *sys.argv[1:], "--trust"])
    return f"{error.reason}. Read it first; if you trust it: {command}"


def unwrapped(text: str) -> str:
    r"""Help whose paragraphs are one line each, so that the terminal wraps them to its own width.

    A paragraph behind click's mark for verbatim text keeps its lines.

    >>> unwrapped("One\ntwo.\n\n\b\nExamples:\n  genrec")
    'One two.\n\n\x08\nExamples:\n  genrec'
    """
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        paragraph if paragraph.startswith("\b") else " ".join(paragraph.split("\n"))
        for paragraph in paragraphs
    )


def _where() -> str:
    """Where bugs are reported, with the traceback."""
    urls = dict(entry.split(", ", 1) for entry in metadata("genrec").get_all("Project-URL") or [])
    place = f"at {urls['Issues']}" if "Issues" in urls else "to the project"
    return f"{place}, with the traceback above and the output of `genrec doctor`"
