"""Errors that are meant for users.

Every error that a user can cause and correct is a ``GenrecError``; its message names the value, the
place and the remedy, and the command line prints it without a traceback. Any other exception is a
bug of genrec and is shown with its traceback.
"""


class GenrecError(ValueError):
    """An error that the user can correct; the root of all errors that genrec raises on purpose."""


class ConfigError(GenrecError):
    """A setting that cannot be used; the message names the key, the value and the choices."""


class DataError(GenrecError):
    """A file or log that cannot be used as it is; the message names the place and the remedy."""


class RunError(GenrecError):
    """A run directory cannot be used as asked; the message says why and what to do."""


class DivergenceError(GenrecError, FloatingPointError):
    """A loss or gradient is no longer finite; the message names the epoch, step or update."""
