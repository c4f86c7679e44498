"""Every command in the pages and the shipped configurations parses, and its settings exist."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from genrec.cli import app
from genrec.pipeline.settings import read_settings

ROOT = Path(__file__).parents[2]
GENERATED = ("_build", "api")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
KNOWN = {"--recipe": "teacher.recipe", "--agent": "align.agent"}


def commands_of(page: Path) -> list[str]:
    found = re.findall(r"```bash\n(.*?)```", page.read_text(), flags=re.DOTALL)
    lines = "\n".join(found).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip().startswith("genrec ")]


def commands() -> list[tuple[str, str]]:
    found = [
        (page.name, line)
        for page in PAGES
        if page.relative_to(ROOT).parts[1:2] not in [(name,) for name in GENERATED]
        for line in commands_of(page)
    ]
    for config in CONFIGS:
        first = config.read_text().splitlines()[0]
        assert first.startswith("# genrec "), f"{config.name}: the first comment is the command"
        found += [(config.name, part.strip()) for part in first[2:].split("&&")]
    return found


def words_of(line: str) -> list[str]:
    return shlex.split(line.split(" > ")[0], comments=True)[1:]


@pytest.mark.parametrize(("place", "line"), commands())
def test_commands_parse(place: str, line: str):
    words = words_of(line)
    command = typer.main.get_command(app)
    while words and not words[0].startswith("-") and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]  # type: ignore[attr-defined]
        words = words[1:]
    assert not hasattr(command, "commands"), f"{place}: {line} names no command"
    command.make_context(line, words)  # raises for an unknown option or a missing argument


@pytest.mark.parametrize(("place", "line"), commands())
def test_their_settings_exist(place: str, line: str):
    words = words_of(line)
    given = list(pairwise(words))
    configs = [Path(value) for option, value in given if option in ("--config", "-c")]
    changes = [f"{KNOWN[option]}={value}" for option, value in given if option in KNOWN]
    changes += [value for option, value in given if option in ("--set", "-s")]
    read_settings(configs[0] if configs else None, changes)  # raises for an unknown setting
