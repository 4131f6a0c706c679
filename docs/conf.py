"""How Sphinx makes the documentation site of these pages: `make site`."""

from importlib.metadata import version as version_of

project = "Relocscope"
author = "the authors of Relocscope"
copyright = "the authors of Relocscope, GPL-2.0-or-later"  # noqa: A001
version = release = version_of("relocscope")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["screens"]
suppress_warnings = ["myst.header"]  # pages are read on a forge as well, where a part of one may begin at any level

myst_heading_anchors = 3
highlight_language = "text"
default_role = "code"  # docstrings write `names` as Markdown does

autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"Relocscope {version}"
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
