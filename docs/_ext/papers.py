"""Citations such as [Author Year, eq. 3], in pages and docstrings, are links to the list of papers.

Entries of ``papers.md`` begin with the bold name that citations use. A citation without an entry is
a warning, which fails the build.
"""

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)
PAGE = "papers"
BRACKET = re.compile(r"\[[A-Z][^\[\]]*?\b(?:19|20)\d\d[^\[\]]*\]")
CITATION = re.compile(
    r"[A-Z][\w'’-]+(?:(?:,|\s&|\sand|)\s+(?:[A-Z][\w'’-]+|et al\.))*\s+(?:19|20)\d\d[a-z]?\b"
)


def key(citation: str) -> str:
    """First author and year: Kotkov, Veijalainen & Wang 2017 and Kotkov et al. 2017 are one."""
    words = citation.split()
    return f"{words[0].strip(',')} {words[-1]}"


def read(app: Sphinx, doctree: nodes.document) -> None:
    """Give the entries of the list identifiers, and make links of citations everywhere else."""
    if app.env.docname == PAGE:
        for entry in doctree.findall(nodes.strong):
            identifier = nodes.make_id(f"paper-{entry.astext()}")
            entry["ids"].append(identifier)
            known(app.env)[key(entry.astext())] = identifier
        return
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.literal | nodes.literal_block | nodes.reference):
            replaced = list(linked(str(text), app.env.docname))
            if len(replaced) > 1:
                text.parent.replace(text, replaced)


def linked(text: str, docname: str) -> Iterator[nodes.Node]:
    """The text, with the citations in brackets as references."""
    end = 0
    for bracket in BRACKET.finditer(text):
        for found in CITATION.finditer(text, bracket.start(), bracket.end()):
            yield nodes.Text(text[end : found.start()])
            target = key(found[0])
            reference = addnodes.pending_xref(
                "",
                nodes.inline("", found[0]),
                refdomain="",
                reftype="paper",
                reftarget=target,
                refdoc=docname,
                refwarn=True,
            )
            yield reference
            end = found.end()
    yield nodes.Text(text[end:])


def known(environment: BuildEnvironment) -> dict[str, str]:
    """Identifiers of the papers, by first author and year."""
    if not hasattr(environment, "genrec_papers"):
        environment.genrec_papers = {}  # type: ignore[attr-defined]
    papers: dict[str, str] = environment.genrec_papers  # type: ignore[attr-defined]
    return papers


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, content: nodes.Element
) -> nodes.reference | None:
    """The link to a paper."""
    if node["reftype"] != "paper":
        return None
    identifier = known(env).get(node["reftarget"])
    if identifier is None:
        logger.warning("no entry in papers.md for %s", node["reftarget"], location=node)
        return None
    return make_refnode(app.builder, node["refdoc"], PAGE, identifier, content)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("doctree-read", read)
    app.connect("missing-reference", resolve)
    return {"env_version": 1, "parallel_read_safe": False, "parallel_write_safe": True}
