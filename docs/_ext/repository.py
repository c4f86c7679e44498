"""Links from pages to files of the repository that are no pages: examples, benchmarks, folders.

With a public address (``Repository`` in ``[project.urls]`` of pyproject.toml) they lead there.
Without one a folder is named without a link, and a file is offered for download, which MyST does.
"""

import os
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

INCLUDED = {"CHANGELOG.md": "/changelog", "CONTRIBUTING.md": "/contributing"}


def read(app: Sphinx, doctree: nodes.document) -> None:
    """Replace references of MyST to existing files and folders outside the pages."""
    for reference in list(doctree.findall(addnodes.pending_xref)):
        if reference["reftype"] != "myst":
            continue
        replacement = _page(app, reference["reftarget"]) or _file(app, reference["reftarget"])
        if replacement is not None:
            replacement += reference.children
            reference.replace_self(replacement)


def _page(app: Sphinx, target: str) -> nodes.Element | None:
    """A reference to the page that includes a file of the repository."""
    page = INCLUDED.get(Path(target).name)
    if page is None:
        return None
    return addnodes.pending_xref(
        "",
        refdomain="std",
        reftype="doc",
        reftarget=page,
        refdoc=app.env.docname,
        refexplicit=True,
        refwarn=True,
    )


def _file(app: Sphinx, target: str) -> nodes.Element | None:
    """A link to something outside the pages; its name alone where there is no address."""
    source = Path(app.srcdir)
    page = (source / app.env.docname).parent
    place = Path(os.path.normpath(page / target))  # symbolic links stay as they are
    if not place.exists() or place.is_relative_to(source) or source.parent not in place.parents:
        return None
    address = app.config.genrec_repository
    if not address:
        return nodes.inline()
    link = f"{address}/blob/main/{place.relative_to(source.parent)}"
    return nodes.reference("", "", internal=False, refuri=link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension; before the references are resolved."""
    app.add_config_value("genrec_repository", "", "env", types=str)
    app.connect("doctree-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
