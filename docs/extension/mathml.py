r"""Equations as MathML, which browsers draw themselves: no script, no font and no image to load.

docutils, on which Sphinx is built, converts the TeX. It knows sizes of delimiters with a side only (``\bigl``).
"""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

_WITHOUT_SIDE = re.compile(r"\\(big|Big|bigg|Bigg)(?![a-zA-Z])(?=([)\]]?))")

_log = logging.getLogger(__name__)


def mathml(tex: str, *, display: bool) -> str:
    """Return an equation as a <math> element.

    Raises:
        docutils.utils.math.MathError: TeX that cannot be converted.
    """
    sided = _WITHOUT_SIDE.sub(lambda size: rf"\{size[1]}{'r' if size[2] else 'l'}", tex)
    # A bar between two arguments, as in KL(a || b), is as high as they are, not as the whole line.
    return str(tex2mathml(sided, as_block=display)).replace("<mo>‖</mo>", '<mo stretchy="false">‖</mo>')


def _visit(translator: HTML5Translator, node: nodes.math | nodes.math_block) -> None:
    is_block = isinstance(node, nodes.math_block)
    try:
        equation = mathml(node.astext(), display=is_block)
    except MathError as error:
        _log.warning("equation %r: %s", node.astext(), error, location=node)
        equation = ""
    translator.body.append(f'<div class="math">{equation}</div>\n' if is_block else equation)
    raise nodes.SkipNode


def register(app: Sphinx) -> None:
    """Register the renderer of equations."""
    app.add_html_math_renderer("mathml", inline_renderers=(_visit, None), block_renderers=(_visit, None))
