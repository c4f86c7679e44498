"""The settings reference, from the same source as ``genrec settings``, and links to it.

``{settings} SECTION`` lists the settings of a section. A setting that no page lists, and the name
of a setting in a page that does not exist, are warnings, which fail the build.
"""

import re
from collections.abc import Iterator
from typing import Any, get_args

from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from genrec.pipeline.settings import Setting, describe
from genrec.recipes import NeuralTeacher

logger = logging.getLogger(__name__)
PAGE = "settings"
SECTIONS = sorted({setting.key.partition(".")[0] for setting in describe() if "." in setting.key})
NAME = re.compile(rf"((?:{'|'.join(SECTIONS)})(?:\.\w+)+)(=.*)?")
NEURAL = [str(name) for name in get_args(NeuralTeacher.model_fields["recipe"].annotation)]
FORMER = ("changelog",)  # pages that may name settings of former versions


class SettingsDirective(SphinxDirective):
    """The settings of a section; without an argument those outside of sections."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """One description per key."""
        section = self.arguments[0] if self.arguments else ""
        variants: dict[str, list[Setting]] = {}
        for each in describe():
            if each.key.rpartition(".")[0] == section:
                variants.setdefault(each.key, []).append(each)
        container = nodes.container()
        for key, settings in variants.items():
            listed(self.env).add(key)
            lines = StringList(list(entry(key, settings)), source=self.env.docname)
            self.state.nested_parse(lines, self.content_offset, container)
        return container.children


def entry(key: str, variants: list[Setting]) -> Iterator[str]:
    """A key in Markdown; several components may each have a setting of that name."""
    yield from (f":::{{confval}} {key}", "")
    for each in variants:
        bullet, indent = ("- ", "  ") if len(variants) > 1 else ("", "")
        facts = [_kind(each), f"default {_default(each)}"]
        facts += [f"with {_with(each)}"] if each.used_with else []
        yield from (f"{bullet}{each.meaning}", "", f"{indent}{{.facts}}")
        yield from (f"{indent}{' · '.join(facts)}", "")
    yield from (":::", "")


def _kind(setting: Setting) -> str:
    """The type of the values, or the values where they are few."""
    if not setting.choices:
        return setting.type.replace(" or null", "").replace(">=", "≥").replace("<=", "≤")
    several = "any of " if setting.type.startswith("list") else ""
    return several + ", ".join(f"`{choice}`" for choice in setting.choices)


def _default(setting: Setting) -> str:
    value = str(setting.default).lower() if isinstance(setting.default, bool) else setting.default
    return "none" if value is None or value == [] else f"`{value}`"


def _with(setting: Setting) -> str:
    """The choices that have a setting: ``teacher.recipe``: als, bpr."""
    named: dict[str, list[str]] = {}
    for use in setting.used_with:
        key, _, value = use.partition("=")
        named.setdefault(key, []).extend(value.split("|"))
    if named.get("teacher.recipe") == NEURAL:
        named.pop("teacher.recipe")
        named = {"": ["neural recipes"], **named}
    texts = (f"`{key}` {' or '.join(values)}" for key, values in named.items())
    return " and ".join(texts).replace("`` ", "")


def listed(environment: BuildEnvironment) -> set[str]:
    """The keys that the pages list."""
    if not hasattr(environment, "genrec_settings"):
        environment.genrec_settings = set()  # type: ignore[attr-defined]
    keys: set[str] = environment.genrec_settings  # type: ignore[attr-defined]
    return keys


def link(app: Sphinx, doctree: nodes.document) -> None:
    """Make references of literals such as ``teacher.epochs`` and ``teacher.epochs=5``."""
    known = {setting.key for setting in describe()}
    groups = {key.rpartition(".")[0] for key in known}
    for literal in list(doctree.findall(nodes.literal)):
        found = NAME.fullmatch(literal.astext())
        inside = isinstance(literal.parent, nodes.reference | addnodes.pending_xref)
        if not found or inside or app.env.docname in FORMER:
            continue
        key = found[1].removesuffix(".name")  # the long form of a choice
        if key not in known and key not in groups:
            logger.warning("there is no setting %s", key, location=literal)
        elif key in known and app.env.docname != PAGE:
            reference = addnodes.pending_xref(
                "",
                refdomain="std",
                reftype="confval",
                reftarget=key,
                refdoc=app.env.docname,
                refexplicit=True,
                refwarn=True,
            )
            literal.parent.replace(literal, reference)
            reference += literal


def complete(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of settings that no page lists."""
    for key in sorted({setting.key for setting in describe()} - listed(env)):
        logger.warning("no page lists the setting %s", key)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_directive("settings", SettingsDirective)
    app.connect("doctree-read", link)
    app.connect("env-check-consistency", complete)
    return {"env_version": 1, "parallel_read_safe": False, "parallel_write_safe": True}
