"""Sphinx configuration: Markdown pages (MyST) and an API reference from the docstrings."""

from __future__ import annotations

import importlib.util

import metarl_core

project = "metarl_core"
author = "The metarl_core developers"
copyright = "2026, The metarl_core developers"
version = release = metarl_core.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "results"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autoclass_content = "both"
# Libraries that the development environment has not: their integrations are documented without them.
autodoc_mock_imports = [n for n in ("tensordict", "tianshou", "torchrl") if importlib.util.find_spec(n) is None]

html_theme = "furo"
html_title = "metarl_core"
