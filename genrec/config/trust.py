"""Which code of somebody else's may run: only what the user has named.

A run directory, a configuration file and everything else that genrec reads is data. Data may name
code, a reward ``file.py:attribute`` for instance, but naming it there does not let it run. It runs
if the user has named it: on the command line, or as an argument of a function of this library. The
command line remembers what was named there, with a hash of its content, in ``trusted.json`` of the
user's configuration folder, so that a later command may read a run that names the same file.
"""

import contextlib
import contextvars
import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genrec.config.errors import ConfigError
from genrec.config.writing import digest, write_text

logger = logging.getLogger(__name__)

TRUSTED = "trusted.json"


class UntrustedCodeError(ConfigError):
    """Data names code that the user has not named; it was not run.

    Attributes:
        reason: what was refused, without the remedy.
        target: ``file.py:attribute`` or ``module:attribute``.
    """

    def __init__(self, reason: str, target: str) -> None:
        super().__init__(
            f"{reason}. Read it first; if you trust it: genrec.config.name_code({target!r})"
        )
        self.reason = reason
        self.target = target


@dataclass
class Trust:
    """What may run.

    Attributes:
        everything: whether code that only data names may run too.
        places: absolute paths of files and names of modules that the user has named.
        remembers: whether what is named is remembered for later commands.
    """

    everything: bool = False
    places: set[str] = field(default_factory=set)
    remembers: bool = False


_trust = Trust()
_reads_data = contextvars.ContextVar("reads_data", default=False)


@contextlib.contextmanager
def trust_of_command() -> Iterator[Trust]:
    """Trust in what one command names and nothing else; what it names is remembered."""
    global _trust
    before, _trust = _trust, Trust(remembers=True)
    try:
        yield _trust
    finally:
        _trust = before


def current_trust() -> Trust:
    """What may run now; to be handed to a process that works for this one."""
    return Trust(everything=_trust.everything, places=set(_trust.places))


def set_trust(trust: Trust) -> None:
    """Trust what another process does that this one works for."""
    global _trust
    _trust = trust


def trust_everything() -> None:
    """Let code run that only data names, such as the reward file of somebody else's run."""
    _trust.everything = True


@contextlib.contextmanager
def reading_data() -> Iterator[None]:
    """Mark what is validated inside as data: the code that it names is not named by the user."""
    token = _reads_data.set(True)
    try:
        yield
    finally:
        _reads_data.reset(token)


def name_code(*targets: str) -> None:
    """Let code run: the user has named it.

    Args:
        targets: ``file.py:attribute`` or ``module:attribute``; names of anything else are ignored,
            and so is what is named inside ``reading_data``.
    """
    if _reads_data.get():
        return
    places = [place for place in map(place_of, targets) if place is not None]
    new = set(places) - _trust.places
    _trust.places |= new
    if _trust.remembers and new:
        _remember(new)


def name_code_in(content: Any) -> None:
    """``name_code`` for every text in nested mappings and lists."""
    if isinstance(content, str):
        name_code(content)
    elif isinstance(content, Mapping):
        name_code_in(list(content.values()))
    elif isinstance(content, Iterable):
        for value in content:
            name_code_in(value)


def place_of(target: str) -> str | None:
    """The absolute path of the file, or the name of the module, of a target; None for a name.

    >>> place_of("diversity"), place_of("my_package.rewards:fresh")
    (None, 'my_package.rewards')
    """
    place = target.rpartition(":")[0] if ":" in target else target
    if place.endswith(".py"):
        return str(Path(place).resolve())
    return place if ":" in target and place else None


def require_trusted(target: str, kind: str) -> str | None:
    """Check that code may run, before anything of it does.

    Args:
        target: ``file.py:attribute`` or ``module:attribute``.
        kind: what it is, such as "reward", for the message.

    Returns:
        The SHA-256 hash that its file must have; None where any content will do.

    Raises:
        UntrustedCodeError: if the user has not named it, or it has changed since.
    """
    place = place_of(target)
    if place is None or _trust.everything or place in _trust.places:
        return None
    known = _remembered().get(place)
    now = _hash_of(place)
    if known is not None and known == now:
        return known
    what = "file" if place.endswith(".py") else "module"
    reason = "has changed since you named it" if known else "was not named by you"
    raise UntrustedCodeError(
        f"the {kind} {target!r} is named by a run directory or a configuration file, but its"
        f" {what} {reason}: it is code, and was not run",
        target,
    )


def configuration_folder() -> Path:
    """The user's folder of settings: the environment variable GENREC_CONFIG, else
    ``genrec`` in XDG_CONFIG_HOME or ~/.config.
    """
    if named := os.environ.get("GENREC_CONFIG"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "genrec"


def module_file(name: str) -> Path | None:
    """The file of a module, found without running it or the packages that it is in."""
    path: Any = None
    parts = name.split(".")
    origin: str | None = None
    for depth in range(1, len(parts) + 1):
        full = ".".join(parts[:depth])
        found = (finder.find_spec(full, path) for finder in sys.meta_path)
        spec = next((each for each in found if each is not None), None)
        if spec is None:
            return None
        path, origin = spec.submodule_search_locations, spec.origin
    return Path(origin) if origin and Path(origin).is_file() else None


def _hash_of(place: str) -> str | None:
    """SHA-256 hash of a file, or of the file of a module; None where there is none."""
    file = Path(place) if place.endswith(".py") else module_file(place)
    try:
        return None if file is None else digest(file)
    except OSError:
        return None


def _remembered() -> dict[str, str]:
    """Place -> hash of its content when the user named it."""
    try:
        content = json.loads((configuration_folder() / TRUSTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet; a damaged one trusts nothing
        return {}
    return content if isinstance(content, dict) else {}


def _remember(places: set[str]) -> None:
    hashes = {place: found for place in places if (found := _hash_of(place)) is not None}
    if not hashes or hashes.items() <= _remembered().items():
        return
    folder = configuration_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / TRUSTED, json.dumps(_remembered() | hashes, indent=2) + "\n")
    except OSError as error:
        logger.warning("what you have named is not remembered for the next command: %s", error)
