"""``{command} NAME`` shows the help of a command: what it does, its arguments and options.

A command that no page shows is a warning, which fails the build.
"""

import re
from collections.abc import Iterator
from typing import Any

import typer
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from genrec.cli import app as genrec

logger = logging.getLogger(__name__)
KINDS = {"int": "integer", "float": "number", "Path": "path"}


def commands() -> dict[str, Any]:
    """Full name, such as ``rewards check``, to command."""
    return dict(_below(typer.main.get_command(genrec), ""))


def _below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for child, found in children.items():
        if not found.hidden:
            yield from _below(found, f"{name} {child}".strip())


class CommandDirective(SphinxDirective):
    """The help of a command."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Description, arguments and options, examples."""
        name = self.arguments[0]
        if name not in commands():
            raise self.error(f"there is no command genrec {name}")
        shown(self.env).add(name)
        container = nodes.container()
        lines = StringList(list(entry(commands()[name])), source=self.env.docname)
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children


def entry(command: Any) -> Iterator[str]:
    """A command in Markdown."""
    text, _, examples = re.sub(r"\x08\n?", "", command.help or "").partition("Examples:")
    yield from (*text.strip().splitlines(), "")
    if examples.strip():
        yield from ("```text", *(line.strip() for line in examples.strip().splitlines()), "```", "")
    yield from ("| argument or option | value | meaning |", "|---|---|---|")
    for parameter in command.params:
        if parameter.name != "help":
            yield f"| {names(parameter)} | {value(parameter)} | {meaning(parameter)} |"


def names(parameter: Any) -> str:
    """How a parameter is written."""
    if not parameter.opts[0].startswith("-"):
        return f"`{(parameter.metavar or parameter.name).upper()}`"
    return ", ".join(f"`{option}`" for option in sorted(parameter.opts, key=len, reverse=True))


def value(parameter: Any) -> str:
    """What values a parameter takes."""
    if getattr(parameter, "is_flag", False):
        return "flag"
    annotation = parameter.type_descriptor.annotation
    kind = next((word for each, word in KINDS.items() if each in str(annotation)), "text")
    bound = f" ≥ {parameter.min}" if parameter.min is not None else ""
    several = parameter.multiple or parameter.nargs != 1
    return f"{kind}{bound}{', several' if several else ''}"


def meaning(parameter: Any) -> str:
    """What a parameter means, and whether it must be given."""
    text = " ".join((parameter.help or "").split()).replace("|", "\\|")
    return f"{text} Required." if parameter.required and "Required" not in text else text


def shown(environment: BuildEnvironment) -> set[str]:
    """The commands that the pages show."""
    if not hasattr(environment, "genrec_commands"):
        environment.genrec_commands = set()  # type: ignore[attr-defined]
    found: set[str] = environment.genrec_commands  # type: ignore[attr-defined]
    return found


def complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of commands that no page shows."""
    for name in sorted(commands().keys() - shown(env)):
        logger.warning("no page shows the command genrec %s", name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("command", CommandDirective)
    app.connect("env-check-consistency", complete)
    return {"env_version": 1, "parallel_read_safe": False, "parallel_write_safe": True}
