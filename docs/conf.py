"""Sphinx configuration of the documentation site: ``make docs`` builds it in ``docs/_build/html``.

Nothing is downloaded: no inventories of other projects, and no fonts or scripts of other hosts.
"""

import sys
import tomllib
from pathlib import Path

import genrec

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_ext"))

_project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
# The public addresses are set in one place, [project.urls] of pyproject.toml. Without them the site
# has relative links only.
_urls = _project.get("urls", {})

genrec_repository = _urls.get("Repository", "")

project = "genrec"
author = "The genrec authors"
copyright = author
version = release = genrec.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_parser",
    "sphinx_copybutton",
    "public_api",
    "docstrings",
    "papers",
    "repository",
    "code_names",
    "settings_pages",
    "command_pages",
    "mathml",
]
exclude_patterns = ["_build", "_ext"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = True
smartquotes = False  # "--set" stays as it is typed
# Documentation of other projects is not at hand offline, so their names are not links.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(numpy|torch|np|scipy|pandas|pyarrow|gymnasium|transformers|stable_baselines3|sb3_contrib"
        r"|trl|datasets|pydantic|typer|click|rich|matplotlib|logging|pathlib|collections|typing"
        r"|dataclasses|functools|contextlib|types|enum|abc|os|re|json|argparse|traceback)(\..*)?",
    ),
    (
        r"py:.*",
        r"(str|int|float|bool|bytes|object|None|list|dict|tuple|set|frozenset|type|property"
        r"|[A-Z]\w*Error|ResetNeeded|KeyboardInterrupt|Any|Callable|Literal|Path|Iterator|Iterable|Sequence"
        r"|Mapping|optional|default|NDArray)",
    ),
    (
        r"py:.*",
        r"(genrec\.[\w.]+\.)?\w*T",  # type variables
    ),
]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline", "attrs_block"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "special-members": "__call__",
}
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"genrec {version}"
html_static_path = ["_static"]
html_css_files = ["genrec.css"]
html_baseurl = _urls.get("Documentation", "")
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
if "Repository" in _urls:
    html_theme_options |= {
        "source_repository": _urls["Repository"],
        "source_branch": "main",
        "source_directory": "docs/",
    }
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
html_math_renderer = "mathml"
