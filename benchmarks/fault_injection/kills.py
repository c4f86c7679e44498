"""Commands that are killed or told to stop at random moments, and started again."""

import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_injection.commands import Command, Ended
from fault_injection.world import MARKOV, PARTS, REWARD, copy_of, difference, state_of

GRACE = 10.0  # seconds that schedulers leave after SIGTERM
TRAINED = ("-c", "tiny.yaml", "-o", "out")
SWEEP = ("sweep", "-r", "diversity", "--weights", "0,0.3", *PARTS, "-o", "out")
COMMANDS: dict[str, tuple[tuple[str, ...], str]] = {
    "train-teacher": (("train-teacher", "--recipe", "gsasrec", *TRAINED), "out"),
    "train-teacher markov": (("train-teacher", *MARKOV, "-o", "out"), "out"),
    "pretrain": (("pretrain", "--teacher", "teacher", "-o", "out"), "out"),
    "align ppo": (("align", *REWARD, *PARTS, "-o", "out"), "out"),
    "align critic": (
        ("align", *REWARD, *PARTS, "-o", "out", "--set", "align.baseline=critic"),
        "out",
    ),
    "align sb3": (("align", *REWARD, *PARTS, "--agent", "sb3", "-o", "out"), "out"),
    "align grpo": (("align", *REWARD, *PARTS, "--agent", "grpo", "-o", "out"), "out"),
    "align all": (("align", *REWARD, *TRAINED), "out"),
    "compare": (("compare", "aligned"), "aligned"),
    "sweep": (SWEEP, "out"),
    "sweep --jobs 2": ((*SWEEP, "--jobs", "2"), "out"),
    "convert txt": (("data", "convert", "log.csv", "converted/log.txt"), "converted"),
    "convert csv": (("data", "convert", "log.csv", "converted/log.csv"), "converted"),
    "convert parquet": (
        ("data", "convert", "log.csv", "converted/log.parquet"),
        "converted",
    ),
}
SLOW = ("sweep --jobs 2",)  # its workers start interpreters of their own


@dataclass(frozen=True)
class Reference:
    """An undisturbed run of a command.

    Attributes:
        seconds: that it took.
        state: what it left.
    """

    seconds: float
    state: dict[str, Any]


def references(world: Path, folder: Path, names: Collection[str]) -> dict[str, Reference]:
    """Commands of these names, undisturbed."""
    found = {}
    for name in sorted(names):
        arguments, place = COMMANDS[name]
        copy = _start(world, folder)
        ended = Command(arguments, copy).wait(limit=300)
        if ended.status:
            raise RuntimeError(f"{name} fails undisturbed: {ended.messages}")
        found[name] = Reference(ended.seconds, state_of(copy / place))
    return found


def try_once(
    name: str,
    number: int,
    *,
    world: Path,
    folder: Path,
    reference: Reference,
    random: random.Random,
    fresh: bool = False,
) -> str:
    """Send a signal to a command at a random moment, and run the command again.

    Args:
        name: of the command.
        number: of the signal.
        world: to start from.
        folder: to work in.
        reference: the undisturbed command.
        random: chooses the moment.
        fresh: whether a new interpreter is started.

    Returns:
        What is wrong; empty where nothing is.
    """
    arguments, place = COMMANDS[name]
    copy = _start(world, folder)
    start = 6.0 if fresh else 0.0  # seconds until a new interpreter does anything
    moment = start + random.uniform(0, reference.seconds * 1.05)
    ended = _disturbed(Command(arguments, copy, fresh), number, moment)
    if wrong := _wrong_end(ended, number, copy / place):
        return f"{wrong} (signal at {moment:.2f} s)"
    if wrong := _half_written(copy):
        return f"accepted after the signal at {moment:.2f} s: {wrong}"
    again = Command(arguments, copy).wait(limit=300)
    if again.status:
        return f"cannot be resumed (signal at {moment:.2f} s): {again.messages[-500:]}"
    wrong = difference(reference.state, state_of(copy / place))
    return f"other result after the signal at {moment:.2f} s: {wrong}" if wrong else ""


def two_at_once(
    name: str, *, world: Path, folder: Path, reference: Reference, random: random.Random
) -> str:
    """Start a command twice for one run directory: one wins, the other is refused by name."""
    arguments, place = COMMANDS[name]
    copy = _start(world, folder)
    first = Command(arguments, copy)
    time.sleep(random.uniform(0, reference.seconds / 3))
    second = Command(arguments, copy)
    ends = [first.wait(limit=300), second.wait(limit=300)]
    refused = [end for end in ends if end.status == 1 and "pid " in end.messages]
    finished = [end for end in ends if end.status == 0]
    if len(finished) != 1 or len(refused) != 1:
        return f"exit statuses {[end.status for end in ends]}: {ends[1].messages[-300:]}"
    wrong = difference(reference.state, state_of(copy / place))
    return f"mixed result: {wrong}" if wrong else ""


def _start(world: Path, folder: Path) -> Path:
    copy = copy_of(world, folder)
    if (copy / "out").exists():
        shutil.rmtree(copy / "out")
    return copy


def _disturbed(command: Command, number: int, moment: float) -> Ended:
    """The end of a command that gets a signal after some seconds, unless it is faster."""
    time.sleep(moment)
    command.signal(number)
    return command.wait(limit=GRACE if number != signal.SIGKILL else 60.0)


def _wrong_end(ended: Ended, number: int, place: Path) -> str:
    if ended.hung:
        return "does not end in time"
    if ended.orphans:
        return f"leaves {ended.orphans} process(es)"
    if ended.status not in (0, 128 + number):
        return f"exit status {ended.status}: {ended.messages[-500:]}"
    if "Traceback" in ended.messages:
        return f"traceback: {ended.messages[-500:]}"
    said = "the same command resumes from there" in ended.messages
    if said and not list(place.rglob("checkpoint.safetensors")):
        return "says that it saved, and has no checkpoint"
    return ""


def _half_written(folder: Path) -> str:
    """What a finished run or comparison in a folder is damaged by; empty where nothing is."""
    faults: list[Callable[[], str]] = []
    runs = [path for path in folder.rglob("run.json") if not path.parent.name.endswith(".part")]
    for path in runs:
        faults.append(lambda run=path.parent: _fault_of(run))
    for path in folder.rglob("comparison.json"):
        if path.parent.name.endswith(".part"):
            continue
        try:
            json.loads(path.read_text())
        except ValueError as error:
            return f"{path}: {error}"
    return next((fault for fault in (each() for each in faults) if fault), "")


def _fault_of(run: Path) -> str:
    from genrec.config.errors import GenrecError
    from genrec.pipeline.provenance import verified

    try:
        verified(run)
    except GenrecError as error:
        return str(error)
    return ""
