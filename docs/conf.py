"""Configuration of the documentation site: `sphinx-build -W docs build/site`."""

from __future__ import annotations

import sys
from pathlib import Path

import adcc_onnx

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "adcc-onnx"
author = "the adcc-onnx authors"
copyright = "2026, the adcc-onnx authors. Apache-2.0"
version = release = adcc_onnx.__version__

extensions = [
    "browser_demo",
    "generated_reference",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "wrapped_code",
]

# Pages are Markdown, readable on a forge as they are.
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 4
# A link to a file of the repository that is no page becomes a download.
myst_all_links_external = False

smartquotes_action = "D"  # dashes only
default_role = "code"  # docstrings write `name` for code
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

copybutton_prompt_text = r">>> |\.\.\. "  # not copied
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "adcc-onnx"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_sourcelink = False
html_copy_source = False
