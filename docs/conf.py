import sys
from pathlib import Path

import aiida_mlip_autopipe

sys.path.insert(0, str(Path(__file__).parent / 'extensions'))

project = 'aiida-mlip-autopipe'
author = 'The aiida-mlip-autopipe developers'
version = release = aiida_mlip_autopipe.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'gallery', 'generated_reference']
exclude_patterns = ['_build', 'reference/generated']
html_theme = 'furo'
html_title = project
html_show_copyright = False

myst_enable_extensions = ['colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 3

# No inventories of other packages are downloaded, so their names have no targets. `--nitpicky` checks our pages only.
nitpick_ignore_regex = [('py:.*', '.*')]
default_role = 'code'
autodoc_member_order = 'bysource'
autodoc_typehints = 'signature'
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True
