"""Settings of the documentation site: `make site` builds it into docs/_build."""

import sys
from pathlib import Path

from segdistill.version import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "segdistill"
release = version = __version__
copyright = "the segdistill authors, Apache-2.0"
html_title = f"segdistill {release}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "extension"]
exclude_patterns = ["_build", "extension"]
smartquotes_action = "D"  # " -- " of autodoc becomes a dash, and quotation marks stay as they are
highlight_language = "text"

# Markdown as on GitHub: ```math is an equation, and every heading has an anchor.
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings give types and ranges in words
add_module_names = False
napoleon_use_rtype = False

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
