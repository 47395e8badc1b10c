"""Tests of the reference page of schema versions."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / 'aiida_mlip_autopipe'


def versions_on_the_page() -> dict[str, int]:
    page = (ROOT / 'docs' / 'reference' / 'versions.md').read_text()
    return {name: int(version) for version, name in re.findall(r'\| (\d+) \| `([\w.]+)` \|$', page, re.MULTILINE)}


def versions_in_the_code() -> dict[str, int]:
    """Return the integer constants. Versions of methods are strings."""
    found = {}
    for path in PACKAGE.rglob('*.py'):
        module = '.'.join(path.relative_to(PACKAGE).with_suffix('').parts).removesuffix('.__init__')
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                if name.endswith('VERSION'):
                    value = getattr(import_module(f'aiida_mlip_autopipe.{module}'), name)
                    found |= {f'{module}.{name}': value} if isinstance(value, int) else {}
    return found


def test_the_page_lists_the_current_version_of_every_schema():
    assert versions_on_the_page() == versions_in_the_code()
    assert len(versions_on_the_page()) >= 8
