"""Docstrings are plain text with ``literals``: what reST would take for markup is escaped."""

import inspect
import re

from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.*?``)", re.DOTALL)
MARKUP = re.compile(r"(?<!\\)([*|`]|(?<=\w)_(?!\w))")
# What annotations stand for is written out by Python; these are the names that the code uses.
ALIASES = [
    (
        re.compile(
            r"~?(?:numpy\.)?ndarray\[~?(?:typing\.)?tuple\[~?(?:typing\.)?Any, \.\.\.\], "
            r"~?(?:numpy\.)?dtype\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\]"
        ),
        r"NDArray[\1]",
    ),
    (re.compile(r"NDArray\[~?(?:numpy\.)?floating\[~?(?:typing\.)?Any\]\]"), "Floats"),
    (re.compile(r"NDArray\[~?(?:numpy\.)?integer\[~?(?:typing\.)?Any\]\]"), "Slates"),
    (re.compile(r"~?(?:typing\.)?Annotated\[(\w+), .*?\)\](?=[,)\s|\]]|$)"), r"\1"),
]


def escape(lines: list[str]) -> list[str]:
    """Escape asterisks, bars, backquotes and trailing underscores outside literals and doctests."""
    text, blocks = "\n".join(lines), []
    for block in re.split(r"(\n\s*\n)", text):
        doctest = re.match(r"\s*>>> ", block) is not None
        blocks.append(block if doctest else _escape_block(block))
    return "".join(blocks).split("\n")


def _escape_block(block: str) -> str:
    parts = LITERAL.split(block)
    return "".join(part if part.startswith("``") else MARKUP.sub(r"\\\1", part) for part in parts)


def process(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Escape one docstring in place."""
    # Napoleon takes what stands before a colon in the first line of a property for its type, so
    # the first line is a comment.
    first = ["..", ""] if what in ("property", "attribute", "data") else []
    lines[:] = first + escape(lines)


def shorten(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Write types as the code does; settings are listed below their class, not in its signature."""
    if inspect.isclass(obj) and issubclass(obj, BaseModel):
        return "", None
    return _aliased(signature), _aliased(returned)


def _aliased(text: str | None) -> str | None:
    for pattern, short in ALIASES:
        text = pattern.sub(short, text) if text else text
    return text


def plain(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out that a class has no base but ``object``."""
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if paragraph.astext() == "Bases: object":
            paragraph.parent.remove(paragraph)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension; before napoleon, which writes markup of its own."""
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-process-signature", shorten)
    app.connect("doctree-read", plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
