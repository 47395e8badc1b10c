"""Sphinx extension that generates parts of the reference from the code before the pages are read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from errors_reference import render_codes, render_exit_codes
from schema_reference import SchemaReference
from sphinx.application import Sphinx
from sphinx.util import logging

from aiida_mlip_autopipe.config import config_schema
from aiida_mlip_autopipe.storage import Provenance

LOGGER = logging.getLogger(__name__)


def write_reference(app: Sphinx) -> None:
    """Write the generated parts, and warn about fields without a docstring."""
    folder = Path(app.srcdir) / 'reference' / 'generated'
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in (('config', config_schema()), ('dataset', Provenance.model_json_schema())):
        reference = SchemaReference(schema)
        (folder / f'{name}.md').write_text(reference.render())
        for path in reference.undocumented:
            LOGGER.warning('the field %s of %s has no docstring', path, schema['title'])
    (folder / 'errors.md').write_text(f'{render_codes()}\n')
    (folder / 'exit_codes.md').write_text(f'{render_exit_codes()}\n')
    (folder / 'cli.md').write_text(_render_cli())


def _render_cli() -> str:
    command = ['typer', 'aiida_mlip_autopipe.cli.app', 'utils', 'docs', '--name', 'mlip-autopipe']
    done = subprocess.run([sys.executable, '-m', *command], capture_output=True, text=True, check=True)
    return done.stdout


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.connect('builder-inited', write_reference)
    return {'parallel_read_safe': True}
