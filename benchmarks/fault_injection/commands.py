"""Commands in forked processes: a try costs what the command does, and no start of Python."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST = 60.0  # seconds until a command counts as hanging


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: exit status as a shell reports it; 137 after kill -9.
        output: standard output.
        messages: standard error.
        seconds: that it took.
        megabytes: largest resident memory, that of the parent included.
        hung: whether it had to be killed after LONGEST.
        orphans: processes of its session that were left a minute after it.
    """

    status: int
    output: str
    messages: str
    seconds: float
    megabytes: float
    hung: bool
    orphans: int

    @property
    def is_clean(self) -> bool:
        """Whether it succeeded, or was refused with an error and no traceback."""
        refused = self.status == 1 and self.messages.count("error: ") >= 1
        return not self.hung and "Traceback" not in self.messages and (self.status == 0 or refused)


def warm_up() -> None:
    """Import what commands import, once for all that are forked; start no thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.setswitchinterval(0.005)
    import matplotlib

    matplotlib.use("Agg")
    import torch
    from torch.utils import tensorboard  # noqa: F401

    import genrec.cli
    import genrec.report  # noqa: F401
    from genrec.agents.sb3 import trainer as _sb3  # noqa: F401
    from genrec.agents.trl import trainer as _trl  # noqa: F401
    from genrec.evaluation import comparison, sweep  # noqa: F401
    from genrec.pipeline import stages  # noqa: F401

    torch.set_num_threads(1)


class Command:
    """A genrec command that runs in a process of its own session.

    Args:
        arguments: of ``genrec``.
        folder: working directory; receives the output.
        fresh: whether a new interpreter is started, as a shell does, instead of a fork.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, fresh: bool = False) -> None:
        self.folder = folder
        self.started = time.monotonic()
        self.streams = [folder / f".{time.time_ns()}.{name}" for name in ("out", "err")]
        self.pid = os.fork()
        if self.pid == 0:
            _become(list(arguments), folder, self.streams, fresh)

    def signal(self, number: int) -> None:
        """Send a signal to the process, not to its children; it may have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, limit: float = LONGEST) -> Ended:
        """Wait for the end; kill the whole session after the limit."""
        hung, deadline = False, time.monotonic() + limit
        while True:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                hung = True
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        seconds = time.monotonic() - self.started
        orphans = _wait_for_orphans(self.pid)
        code = os.waitstatus_to_exitcode(status)
        # A process that is killed at once has not made them.
        written = [path.read_text(errors="replace") for path in self.streams if path.exists()]
        output, messages = written if len(written) == 2 else ("", "")
        for path in self.streams:
            path.unlink(missing_ok=True)
        return Ended(
            status=128 - code if code < 0 else code,
            output=output,
            messages=messages,
            seconds=seconds,
            megabytes=usage.ru_maxrss / 1024,
            hung=hung,
            orphans=orphans,
        )


def run(arguments: Sequence[str], folder: Path) -> Ended:
    """Run a command to its end."""
    return Command(arguments, folder).wait()


def call(function: Callable[[], None], folder: Path) -> Ended:
    """Run a function in a forked process, as a command."""
    command = Command.__new__(Command)
    command.folder, command.started = folder, time.monotonic()
    command.streams = [folder / f".{time.time_ns()}.{name}" for name in ("out", "err")]
    command.pid = os.fork()
    if command.pid == 0:
        _enter(folder, command.streams)
        _leave(function)
    return command.wait()


def _become(arguments: list[str], folder: Path, streams: list[Path], fresh: bool) -> None:
    _enter(folder, streams)
    sys.argv = ["genrec", *arguments]
    if fresh:
        os.execv(sys.executable, [sys.executable, "-m", "genrec", *arguments])
    from genrec.cli import app

    _leave(lambda: app(arguments, prog_name="genrec"))


def _enter(folder: Path, streams: list[Path]) -> None:
    """Become the leader of a session, with standard signals and streams of its own."""
    os.setsid()
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in zip((1, 2), streams, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(function: Callable[[], None]) -> None:
    """Call the function and end the process as an interpreter would."""
    status = 0
    try:
        function()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _wait_for_orphans(session: int) -> int:
    """Number of processes of a session that do not end within a minute; they are killed."""
    deadline = time.monotonic() + LONGEST
    while left := _session_members(session):
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return len(left)
        time.sleep(0.05)
    return 0


def _session_members(session: int) -> list[int]:
    members = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            members.append(int(entry.name))
    return members
