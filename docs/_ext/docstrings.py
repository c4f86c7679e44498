"""Docstrings are plain text with ``literals``: what reST would take for markup is escaped."""

import ast
import inspect
import re
from textwrap import dedent

from docutils import nodes
from pydantic import BaseModel
from sphinx import addnodes
from sphinx.application import Sphinx

from genrec.config.model import Config

LITERAL = re.compile(r"(``.*?``)", re.DOTALL)
MARKUP = re.compile(r"(?<!\\)([*|`@]|(?<=\w)_(?!\w))")
ENUMERATOR = re.compile(r"(^\s*|: )([A-Za-z])\.(?=\s|$)", re.MULTILINE)  # "D." would begin a list
# Python writes out what annotations stand for, and defaults as no code has them; these are the
# names that the code uses.
ALIASES = [
    (re.compile(r"<factory>"), "..."),
    (re.compile(r"<(?:class|function) '?(?:[\w.]*\.)?(\w+)(?:'| at 0x\w+)>"), r"\1"),
    (
        re.compile(
            r"~?(?:numpy\.)?ndarray\[~?(?:typing\.)?tuple\[~?(?:typing\.)?Any, \.\.\.\], "
            r"~?(?:numpy\.)?dtype\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\]"
        ),
        r"NDArray[\1]",
    ),
    (re.compile(r"NDArray\[~?(?:numpy\.)?floating\[~?(?:typing\.)?Any\]\]"), "Floats"),
    (re.compile(r"NDArray\[~?(?:numpy\.)?integer\[~?(?:typing\.)?Any\]\]"), "Slates"),
    (
        re.compile(r"dict\[str, ~?(?:typing\.)?Annotated\[[^\]]*_require_number[^\]]*\]\]"),
        "Metrics",
    ),
    (re.compile(r"~?(?:typing\.)?Annotated\[(\w+), .*?\)\](?=[,)\s|\]]|$)"), r"\1"),
]


def escape(lines: list[str]) -> list[str]:
    """Escape what reST would take for emphasis, references, addresses and lists.

    Literals and doctests stay as they are.
    """
    text, blocks = "\n".join(lines), []
    for block in re.split(r"(\n\s*\n)", text):
        doctest = re.match(r"\s*>>> ", block) is not None
        blocks.append(block if doctest else _escape_block(block))
    return "".join(blocks).split("\n")


def _escape_block(block: str) -> str:
    parts = LITERAL.split(ENUMERATOR.sub(r"\1\\\2.", block))
    texts = (part if part.startswith("``") else MARKUP.sub(r"\\\1", part) for part in parts)
    return "".join(texts)


def from_markdown(lines: list[str]) -> list[str]:
    """Gymnasium's headings, lists and code in Markdown as reST."""
    converted, fenced = [], False
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
            converted += ["", ".. code-block:: python", ""] if fenced else [""]
        elif fenced:
            converted.append(f"   {line}")
        elif line.startswith("## "):
            converted += [f".. rubric:: {line[3:]}", ""]
        else:
            begins = line.startswith("- ") and converted and not converted[-1].startswith("- ")
            after = converted and not converted[-1].startswith("  ")
            converted += ["", line] if begins and after else [line]
    return converted


def code(lines: list[str]) -> list[str]:
    """Single backquotes, which are code in Markdown, as literals."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", "\n".join(lines)).split("\n")


def process(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Escape one docstring in place."""
    # Napoleon takes what stands before a colon in the first line of a property for its type, so
    # the first line is a comment.
    first = ["..", ""] if what in ("property", "attribute", "data") else []
    if any(line.startswith("## ") for line in lines):
        lines[:] = from_markdown(code(lines))
        return
    if inspect.isclass(obj) and issubclass(obj, Config):
        lines += fields(obj)
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


def fields(config: type[Config]) -> list[str]:
    """The fields that a class of settings declares itself, for its docstring."""
    source = ast.parse(dedent(inspect.getsource(config))).body[0]
    assert isinstance(source, ast.ClassDef)
    lines = ["", "Attributes:"]
    for node in source.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            if name not in config.model_fields:
                continue
            default = f" = {ast.unparse(node.value)}" if node.value else ""
            meaning = " ".join((config.model_fields[name].description or "").split())
            lines.append(f"    {name}: ``{ast.unparse(node.annotation)}{default}``. {meaning}")
    return lines if len(lines) > 2 else []


def _aliased(text: str | None) -> str | None:
    for pattern, short in ALIASES:
        text = pattern.sub(short, text) if text else text
    return text


def plain(app: Sphinx, doctree: nodes.document) -> None:
    """Change what Sphinx writes: types of properties, dashes, labels, ``object`` as a base."""
    for text in list(doctree.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" – "))
        elif text == "Variables" and isinstance(text.parent, nodes.field_name):
            text.parent.replace(text, nodes.Text("Attributes"))
    for annotation in list(doctree.findall(addnodes.desc_annotation)):
        written = _shown(annotation)
        short = _aliased(written)
        if short != written:
            annotation.children = [nodes.Text(str(short))]
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if paragraph.astext() == "Bases: object":
            paragraph.parent.remove(paragraph)


def _shown(node: nodes.Element) -> str:
    """The text of a type; each name is there twice, short and in full."""
    parts = []
    for text in node.findall(nodes.Text):
        above = text.parent
        full = isinstance(above, addnodes.pending_xref_condition) and above["condition"] == "*"
        parts.append("" if full else str(text))
    return "".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension; before napoleon, which writes markup of its own."""
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-process-signature", shorten)
    app.connect("doctree-read", plain)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
