"""Links from pages to files of the repository that are no pages: examples, benchmarks, folders.

With a public address (``Repository`` in ``[project.urls]`` of pyproject.toml) they lead there.
Without one a folder is named without a link, and a file is offered for download, which MyST does.
"""

import os
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx


def read(app: Sphinx, doctree: nodes.document) -> None:
    """Replace references of MyST to existing files and folders outside the pages."""
    source = Path(app.srcdir)
    for reference in list(doctree.findall(addnodes.pending_xref)):
        if reference["reftype"] != "myst" or not reference["reftarget"].startswith(".."):
            continue
        page = (source / app.env.docname).parent
        target = Path(os.path.normpath(page / reference["reftarget"]))  # links stay links
        outside = target.exists() and not target.is_relative_to(source)
        if outside and target.is_relative_to(source.parent):
            place = str(target.relative_to(source.parent))
            _replace(reference, app.config.genrec_repository, place)


def _replace(reference: addnodes.pending_xref, address: str, place: str) -> None:
    replacement: nodes.Element = nodes.inline()
    if address:
        replacement = nodes.reference("", "", internal=False, refuri=f"{address}/blob/main/{place}")
    replacement += reference.children
    reference.replace_self(replacement)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension; before the references are resolved."""
    app.add_config_value("genrec_repository", "", "env", types=str)
    app.connect("doctree-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
