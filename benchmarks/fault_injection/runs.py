"""Run directories that were damaged, mixed up or forged, given to the commands that read them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fault_injection.bytes_of import DAMAGES
from fault_injection.commands import Ended, run
from fault_injection.settings import EVIL
from fault_injection.world import copy_of

HISTORY = "i01,i02,i03"
READERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "teacher": (
        ("recommend", "{run}", "--history", HISTORY, "--json"),
        ("evaluate", "{run}", "--json"),
    ),
    "markov": (
        ("recommend", "{run}", "--history", HISTORY, "--json"),
        ("evaluate", "{run}", "--json"),
    ),
    "student": (
        ("recommend", "{run}", "--history", HISTORY, "--json"),
        ("evaluate", "{run}", "--json"),
    ),
    "aligned": (
        ("recommend", "{run}", "--history", HISTORY, "--json"),
        ("compare", "{run}", "--users", "10", "--json"),
    ),
    "range": (
        ("recommend", "{run}", "--history", HISTORY, "--json", "--weight", "diversity=0.7"),
        ("compare", "{run}", "--users", "10", "--json"),
    ),
}
OTHERS = {
    "teacher": "markov",
    "markov": "teacher",
    "student": "aligned",
    "aligned": "range",
    "range": "student",
}
Change = Callable[[Path, Random], str]


def bytes_damaged(run_directory: Path, random: Random) -> str:
    """A file has other bytes."""
    file, damage = _file(run_directory, random), random.choice(DAMAGES)
    file.write_bytes(damage(file.read_bytes(), random))
    return f"{damage.__name__} {file.name}"


def file_removed(run_directory: Path, random: Random) -> str:
    """A file is missing."""
    file = _file(run_directory, random)
    file.unlink()
    return f"no {file.name}"


def file_of_another_run(run_directory: Path, random: Random) -> str:
    """A file is that of another run of the same log."""
    other = run_directory.parent / OTHERS[run_directory.name]
    shared = [path for path in _files(run_directory) if (other / path.name).is_file()]
    file = random.choice(shared)
    shutil.copy(other / file.name, file)
    return f"{file.name} of {other.name}"


def number_changed(run_directory: Path, random: Random) -> str:
    """A value in a JSON file is another one."""
    file, place, content = _place(run_directory, random)
    new = random.choice([0, -1, 1.5, 1e308, 10**30, True, None, "", "x", [], {}, -0.0])
    old = _set(content, place, new)
    file.write_text(json.dumps(content))
    return f"{file.name}: {'.'.join(map(str, place))} = {new!r}, was {old!r}"


def tensor_changed(run_directory: Path, random: Random) -> str:
    """Tensors are missing, added, of another shape or not finite; the checksums were forged."""
    import torch
    from safetensors.torch import load_file, save_file

    file = random.choice(sorted(run_directory.glob("*.safetensors")))
    tensors = load_file(file)
    name = random.choice(sorted(tensors))
    how = random.choice(["removed", "added", "reshaped", "nan", "inf", "integer", "empty"])
    if how == "removed":
        del tensors[name]
    elif how == "added":
        tensors["added"] = torch.zeros(3)
    elif how == "reshaped":
        tensors[name] = torch.cat([tensors[name].reshape(-1), torch.zeros(1)]).to(
            tensors[name].dtype
        )
    elif how == "integer":
        tensors[name] = tensors[name].to(torch.int64)
    elif how == "empty":
        tensors[name] = tensors[name][:0]
    elif tensors[name].is_floating_point():
        tensors[name] = torch.full_like(tensors[name], float(how))
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    _forge(run_directory)
    return f"forged {file.name}: {name} {how}"


def code_named(run_directory: Path, random: Random) -> str:
    """A text of a JSON file names code; the checksums were forged."""
    file, place, content = _place(run_directory, random)
    evil = run_directory.parent / "evil.py"
    new: Any = random.choice(
        [f"{evil}:fresh", "evil:fresh", {"name": f"{evil}:fresh"}, [f"{evil}:fresh"]]
    )
    _set(content, place, new)
    if file.name == "config.json":
        content["auto_map"] = {"AutoModelForCausalLM": "evil.fresh"}
    content.pop("checksum", None)
    file.write_text(json.dumps(content))
    if file.name != "run.json":
        _forge(run_directory)
    return f"forged {file.name}: {'.'.join(map(str, place))} = {new!r}"


CHANGES: tuple[Change, ...] = (
    bytes_damaged,
    bytes_damaged,
    file_removed,
    file_of_another_run,
    number_changed,
    number_changed,
    tensor_changed,
    code_named,
)


def references(world: Path, folder: Path) -> dict[tuple[str, tuple[str, ...]], str]:
    """Output of every reader of every untouched run."""
    found = {}
    copy = copy_of(world, folder)
    for kind, readers in READERS.items():
        for reader in readers:
            ended = _read(copy, kind, reader)
            if ended.status:
                raise RuntimeError(f"{reader} fails undisturbed: {ended.messages}")
            found[kind, reader] = _comparable(ended.output)
    return found


def try_once(
    world: Path,
    folder: Path,
    expected: dict[tuple[str, tuple[str, ...]], str],
    random: Random,
) -> tuple[str, str]:
    """Read a damaged run.

    Returns:
        What was tried, and what is wrong; empty where nothing is.
    """
    kind = random.choice(list(READERS))
    reader = random.choice(READERS[kind])
    copy = copy_of(world, folder)
    marker = copy / "executed"
    (copy / "evil.py").write_text(EVIL.format(marker=str(marker)))
    what = random.choice(CHANGES)(copy / kind, random)
    tried = f"{reader[0]} {kind}, {what}"
    ended = _read(copy, kind, reader)
    if marker.exists():
        return tried, "code was executed"
    if not ended.is_clean:
        return tried, f"exit status {ended.status}: {ended.messages[-400:]}"
    # Whoever forges checksums can make a run of lists of their own; any other change is noticed.
    is_answer = ended.status == 0 and "forged" not in what
    if is_answer and _comparable(ended.output) != expected[kind, reader]:
        return tried, "another answer, and no error"
    return tried, ""


def _read(folder: Path, kind: str, reader: tuple[str, ...]) -> Ended:
    return run([part.format(run=kind) for part in reader], folder)


def _comparable(output: str) -> str:
    """The output without the minutes of a training, whose log may be missing."""
    content = json.loads(output)
    for row in content.get("runs", []) if isinstance(content, dict) else []:
        if isinstance(row, dict):
            row.pop("minutes", None)
    return json.dumps(content, sort_keys=True)


def _files(run_directory: Path) -> list[Path]:
    """The files that a stage left, those of its logs and locks excepted."""
    found = sorted(path for path in run_directory.iterdir() if path.is_file())
    return [path for path in found if not path.name.startswith((".", "demonstrations"))]


def _file(run_directory: Path, random: Random) -> Path:
    return random.choice(_files(run_directory))


def _place(run_directory: Path, random: Random) -> tuple[Path, list[Any], Any]:
    """A place in a JSON file: the file, the keys, and the content of the file."""
    file = random.choice([path for path in _files(run_directory) if path.suffix == ".json"])
    content = json.loads(file.read_text())
    node, place = content, list[Any]()
    while isinstance(node, dict | list) and node:
        key = random.choice(list(node)) if isinstance(node, dict) else random.randrange(len(node))
        place.append(key)
        node = node[key]
        if random.random() < 0.2:
            break
    return file, place, content


def _set(content: Any, place: list[Any], value: Any) -> Any:
    """Replace the value at a place; the old one."""
    for key in place[:-1]:
        content = content[key]
    old = content[place[-1]]
    content[place[-1]] = value
    return old


def _forge(run_directory: Path) -> None:
    """Write the hashes of the files as they are now into run.json."""
    from genrec.config.writing import digest

    path = run_directory / "run.json"
    content = json.loads(path.read_text())
    content.pop("checksum", None)
    files = {name for name in content["files"] if (run_directory / name).is_file()}
    content["files"] = {name: digest(run_directory / name) for name in sorted(files)}
    path.write_text(json.dumps(content))
