"""Formulas as MathML, which browsers draw by themselves: no script, nothing to download."""

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

# A thin space after the name of a function, as TeX has it.
FUNCTION = re.compile(r"(<mi>(?:log|exp|min|max|tanh)</mi>)(?!\s*<mo[^>]*>\()")


def mathml(tex: str, block: bool) -> str:
    """A formula in TeX as MathML."""
    return FUNCTION.sub(r'\1<mspace width="0.17em"/>', str(tex2mathml(tex, as_block=block)))


def inline(translator: HTML5Translator, node: nodes.math) -> None:
    """A formula in a line of text."""
    translator.body.append(mathml(node.astext(), block=False))
    raise nodes.SkipNode


def display(translator: HTML5Translator, node: nodes.math_block) -> None:
    """A formula on a line of its own."""
    translator.body.append(f'<div class="math">{mathml(node.astext(), block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
