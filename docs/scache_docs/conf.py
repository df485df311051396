"""Sphinx's configuration; `python -m scache_docs` hands it the folder of the pages."""

from sphinx.application import Sphinx

from scache_fast import __version__

project = "scached"
author = "the scached authors"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
html_theme = "furo"
html_title = f"scached {__version__}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_favicon = "_static/icon.svg"
html_theme_options = {"navigation_with_keys": True}


def blank_before_lists(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Put a blank line before each list of a docstring: readers of the source need none, docutils does."""
    for number in range(len(lines) - 1, 0, -1):
        if lines[number].startswith("* ") and lines[number - 1] and not lines[number - 1].startswith(("* ", " ")):
            lines.insert(number, "")


def setup(app: Sphinx) -> None:
    """Register what changes docstrings."""
    app.connect("autodoc-process-docstring", blank_before_lists)
