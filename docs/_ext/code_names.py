"""Names such as ``genrec.rewards.terminal`` in literals are links to the API reference.

A name that cannot be imported is a warning, which fails the build.
"""

import importlib
import re
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

logger = logging.getLogger(__name__)
ENTRY_POINTS = [f"genrec.{kind}" for kind in ("backbones", "losses", "objectives", "teachers")]
NAME = re.compile(r"(genrec(?:\.\w+)+)(\(\))?")


def read(app: Sphinx, doctree: nodes.document) -> None:
    """Make references of literals that are nothing but a name of genrec."""
    for literal in list(doctree.findall(nodes.literal)):
        found = NAME.fullmatch(literal.astext())
        if not found or isinstance(literal.parent, nodes.reference | addnodes.pending_xref):
            continue
        if found[1] not in ENTRY_POINTS and not exists(found[1]):
            logger.warning("%s names nothing in genrec", found[1], location=literal)
        reference = addnodes.pending_xref(
            "",
            refdomain="py",
            reftype="obj",
            reftarget=found[1],
            refdoc=app.env.docname,
            refexplicit=True,
            refwarn=False,
            genrec_name=True,
        )
        literal.parent.replace(literal, reference)
        reference += literal


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute reached through one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[end:]:
            value = getattr(value, attribute, None)
        return value is not None
    return False


def keep(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """A name that has no page of its own stays a literal."""
    return content if node.get("genrec_name") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("doctree-read", read)
    app.connect("missing-reference", keep)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
