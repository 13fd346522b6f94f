"""Settings of the documentation's site: `make docs` builds it from the pages of the repository.

The source folder is the repository, so that README.md, CONTRIBUTING.md and docs/ are pages of one
site and a relative link means the same on GitHub, in a checkout and here. What is made at build
time, from parsers, configs and `__all__`, is in site_pages.py.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'docs')]

from sta import __version__  # noqa: E402  (the folders must be on the path)

project = 'sta'
author = 'The sta authors'
copyright = 'The sta authors, Apache-2.0'
release = version = __version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'site_pages']
root_doc = 'docs/index'
include_patterns = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'data/README.md', 'docs/**']
# Folders that hold no page, some of them with a hundred thousand videos in them.
exclude_patterns = ['.*', 'data/[!R]*', 'build', 'checkpoints', 'results', 'site', 'work_dirs']

# Every heading is an anchor under GitHub's rule, so that a link to one can be checked.
myst_heading_anchors = 4
highlight_language = 'none'
pygments_style, pygments_dark_style = 'friendly', 'github-dark'
default_role = 'code'
smartquotes = False  # -- and ' stand in commands

nitpicky = True
# Names of other libraries lead nowhere here: a build asks no network for their inventories.
nitpick_ignore_regex = [('py:.*', r'(?!sta\.).*')]
autodoc_member_order = 'bysource'
autodoc_typehints_format = 'short'
autodoc_default_options = {'members': True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [('Args of the class statement', 'params_style')]

html_theme = 'furo'
html_title = f'sta {release}'
html_show_sourcelink = html_copy_source = html_show_sphinx = False
html_static_path = ['static']
html_css_files = ['site.css']
html_theme_options = {'navigation_with_keys': True, 'top_of_page_buttons': []}
