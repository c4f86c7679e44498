"""Faults at random: commands that are killed, and files that are damaged or hostile.

    python benchmarks/faults.py --json faults.json
    python benchmarks/faults.py --only runs --index 17   # one try again, with all that it says

Every command is run on a small made-up log, undisturbed and then with a signal at a random moment,
and is started again: it must end with the same files, bit for bit. Damaged logs, settings, run
directories and archives must be refused with an error, or read as if nothing was wrong; code that
they name must not run. The seed and the number of a try decide what it does; the moments of signals
are random, the processor decides what happens at them. Needs Linux and the extras sb3 and trl.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent))

from fault_injection import archives, commands, kills, logs, runs, settings, world

FRESH = 0.04  # share of the signals that hit a new interpreter instead of a forked one
MOST_SHOWN = 20  # faults that are printed


@dataclass(frozen=True)
class Try:
    """One try.

    Attributes:
        part: of the table.
        index: number within its part.
        what: what was tried.
        wrong: what is wrong; empty where nothing is.
    """

    part: str
    index: int
    what: str
    wrong: str


@dataclass(frozen=True)
class Prepared:
    """What every try starts from.

    Attributes:
        world: folder with the log and a run of every kind.
        commands: undisturbed commands.
        readers: output of commands that read runs.
    """

    world: Path
    commands: dict[str, kills.Reference]
    readers: dict[tuple[str, tuple[str, ...]], str]


def main() -> None:
    """Make all tries and print the table."""
    options = _options()
    commands.warm_up()
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    os.environ["GENREC_CONFIG"] = str(folder / "configuration")
    tries = [(part, index) for part in PARTS for index in range(getattr(options, part))]
    if options.only:
        tries = [(options.only, options.index)]
    names = {_command_of(part, index) for part, index in tries} - {""}
    prepared = Prepared(
        world.build(folder / "world"),
        kills.references(folder / "world", folder / "try", names),
        runs.references(folder / "world", folder / "try"),
    )
    started = time.monotonic()
    found = _all_tries(tries, prepared, options, folder)
    shutil.rmtree(folder)
    _report(found, time.monotonic() - started, options)
    sys.exit(any(each.wrong for each in found))


def signalled(number: int) -> Callable[[int, Prepared, Path, Random], tuple[str, str]]:
    """A try of the commands with a signal, the commands in turn."""

    def try_once(index: int, prepared: Prepared, folder: Path, random: Random) -> tuple[str, str]:
        name = _command_of("kills", index)
        fresh = random.random() < FRESH
        wrong = kills.try_once(
            name,
            number,
            world=prepared.world,
            folder=folder,
            reference=prepared.commands[name],
            random=random,
            fresh=fresh,
        )
        return f"{name}{', new interpreter' * fresh}", wrong

    return try_once


def _two(index: int, prepared: Prepared, folder: Path, random: Random) -> tuple[str, str]:
    name = _command_of("pairs", index)
    wrong = kills.two_at_once(
        name,
        world=prepared.world,
        folder=folder,
        reference=prepared.commands[name],
        random=random,
    )
    return name, wrong


def _command_of(part: str, index: int) -> str:
    """Name of the command that a try disturbs, or starts twice; empty for other parts."""
    if part == "pairs":
        return ("align ppo", "pretrain", "align all", "sweep")[index % 4]
    if part not in ("kills", "terms", "hups"):
        return ""
    names = [name for name in kills.COMMANDS if name not in kills.SLOW or index % 3 == 2]
    return names[index % len(names)]


def _log(index: int, prepared: Prepared, folder: Path, random: Random) -> tuple[str, str]:
    folder.mkdir(exist_ok=True)
    return logs.try_once(folder, random)


def _setting(index: int, prepared: Prepared, folder: Path, random: Random) -> tuple[str, str]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    world.write_log(folder)
    return settings.try_once(folder, random)


def _run(index: int, prepared: Prepared, folder: Path, random: Random) -> tuple[str, str]:
    return runs.try_once(prepared.world, folder, prepared.readers, random)


def _archive(index: int, prepared: Prepared, folder: Path, random: Random) -> tuple[str, str]:
    return archives.try_once(folder, random)


PARTS = {
    "kills": (signalled(signal.SIGKILL), 150, "kill -9, and the same command again"),
    "terms": (signalled(signal.SIGTERM), 50, "SIGTERM, and the same command again"),
    "hups": (signalled(signal.SIGHUP), 20, "SIGHUP, and the same command again"),
    "pairs": (_two, 20, "two commands on one --out"),
    "logs": (_log, 1000, "damaged logs"),
    "settings": (_setting, 500, "damaged settings"),
    "runs": (_run, 500, "damaged run directories"),
    "archives": (_archive, 100, "hostile archives"),
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="tries at a time")
    for part, (_, default, what) in PARTS.items():
        parser.add_argument(f"--{part}", type=int, default=default, help=what)
    parser.add_argument("--only", choices=PARTS, help="make one try of this part again")
    parser.add_argument("--index", type=int, default=0, help="its number")
    parser.add_argument("--json", type=Path, help="write the result to this file")
    return parser.parse_args()


def _all_tries(
    tries: list[tuple[str, int]], prepared: Prepared, options: argparse.Namespace, folder: Path
) -> list[Try]:
    """The tries, divided among a few forked processes."""
    files = [folder / f"result-{job}.json" for job in range(options.jobs)]
    children = []
    for job, file in enumerate(files):
        pid = os.fork()
        if pid == 0:
            _work(tries[job :: options.jobs], prepared, options.seed, folder / f"job-{job}", file)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return [Try(**each) for file in files for each in json.loads(file.read_text())]


def _work(
    tries: list[tuple[str, int]], prepared: Prepared, seed: int, folder: Path, file: Path
) -> None:
    """Make tries, write them to a file, and end the process."""
    found = []
    for part, index in tries:
        attempt = PARTS[part][0]
        try:
            place = folder / part
            place.parent.mkdir(exist_ok=True)
            what, wrong = attempt(index, prepared, place, Random(f"{seed} {part} {index}"))
        except Exception as error:
            what, wrong = "the try itself", f"{type(error).__name__}: {error}"
        found.append(asdict(Try(part, index, what, wrong)))
        if wrong:
            print(f"{part} {index}: {what}: {wrong}", file=sys.stderr, flush=True)
    file.write_text(json.dumps(found))
    os._exit(0)


def _report(found: list[Try], seconds: float, options: argparse.Namespace) -> None:
    tries, wrong = (
        Counter(each.part for each in found),
        Counter(each.part for each in found if each.wrong),
    )
    rows = [
        {"part": PARTS[part][2], "tries": tries[part], "wrong": wrong[part]}
        for part in PARTS
        if tries[part]
    ]
    print(f"{'what':<40}{'tries':>8}{'clean':>8}{'lost or wrong':>15}")
    for row in rows:
        clean = row["tries"] - row["wrong"]
        print(f"{row['part']:<40}{row['tries']:>8}{clean:>8}{row['wrong']:>15}")
    print(f"seed {options.seed}, {seconds / 60:.1f} minutes, {options.jobs} at a time")
    faults = [asdict(each) for each in found if each.wrong]
    if options.json:
        content = {
            "seed": options.seed,
            "minutes": round(seconds / 60, 1),
            "python": platform.python_version(),
            "rows": rows,
            "faults": faults,
        }
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    for fault in faults[:MOST_SHOWN]:
        print(f"{fault['part']} {fault['index']}: {fault['what']}: {fault['wrong']}")


if __name__ == "__main__":
    main()
